"""L3: scan_hint lies behind contig_hint exactly when the two are equally long."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Block
from percpu_reference.hints import Hints


class OrderedScanHint(Hints):
    """pcpu_block_update: what becomes of scan_hint when a run is as long as contig_hint or longer.

    The kernel drops or keeps a scan_hint by comparing it with contig_hint alone. So one that lies
    behind the new contig_hint can stay, and a run entered twice becomes its own scan_hint: the
    order that pcpu_next_hint and the refresh rely on is lost, and with a stale left_free even
    soundness is at risk. Here the old contig_hint, if it lies before a longer run, takes the place
    of a scan_hint that is shorter or does not lie before that run; a longer run before it drops
    only a scan_hint at or behind itself. Of equally long runs the one chosen as contig_hint is as
    before; another one behind it becomes scan_hint, the farthest known, since no run before it can
    be longer; a scan_hint on the wrong side is dropped.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "L3"

    def block_update(self, block: Block, start: int, end: int) -> None:
        """Enter the whole free run [start, end) into a block's hints."""
        hint, hint_start = block.contig_hint, block.contig_hint_start
        scan, scan_start = block.scan_hint, block.scan_hint_start
        super().block_update(block, start, end)
        contig = end - start
        if contig < hint:
            return

        if contig > hint:
            if start > hint_start:
                if hint > scan or scan_start >= start:
                    scan, scan_start = hint, hint_start
            elif scan_start >= start:
                scan = 0
        elif block.contig_hint_start != hint_start:  # equally long and better aligned
            if start < hint_start:
                if hint > scan:
                    scan, scan_start = hint, hint_start
            elif scan == hint and scan_start <= start:
                scan = 0
        elif start > hint_start:
            if hint > scan or start > scan_start:
                scan, scan_start = contig, start
        elif start < hint_start and hint > scan and scan_start >= start:
            scan = 0
        block.scan_hint = scan
        block.scan_hint_start = scan_start

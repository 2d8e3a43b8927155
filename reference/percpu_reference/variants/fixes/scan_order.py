"""L3: scan_hint lies behind contig_hint exactly when the two are equally long."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Block
from percpu_reference.hints import Hints


class OrderedScanHint(Hints):
    """pcpu_block_update: scan_hint lies before contig_hint, or behind it and is as long.

    When a run is as long as contig_hint, the kernel makes it scan_hint wherever it lies, before
    contig_hint or even contig_hint itself entered again; and when the better aligned run takes over
    as contig_hint, a scan_hint of the same length that now lies before it stays. When a run grows
    beyond contig_hint at its right end, a scan_hint that is its former self stays in it. But
    pcpu_next_hint and the refreshes read from the order of the two that nothing longer lies before:
    runs are passed over, and left_free can be left too long.

    Which run is contig_hint stays the kernel's choice. A longer run drops a scan_hint at or behind
    its start; the old contig_hint takes the place if it lies before the run. Of runs as long as
    contig_hint the farthest known behind it is scan_hint, since no run before that can be longer; a
    scan_hint on the wrong side, or with a longer run before it, is dropped.
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

"""L4: a scan_hint of 0 means that nothing is known."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Block, Chunk
from percpu_reference.hints import Hints


class UnseededScanHint(Hints):
    """pcpu_block_update: a run shorter than contig_hint never seeds scan_hint anew.

    A refresh promotes scan_hint and goes on behind it, so it takes for granted that no run before
    scan_hint is longer. The kernel fills an empty scan_hint with any run that comes along, and
    moves it forward to any longer one, although runs it knows nothing of lie in between; the next
    refresh passes them over. Here scan_hint is set only where a scan from the first free bit, or
    an order of runs already known, vouches for all that lies before it: when contig_hint grows or
    meets its equal. A shorter run can only pull a present scan_hint back, to a longer run at or
    before its start. A scan of the whole chunk begins without one.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "L4"

    def block_update(self, block: Block, start: int, end: int) -> None:
        """Enter the whole free run [start, end) into a block's hints."""
        scan, scan_start = block.scan_hint, block.scan_hint_start
        if end - start < block.contig_hint and not (scan and start <= scan_start):
            super().block_update(block, start, end)
            block.scan_hint = scan
            block.scan_hint_start = scan_start
        else:
            super().block_update(block, start, end)

    def chunk_refresh_hint(self, chunk: Chunk, full_scan: bool) -> None:
        """Recompute a chunk's hints from those of its blocks."""
        if full_scan:
            chunk.chunk_md.scan_hint = 0
        super().chunk_refresh_hint(chunk, full_scan)

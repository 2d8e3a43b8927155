"""L2: a block's right_free survives the promotion of its scan_hint."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.hints import Hints


class RightEdgeKept(Hints):
    """pcpu_block_refresh_hint: a promoted scan_hint that ends the block is its right edge.

    A refresh clears right_free and expects the scan to set it anew. With a scan_hint promoted to
    contig_hint the scan starts behind that hint. If the hint ends the block there is nothing left
    to scan and right_free stays 0 over a free edge; runs across the block's end are then not seen,
    and the chunk's contig_hint can fall to 0 with room left. The hint itself says how long the edge
    is: the last run of a block either is the promoted one or is met by the scan.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "L2"

    def block_refresh_hint(self, chunk: Chunk, index: int) -> None:
        """Rescan a block whose contig_hint was broken."""
        block = chunk.md_blocks[index]
        scan, end = block.scan_hint, block.scan_hint_start + block.scan_hint
        super().block_refresh_hint(chunk, index)
        if scan and end == block.nr_bits:
            block.right_free = scan

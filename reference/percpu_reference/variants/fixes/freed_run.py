"""L1 and L5: what a free tells the chunk."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.hints import Hints


class ChunkRelativeEnd(Hints):
    """pcpu_block_update_hint_free: the end of a run inside a block, relative to the chunk.

    The kernel gives the chunk's hints a start relative to the chunk and an end relative to the
    block, so beyond the first block the run looks empty or negative and is not entered: the chunk's
    contig_hint stays as it is, however much is freed, and the chunk sits on a list too low to be
    found. This is the least repair, one addition; it still enters only the part inside the block
    (L5). Not part of `reference`, which has WholeFreedRun.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "L1"

    def chunk_update_hint_free(
        self, chunk: Chunk, s_index: int, e_index: int, start: int, end: int
    ) -> None:
        """Bring a chunk's hints up to date: bits [start of s_index, end of e_index) became free."""
        if end - start >= self.block_bits or s_index != e_index:
            self.chunk_refresh_hint(chunk, True)
        else:
            base = s_index * self.block_bits
            self.block_update(chunk.chunk_md, base + start, base + end)


class WholeFreedRun(Hints):
    """pcpu_block_update_hint_free: the chunk is told the whole run that a free left.

    The hints expect whole runs, and a free inside a block gives the chunk the part inside it, with
    a wrong end (L1). Frees at the edges of neighbouring blocks so build up a run that the chunk
    does not see before something else refreshes it. Here the run is followed over the edges of the
    neighbours, by their right_free and left_free, and entered whole. It takes a step per block that
    the run covers or ends in, and replaces the refresh of the whole chunk on a free that emptied a
    block or crossed one: no free walks all blocks any more. Relies on exact right_free (L2).
    """

    __slots__ = ()

    NAME: ClassVar[str] = "L5"
    CONTAINS: ClassVar[tuple[str, ...]] = ("L1",)

    def chunk_update_hint_free(
        self, chunk: Chunk, s_index: int, e_index: int, start: int, end: int
    ) -> None:
        """Bring a chunk's hints up to date: bits [start of s_index, end of e_index) became free."""
        block_bits = self.block_bits
        blocks = chunk.md_blocks
        first = s_index * block_bits + start
        behind = e_index * block_bits + end

        edge = 0 if start else block_bits  # of a run that fills its block there is more to see
        while edge == block_bits and s_index:
            s_index -= 1
            edge = blocks[s_index].right_free
            first -= edge

        edge = end
        while edge == block_bits and e_index + 1 < len(blocks):
            e_index += 1
            edge = blocks[e_index].left_free
            behind += edge

        self.block_update(chunk.chunk_md, first, behind)

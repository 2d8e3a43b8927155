"""rfc_series: the four patches of the first posting together, on 5.12-rc's allocator.

2/4 splits the balance work; 3/4 adds the mark that 1/4's comment speaks of, the count of marked
chunks, the caller and a separate loop that populates; 4/4 changes a comment.
"""

from __future__ import annotations

from typing import Any, ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants.rfc_1 import Rfc1
from percpu_reference.variants.two_types import COUNT, PLAIN, TwoTypes
from percpu_spec.geometry import Geometry


class RfcSeries(Rfc1):
    """Rfc1 with marked chunks: only those are shrunk, and only if nothing is to be populated.

    `marked` stands for the chunks' flags and, by its size, for their count: one for both types.
    """

    __slots__ = ("marked",)

    marked: set[Chunk]

    EXPECTED: ClassVar[dict[str, str]] = {
        **{clause: why for clause, why in Rfc1.EXPECTED.items() if clause != "RCL-2"},
        "BAL-3": "km: a chunk born populated does not lower the number of pages wanted",
    }

    def __init__(self, geometry: Geometry, **given: Any) -> None:
        super().__init__(geometry, **given)
        self.marked = set()

    def check_freed_chunk(self, chunk: Chunk) -> bool:
        """Return whether a chunk just freed into calls for balance work; mark it if it is worth it.

        Worth it is a chunk with more than a quarter of its pages empty, not fully free, not
        immutable, and not alone in its slot. More than one marked chunk calls for the work.
        """
        if chunk.free_bytes == self.unit_size:
            return TwoTypes.check_freed_chunk(self, chunk)
        if chunk.nr_empty_pop_pages <= chunk.nr_pages // self.geometry.reclaim_divisor:
            return False
        if chunk not in self.marked and not chunk.immutable and self.has_company(chunk):
            self.marked.add(chunk)
        return len(self.marked) > 1

    def has_company(self, chunk: Chunk) -> bool:
        """Return whether the list of a chunk's slot holds another chunk."""
        lists = self.nr_slots // self.chunk_types
        number = self.chunk_type(chunk) * lists + self.chunk_slot(chunk)
        return any(pos is not chunk for pos in self.chunk_lists[number])

    def condemn_chunk(self, chunk: Chunk) -> None:
        """Take a fully free chunk off its list, to be destroyed; its mark goes."""
        self.marked.discard(chunk)
        super().condemn_chunk(chunk)

    def balance_type(self, chunk_type: int) -> Steps[None]:
        """Destroy free chunks of a type, and populate or shrink; left without pcpu_lock."""
        yield from self.balance_free(False, chunk_type)
        yield from self.balance_populated(chunk_type)

    def balance_populated(self, chunk_type: int = PLAIN) -> Steps[None]:
        """Populate if pages are wanted, otherwise shrink if any chunk is marked."""
        self.spin_unlock()
        yield COUNT
        nr_to_pop = self.pages_to_populate(chunk_type)
        if nr_to_pop:
            yield from self.grow_populated(chunk_type, nr_to_pop)
        elif self.marked:
            self.spin_lock()
            yield from self.shrink_populated(chunk_type)
            self.spin_unlock()

    def count_again(self, chunk_type: int, nr_to_pop: int) -> Steps[int]:
        """Return how many pages are wanted after a chunk was created: as many as before.

        A chunk born populated does not lower the number, so with km there is no end to it.
        """
        return nr_to_pop
        yield

    def may_shrink(self, chunk_type: int) -> bool:
        """Return whether the float allows to release pages and a marked chunk is left."""
        return super().may_shrink(chunk_type) and bool(self.marked)

    def shrink_chunk(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
        """Release the empty pages of a marked chunk, its mark cleared first."""
        if chunk not in self.marked:
            return chunk.nr_pages, 0, False
        self.marked.discard(chunk)
        return (yield from super().shrink_chunk(chunk))

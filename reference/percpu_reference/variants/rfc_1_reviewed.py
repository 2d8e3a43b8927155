"""rfc_1_reviewed: rfc_1 with the three requests of its review and nothing more.

1. A depopulated chunk is searched after all others with areas, and rejoins them when it serves one.
2. Whether a page is empty is read from its block's contig_hint.
3. A mark keeps frees from listing an isolated chunk.

The review gives them as ideas; the form is that of the merged code: the mark stays while a chunk is
on a list of depopulated ones, the sidelined list, which stands between the active lists and that of
free chunks. What the review does not ask for stays as posted: the float counts such chunks, no TLB
is flushed, and no chunk is left out.
"""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.variants.rfc_1 import Rfc1
from percpu_reference.variants.two_types import ENDURING, REFERENCE_ONLY


class Rfc1Reviewed(Rfc1):
    """The algorithm that the review of rfc_1 asked for."""

    __slots__ = ()

    EXPECTED: ClassVar[dict[str, str]] = {
        **ENDURING,
        "BAL-2": "a fully free chunk stays sidelined, where nothing destroys it; and as in rfc_1",
        "FLT-1": "one float for two types of chunks, isolated ones counted",
        "RCL-3": "a sidelined chunk keeps a range that reaches its last page, or is populated",
        "RCL-5": "the first chunk is not left out",
        **{c: Rfc1.EXPECTED[c] for c in ("POP-5", "RCL-1", "RCL-2", "RCL-4", "RCL-6", "TLB-1")},
    }
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {
        **REFERENCE_ONLY,
        **{clause: Rfc1.NOT_APPLICABLE[clause] for clause in ("ISO-4", "RCL-7")},
    }

    def setup_slots(self) -> None:
        """Lay out the lists, type by type: active slots, the sidelined one, the free one."""
        self.to_depopulate_slot = -1
        self.sidelined_slot = self._size_to_slot(self.unit_size) + 1
        self.free_slot = self.sidelined_slot + 1
        self.nr_slots = (self.free_slot + 1) * self.chunk_types
        self.setup_lists(self.free_slot)

    def page_is_empty(self, chunk: Chunk, page: int) -> bool:
        """Return whether a page's block is known to be free throughout."""
        return chunk.md_blocks[page].contig_hint == self.block_bits

    def take_off(self, chunk: Chunk) -> None:
        """Take a chunk off its list and mark it, so that no free lists it."""
        super().take_off(chunk)
        chunk.isolated = True

    def put_back(self, chunk: Chunk, slot: int) -> None:
        """Sideline a chunk that has given pages back."""
        super().put_back(chunk, self.sidelined_slot)

    def reintegrate_chunk(self, chunk: Chunk) -> None:
        """Bring a sidelined chunk back onto its list; the float has counted it all along."""
        if chunk.isolated:
            chunk.isolated = False
            self.chunk_relocate(chunk, -1)

    def update_empty_pages(self, chunk: Chunk, nr: int) -> None:
        """Add nr pages to a chunk's empty populated pages and to the float, isolated or not."""
        chunk.nr_empty_pop_pages += nr
        if chunk is not self.reserved_chunk:
            self.nr_empty_pop_pages += nr

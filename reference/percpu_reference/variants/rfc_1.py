"""rfc_1: patch 1/4 of the first posting of the series, exactly as posted, on 5.12-rc's allocator.

The patch adds a function that nothing calls. Two things are therefore ours: balance work calls it
for each type after destroying free chunks and before populating, and a free that leaves an empty
page in its chunk asks for the work.
"""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap, Kind, Steps
from percpu_reference.variants.two_types import ENDURING, REFERENCE_ONLY, TwoTypes

SHRINK = Gap("shrink: look at the lists", kind=Kind.WORK)


class Rfc1(TwoTypes):
    """TwoTypes with pcpu_shrink_populated."""

    __slots__ = ()

    EXPECTED: ClassVar[dict[str, str]] = {
        **ENDURING,
        "COST-1": "a chunk goes back to the lists that are searched first",
        "FLT-1": "one float for two types of chunks",
        "ISO-1": "a free lists the chunk again while its pages are being released",
        "LIST-1": "a free lists a chunk that shrinking holds",
        "LIST-3": "a chunk that became fully free goes back to where it was found",
        "LIST-4": "a chunk goes back to where it was found, whatever its computed slot",
        "POP-1": "pages that an atomic allocation used while they were released count as given up",
        "POP-2": "an atomic allocation can land in a page being released",
        "POP-5": "km: pages of chunks that are born populated are booked out",
        "RCL-1": "the float is tested once for each chunk",
        "RCL-2": "the first chunk is not left out",
        "RCL-4": "a range that reaches the last page is never released",
        "RCL-6": "the float is tested once for each chunk, not for each range",
        "TLB-1": "no flush",
    }
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {
        **REFERENCE_ONLY,
        "ISO-2": "no chunk is marked isolated and no list is for such chunks",
        "ISO-3": "no chunk is marked isolated",
        "ISO-4": "no to_depopulate list",
        "RCL-3": "neither a sidelined nor a to_depopulate list",
        "RCL-7": "neither a sidelined nor a to_depopulate list",
        "RCL-5": "no chunk is marked isolated",
    }

    def check_freed_chunk(self, chunk: Chunk) -> bool:
        """Return whether a chunk just freed into calls for balance work.

        Ours: it does with an empty page, unless it is the reserved chunk, which is on no list.
        """
        if super().check_freed_chunk(chunk):
            return True
        return chunk.nr_empty_pop_pages > 0 and chunk is not self.reserved_chunk

    def balance_type(self, chunk_type: int) -> Steps[None]:
        """Destroy free chunks of a type, shrink (ours), and populate; left without pcpu_lock."""
        yield from self.balance_free(False, chunk_type)
        yield from self.shrink_populated(chunk_type)
        yield from self.balance_populated(chunk_type)

    def shrink_populated(self, chunk_type: int) -> Steps[None]:
        """Release empty pages of every chunk of a type, from the free list down.

        The float is looked at once for each chunk, before its pages are. A list is walked from its
        head again after each chunk that gave pages back. The chunk's translations are not flushed,
        and the first chunk is not left out.
        """
        self.spin_unlock()
        yield SHRINK
        self.spin_lock()
        lists = self.nr_slots // self.chunk_types
        for slot in reversed(range(lists)):
            head = self.chunk_lists[chunk_type * lists + slot]
            chunk = head.next
            while chunk is not head:
                if not self.may_shrink(chunk_type):
                    break
                start, end, _ = yield from self.shrink_chunk(chunk)
                if start < end:
                    self.put_back(chunk, slot)
                    chunk = head
                chunk = chunk.next

    def may_shrink(self, chunk_type: int) -> bool:
        """Return whether the float allows to release pages."""
        return self.float_of(chunk_type) >= self.geometry.empty_high

    def shrink_chunk(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
        """Release a chunk's empty pages and return their span."""
        return (yield from self.depopulate_empty(chunk))

    def depopulate_empty(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
        """Release a chunk's empty populated pages from its start up, range by range.

        A range is released on the page behind it, so one that reaches the last page never is.
        Returns the span of pages released, (nr_pages, 0) if none, and False.
        """
        freed_start, freed_end = chunk.nr_pages, 0
        start = -1
        for i in range(chunk.nr_pages):
            if not chunk.nr_empty_pop_pages:
                break
            if chunk.populated[i] and self.page_is_empty(chunk, i):
                if start == -1:
                    start = i
                continue
            if start == -1:
                continue
            self.take_off(chunk)
            self.spin_unlock()
            yield Gap("shrink: release pages", chunk, start, i, Kind.RELEASE)
            self.depopulate_chunk(chunk, start, i)
            self.spin_lock()
            self.enter_released(chunk, start, i)
            freed_start, freed_end = min(freed_start, start), i
            start = -1
        return freed_start, freed_end, False

    def page_is_empty(self, chunk: Chunk, page: int) -> bool:
        """Return whether the allocation map has no bit set in a page."""
        size = self.block_bits
        return chunk.alloc_map.find(1, page * size, (page + 1) * size) < 0

    def take_off(self, chunk: Chunk) -> None:
        """Take a chunk off its list while its pages are released; a free may list it again."""
        if chunk.next is not chunk:
            self.list_del(chunk)
        if chunk not in self.owned:
            self.owned.append(chunk)

    def put_back(self, chunk: Chunk, slot: int) -> None:
        """List a chunk that is on no list at the tail of the slot in which it was found.

        Its computed slot may have changed meanwhile.
        """
        self.owned.remove(chunk)
        if chunk.next is chunk:
            self._chunk_move(chunk, slot, False)

"""Allocators with one bug each, for the checks that must report it."""

from __future__ import annotations

from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants.linux_6_12 import Linux612


class Unflagged(Linux612):
    """Isolation moves the chunk and takes its pages out of the float, and sets no flag."""

    __slots__ = ()

    def isolate_chunk(self, chunk: Chunk) -> None:
        super().isolate_chunk(chunk)
        chunk.isolated = False


class KeptFloat(Linux612):
    """Isolation leaves the float as it was."""

    __slots__ = ()

    def isolate_chunk(self, chunk: Chunk) -> None:
        before = self.nr_empty_pop_pages
        super().isolate_chunk(chunk)
        self.nr_empty_pop_pages = before


class EarlySideline(Linux612):
    """A chunk is sidelined while its pages are being released."""

    __slots__ = ()

    def depopulate_empty(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
        for gap in super().depopulate_empty(chunk):
            self._chunk_move(chunk, self.sidelined_slot, False)
            yield gap
        return chunk.nr_pages, 0, False


class Impatient(Linux612):
    """The balance work releases the mutex before it populates."""

    __slots__ = ()

    def balance_populated(self, chunk_type: int = 0) -> Steps[None]:
        self.alloc_mutex = False
        yield from super().balance_populated(chunk_type)


class Doubled(Linux612):
    """A populated hole counts twice."""

    __slots__ = ()

    def chunk_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        super().chunk_populated(chunk, page_start, page_end)
        self.update_empty_pages(chunk, page_end - page_start)

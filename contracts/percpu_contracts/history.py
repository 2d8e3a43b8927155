"""History that some clauses speak of and that no state of the allocator holds (ghost state)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from percpu_contracts.clauses.cost import SearchVisit
from percpu_spec.steps import Deed, DeedRange
from percpu_spec.views import ChunkView


class History:
    """What happened so far, as far as COST-1, TLB-1 and POP-1 ask."""

    def __init__(self) -> None:
        # released since the chunk last served an allocation or was reintegrated (COST-1)
        self.depopulated: set[ChunkView] = set()
        # pages unmapped whose translations some CPU may still hold (TLB-1)
        self.given_back: set[tuple[ChunkView, int]] = set()  # pages ever unmapped (TLB-1)
        self.pop_only: bool | None = None  # how the request under way was searched for (API-3)
        self.stale: set[tuple[ChunkView, int]] = set()
        # chunks with an area not populated yet, by how many allocations (POP-1)
        self.unsettled: Counter[ChunkView] = Counter()
        # areas zeroed and not handed out yet: (cpu, byte offset, bytes) for each unit (API-6)
        self.cleared: dict[tuple[ChunkView, int], list[tuple[int, int, int]]] = {}
        self.runs = 0  # of the balance work, since anything else ran (BAL-3)
        self.creations = 0  # of chunks by the run under way (BAL-3)
        self.examined: list[SearchVisit] = []  # by the search under way
        self.concurrent = False  # more than one actor runs
        self.did: list[DeedRange] = []  # by the step under way

    def copy(self, copies: Mapping[Any, ChunkView] | None = None) -> History:
        """Return an independent history, of the copies of its chunks if there are any.

        Chunks that have no copy are gone. Only for states in which nothing runs.
        """
        new = History()
        if copies is None:
            new.depopulated = self.depopulated.copy()
            new.given_back = self.given_back.copy()
            new.stale = self.stale.copy()
        else:
            new.depopulated = {copies[chunk] for chunk in self.depopulated if chunk in copies}
            new.given_back = {(copies[c], page) for c, page in self.given_back if c in copies}
            new.stale = {(copies[c], page) for c, page in self.stale if c in copies}
        new.runs = self.runs
        new.concurrent = self.concurrent
        return new

    def tell(self, deed: Deed, chunk: ChunkView, start: int = 0, end: int = 0) -> None:
        """The step under way has done something to a chunk."""
        self.did.append(DeedRange(deed, chunk, start, end))

    def released(self, chunk: ChunkView, pages: Iterable[int]) -> None:
        """Pages of a chunk were unmapped and given back."""
        self.depopulated.add(chunk)
        self.stale.update((chunk, page) for page in pages)
        self.given_back.update((chunk, page) for page in pages)

    def flushed(self, chunk: ChunkView, pages: Iterable[int]) -> None:
        """The translations of these addresses were flushed on every CPU."""
        self.stale.difference_update((chunk, page) for page in pages)

    def destroyed(self, chunk: ChunkView) -> None:
        """The chunk's addresses went back; they are not handed out before a purge."""
        self.depopulated.discard(chunk)
        self.stale = {entry for entry in self.stale if entry[0] is not chunk}
        self.given_back = {entry for entry in self.given_back if entry[0] is not chunk}

    def back_in_use(self, chunk: ChunkView) -> None:
        """The chunk served an allocation or was reintegrated."""
        self.depopulated.discard(chunk)

    def examine(self, chunk: ChunkView, fully_free: bool) -> None:
        """A search looked at the chunk."""
        self.examined.append(SearchVisit(chunk in self.depopulated, fully_free))

    def begin_area(self, chunk: ChunkView) -> None:
        """An allocation took an area and has yet to populate it."""
        self.unsettled[chunk] += 1

    def end_area(self, chunk: ChunkView) -> None:
        """That allocation is done with populating."""
        self.unsettled[chunk] -= 1
        if not self.unsettled[chunk]:
            del self.unsettled[chunk]

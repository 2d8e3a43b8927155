"""Contracts of the balance work and its parts. Each may find other actors' changes in its gaps."""

from __future__ import annotations

from typing import Any, NamedTuple

from percpu_contracts.clauses import balance, reclaim
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_contracts.functions.operations import refusable
from percpu_contracts.functions.slots import float_now
from percpu_spec.counts import counted
from percpu_spec.definitions import chunks_of_type, lists_of_slot, live_chunks, size_to_slot


def float_and_pages(self: ModelView, chunk: LinkedChunk) -> tuple[int, int]:
    """Return the float at entry, and the chunk's empty pages if it is isolated: they may rejoin."""
    return float_now(self, chunk), chunk.nr_empty_pop_pages if chunk.isolated else 0


def raises_float(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """Pages that the balance work populates raise the float (BAL-1)."""
    before, own = OLD.floating
    if not chunk.isolated:
        before += own
    return balance.population_raises_float(before, float_now(self, chunk), page_end - page_start)


def release_keeps_float(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """Pages that reclaim releases leave the float at HIGH (RCL-1)."""
    return reclaim.float_stays_high(OLD.floating, float_now(self, chunk), self.geometry)


def leaves_one_free(self: ModelView, empty_only: bool, chunk_type: int) -> str | None:
    """With nothing else running, at most one chunk is left on the free list (BAL-2)."""
    if empty_only or self.monitor.history.concurrent:
        return NOT_ASKED
    number = lists_of_slot(self, self.free_slot)[chunk_type]
    free = sum(1 for _ in self.slot_chunks(number))
    return None if free <= 1 else f"{counted(free, 'chunk')} left on the free list"


def drains_list(self: ModelView) -> str | None:
    """to_depopulate is empty when reclaim returns (RCL-3)."""
    numbers = lists_of_slot(self, self.to_depopulate_slot)
    waiting = sum(1 for number in numbers for _ in self.slot_chunks(number))
    return f"{counted(waiting, 'chunk')} left on to_depopulate" if waiting else None


def drains_chunk(self: ModelView, chunk: LinkedChunk) -> str | None:
    """With nothing else running, no empty populated page is left, float allowing (RCL-4)."""
    if self.monitor.history.concurrent:
        return NOT_ASKED
    return reclaim.chunk_is_drained(self, chunk)


def drains(self: ModelView) -> str | None:
    """With nothing else running, the work soon asks for no more of itself (BAL-3)."""
    history = self.monitor.history
    if history.concurrent:
        return NOT_ASKED
    history.creations = 0
    history.runs += 1
    if not self.work_pending:
        return None
    return balance.work_drains(history.runs + 1, len(live_chunks(self)))


def creates_few(self: ModelView, result: bool) -> str | None:
    """With nothing else running, the work does not create one chunk after the other (BAL-3)."""
    history = self.monitor.history
    if history.concurrent or not result:
        return NOT_ASKED
    history.creations += 1
    return balance.creations_end(history.creations, self.chunk_types, self.geometry)


def tops_up(self: ModelView, OLD: Any) -> str | None:
    """With nothing else running and nothing refused, HIGH empty pages are there (BAL-7)."""
    if not self.monitor.alone or OLD.refusable:
        return NOT_ASKED
    found = min(_available(self, kind) for kind in range(self.chunk_types))
    return balance.float_is_topped_up(found, self.geometry)


def _available(self: ModelView, chunk_type: int) -> int:
    """Return the float and the empty pages of isolated chunks, which BAL-1 misses in the float."""
    apart = [c.nr_empty_pop_pages for c in chunks_of_type(self, chunk_type) if c.isolated]
    return self.float_of(chunk_type) + sum(apart)


class PopulationTarget(NamedTuple):
    """What population by the balance work finds."""

    floating: int
    available: int  # the float, and empty pages of isolated chunks
    marked: bool  # a failed atomic allocation has left its mark
    holes: bool  # a chunk that it looks at before sidelined and free ones has an unpopulated page
    refusable: bool


def wanted_before(self: ModelView, chunk_type: int) -> PopulationTarget:
    """Return what population of a type finds."""
    least = size_to_slot(self.geometry, self.geometry.page, self.free_slot)
    holes = any(
        chunk.nr_populated < chunk.nr_pages and not chunk.isolated
        for slot in range(least, self.free_slot)
        for chunk in self.slot_chunks(lists_of_slot(self, slot)[chunk_type])
    )
    return PopulationTarget(
        self.float_of(chunk_type),
        _available(self, chunk_type),
        self.atomic_alloc_failed,
        holes,
        refusable(self),
    )


def rises_as_wanted(self: ModelView, chunk_type: int, OLD: Any) -> str | None:
    """Population lifts the float no further than wanted (BAL-7); a chunk of km comes whole."""
    if not self.monitor.alone or self.geometry.backing != "vm":
        return NOT_ASKED
    wanted: PopulationTarget = OLD.wanted
    return balance.float_rises_as_wanted(
        wanted.floating, self.float_of(chunk_type), wanted.marked, self.geometry
    )


def answers_mark(self: ModelView, chunk_type: int, OLD: Any) -> str | None:
    """The mark of a failed atomic request is taken back, and pages are populated (BAL-5)."""
    wanted: PopulationTarget = OLD.wanted
    if not self.monitor.alone or not wanted.marked or wanted.refusable:
        return NOT_ASKED
    after, marked = _available(self, chunk_type), self.atomic_alloc_failed
    return balance.mark_is_answered(wanted.available, after, wanted.holes, marked)


def holds_locks(self: ModelView) -> str | None:
    """The parts of the balance work run under both locks (LOCK-1)."""
    if self.lock and self.alloc_mutex:
        return None
    return "a part of the balance work without both locks"


def owns_nothing(self: ModelView) -> str | None:
    """No chunk is left in nobody's hands (LIST-1)."""
    if self.monitor.history.concurrent:
        return NOT_ASKED
    left = sum(1 for _ in self.owned_chunks())
    return f"{counted(left, 'chunk')} still owned after the balance work" if left else None

"""Contracts of the balance work and its parts. Each may find other actors' changes in its gaps."""

from __future__ import annotations

from typing import Any

from percpu_contracts import balance, reclaim
from percpu_contracts.model import LinkedChunk, Model
from percpu_spec.definitions import live_chunks


def float_with(self: Model, chunk: LinkedChunk) -> int:
    """Return the float at entry with the chunk's own empty pages, which may rejoin it."""
    return self.nr_empty_pop_pages + (chunk.nr_empty_pop_pages if chunk.isolated else 0)


def raises_float(
    self: Model, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """Pages that the balance work populates raise the float (BAL-1)."""
    pages = page_end - page_start
    return balance.population_raises_float(OLD.floating, self.nr_empty_pop_pages, pages)


def leaves_one_free(self: Model, empty_only: bool) -> str | None:
    """With nothing else running, at most one chunk is left on the free list (BAL-2)."""
    if empty_only or self.monitor.history.concurrent:
        return None
    free = sum(1 for _ in self.slot_chunks(self.free_slot))
    return None if free <= 1 else f"{free} chunks are left on the free list"


def drains_list(self: Model) -> str | None:
    """to_depopulate is empty when reclaim returns (RCL-3)."""
    waiting = sum(1 for _ in self.slot_chunks(self.to_depopulate_slot))
    return f"{waiting} chunks are left on to_depopulate" if waiting else None


def drains_chunk(self: Model, chunk: LinkedChunk) -> str | None:
    """With nothing else running, no empty populated page is left, float allowing (RCL-4)."""
    if self.monitor.history.concurrent:
        return None
    return reclaim.chunk_is_drained(self, chunk)


def drains(self: Model) -> str | None:
    """With nothing else running, the work soon asks for no more of itself (BAL-3)."""
    history = self.monitor.history
    if history.concurrent:
        return None
    history.runs += 1
    if not self.work_pending:
        return None
    return balance.work_drains(history.runs + 1, len(live_chunks(self)))


def holds_locks(self: Model) -> str | None:
    """The parts of the balance work run under both locks (LOCK-1)."""
    if self.lock and self.alloc_mutex:
        return None
    return "a part of the balance work without both locks"


def owns_nothing(self: Model) -> str | None:
    """No chunk is left in nobody's hands (LIST-1)."""
    if self.monitor.history.concurrent:
        return None
    left = sum(1 for _ in self.owned_chunks())
    return f"{left} chunks are still owned after the balance work" if left else None

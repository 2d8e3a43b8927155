"""Contracts of slot arithmetic, list moves, isolation and the empty page counters."""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import lists, locks, reclaim
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_spec.counts import counted
from percpu_spec.definitions import chunk_slot, list_number, size_to_slot


def locked(self: ModelView) -> str | None:
    """Index data change under pcpu_lock (LOCK-1)."""
    return locks.lock_is_held(self.lock)


def place(chunk: LinkedChunk) -> tuple[object, ...]:
    """Return which neighbours a chunk has, by slot or id, to tell whether it moved."""
    return _name(chunk.prev), _name(chunk.next)


def _name(link: Any) -> object:
    return ("chunk", link.id) if hasattr(link, "id") else ("list", link.slot)


def was_isolated(chunk: LinkedChunk) -> bool:
    """Return the flag at entry."""
    return chunk.isolated


def float_before(self: ModelView, chunk: LinkedChunk) -> int:
    """Return the float at entry that the chunk's pages are part of, in pages."""
    return self.float_of(self.chunk_type(chunk))


float_now = float_before


def empties_before(chunk: LinkedChunk) -> int:
    """Return the chunk's empty populated pages at entry."""
    return chunk.nr_empty_pop_pages


def is_slot_of_size(self: ModelView, size: int, result: int) -> str | None:
    """The slot of a size is the defined one (SLOT-1)."""
    wanted = size_to_slot(self.geometry, size, self.free_slot)
    return None if result == wanted else f"slot {result} for {size} bytes, expected {wanted}"


def slot_is_computed(self: ModelView, chunk: LinkedChunk) -> str | None:
    """The computed slot, by which the chunk was placed, is the defined one (SLOT-1)."""
    return lists.computed_slot_is(chunk, self.chunk_slot(chunk), self.geometry, self.free_slot)


def is_at_head(self: ModelView, chunk: LinkedChunk, slot: int) -> str | None:
    """A moved chunk heads its list; the reserved chunk is on none (LIST-1)."""
    head = self.chunk_lists[list_number(self, chunk, slot)]
    if chunk is self.reserved_chunk:
        return None if chunk.next is chunk else "the reserved chunk was put on a list"
    if head.next is chunk and chunk.prev is head:
        return None
    return f"a moved chunk is not at the head of list {slot}"


def is_relocated(self: ModelView, chunk: LinkedChunk, oslot: int, OLD: Any) -> str | None:
    """A chunk whose computed slot is no longer oslot is at its list's head if that is a higher
    slot, else at its tail; any other, and an isolated one, stays (LIST-4).
    """
    nslot = chunk_slot(chunk, self.geometry, self.free_slot)
    if chunk.isolated or nslot == oslot or chunk is self.reserved_chunk:
        return None if place(chunk) == OLD.place else "a chunk that was to stay was moved"
    head = self.chunk_lists[list_number(self, chunk, nslot)]
    at_end = head.next if oslot < nslot else head.prev
    if at_end is chunk:
        return None
    return f"chunk not at the {'head' if oslot < nslot else 'tail'} of list {nslot}"


def may_be_isolated(self: ModelView, chunk: LinkedChunk) -> str | None:
    """The first and the reserved chunk are never isolated (RCL-5)."""
    if chunk is self.first_chunk or chunk is self.reserved_chunk:
        return "the first or the reserved chunk is being isolated"
    return None


def is_set_apart(self: ModelView, chunk: LinkedChunk) -> str | None:
    """An isolated chunk heads to_depopulate (ISO-2)."""
    if not chunk.isolated:
        return "isolation did not mark the chunk"
    return is_at_head(self, chunk, self.to_depopulate_slot)


def leaves_float(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """Isolation takes the chunk's empty pages out of the float, once (FLT-1)."""
    lost = 0 if OLD.isolated else chunk.nr_empty_pop_pages
    wanted = OLD.floating - lost
    found = float_now(self, chunk)
    if found == wanted:
        return None
    return f"float {found} after isolation, expected {counted(wanted, 'page')}"


def keeps_float_high(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """Isolation does not take the float below HIGH (RCL-1)."""
    return reclaim.float_stays_high(OLD.floating, float_now(self, chunk), self.geometry)


def rejoins_float(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """Reintegration brings the chunk's empty pages back into the float, once (FLT-1)."""
    if chunk.isolated:
        return "reintegration left the chunk isolated"
    wanted = OLD.floating + (chunk.nr_empty_pop_pages if OLD.isolated else 0)
    found = float_now(self, chunk)
    return None if found == wanted else f"float {found}, expected {counted(wanted, 'page')}"


def is_back(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """A reintegrated chunk heads the list of its computed slot (LIST-4)."""
    if not OLD.isolated:
        return None if place(chunk) == OLD.place else "a chunk that was to stay was moved"
    return is_at_head(self, chunk, chunk_slot(chunk, self.geometry, self.free_slot))


def note_back(self: ModelView, chunk: LinkedChunk, OLD: Any) -> None:
    """A reintegrated chunk counts as an ordinary one again (COST-1)."""
    if OLD.isolated:
        self.monitor.history.back_in_use(chunk)


def counts_empties(self: ModelView, chunk: LinkedChunk, nr: int, OLD: Any) -> str | None:
    """The chunk's counter moves by nr pages, the float too if the chunk counts (FLT-1)."""
    counts = chunk is not self.reserved_chunk and not chunk.isolated
    if chunk.nr_empty_pop_pages != OLD.empties + nr:
        return f"nr_empty_pop_pages {chunk.nr_empty_pop_pages}, expected {OLD.empties + nr}"
    wanted = OLD.floating + (nr if counts else 0)
    found = float_now(self, chunk)
    return None if found == wanted else f"float {found}, expected {counted(wanted, 'page')}"

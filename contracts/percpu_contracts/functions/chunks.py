"""Contracts of a chunk's life: set-up, population book-keeping, backing."""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import hints, isolation, locks, maps, population, reclaim, tlb
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_contracts.functions.slots import float_now
from percpu_spec.counts import counted
from percpu_spec.definitions import is_fully_free
from percpu_spec.steps import Deed


def may_sleep(self: ModelView) -> str | None:
    """Backing changes under pcpu_alloc_mutex, pcpu_lock released (LOCK-2)."""
    return locks.may_sleep(self.alloc_mutex, self.lock)


def has_shape(self: ModelView, result: LinkedChunk | None) -> str | None:
    """Maps and blocks of a new chunk have the sizes its pages ask for (MAP-5).

    One created after boot is a whole unit and, where there is one type of chunks, has an object
    vector exactly if areas are charged.
    """
    if result is None:
        return None
    geometry = self.geometry
    if not result.immutable:
        if result.nr_pages != geometry.unit_pages:
            return (
                f"a new chunk has {counted(result.nr_pages, 'page')}, a unit "
                f"{geometry.unit_pages}"
            )
        if self.chunk_types == 1 and geometry.memcg != (result.obj_exts is not None):
            return f"a new chunk is {'without an' if geometry.memcg else 'with an'} object vector"
    return maps.shape_fits(result, geometry)


def is_blank(self: ModelView, result: LinkedChunk | None) -> str | None:
    """A new chunk is free throughout, and its hints say just that (HINT-1)."""
    if result is None:
        return None
    if result.alloc_map.find(1) >= 0:
        return "a new chunk has used bits"
    return hints.hints_are_longest(result, self.geometry)


def is_whole(self: ModelView, result: LinkedChunk) -> str | None:
    """A part of the first chunk is immutable and populated (RCL-2)."""
    if not result.immutable:
        return "a part of the first chunk is not immutable"
    return reclaim.immutable_is_whole(result, self.geometry)


def nr_populated_before(self: ModelView) -> int:
    """Return the allocator's populated pages per unit at entry."""
    return self.nr_populated


def is_mutable(self: ModelView, chunk: LinkedChunk) -> str | None:
    """Immutable chunks are neither populated nor depopulated (RCL-2)."""
    return "an immutable chunk changes its pages" if chunk.immutable else None


def were_unpopulated(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int
) -> str | None:
    """Pages being populated were not (POP-3)."""
    page = chunk.populated.find(1, page_start, page_end)
    return None if page < 0 else f"page {page} is populated twice"


def were_populated(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int
) -> str | None:
    """Pages being released were populated (POP-3)."""
    page = chunk.populated.find(0, page_start, page_end)
    return None if page < 0 else f"page {page} is released but not populated"


def are_unused(self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int) -> str | None:
    """Pages being released hold no allocated bit (POP-2)."""
    size = self.geometry.block_bits
    bit = chunk.alloc_map.find(1, page_start * size, page_end * size)
    return None if bit < 0 else f"page {bit // size} is released with allocated bit {bit}"


def are_populated(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """The pages are counted as populated, in the chunk and in all (POP-3)."""
    if chunk.populated.find(0, page_start, page_end) >= 0:
        return "a page just populated is not marked"
    return _counts_populated(self, chunk, OLD.nr_populated + page_end - page_start)


def are_unpopulated(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """The pages are no longer counted as populated (POP-3)."""
    if chunk.populated.find(1, page_start, page_end) >= 0:
        return "a page just released is marked populated"
    return _counts_populated(self, chunk, OLD.nr_populated - (page_end - page_start))


def _counts_populated(self: ModelView, chunk: LinkedChunk, wanted: int) -> str | None:
    if self.nr_populated != wanted:
        return f"allocator nr_populated {self.nr_populated}, expected {wanted}"
    return population.populated_pages_are_counted(chunk, self.geometry)


def moves_empties(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """nr_empty_pop_pages moves by the number of pages (POP-1)."""
    nr = abs(chunk.nr_empty_pop_pages - OLD.empties)
    if nr == page_end - page_start:
        return None
    return f"nr_empty_pop_pages moved by {nr} for {counted(page_end - page_start, 'page')}"


def release_keeps_float(self: ModelView, chunk: LinkedChunk, OLD: Any) -> str | None:
    """Releasing pages, but for a free chunk's destruction, keeps the float at HIGH (RCL-1).

    A fully free chunk that a step has taken off its list counts as about to be destroyed.
    """
    if is_fully_free(chunk, self.geometry) and any(o is chunk for o in self.owned_chunks()):
        return NOT_ASKED
    return reclaim.float_stays_high(OLD.floating, float_now(self, chunk), self.geometry)


def live_pages_before(self: ModelView) -> int:
    """Return the backing pages held at entry, all units."""
    return self.env.live_pages


def _copies(self: ModelView) -> int:
    """Return how many backing pages come and go with a page of a chunk; km's do with the chunk."""
    return self.geometry.cpus if self.geometry.backing == "vm" else 0


def holds_pages(self: ModelView, wanted: int) -> str | None:
    """So many backing pages are held, of all units."""
    found = self.env.live_pages
    return None if found == wanted else f"{found} backing pages held, expected {wanted}"


def all_or_nothing(
    self: ModelView, page_start: int, page_end: int, result: bool, OLD: Any
) -> str | None:
    """A population backs every page of every unit, or none (POP-4)."""
    nr = (page_end - page_start) * _copies(self) if result else 0
    return holds_pages(self, OLD.live_pages + nr)


def mapping_before(self: Any) -> tuple[int, int, int]:
    """Return what tells that a mapping fails, and how often translations were flushed so far."""
    fault = self.env.map_fault
    return fault.next, fault.kth, self.env.tlb_flushes


def flushes_failed_map(self: Any, result: bool, OLD: Any) -> str | None:
    """What was mapped before a unit could not be is flushed before its pages go back (TLB-2)."""
    *fault, flushes = mapping_before(self)
    if result or fault == list(OLD.mapping[:2]):
        return NOT_ASKED
    return tlb.failed_map_is_flushed(flushes > OLD.mapping[2])


def gives_pages_back(
    self: ModelView, page_start: int, page_end: int, OLD: Any
) -> str | None:
    """A release gives back every page of every unit (POP-4)."""
    return holds_pages(self, OLD.live_pages - (page_end - page_start) * _copies(self))


def is_hidden(self: ModelView, chunk: LinkedChunk) -> str | None:
    """No allocation can find a chunk while its pages are being released (ISO-1)."""
    return isolation.released_is_hidden(self, chunk)


def flushed_is_hidden(
    self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int
) -> str | None:
    """Nor before the translations of pages that it has lost are flushed (ISO-1)."""
    stale = self.monitor.history.stale
    if not any((chunk, page) in stale for page in range(page_start, page_end)):
        return NOT_ASKED  # they come from a mapping that failed
    if "TLB-1" in self.monitor.expected:
        return NOT_ASKED  # nor can it be told where nothing else is flushed: pages stay stale
    return isolation.released_is_hidden(self, chunk)


def note_populated(self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int) -> None:
    """These pages were counted as populated."""
    self.monitor.history.tell(Deed.POPULATED, chunk, page_start, page_end)


def note_released(self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int) -> None:
    """These pages were unmapped (COST-1, TLB-1); those of km stay mapped as long as their chunk."""
    pages = range(page_start, page_end) if self.geometry.backing == "vm" else ()
    self.monitor.history.released(chunk, pages)
    self.monitor.history.tell(Deed.RELEASED, chunk, page_start, page_end)


def note_flushed(self: ModelView, chunk: LinkedChunk, page_start: int, page_end: int) -> None:
    """The translations of these pages were flushed (TLB-1)."""
    history, pages = self.monitor.history, range(page_start, page_end)
    if any((chunk, page) in history.stale for page in pages):
        history.tell(Deed.FLUSHED, chunk, page_start, page_end)
    history.flushed(chunk, pages)


def note_destroyed(self: ModelView, chunk: LinkedChunk) -> None:
    """The chunk is gone."""
    self.monitor.history.destroyed(chunk)
    self.monitor.history.tell(Deed.DESTROYED, chunk)


def is_owned(self: ModelView, result: LinkedChunk | None) -> str | None:
    """A new chunk is on no list yet, owned by its creator (LIST-1)."""
    if result is None:
        return None
    if result.next is result and sum(c is result for c in self.owned_chunks()) == 1:
        return None
    return "a new chunk is on a list, or not owned by the step that made it"


def is_destructible(self: ModelView, chunk: LinkedChunk) -> str | None:
    """A chunk destroyed is fully free, not immutable and on no list (LIST-1)."""
    if chunk.immutable or not is_fully_free(chunk, self.geometry):
        return "a chunk is destroyed that is immutable or holds areas"
    return None if chunk.next is chunk else "a chunk is destroyed while on a list"


def is_drained(self: ModelView, chunk: LinkedChunk) -> str | None:
    """A chunk destroyed has no populated page left, km's own pages apart (POP-3)."""
    return "a chunk is destroyed with populated pages" if chunk.populated.find(1) >= 0 else None


def spares_special(self: ModelView, chunk: LinkedChunk, result: bool) -> str | None:
    """Neither the first nor the reserved chunk qualifies for reclaim (RCL-5)."""
    if result and (chunk is self.first_chunk or chunk is self.reserved_chunk or chunk.immutable):
        return "the first or the reserved chunk qualifies for reclaim"
    return None


def spares_float(self: ModelView, chunk: LinkedChunk, result: bool) -> str | None:
    """A chunk qualifies only if the float stays at HIGH without it (RCL-1)."""
    if not result or chunk.isolated:
        return NOT_ASKED
    rest = float_now(self, chunk) - chunk.nr_empty_pop_pages
    if rest >= self.geometry.empty_high:
        return None
    return f"chunk qualifies for reclaim; the float without it is {counted(rest, 'page')}"

"""Chunks taken out of circulation. Kernel: pcpu_isolate_chunk, pcpu_reintegrate_chunk."""

from __future__ import annotations

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.definitions import listed_chunks, slots_per_type
from percpu_spec.steps import Deed, Kind, Step
from percpu_spec.views import AllocatorView, ChunkView

LOSING = (Kind.RELEASE, Kind.FLUSH)
"""Kinds of gaps in which a chunk that lives on is losing pages."""


@states("ISO-1")
def released_is_hidden(allocator: AllocatorView, chunk: ChunkView) -> str | None:
    """A chunk whose pages are being released is on to_depopulate or on no list."""
    slots, hidden = slots_per_type(allocator), allocator.to_depopulate_slot
    for number, listed in listed_chunks(allocator):
        if listed is chunk and number % slots != hidden:
            return f"a chunk whose pages are being released is on list {number}"
    return None


@states("ISO-2", Scope.ALLOCATOR, When.ISOLATED)
def isolated_are_apart(allocator: AllocatorView) -> str | None:
    """A listed chunk is isolated exactly when it is on to_depopulate or sidelined."""
    slots = slots_per_type(allocator)
    apart = (allocator.sidelined_slot, allocator.to_depopulate_slot)
    for number, chunk in listed_chunks(allocator):
        if chunk.isolated != (number % slots in apart):
            return f"a chunk on list {number} is {'' if chunk.isolated else 'not '}isolated"
    return None


@states("ISO-1", Scope.STEP, When.STEP)
def released_are_hidden(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """No list that is searched holds a chunk between the choice of its pages and their flush.

    Where a gap does not tell, what is done on leaving it tells.
    """
    kinds = (*LOSING, Kind.DRAIN)
    losing = [stand.chunk for stand in step.standing if stand.kind in kinds and stand.chunk]
    for chunk in losing:
        wrong = released_is_hidden(allocator, chunk)
        if wrong is not None:
            return wrong
    ended = step.deeds(Deed.RELEASED) or step.deeds(Deed.FLUSHED)
    if step.exposed is not None and ended:
        return step.exposed
    return None if losing or ended else NOT_ASKED


@states("ISO-3", Scope.STEP, When.STEP)
def served_is_back(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """A chunk in which an allocation has taken an area is not isolated any more."""
    placed = step.deeds(Deed.PLACED)
    if step.kind != "a" or not placed:
        return NOT_ASKED
    isolated = any(done.chunk.isolated for done in placed)
    return "an allocation leaves the chunk that serves it isolated" if isolated else None


@states("ISO-4", Scope.STEP, When.STEP)
def none_is_served_from_to_depopulate(
    step: Step, allocator: AllocatorView, history: History
) -> str | None:
    """No allocation takes an area in a chunk that is on to_depopulate."""
    placed = step.deeds(Deed.PLACED)
    if step.kind != "a" or not placed or allocator.to_depopulate_slot < 0:
        return NOT_ASKED
    slots = slots_per_type(allocator)
    for done in placed:
        number = step.places.get(done.chunk)
        if number is not None and number % slots == allocator.to_depopulate_slot:
            return "an allocation is served from a chunk on to_depopulate"
    return None

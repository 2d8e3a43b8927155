"""Partial depopulation. Kernel: pcpu_reclaim_populated, pcpu_should_reclaim_chunk."""

from __future__ import annotations

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    dynamic_chunks,
    empty_page_float,
    empty_populated_pages,
    is_fully_free,
    listed_chunks,
    lists_of_slot,
    slots_per_type,
)
from percpu_spec.geometry import Geometry
from percpu_spec.steps import Deed, Kind, Step
from percpu_spec.views import AllocatorView, ChunkView

_FLUSHING = (Kind.FLUSH, Kind.PAUSE)
"""Kinds of gaps behind which reclaim may do what it has decided before them."""


@states("RCL-1")
def float_stays_high(before: int, after: int, geometry: Geometry) -> str | None:
    """One isolation or reclaim step leaves the float, in pages, at HIGH or as it was."""
    if after >= min(before, geometry.empty_high):
        return None
    return f"float fell from {before} to {counted(after, 'page')}, below {geometry.empty_high}"


@states("RCL-2", Scope.CHUNK, When.ALWAYS)
def immutable_is_whole(chunk: ChunkView, geometry: Geometry) -> str | None:
    """An immutable chunk has every page populated."""
    page = chunk.populated.find(0, 0, chunk.nr_pages) if chunk.immutable else -1
    return None if page < 0 else f"immutable chunk lacks page {page}"


@states("RCL-2", Scope.ALLOCATOR, When.ALWAYS)
def boot_is_immutable(allocator: AllocatorView) -> str | None:
    """The chunks of boot are immutable, and no others."""
    for name, chunk in (("first", allocator.first_chunk), ("reserved", allocator.reserved_chunk)):
        if chunk is not None and not chunk.immutable:
            return f"the {name} chunk is not immutable"
    if any(chunk.immutable for chunk in dynamic_chunks(allocator)):
        return "a chunk created since boot is immutable"
    return None


@states("RCL-3", Scope.ALLOCATOR, When.QUIESCENT)
def reclaim_is_done(allocator: AllocatorView) -> str | None:
    """Quiescent: to_depopulate is empty, no sidelined chunk has an empty populated page."""
    for number in lists_of_slot(allocator, allocator.to_depopulate_slot):
        waiting = sum(1 for _ in allocator.slot_chunks(number))
        if waiting:
            return f"{counted(waiting, 'chunk')} left on to_depopulate and no work is pending"
    for number in lists_of_slot(allocator, allocator.sidelined_slot):
        for chunk in allocator.slot_chunks(number):
            pages = empty_populated_pages(chunk, allocator.geometry)
            if pages:
                return f"a sidelined chunk keeps {counted(pages, 'empty populated page')}"
    return None


@states("RCL-4")
def chunk_is_drained(allocator: AllocatorView, chunk: ChunkView) -> str | None:
    """A chunk just reclaimed alone has no empty page left, or the rest is below HIGH.

    The rest is the empty pages of the other chunks of its type.
    """
    pages = empty_populated_pages(chunk, allocator.geometry)
    rest = empty_page_float(allocator, allocator.chunk_type(chunk))
    rest -= 0 if chunk.isolated else pages
    if not pages or rest < allocator.geometry.empty_high:
        return None
    return (
        f"{counted(pages, 'empty populated page')} left after reclaim; the float without them "
        f"is {rest}"
    )


@states("RCL-5", Scope.ALLOCATOR, When.ISOLATED)
def special_stay_active(allocator: AllocatorView) -> str | None:
    """Neither the first nor the reserved chunk is isolated."""
    if allocator.first_chunk.isolated:
        return "the first chunk is isolated"
    reserved = allocator.reserved_chunk
    if reserved is not None and reserved.isolated:
        return "the reserved chunk is isolated"
    return None


@states("RCL-1", Scope.STEP, When.STEP)
def steps_keep_float(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """A free, and a release of pages of a chunk that lives on, leave the float at HIGH."""
    kinds = {
        allocator.chunk_type(done.chunk)
        for done in step.deeds(Deed.RELEASED)
        if not _is_destroyed(step, done.chunk, allocator.geometry)
    }
    if step.kind == "f" and step.left is None:
        kinds.update(k for k, was in enumerate(step.floats) if allocator.float_of(k) < was)
    for kind in kinds:
        after = allocator.float_of(kind)
        wrong = float_stays_high(step.floats[kind], after, allocator.geometry)
        if wrong is not None:
            return wrong
    return None if kinds else NOT_ASKED


def _is_destroyed(step: Step, chunk: ChunkView, geometry: Geometry) -> bool:
    """Whether pages went because their chunk goes; where the gap does not tell, by its state."""
    if step.left is not None and step.left.kind is not Kind.PAUSE:
        return step.left.kind is Kind.DRAIN
    return chunk not in step.places and is_fully_free(chunk, geometry)


@states("RCL-2", Scope.STEP, When.STEP)
def immutable_is_spared(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """No page of an immutable chunk is released."""
    released = step.deeds(Deed.RELEASED)
    for done in released:
        if done.chunk.immutable:
            return f"pages {done.start}..{done.end} of an immutable chunk were released"
    return None if released else NOT_ASKED


@states("RCL-6", Scope.STEP, When.STEP)
def release_is_affordable(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """Reclaim goes to release pages only while the float is at HIGH or above."""
    stand = step.stand
    if stand is None or stand.kind is not Kind.RELEASE or stand.chunk is None:
        return NOT_ASKED
    found = allocator.float_of(allocator.chunk_type(stand.chunk))
    high = allocator.geometry.empty_high
    if found >= high:
        return None
    return (
        f"pages {stand.start}..{stand.end} go; the float is {counted(found, 'page')}, below "
        f"{high}"
    )


@states("RCL-7", Scope.STEP, When.STEP)
def drained_is_sidelined(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """A chunk that reclaim lists again is fully free, or the float was below HIGH.

    With others at work it is asked only where reclaim decides so and does it in one step.
    """
    slots, hidden = slots_per_type(allocator), allocator.to_depopulate_slot
    waited = [c for c, number in step.places.items() if number % slots == hidden]
    if step.kind != "b" or not waited or hidden < 0:
        return NOT_ASKED
    if history.concurrent and step.left is not None and step.left.kind in _FLUSHING:
        return NOT_ASKED
    owned = list(allocator.owned_chunks())
    ended = [c for c in waited if not c.isolated and c not in owned]
    for chunk in ended:
        before = step.floats[allocator.chunk_type(chunk)]
        if before >= allocator.geometry.empty_high and not is_fully_free(chunk, allocator.geometry):
            return (
                "reclaim lists a chunk again that holds areas; the float was "
                f"{counted(before, 'page')}"
            )
    gone = ended or any(n % slots != hidden and c in waited for n, c in listed_chunks(allocator))
    return None if gone else NOT_ASKED

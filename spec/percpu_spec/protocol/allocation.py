"""Actions of allocations, and of whoever takes and leaves pcpu_alloc_mutex.

Parameters everywhere: a an actor, c a chunk, pages and hole ranges of pages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from percpu_spec.protocol.freeing import isolated, may_isolate, qualifies
from percpu_spec.protocol.operators import And, Not, Or, Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import (
    ChunkState,
    Phase,
    Place,
    Position,
    State,
    standing,
)
from percpu_spec.protocol.transitions import (
    FreeOutcome,
    Transition,
    freed,
    fresh,
    is_findable,
    is_free_or_own,
    left_empty,
    owed,
    standing_at,
    with_area,
    with_pages,
)


def _enter(s: State, a: Any, phase: Phase) -> Transition:
    when = {"the mutex is free": s.mutex == s.world.nobody}
    return Transition(when, lambda: s.with_phase(a, phase).with_mutex(a))


@standing_at(Phase.IDLE)
def miss(s: State, a: Any) -> Transition:
    """A blocking allocation takes pcpu_alloc_mutex and finds no room."""
    return _enter(s, a, Phase.SEARCHING)


@standing_at(Phase.IDLE)
def work(s: State, a: Any) -> Transition:
    """The balance work takes pcpu_alloc_mutex."""
    return _enter(s, a, Phase.WORKING)


@standing_at(Phase.SEARCHING, Phase.WORKING)
def leave(s: State, a: Any) -> Transition:
    """An actor releases pcpu_alloc_mutex."""
    return Transition(
        {
            "it owns no chunk": s.world.every_chunk(
                s, lambda chunk: Not(And(chunk.place == Place.OWNED, chunk.owner == a))
            ),
        },
        lambda: _outside(s, a),
    )


def _outside(s: State, a: Any) -> State:
    return s.with_phase(a, Phase.IDLE).with_mutex(s.world.nobody)


@standing_at(Phase.SEARCHING, Phase.WORKING)
def create(s: State, a: Any, c: Any) -> Transition:
    """A chunk is made and put at the head of the free list.

    Its addresses were purged before (TLB-1).
    """
    none = s.world.no_pages
    new = ChunkState(Place.FREE, False, s.world.nobody, none, none, none, 0)
    return Transition(
        {"the chunk is not live": s.chunks[c].place == Place.NONE},
        lambda: s.with_chunk(c, new, s.floating),
    )


@standing_at(Phase.SEARCHING, Phase.WORKING)
def create_populated(s: State, a: Any, c: Any) -> Transition:
    """A chunk is made with all its pages (km) and put at the head of the free list."""
    none, nr = s.world.no_pages, s.world.pages(c)
    new = ChunkState(Place.FREE, False, s.world.nobody, none, none.add(0, nr), none, nr)
    move = create(s, a, c)
    return Transition(move.when, lambda: s.with_chunk(c, new, s.floating + nr))


def _area_fits(s: State, c: Any, pages: Span) -> dict[str, Truth]:
    chunk = s.chunks[c]
    new = fresh(chunk, pages)
    return {
        "the search can find the chunk": is_findable(chunk),
        "the area lies in the chunk": pages.hi <= s.world.pages(c),
        "no other area has its inner pages": chunk.used.none_in(new.lo, new.hi),
    }


def area(s: State, c: Any, pages: Span) -> Transition:
    """An atomic allocation takes an area in populated pages."""
    when = _area_fits(s, c, pages)
    when["its pages are populated"] = s.chunks[c].populated.all_in(*pages)
    return Transition(when, lambda: with_area(s, c, pages))


@standing_at(Phase.IDLE, Phase.SEARCHING)
def area_ready(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """A blocking allocation takes an area whose pages are all populated."""
    when = _area_fits(s, c, pages)
    when["the mutex is free or its own"] = is_free_or_own(s, a)
    when["its pages are populated"] = s.chunks[c].populated.all_in(*pages)
    return Transition(when, lambda: _outside(with_area(s, c, pages), a))


@standing_at(Phase.IDLE, Phase.SEARCHING)
def area_hole(s: State, a: Any, c: Any, pages: Span, hole: Span) -> Transition:
    """A blocking allocation takes an area and is to populate its first hole."""
    populated = s.chunks[c].populated
    when = _area_fits(s, c, pages)
    when["the mutex is free or its own"] = is_free_or_own(s, a)
    when["the hole is in the area"] = And(pages.lo <= hole.lo, hole.hi <= pages.hi)
    when["it is the first"] = populated.all_in(pages.lo, hole.lo)
    when["it is not populated"] = populated.none_in(*hole)
    when["it ends there"] = Or(hole.hi == pages.hi, populated.has(hole.hi))
    return Transition(
        when,
        lambda: (
            with_area(s, c, pages).with_actor(a, standing(Phase.FILLING, c, *hole)).with_mutex(a)
        ),
    )


def _filled(s: State, position: Position) -> State:
    return with_pages(s, position.at, position.span)


@standing_at(Phase.FILLING)
def fill_next(s: State, a: Any, hole: Span) -> Transition:
    """A hole under the area is populated and there is another."""
    here = s.actors[a]
    missing = owed(s.chunks[here.at])
    return Transition(
        {
            "the next hole is behind": here.end <= hole.lo,
            "nothing is missing in between": missing.none_in(here.end, hole.lo),
            "the hole is missing": missing.all_in(*hole),
            "it ends there": Not(missing.has(hole.hi)),
        },
        lambda: _filled(s, here).with_actor(a, standing(Phase.FILLING, here.at, *hole)),
    )


@standing_at(Phase.FILLING)
def fill_done(s: State, a: Any) -> Transition:
    """The last hole under the area is populated: the area is handed out."""
    here = s.actors[a]
    missing = owed(s.chunks[here.at])
    return Transition(
        {"nothing else is missing": missing.none_in(here.end, s.world.pages(here.at))},
        lambda: _outside(_filled(s, here), a),
    )


class _Failure(NamedTuple):
    """A failed population: the conditions, the chunk after its area was freed, what follows."""

    when: dict[str, Truth]
    at: Any
    after: FreeOutcome


def _failure(s: State, a: Any, pages: Span, left: Truth, right: Truth) -> _Failure:
    """Left and right: another area still covers the first, the last page of the one freed.

    Such an area has been handed out, so that page is not missing.
    """
    here = s.actors[a]
    chunk = s.chunks[here.at]
    empty = left_empty(pages, left, right)
    missing = owed(chunk)
    when = {
        "the area is used": chunk.used.all_in(*pages),
        "the hole is its": And(pages.lo <= here.start, here.end <= pages.hi),
        "all that is missing is its alone": And(
            missing.none_in(0, empty.lo), missing.none_in(empty.hi, s.world.pages(here.at))
        ),
    }
    return _Failure(when, here.at, freed(s, here.at, empty))


@standing_at(Phase.FILLING)
def fill_fail(s: State, a: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """Populating a hole fails: the area is freed, what was populated stays (POP-4)."""
    when, c, after = _failure(s, a, pages, left, right)
    return Transition(
        when,
        lambda: s.with_chunk(c, after.chunk, after.floating).with_phase(a, Phase.SEARCHING),
    )


@standing_at(Phase.FILLING)
def fill_fail_listed(s: State, a: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """As fill_fail, with the checks of a free: here the chunk does not qualify for reclaim."""
    when, c, after = _failure(s, a, pages, left, right)
    when["the chunk does not qualify for reclaim"] = Not(qualifies(s, c, after))
    return Transition(when, fill_fail(s, a, pages, left, right).then)


@standing_at(Phase.FILLING)
def fill_fail_isolating(s: State, a: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """As fill_fail, with the checks of a free: here the chunk is isolated."""
    when, c, after = _failure(s, a, pages, left, right)
    when["the chunk qualifies for reclaim"] = qualifies(s, c, after)
    return Transition(when, lambda: isolated(s, c, after).with_phase(a, Phase.SEARCHING))


@standing_at(Phase.FILLING)
def fill_fail_isolating_chosen(
    s: State, a: Any, pages: Span, left: Truth, right: Truth
) -> Transition:
    """As fill_fail_isolating, of a chunk that another policy chose."""
    when, c, after = _failure(s, a, pages, left, right)
    return Transition(
        when | may_isolate(s, c, after),
        lambda: isolated(s, c, after).with_phase(a, Phase.SEARCHING),
    )

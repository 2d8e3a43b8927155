"""Actions of the balance work, reclaim apart: free chunks are destroyed, holes populated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from percpu_spec.protocol.operators import And, one_of
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import Phase, Place, State, standing
from percpu_spec.protocol.transitions import (
    Transition,
    reintegrated,
    standing_at,
    with_pages,
    without_pages,
)


@standing_at(Phase.WORKING)
def take(s: State, a: Any, c: Any) -> Transition:
    """A free chunk is taken off its list to be destroyed."""
    chunk = s.chunks[c]
    return Transition(
        {
            "the chunk is on the free list": chunk.place == Place.FREE,
        },
        lambda: s.with_chunk(c, chunk._replace(place=Place.OWNED, owner=a), s.floating),
    )


@standing_at(Phase.WORKING)
def drain_begin(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """Pages of an owned chunk are about to be released."""
    chunk = s.chunks[c]
    return Transition(
        {
            "it owns the chunk": And(chunk.place == Place.OWNED, chunk.owner == a),
            "the pages are populated": chunk.populated.all_in(*pages),
        },
        lambda: s.with_actor(a, standing(Phase.DRAINING, c, *pages)),
    )


@standing_at(Phase.DRAINING)
def drain_end(s: State, a: Any) -> Transition:
    """They are released. The flush is left to whoever gets the addresses next."""
    here = s.actors[a]
    return Transition({}, lambda: without_pages(s, here.at, here.span).with_phase(a, Phase.WORKING))


@standing_at(Phase.WORKING)
def destroy(s: State, a: Any, c: Any) -> Transition:
    """An owned chunk without populated pages is given back."""
    chunk = s.chunks[c]
    gone = chunk._replace(place=Place.NONE, owner=s.world.nobody)
    return Transition(
        {
            "it owns the chunk": And(chunk.place == Place.OWNED, chunk.owner == a),
            "nothing is populated": chunk.populated.size == 0,
        },
        lambda: s.with_chunk(c, gone, s.floating),
    )


@standing_at(Phase.WORKING)
def populate_begin(s: State, a: Any, c: Any, hole: Span) -> Transition:
    """A hole of a listed chunk is about to be populated, sidelined chunks included."""
    chunk = s.chunks[c]
    return Transition(
        {
            "the chunk is on a list that is searched": one_of(
                chunk.place, Place.ACTIVE, Place.FREE, Place.SIDELINED
            ),
            "the hole lies in the chunk": hole.hi <= s.world.pages(c),
            "it is not populated": chunk.populated.none_in(*hole),
        },
        lambda: s.with_actor(a, standing(Phase.POPULATING, c, *hole)),
    )


@standing_at(Phase.POPULATING)
def populate_end(s: State, a: Any) -> Transition:
    """The hole is populated. In an isolated chunk it does not raise the float (R2)."""
    here = s.actors[a]
    return Transition({}, lambda: with_pages(s, here.at, here.span).with_phase(a, Phase.WORKING))


def _next_hole(s: State, a: Any, hole: Span, done: Callable[[], State]) -> Transition:
    here = s.actors[a]
    return Transition(
        {
            "the next hole is behind": here.end <= hole.lo,
            "it lies in the chunk": hole.hi <= s.world.pages(here.at),
            "it is not populated": s.chunks[here.at].populated.none_in(*hole),
        },
        lambda: done().with_actor(a, standing(Phase.POPULATING, here.at, *hole)),
    )


@standing_at(Phase.POPULATING)
def populate_next(s: State, a: Any, hole: Span) -> Transition:
    """As populate_end, and another hole of the chunk is next, isolated meanwhile or not."""
    return _next_hole(s, a, hole, populate_end(s, a).then)


@standing_at(Phase.POPULATING)
def populate_end_rejoining(s: State, a: Any) -> Transition:
    """The hole is populated, and an isolated chunk is reintegrated before its pages count."""
    here = s.actors[a]

    def after() -> State:
        joined = reintegrated(s, here.at)
        return with_pages(joined, here.at, here.span).with_phase(a, Phase.WORKING)

    return Transition({}, after)


@standing_at(Phase.POPULATING)
def populate_next_rejoining(s: State, a: Any, hole: Span) -> Transition:
    """As populate_end_rejoining, and another hole of the chunk is next."""
    return _next_hole(s, a, hole, populate_end_rejoining(s, a).then)


@standing_at(Phase.POPULATING)
def populate_fail(s: State, a: Any) -> Transition:
    """The hole could not be populated; nothing has changed."""
    return Transition({}, lambda: s.with_phase(a, Phase.WORKING))

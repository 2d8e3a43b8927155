"""Actions of the first posting's patch 1/4, and what its base does otherwise than 6.12.

A chunk is taken off its list while its pages are released. Nothing marks it, so a free can list it
again; nothing is flushed; the float is looked at once for each chunk.
"""

from __future__ import annotations

from typing import Any

from percpu_spec.protocol.allocation import fill_fail
from percpu_spec.protocol.balancing import populate_fail
from percpu_spec.protocol.clauses import ALLOCATES, RECLAIMS, is_held_by, is_owned_by_reclaim
from percpu_spec.protocol.freeing import free_always
from percpu_spec.protocol.operators import And, If, Implies, Not, Or, Truth, one_of
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import Phase, Place, State, standing
from percpu_spec.protocol.transitions import Transition, standing_at, without_pages


@standing_at(Phase.WORKING, Phase.RELEASED)
def shrink_begin(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """A range of empty populated pages of any listed chunk is about to be released."""
    chunk, here = s.chunks[c], s.actors[a]
    again = here.phase == Phase.RELEASED
    off = chunk._replace(place=Place.OWNED, owner=a)
    return Transition(
        {
            "shrinking is at the chunk, or at none": Implies(again, here.at == c),
            "the chunk is listed, or in its hands": Or(
                one_of(chunk.place, Place.ACTIVE, Place.FREE), And(again, chunk.owner == a)
            ),
            "the pages are populated": chunk.populated.all_in(*pages),
            "they are not used": chunk.used.none_in(*pages),
            "the float was not below HIGH": Or(again, s.floating >= s.world.high),
        },
        lambda: s.with_chunk(c, off, s.floating).with_actor(
            a, standing(Phase.RELEASING, c, *pages)
        ),
    )


@standing_at(Phase.RELEASING)
def shrink_end(s: State, a: Any) -> Transition:
    """The range is released."""
    here = s.actors[a]
    return Transition(
        {},
        lambda: without_pages(s, here.at, here.span).with_actor(
            a, standing(Phase.RELEASED, here.at)
        ),
    )


@standing_at(Phase.RELEASED)
def relist(s: State, a: Any, c: Any, to_free: Truth) -> Transition:
    """A chunk still on no list is put where it was found: on the free list or an active one."""
    chunk = s.chunks[c]
    found = If(to_free, Place.FREE, Place.ACTIVE)
    back = chunk._replace(
        place=If(chunk.place == Place.OWNED, found, chunk.place), owner=s.world.nobody
    )
    return Transition(
        {"shrinking has released pages of this chunk": s.actors[a].at == c},
        lambda: s.with_chunk(c, back, s.floating).with_phase(a, Phase.WORKING),
    )


def free_unmoved(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """An area is freed and its chunk stays: its computed slot is unchanged, wherever it is."""
    move = free_always(s, c, pages, left, right)

    def after() -> State:
        done = move.then()
        return done.with_chunk(c, done.chunks[c]._replace(place=s.chunks[c].place), done.floating)

    return Transition(move.when, after)


def _flushed(s: State, a: Any, move: Transition) -> Transition:
    """Return the move of a failure that flushes the hole."""
    here = s.actors[a]

    def after() -> State:
        done = move.then()
        chunk = done.chunks[here.at]
        clean = chunk._replace(stale=chunk.stale.clear(here.start, here.end))
        return done.with_chunk(here.at, clean, done.floating)

    return Transition(move.when, after)


@standing_at(Phase.FILLING)
def fill_fail_flushing(s: State, a: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """As fill_fail: mapping failed, and what was mapped of the hole is flushed.

    No matter where no page under an allocation can be stale.
    """
    return _flushed(s, a, fill_fail(s, a, pages, left, right))


@standing_at(Phase.POPULATING)
def populate_fail_flushing(s: State, a: Any) -> Transition:
    """As populate_fail: mapping failed, and what was mapped of the hole is flushed."""
    return _flushed(s, a, populate_fail(s, a))


def shrunk_is_owned(s: State, a: Any) -> Truth:
    """ISO-1: a chunk losing pages is on no list, in the hands of the actor that releases them."""
    here = s.actors[a]
    chunk = s.chunks[here.at]
    return Implies(
        one_of(here.phase, Phase.DRAINING, *RECLAIMS),
        And(chunk.place == Place.OWNED, chunk.owner == a),
    )


def has_one_place(s: State, c: Any) -> Truth:
    """LIST-1: a live chunk is listed or owned, not both; the first is owned only to be shrunk."""
    is_listed = one_of(s.chunks[c].place, Place.ACTIVE, Place.SIDELINED)
    is_placed = Implies(c == s.world.first, Or(is_listed, is_owned_by_reclaim(s, c)))
    return And(is_held_by(s, c, *ALLOCATES), is_placed)


def free_list_is_free(s: State, c: Any) -> Truth:
    """LIST-3: a chunk on the free list is all free, and so is one owned to be destroyed."""
    chunk = s.chunks[c]
    return Implies(
        Or(
            one_of(chunk.place, Place.FREE, Place.NONE),
            And(chunk.place == Place.OWNED, Not(is_owned_by_reclaim(s, c))),
        ),
        chunk.used.size == 0,
    )

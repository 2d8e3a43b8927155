"""Actions of the first posting with its review's three requests, changes to those of `shrinking`.

A mark keeps a chunk that is being shrunk, or was, from being listed; such chunks are searched last.
The float counts them like others, nothing is flushed, and the first chunk is not left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from percpu_spec.protocol.clauses import is_owned_by_reclaim
from percpu_spec.protocol.machine import parameters
from percpu_spec.protocol.operators import (
    And,
    If,
    Iff,
    Implies,
    Not,
    Number,
    Or,
    Truth,
    one_of,
    within,
)
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.shrinking import free_list_is_free, shrink_begin
from percpu_spec.protocol.state import Phase, Place, State, is_immutable
from percpu_spec.protocol.transitions import Transition, standing_at


def with_full_float(action: Callable[..., Transition]) -> Callable[..., Transition]:
    """Return the action with a float that follows its chunk's counter, isolated or not."""
    names = [name for name, _ in parameters(action)]

    @functools.wraps(action)
    def counting(s: State, *given: Any) -> Transition:
        when, then = action(s, *given)
        named = dict(zip(names, given, strict=True))
        c = named["c"] if "c" in named else s.actors[named["a"]].at

        def after() -> State:
            done = then()
            change = done.chunks[c].empties - s.chunks[c].empties
            return done._replace(floating=s.floating + If(c == s.world.reserved, 0, change))

        return Transition(when, after)

    return counting


@standing_at(Phase.WORKING, Phase.RELEASED)
def shrink_begin_marking(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """As shrink_begin, of sidelined chunks too; the chunk is marked, the float left alone."""
    when, then = shrink_begin(s, a, c, pages)
    chunk, listed = s.chunks[c], "the chunk is listed, or in its hands"
    when[listed] = Or(when[listed], chunk.place == Place.SIDELINED)

    def after() -> State:
        done = then()
        return done.with_chunk(c, done.chunks[c]._replace(isolated=True), done.floating)

    return Transition(when, after)


@standing_at(Phase.RELEASED)
def sideline_shrunk(s: State, a: Any, c: Any) -> Transition:
    """A chunk that has given pages back is put behind the active ones, whatever it is by then."""
    aside = s.chunks[c]._replace(place=Place.SIDELINED, owner=s.world.nobody)
    return Transition(
        {"shrinking has released pages of this chunk": s.actors[a].at == c},
        lambda: s.with_chunk(c, aside, s.floating).with_phase(a, Phase.WORKING),
    )


def free_list_exact(s: State, c: Any) -> Truth:
    """LIST-3: a chunk on the free list is all free; one on an active list is not.

    The first chunk apart.
    """
    chunk = s.chunks[c]
    is_active = And(chunk.place == Place.ACTIVE, Not(is_immutable(s, c)))
    return And(free_list_is_free(s, c), Implies(is_active, chunk.used.size > 0))


def isolated_is_apart(s: State, c: Any) -> Truth:
    """ISO-2: isolated exactly when sidelined or being shrunk; there is no to_depopulate."""
    chunk = s.chunks[c]
    return And(
        Iff(chunk.isolated, Or(chunk.place == Place.SIDELINED, is_owned_by_reclaim(s, c))),
        chunk.place != Place.TO_DEPOPULATE,
    )


def filled_is_live(s: State, a: Any) -> Truth:
    """A chunk being populated is live and on a list; an allocation's is on an active one."""
    here = s.actors[a]
    place = s.chunks[here.at].place
    return And(
        Implies(here.phase == Phase.FILLING, place == Place.ACTIVE),
        Implies(
            here.phase == Phase.POPULATING,
            one_of(place, Place.ACTIVE, Place.FREE, Place.SIDELINED),
        ),
    )


def reserved_is_whole(s: State, c: Any, p: Number) -> Truth:
    """What is left of RCL-2: the reserved chunk keeps all its pages."""
    is_page = within(0, p, s.world.pages(c))
    return Implies(And(c == s.world.reserved, is_page), s.chunks[c].populated.has(p))


def full_weight(s: State, c: Any) -> Number:
    """Return what a chunk adds to a float that counts isolated chunks too."""
    chunk = s.chunks[c]
    return If(And(chunk.place != Place.NONE, c != s.world.reserved), chunk.empties, 0)


def float_is_full_sum(s: State) -> Truth:
    """In FLT-1's place: the float is the sum over all live chunks but the reserved one."""
    return s.floating == s.world.total(s, full_weight)

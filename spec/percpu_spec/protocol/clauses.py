"""The invariant of the machine, clause by clause, and below it what a single action must keep.

A clause takes the state and is meant for every chunk c, page p and actor a that it names. Ids of
the design are implied by the clauses of the same name; the others carry the induction. m in the
comments is whoever holds the mutex.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from percpu_spec.protocol.operators import (
    And,
    If,
    Iff,
    Implies,
    Min,
    Not,
    Number,
    Or,
    Truth,
    one_of,
    within,
)
from percpu_spec.protocol.state import Phase, Place, Position, State, is_immutable
from percpu_spec.protocol.transitions import counts

RELEASES = (Phase.RELEASING, Phase.RELEASED, Phase.FLUSHING)  # stale pages in reclaim's hands
RECLAIMS = (*RELEASES, Phase.FLUSHED)
RANGES = (Phase.FILLING, Phase.DRAINING, Phase.RELEASING, Phase.POPULATING)


def is_owned_by_reclaim(s: State, c: Any) -> Truth:
    """Return whether a chunk is on no list because pages of it are being released."""
    chunk = s.chunks[c]
    here = s.actors[chunk.owner]
    return And(chunk.place == Place.OWNED, one_of(here.phase, *RECLAIMS), here.at == c)


def phase_is_known(s: State, a: Any) -> Truth:
    """There are no other phases."""
    return within(min(Phase), s.actors[a].phase, max(Phase) + 1)


def place_is_known(s: State, c: Any) -> Truth:
    """There are no other places."""
    return within(min(Place), s.chunks[c].place, max(Place) + 1)


def mutex_excludes(s: State, a: Any) -> Truth:
    """An actor stands inside exactly if it holds the mutex."""
    return Iff(s.actors[a].phase != Phase.IDLE, And(s.mutex == a, a != s.world.nobody))


def ranges_are_proper(s: State, a: Any) -> Truth:
    """A range held is not empty and lies in its chunk; reclaim's span begins at a page."""
    here = s.actors[a]
    return And(
        Implies(
            one_of(here.phase, *RANGES),
            And(here.start >= 0, here.start < here.end, here.end <= s.world.pages(here.at)),
        ),
        Implies(one_of(here.phase, *RELEASES), here.lo >= 0),
    )


def pages_are_inside(s: State, c: Any, p: Number) -> Truth:
    """Used, populated and stale pages are pages of the chunk."""
    chunk = s.chunks[c]
    some = Or(chunk.used.has(p), chunk.populated.has(p), chunk.stale.has(p))
    return Implies(some, within(0, p, s.world.pages(c)))


def is_held_by(s: State, c: Any, *others: Phase) -> Truth:
    """Return whether a chunk on no list is held by a running step, which stands at none of others.

    And whether the reserved chunk, and it alone, is on no list for ever.
    """
    chunk = s.chunks[c]
    is_owned = chunk.place == Place.OWNED
    return And(
        Iff(is_owned, chunk.owner != s.world.nobody),
        Implies(is_owned, Not(one_of(s.actors[chunk.owner].phase, *others))),
        Iff(c == s.world.reserved, chunk.place == Place.RESERVED),
    )


ALLOCATES = (Phase.IDLE, Phase.SEARCHING, Phase.FILLING)
"""An allocation lists at once what it made, so the step that holds a chunk is the balance work."""


def owned_by_one(s: State, c: Any) -> Truth:
    """LIST-1: a live chunk has one place; one that is on no list is held by a running step."""
    place = s.chunks[c].place
    is_listed = Implies(c == s.world.first, place == Place.ACTIVE)
    return And(is_held_by(s, c, *ALLOCATES), is_listed)


def free_list_exact(s: State, c: Any) -> Truth:
    """LIST-3: a chunk on the free list is all free, and so is one owned or gone.

    One on an active list is not, the first chunk apart.
    """
    chunk = s.chunks[c]
    return And(
        Implies(one_of(chunk.place, Place.FREE, Place.OWNED, Place.NONE), chunk.used.size == 0),
        Implies(And(chunk.place == Place.ACTIVE, Not(is_immutable(s, c))), chunk.used.size > 0),
    )


def released_is_hidden(s: State, a: Any) -> Truth:
    """ISO-1: a chunk losing pages is on to_depopulate, or owned by the actor that destroys it."""
    here = s.actors[a]
    chunk = s.chunks[here.at]
    return And(
        Implies(one_of(here.phase, *RECLAIMS), chunk.place == Place.TO_DEPOPULATE),
        Implies(here.phase == Phase.DRAINING, And(chunk.place == Place.OWNED, chunk.owner == a)),
    )


def released_is_unused(s: State, a: Any, p: Number) -> Truth:
    """Pages being released are populated, and no area touches them."""
    here = s.actors[a]
    chunk = s.chunks[here.at]
    return Implies(
        And(
            one_of(here.phase, Phase.RELEASING, Phase.DRAINING),
            within(here.start, p, here.end),
        ),
        And(chunk.populated.has(p), Not(chunk.used.has(p))),
    )


def isolated_is_apart(s: State, c: Any) -> Truth:
    """ISO-2: isolated exactly when on to_depopulate or sidelined."""
    chunk = s.chunks[c]
    return Iff(chunk.isolated, one_of(chunk.place, Place.SIDELINED, Place.TO_DEPOPULATE))


def holes_are_unpopulated(s: State, a: Any, p: Number) -> Truth:
    """Pages being populated are not populated yet; an allocation's are used."""
    here = s.actors[a]
    chunk = s.chunks[here.at]
    inside = within(here.start, p, here.end)
    return And(
        Implies(
            And(one_of(here.phase, Phase.FILLING, Phase.POPULATING), inside),
            Not(chunk.populated.has(p)),
        ),
        Implies(And(here.phase == Phase.FILLING, inside), chunk.used.has(p)),
    )


def filled_is_live(s: State, a: Any) -> Truth:
    """A chunk being populated is live, on a list and not immutable.

    One that an allocation took from can be isolated meanwhile, but not sidelined.
    """
    here = s.actors[a]
    place = s.chunks[here.at].place
    populates = here.phase == Phase.POPULATING
    fills = here.phase == Phase.FILLING
    return And(
        Implies(fills, one_of(place, Place.ACTIVE, Place.TO_DEPOPULATE)),
        Implies(
            populates,
            one_of(place, Place.ACTIVE, Place.FREE, Place.SIDELINED, Place.TO_DEPOPULATE),
        ),
        Implies(Or(fills, populates), Not(is_immutable(s, here.at))),
    )


def holder(s: State) -> Position:
    """Return where the actor with the mutex stands."""
    position: Position = s.actors[s.mutex]
    return position


def used_is_populated(s: State, c: Any, p: Number) -> Truth:
    """POP-2: a used page is populated, or its area is not handed out: m is yet to populate it."""
    chunk, here = s.chunks[c], holder(s)
    return Implies(
        And(chunk.used.has(p), Not(chunk.populated.has(p))),
        And(
            s.mutex != s.world.nobody,
            here.phase == Phase.FILLING,
            here.at == c,
            p >= here.start,
        ),
    )


def empties_are_counted(s: State, c: Any) -> Truth:
    """POP-1: the counter is the populated pages less the used ones.

    With every used page populated that is the number of empty populated pages.
    """
    chunk = s.chunks[c]
    return Implies(
        chunk.place != Place.NONE, chunk.empties == chunk.populated.size - chunk.used.size
    )


def weight(s: State, c: Any) -> Number:
    """Return what a chunk adds to the float."""
    chunk = s.chunks[c]
    live = chunk.place != Place.NONE
    return If(And(live, counts(s, c, chunk)), chunk.empties, 0)


def float_is_sum(s: State) -> Truth:
    """FLT-1: the float is the sum over live chunks neither reserved nor isolated."""
    return s.floating == s.world.total(s, weight)


def immutable_is_whole(s: State, c: Any, p: Number) -> Truth:
    """RCL-2: the first and the reserved chunk keep all their pages."""
    return Implies(
        And(is_immutable(s, c), within(0, p, s.world.pages(c))), s.chunks[c].populated.has(p)
    )


def stale_is_unused(s: State, c: Any, p: Number) -> Truth:
    """TLB-1: no area touches a page that a CPU may still translate to one given back."""
    chunk = s.chunks[c]
    return Implies(chunk.stale.has(p), Not(chunk.used.has(p)))


def stale_is_held(s: State, c: Any, p: Number) -> Truth:
    """A stale page is unpopulated, and either its chunk is gone or owned, or m is to flush it."""
    chunk, here = s.chunks[c], holder(s)
    return Implies(
        chunk.stale.has(p),
        And(
            Not(chunk.populated.has(p)),
            Or(
                one_of(chunk.place, Place.NONE, Place.OWNED),
                And(
                    s.mutex != s.world.nobody,
                    one_of(here.phase, *RELEASES),
                    here.at == c,
                    within(here.lo, p, here.hi),
                ),
            ),
        ),
    )


INVARIANT: dict[str, Callable[..., Truth]] = {
    "PHASE": phase_is_known,
    "PLACE": place_is_known,
    "MUTEX": mutex_excludes,
    "RANGES": ranges_are_proper,
    "INSIDE": pages_are_inside,
    "LIST-1": owned_by_one,
    "LIST-3": free_list_exact,
    "ISO-1": released_is_hidden,
    "RELEASED": released_is_unused,
    "ISO-2": isolated_is_apart,
    "HOLES": holes_are_unpopulated,
    "FILLED": filled_is_live,
    "POP-1": empties_are_counted,
    "POP-2": used_is_populated,
    "FLT-1": float_is_sum,
    "RCL-2": immutable_is_whole,
    "TLB-1": stale_is_unused,
    "STALE": stale_is_held,
}


def sidelined_is_drained(s: State, c: Any) -> Truth:
    """RCL-3, the part that is no matter of rest: a sidelined chunk has no empty page."""
    chunk = s.chunks[c]
    return Implies(chunk.place == Place.SIDELINED, chunk.empties == 0)


def float_stays_high(before: State, after: State) -> Truth:
    """RCL-1: a step of reclaim does not take the float below HIGH, nor lower one below it."""
    return after.floating >= Min(before.floating, before.world.high)


def isolation_stays_high(before: State, after: State) -> Truth:
    """RCL-1: an isolation leaves the float at HIGH, or as the free left it."""
    return Or(after.floating >= before.world.high, after.floating >= before.floating)


def population_raises_float(before: State, after: State) -> Truth:
    """BAL-1: pages that the balance work populated raise the float by as many at least.

    A chunk that rejoins brings what it has.
    """
    here = holder(before)
    return after.floating >= before.floating + (here.end - here.start)


STEPS: dict[str, tuple[str, Callable[[State, State], Truth]]] = {
    "release_begin": ("RCL-1", float_stays_high),
    "release_end": ("RCL-1", float_stays_high),
    "flush_begin": ("RCL-1", float_stays_high),
    "flush_end": ("RCL-1", float_stays_high),
    "sideline": ("RCL-1", float_stays_high),
    "reintegrate": ("RCL-1", float_stays_high),
    "free_isolating": ("RCL-1", isolation_stays_high),
    "fill_fail_isolating": ("RCL-1", isolation_stays_high),
}

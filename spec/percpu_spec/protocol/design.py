"""The design's safety clauses at page level, each implied by the invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from percpu_spec.protocol.clauses import (
    RECLAIMS,
    float_is_sum,
    holder,
    immutable_is_whole,
    is_held_by,
    is_owned_by_reclaim,
    stale_is_unused,
)
from percpu_spec.protocol.operators import And, Iff, Implies, Not, Number, Or, Truth, one_of
from percpu_spec.protocol.state import Phase, Place, State
from percpu_spec.protocol.transitions import is_findable


def is_in_one_place(s: State, c: Any) -> Truth:
    """LIST-1: a live chunk is listed or held by a running step; the reserved one is on no list."""
    return is_held_by(s, c, Phase.IDLE)


def isolated_is_apart(s: State, c: Any) -> Truth:
    """ISO-2: isolated exactly when on to_depopulate or sidelined, or owned by reclaim."""
    chunk = s.chunks[c]
    apart = one_of(chunk.place, Place.SIDELINED, Place.TO_DEPOPULATE)
    return Iff(chunk.isolated, Or(apart, is_owned_by_reclaim(s, c)))


def losing_pages_is_not_found(s: State, a: Any) -> Truth:
    """ISO-1: no allocation can find a chunk from the choice of pages to the end of the flush."""
    here = s.actors[a]
    return Implies(
        one_of(here.phase, Phase.DRAINING, *RECLAIMS), Not(is_findable(s.chunks[here.at]))
    )


def is_settled(s: State, c: Any) -> Truth:
    """Return whether no allocation of a chunk is between area and population."""
    here = holder(s)
    return Not(And(s.mutex != s.world.nobody, here.phase == Phase.FILLING, here.at == c))


def counter_is_definition(s: State, c: Any) -> Truth:
    """POP-1: in a settled chunk the counter is the number of empty populated pages."""
    chunk = s.chunks[c]
    empty = chunk.populated.minus(chunk.used)
    return Implies(And(chunk.place != Place.NONE, is_settled(s, c)), chunk.empties == empty.size)


def settled_is_populated(s: State, c: Any, p: Number) -> Truth:
    """POP-2: in a settled chunk every used page is populated; in any, those handed out are."""
    chunk, here = s.chunks[c], holder(s)
    out = And(chunk.used.has(p), Not(And(Not(is_settled(s, c)), p >= here.start)))
    return Implies(out, chunk.populated.has(p))


DESIGN: dict[str, Callable[..., Truth]] = {
    "LIST-1": is_in_one_place,
    "ISO-1": losing_pages_is_not_found,
    "ISO-2": isolated_is_apart,
    "POP-1": counter_is_definition,
    "POP-2": settled_is_populated,
    "FLT-1": float_is_sum,
    "RCL-2": immutable_is_whole,
    "TLB-1": stale_is_unused,
}
"""By clause; asked of a machine whose invariant has the clause. RCL-1: see steps.STEPS."""

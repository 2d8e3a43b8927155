"""Actions of free_percpu. They need no mutex and are over within one section of pcpu_lock."""

from __future__ import annotations

from typing import Any

from percpu_spec.protocol.operators import And, If, Not, Or, Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import Place, State, is_immutable
from percpu_spec.protocol.transitions import (
    FreeOutcome,
    Transition,
    freed,
    is_whole,
    left_empty,
    owed,
)


def qualifies(s: State, c: Any, after: FreeOutcome) -> Truth:
    """Return whether a chunk just freed into is to lose its empty pages (RCL-1).

    Not one that is fully free and not isolated, nor the first and the reserved chunk.
    """
    chunk, floating = after
    return And(
        Not(And(Not(chunk.isolated), is_whole(s, c, chunk.used))),
        Not(is_immutable(s, c)),
        Or(
            And(chunk.isolated, chunk.empties > 0),
            And(
                floating > s.world.high + chunk.empties,
                chunk.empties >= s.world.least_empty(c),
            ),
        ),
    )


def _names_area(s: State, c: Any, pages: Span) -> dict[str, Truth]:
    """The area is live and was handed out (API-2)."""
    chunk = s.chunks[c]
    return {
        "the area is used": chunk.used.all_in(*pages),
        "it was handed out": owed(chunk).none_in(*pages),
    }


def free(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """An area is freed and its chunk relocated.

    left and right: another area still covers its first, its last page.
    """
    after = freed(s, c, left_empty(pages, left, right))
    when = _names_area(s, c, pages)
    when["the chunk does not qualify for reclaim"] = Not(qualifies(s, c, after))
    return Transition(when, lambda: s.with_chunk(c, after.chunk, after.floating))


def free_isolating(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """An area is freed and its chunk isolated, on to to_depopulate."""
    after = freed(s, c, left_empty(pages, left, right))
    when = _names_area(s, c, pages)
    when["the chunk qualifies for reclaim"] = qualifies(s, c, after)
    return Transition(when, lambda: isolated(s, c, after))


def may_isolate(s: State, c: Any, after: FreeOutcome) -> dict[str, Truth]:
    """Return what any policy of isolation must keep: RCL-1 and RCL-5."""
    chunk, floating = after
    high = floating - chunk.empties >= s.world.high
    return {
        "the chunk is neither the first nor the reserved one": Not(is_immutable(s, c)),
        "isolation keeps the float at HIGH": Or(chunk.isolated, high),
    }


def free_chosen(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """As free, of a chunk that another policy spares: not one isolated and not drained (RCL-3)."""
    after = freed(s, c, left_empty(pages, left, right))
    when = _names_area(s, c, pages)
    when["the chunk is not isolated with empty pages"] = Not(
        And(after.chunk.isolated, after.chunk.empties > 0)
    )
    return Transition(when, lambda: s.with_chunk(c, after.chunk, after.floating))


def free_isolating_chosen(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """As free_isolating, of a chunk that another policy chose."""
    after = freed(s, c, left_empty(pages, left, right))
    when = _names_area(s, c, pages) | may_isolate(s, c, after)
    return Transition(when, lambda: isolated(s, c, after))


def isolated(s: State, c: Any, after: FreeOutcome) -> State:
    """Return the state with a chunk taken out of the float and to to_depopulate."""
    chunk, floating = after
    apart = chunk._replace(place=Place.TO_DEPOPULATE, isolated=True)
    return s.with_chunk(c, apart, floating - If(chunk.isolated, 0, chunk.empties))


def free_always(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """An area is freed and its chunk relocated; no chunk is ever isolated (before 5.14)."""
    after = freed(s, c, left_empty(pages, left, right))
    when = _names_area(s, c, pages)
    return Transition(when, lambda: s.with_chunk(c, after.chunk, after.floating))

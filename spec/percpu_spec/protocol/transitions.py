"""What an action is made of, and the effects that several actions share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from percpu_spec.protocol.operators import And, If, Not, Number, Or, Truth, one_of
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import ChunkState, Phase, Place, State, is_immutable


class Transition(NamedTuple):
    """An action at given parameters: named conditions, all needed, and the state that follows."""

    when: dict[str, Truth]
    then: Callable[[], State]


Action = TypeVar("Action", bound=Callable[..., Transition])

STANDING = "the actor stands there"


def standing_at(*phases: Phase) -> Callable[[Action], Action]:
    """Say at which phases the actor of an action stands: one condition more, the first."""

    def annotate(function: Action) -> Action:
        @functools.wraps(function)
        def action(s: State, a: Any, *given: Any) -> Transition:
            when, then = function(s, a, *given)
            return Transition({STANDING: one_of(s.actors[a].phase, *phases), **when}, then)

        return cast("Action", action)

    return annotate


def is_free_or_own(s: State, a: Any) -> Truth:
    """Return whether the mutex is free, or held by an actor that has found no room yet."""
    return Or(s.mutex == s.world.nobody, s.actors[a].phase == Phase.SEARCHING)


def is_findable(chunk: ChunkState) -> Truth:
    """Return whether an allocation's search can find a chunk (ISO-1)."""
    return one_of(chunk.place, Place.ACTIVE, Place.FREE, Place.SIDELINED, Place.RESERVED)


def counts(s: State, c: Any, chunk: ChunkState) -> Truth:
    """Return whether a chunk's empty pages are part of the float (FLT-1)."""
    return And(Not(chunk.isolated), c != s.world.reserved)


def is_whole(s: State, c: Any, used: Any) -> Truth:
    """Return whether a chunk with these used pages is a unit all free."""
    return And(used.size == 0, Not(is_immutable(s, c)))


def listed(s: State, c: Any, chunk: ChunkState) -> Any:
    """Return where relocation puts a chunk that is not isolated."""
    active = If(is_whole(s, c, chunk.used), Place.FREE, Place.ACTIVE)
    return If(chunk.place == Place.RESERVED, Place.RESERVED, active)


def owed(chunk: ChunkState) -> Any:
    """Return the used pages that are not populated: those of an area not handed out yet."""
    return chunk.used.minus(chunk.populated)


def fresh(chunk: ChunkState, pages: Span) -> Span:
    """Return the pages of a new area that no area touched before.

    Only its first and last page can be shared.
    """
    lo = If(chunk.used.has(pages.lo), pages.lo + 1, pages.lo)
    hi = If(And(chunk.used.has(pages.hi - 1), lo < pages.hi), pages.hi - 1, pages.hi)
    return Span(lo, hi)


def left_empty(pages: Span, left: Truth, right: Truth) -> Span:
    """Return the pages that an area leaves empty when it is freed.

    left and right: another area still covers its first, its last page.
    """
    lo = If(left, pages.lo + 1, pages.lo)
    hi = If(And(right, lo < pages.hi), pages.hi - 1, pages.hi)
    return Span(lo, hi)


def with_area(s: State, c: Any, pages: Span) -> State:
    """Return the state after an area was taken: counters, float, and the list.

    Pages not populated yet are subtracted too and come back as they are (POP-1). A hit in an
    isolated chunk reintegrates it.
    """
    chunk = s.chunks[c]
    new = fresh(chunk, pages)
    nr = new.hi - new.lo
    empties = chunk.empties - nr
    taken = chunk._replace(
        place=If(chunk.place == Place.RESERVED, Place.RESERVED, Place.ACTIVE),
        isolated=False,
        used=chunk.used.add(new.lo, new.hi),
        empties=empties,
    )
    floating = s.floating - If(counts(s, c, chunk), nr, 0) + If(chunk.isolated, empties, 0)
    return s.with_chunk(c, taken, floating)


class FreeOutcome(NamedTuple):
    """A chunk after a free, before any decision about it, and the float."""

    chunk: ChunkState
    floating: Number


def freed(s: State, c: Any, empty: Span) -> FreeOutcome:
    """Return a chunk whose pages `empty` no area touches any more, relocated."""
    chunk = s.chunks[c]
    nr = empty.hi - empty.lo
    bare = chunk._replace(used=chunk.used.remove(empty.lo, empty.hi), empties=chunk.empties + nr)
    bare = bare._replace(place=If(chunk.isolated, chunk.place, listed(s, c, bare)))
    return FreeOutcome(bare, s.floating + If(counts(s, c, chunk), nr, 0))


def with_pages(s: State, c: Any, pages: Span) -> State:
    """Return the state after pages were entered as populated."""
    chunk = s.chunks[c]
    nr = pages.hi - pages.lo
    more = chunk._replace(
        populated=chunk.populated.add(pages.lo, pages.hi), empties=chunk.empties + nr
    )
    return s.with_chunk(c, more, s.floating + If(counts(s, c, chunk), nr, 0))


def without_pages(s: State, c: Any, pages: Span) -> State:
    """Return the state after pages were unmapped and entered as released; they are stale now."""
    chunk = s.chunks[c]
    nr = pages.hi - pages.lo
    less = chunk._replace(
        populated=chunk.populated.remove(pages.lo, pages.hi),
        stale=chunk.stale.mark(pages.lo, pages.hi),
        empties=chunk.empties - nr,
    )
    return s.with_chunk(c, less, s.floating - If(counts(s, c, chunk), nr, 0))


def reintegrated(s: State, c: Any) -> State:
    """Return the state with a chunk in the float and on its list; one not isolated stays."""
    chunk = s.chunks[c]
    back = chunk._replace(isolated=False)
    back = back._replace(place=listed(s, c, back))
    return s.with_chunk(c, back, s.floating + If(chunk.isolated, chunk.empties, 0))

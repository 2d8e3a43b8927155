"""Actions of reclaim: empty pages of isolated chunks are released and flushed.

Between two ranges of a chunk reclaim stands at RELEASED with the span released so far.
"""

from __future__ import annotations

from typing import Any

from percpu_spec.protocol.operators import If, Max, Min, Not, Or, Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import Phase, Place, Position, State, standing
from percpu_spec.protocol.transitions import (
    Transition,
    is_whole,
    reintegrated,
    standing_at,
    without_pages,
)


@standing_at(Phase.WORKING, Phase.RELEASED)
def release_begin(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """A range of empty populated pages of a chunk on to_depopulate is about to be released."""
    chunk, here = s.chunks[c], s.actors[a]
    starts = here.phase == Phase.WORKING
    return Transition(
        {
            "reclaim is at the chunk, or at none": Or(starts, here.at == c),
            "the chunk is on to_depopulate": chunk.place == Place.TO_DEPOPULATE,
            "the pages are populated": chunk.populated.all_in(*pages),
            "they are not used": chunk.used.none_in(*pages),
            "the float is not below HIGH": s.floating >= s.world.high,
        },
        lambda: s.with_actor(
            a,
            Position(
                Phase.RELEASING,
                c,
                pages.lo,
                pages.hi,
                If(starts, s.world.pages(c), here.lo),
                If(starts, 0, here.hi),
            ),
        ),
    )


@standing_at(Phase.RELEASING)
def release_end(s: State, a: Any) -> Transition:
    """The range is released; CPUs may still translate its addresses."""
    here = s.actors[a]
    return Transition(
        {},
        lambda: without_pages(s, here.at, here.span).with_actor(
            a,
            Position(
                Phase.RELEASED, here.at, 0, 0, Min(here.lo, here.start), Max(here.hi, here.end)
            ),
        ),
    )


@standing_at(Phase.RELEASED)
def flush_begin(s: State, a: Any) -> Transition:
    """Reclaim is done with the chunk's pages and is about to flush the TLB for their span."""
    here = s.actors[a]
    return Transition({}, lambda: s.with_actor(a, here._replace(phase=Phase.FLUSHING)))


@standing_at(Phase.FLUSHING)
def flush_end(s: State, a: Any) -> Transition:
    """No CPU translates the span's addresses any more."""
    here = s.actors[a]
    chunk = s.chunks[here.at]
    return Transition(
        {},
        lambda: s.with_chunk(
            here.at, chunk._replace(stale=chunk.stale.clear(here.lo, here.hi)), s.floating
        ).with_actor(a, standing(Phase.FLUSHED, here.at)),
    )


def settles(s: State, a: Any, c: Any) -> dict[str, Truth]:
    """Return when reclaim may put a chunk elsewhere: after the flush, or with nothing released."""
    here = s.actors[a]
    return {
        "reclaim has flushed this chunk, or released nothing": Or(
            here.phase == Phase.WORKING, here.at == c
        ),
        "the chunk is on to_depopulate": s.chunks[c].place == Place.TO_DEPOPULATE,
    }


@standing_at(Phase.WORKING, Phase.FLUSHED)
def sideline(s: State, a: Any, c: Any) -> Transition:
    """A chunk is put behind the active ones, whatever was emptied in it meanwhile (R1)."""
    chunk = s.chunks[c]
    when = settles(s, a, c)
    when["the chunk is not fully free"] = Not(is_whole(s, c, chunk.used))
    aside = chunk._replace(place=Place.SIDELINED)
    return Transition(when, lambda: s.with_chunk(c, aside, s.floating).with_phase(a, Phase.WORKING))


@standing_at(Phase.WORKING, Phase.FLUSHED)
def reintegrate(s: State, a: Any, c: Any) -> Transition:
    """A chunk is put back: it is fully free, or the float was below HIGH when it was scanned."""
    return Transition(settles(s, a, c), lambda: reintegrated(s, c).with_phase(a, Phase.WORKING))


@standing_at(Phase.WORKING, Phase.FLUSHED)
def sideline_drained(s: State, a: Any, c: Any) -> Transition:
    """A chunk without empty pages is put behind the active ones."""
    when, then = sideline(s, a, c)
    when["the chunk has no empty page"] = s.chunks[c].empties == 0
    return Transition(when, then)


@standing_at(Phase.FLUSHED)
def rescan(s: State, a: Any, c: Any) -> Transition:
    """A chunk in which pages were emptied meanwhile stays where it is, to be scanned again."""
    here, chunk = s.actors[a], s.chunks[c]
    return Transition(
        {
            "reclaim has flushed this chunk": here.at == c,
            "the chunk has empty pages": chunk.empties != 0,
            "the chunk is not fully free": Not(is_whole(s, c, chunk.used)),
        },
        lambda: s.with_phase(a, Phase.WORKING),
    )

"""Where an actor stands, read from the gap in which its generator is."""

from __future__ import annotations

from percpu_reference.gaps import Gap, Kind
from percpu_spec.protocol.concrete import IDLE, NOWHERE
from percpu_spec.protocol.pages import NO_PAGES, Pages
from percpu_spec.protocol.state import Phase, Position, standing

_PHASES = {
    Kind.FILL: Phase.FILLING,
    Kind.DESTROY: Phase.WORKING,
    Kind.DRAIN: Phase.DRAINING,
    Kind.POPULATE: Phase.POPULATING,
    Kind.RELEASE: Phase.RELEASING,
    Kind.FLUSH: Phase.FLUSHING,
}
_OF_THE_WORK = frozenset(Kind) - {Kind.PAUSE, Kind.WAIT, Kind.CREATE, Kind.FILL, Kind.FLAGS}

_SEARCHING = Position(Phase.SEARCHING, NOWHERE, 0, 0, 0, 0)
_WORKING = Position(Phase.WORKING, NOWHERE, 0, 0, 0, 0)


class UnknownGap(ValueError):
    """A gap that holds a chunk and has no phase."""


def phase_of(gap: Gap) -> Phase:
    """Return the phase of a gap that holds a chunk; raise UnknownGap."""
    try:
        return _PHASES[gap.kind]
    except KeyError:
        raise UnknownGap(f"gap {gap.name!r} holds a chunk and does not tell its kind") from None


def position_of(
    gap: Gap | None, inside: bool, nr_pages: int = 0, stale: Pages | None = NO_PAGES
) -> Position:
    """Return the position of an actor in a gap; None for one that is done.

    inside: it holds pcpu_alloc_mutex. nr_pages and stale: of the gap's chunk. The pages released
    so far in a pass of reclaim are the stale ones; None where it keeps no span of them.
    """
    if gap is None or not inside:
        return IDLE
    phase = Phase.WORKING if gap.chunk is None else phase_of(gap)
    if gap.chunk is None or phase is Phase.WORKING:
        return _WORKING if gap.kind in _OF_THE_WORK else _SEARCHING
    c = gap.chunk.id
    if phase is Phase.FLUSHING:
        return Position(phase, c, 0, 0, gap.start, gap.end)
    if phase is Phase.RELEASING and stale is not None:
        released = stale.members()
        lo, hi = (released[0], released[-1] + 1) if released else (nr_pages, 0)
        return Position(phase, c, gap.start, gap.end, lo, hi)
    return standing(phase, c, gap.start, gap.end)

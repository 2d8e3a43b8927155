"""Where an actor stands, read from the gap in which its generator is."""

from __future__ import annotations

from percpu_reference.gaps import Gap
from percpu_spec.protocol.concrete import IDLE, NOWHERE
from percpu_spec.protocol.pages import NO_PAGES, Pages
from percpu_spec.protocol.state import Phase, Position, standing

PHASES: dict[str, Phase] = {
    "alloc: populate": Phase.FILLING,
    "balance: destroy a chunk": Phase.WORKING,
    "balance: release a free chunk": Phase.DRAINING,
    "balance: populate": Phase.POPULATING,
    "reclaim: release pages": Phase.RELEASING,
    "reclaim: flush the TLB": Phase.FLUSHING,
    "shrink: release pages": Phase.RELEASING,
}
"""The phase of each gap that holds a chunk, by its name."""

_SEARCHING = Position(Phase.SEARCHING, NOWHERE, 0, 0, 0, 0)
_WORKING = Position(Phase.WORKING, NOWHERE, 0, 0, 0, 0)


_OF_THE_WORK = ("balance", "reclaim", "shrink")  # how gaps of the balance work are named


class UnknownGap(ValueError):
    """A gap that holds a chunk and has no phase."""


def phase_of(gap: Gap) -> Phase:
    """Return the phase of a gap that holds a chunk; raise UnknownGap."""
    try:
        return PHASES[gap.name]
    except KeyError:
        raise UnknownGap(f"gap {gap.name!r} holds a chunk and has no phase") from None


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
        return _WORKING if gap.name.startswith(_OF_THE_WORK) else _SEARCHING
    c = gap.chunk.id
    if phase is Phase.FLUSHING:
        return Position(phase, c, 0, 0, gap.start, gap.end)
    if phase is Phase.RELEASING and stale is not None:
        released = stale.members()
        lo, hi = (released[0], released[-1] + 1) if released else (nr_pages, 0)
        return Position(phase, c, gap.start, gap.end, lo, hi)
    return standing(phase, c, gap.start, gap.end)

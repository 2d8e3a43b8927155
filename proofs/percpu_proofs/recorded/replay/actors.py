"""Operations under way in a replay, and which events end the gaps that they stand in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from percpu_proofs.recorded.replay.requests import AreaAddress, MapSearch, TraceRequest
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.gaps import Gap, Kind, Steps

SHOWN_BY: Final[dict[Kind, type[ev.Event]]] = {
    Kind.CREATE: ev.CreateChunkEvent,
    Kind.GROW: ev.CreateChunkEvent,
    Kind.FILL: ev.Populated,
    Kind.POPULATE: ev.Populated,
    Kind.DRAIN: ev.Depopulated,
    Kind.RELEASE: ev.Depopulated,
    Kind.DESTROY: ev.DestroyChunkEvent,
}
"""The event that tells of the step which leaves a gap; of other gaps none does."""

CREATING: Final = frozenset((Kind.CREATE, Kind.GROW))


def shown(gap: Gap | None) -> str:
    """Return a gap in words."""
    if gap is None:
        return "finished"
    if gap.chunk is None:
        return gap.name
    return f"{gap.name} {gap.chunk.base_addr:x} pages [{gap.start}, {gap.end})"


@dataclass(slots=True, eq=False)
class ReplayActor:
    """An operation under way."""

    kind: str  # of its moments
    at: int  # the event that they are named by
    steps: Steps[Any] | None = None  # None: not begun
    gap: Gap | None = None
    seen: bool = False  # an event has told that what the gap is for is being done
    done: bool = False
    nth: int = 0  # steps taken
    since: int = 0  # the event before which the next step may lie
    changes: int = 0  # steps that all had taken when it became possible

    def holds(self, base: int, start: int, end: int) -> bool:
        """Return whether it stands in a gap with pages [start, end) of the chunk at `base`."""
        gap = self.gap
        if gap is None or gap.chunk is None:
            return False
        return (gap.chunk.base_addr, gap.start, gap.end) == (base, start, end)


@dataclass(slots=True, eq=False)
class Call(ReplayActor):
    """A request under way."""

    request: TraceRequest = field(
        default_factory=lambda: TraceRequest(-1, 0, 0, False, False, 0, None)
    )
    attempts: list[MapSearch] = field(default_factory=list)
    outcome: AreaAddress | None = None


@dataclass(slots=True, eq=False)
class Work(ReplayActor):
    """A run of the balance work."""

    entered: bool = False  # it was seen to enter

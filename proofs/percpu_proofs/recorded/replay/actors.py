"""Operations under way in a replay, and when they take their steps.

Which events end the gaps that they stand in; moments that a trace leaves open, and the
contradictions that show one was assumed wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from percpu_proofs.recorded.replay.requests import AreaAddress, MapSearch, TraceRequest
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.gaps import Gap, Kind, Steps


class Moment(NamedTuple):
    """One point in time that no event shows: the `nth` step of an operation.

    `call`: of the request whose first event is `at` (its print, or the chunk that it creates);
    `work`: of the run of the balance work that was entered, or possible, at event `at`;
    `again`: a search in vain of the request whose area is taken at event `at`, before that;
    `creator`: not a point in time: which request makes the chunk of event `at`.
    """

    kind: str
    at: int
    nth: int = 0


class MomentChoice(NamedTuple):
    """A moment and the event before which it was taken to lie.

    Locks and the order of events allow it before any event from `since` to `until`.
    """

    moment: Moment
    before: int
    since: int
    until: int


Order = dict[Moment, int]
"""Events before which moments lie, where that is not the rule's guess."""


class Contradiction(Exception):
    """The model, in the order assumed so far, cannot have produced an event.

    `remedies` are other moments worth trying, best first.
    """

    def __init__(
        self, index: int, kind: str, detail: str, remedies: tuple[tuple[Moment, int], ...] = ()
    ) -> None:
        super().__init__(f"event {index}: {kind}: {detail}")
        self.index = index
        self.kind = kind
        self.detail = detail
        self.remedies = remedies


SHOWN_BY: Final[dict[Kind, type[ev.TraceEvent]]] = {
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

    @property
    def moment(self) -> Moment:
        """When it takes its next step."""
        return Moment(self.kind, self.at, self.nth)

    def stands(self, *kinds: Kind) -> bool:
        """Return whether it stands in a gap of one of these kinds."""
        return self.gap is not None and self.gap.kind in kinds

    def holds(self, base: int, start: int = 0, end: int = 0) -> bool:
        """Return whether it stands in a gap with pages [start, end) of the chunk at `base`."""
        gap = self.gap
        if gap is None or gap.chunk is None:
            return False
        return (gap.chunk.base_addr, gap.start, gap.end) == (base, start, end)


@dataclass(slots=True, eq=False)
class Call(ReplayActor):
    """A request under way."""

    request: TraceRequest = field(kw_only=True)
    attempts: list[MapSearch] = field(default_factory=list)
    outcome: AreaAddress | None = None


@dataclass(slots=True, eq=False)
class Work(ReplayActor):
    """A run of the balance work."""

    entered: bool = False  # it was seen to enter

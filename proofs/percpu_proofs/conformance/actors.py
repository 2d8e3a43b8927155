"""The two kinds of kernel work that release pcpu_lock: an allocation, and the balance work."""

from __future__ import annotations

from dataclasses import dataclass, field

from percpu_proofs.conformance.requests import Attempt, Place, Request
from percpu_proofs.conformance.timing import Moment
from percpu_reference.chunk import Area
from percpu_reference.gaps import Gap, Kind, Steps

POPULATE = "populate"
RELEASE = "release"
DESTROY = "destroy"
MAKE = "create"
SILENT = "silent"

_EVENTS = {
    Kind.CREATE: MAKE,
    Kind.GROW: MAKE,
    Kind.FILL: POPULATE,
    Kind.POPULATE: POPULATE,
    Kind.DRAIN: RELEASE,
    Kind.RELEASE: RELEASE,
    Kind.DESTROY: DESTROY,
}


def kind_of(gap: Gap) -> str:
    """Return which event ends a gap: one of the names above; SILENT if none does."""
    return _EVENTS.get(gap.kind, SILENT)


def fits(gap: Gap, base: int, start: int, end: int) -> bool:
    """Return whether the gap holds pages [start, end) of the chunk at `base`."""
    chunk = gap.chunk
    return chunk is not None and (chunk.base_addr, gap.start, gap.end) == (base, start, end)


def shown(gap: Gap | None) -> str:
    """Return a gap in words."""
    if gap is None:
        return "finished"
    if gap.chunk is None:
        return gap.name
    return f"{gap.name} {gap.chunk.base_addr:x} pages [{gap.start}, {gap.end})"


@dataclass(slots=True)
class Allocation:
    """A request in progress."""

    request: Request
    steps: Steps[Area | None]
    attempts: list[Attempt] = field(default_factory=list)
    gap: Gap | None = None
    seen: bool = False  # the event that ends the gap has come
    done: bool = False
    outcome: Place | None = None


@dataclass(slots=True)
class Work:
    """The balance work: asked for, entered, running, or none of them."""

    asked: int = -1  # the event from which on it may begin, -1 if it may not
    entered: int = -1  # the event at which it was seen to enter, -1 if it is not inside
    steps: Steps[None] | None = None
    gap: Gap | None = None
    seen: bool = False  # the event that ends the gap has come
    begun: int = 0  # the event before which it began
    since: int = 0  # the event before which the gap began
    nth: int = 0  # gaps so far in this run
    moment: Moment = field(default=Moment("work", -1))  # the one at which this run began

    def stop(self) -> None:
        """Forget a run that has ended."""
        self.steps = None
        self.gap = None
        self.seen = False

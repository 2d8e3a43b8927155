"""Memory held while a workload runs, the balance work beside it as a schedule says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from percpu_proofs.headline.workload import Phase, Workload
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Area
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator, build

Progress = Callable[[int, int], None]

SAMPLES = 400  # moments at which memory is noted


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the balance work runs among the callers' operations, which no trace shows.

    It begins `delay` operations after it was asked for. Each time that it releases pcpu_lock to
    map, unmap or flush pages, `gap` operations run before it goes on. With a seed either number is
    drawn anew each time, from 0 to twice itself. A request that may sleep waits for pcpu_alloc_mutex,
    which is to say that the work runs to its end first. At a phase all is quiet and the work done.
    """

    delay: int = 0
    gap: int = 0
    seed: int | None = None

    def __str__(self) -> str:
        drawn = "" if self.seed is None else f", drawn with seed {self.seed}"
        return f"delay {self.delay}, gap {self.gap}{drawn}"


@dataclass(frozen=True, slots=True)
class PhaseFigure:
    """A phase on the model, beside the recorded kernel. In kB of all units."""

    name: str
    operation: int
    percpu_kb: int
    stranded_kb: int  # of it in empty pages of isolated chunks
    recorded_kb: int
    recorded_stranded_kb: int

    @property
    def ratio(self) -> float:
        """The model's memory by the recorded kernel's."""
        return self.percpu_kb / self.recorded_kb


@dataclass(slots=True)
class Curve:
    """One workload run on one variant."""

    variant: str
    schedule: Schedule
    phases: list[PhaseFigure] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)  # operations done, kB
    works: int = 0  # runs of the balance work
    seconds: float = 0.0

    @property
    def given_back(self) -> float:
        """The share of the most memory held at a phase that is not held at the last."""
        most = max(phase.percpu_kb for phase in self.phases)
        return 1 - self.phases[-1].percpu_kb / most

    def as_json(self) -> dict[str, Any]:
        """Return the curve as JSON types."""
        phases = [asdict(phase) | {"ratio": round(phase.ratio, 4)} for phase in self.phases]
        rounded = {"seconds": round(self.seconds, 3), "given_back": round(self.given_back, 4)}
        return asdict(self) | {"phases": phases} | rounded


def run_workload(
    workload: Workload,
    variant: str | type[Allocator],
    schedule: Schedule,
    progress: Progress | None = None,
) -> Curve:
    """Run a workload on a variant from boot, and return the memory that it held."""
    began = time.perf_counter()
    name = variant if isinstance(variant, str) else variant.__name__
    curve = Curve(name, schedule)
    player = Player(build(variant, workload.geometry), schedule)
    allocator = player.allocator
    kb = workload.units * workload.geometry.page // 1024  # of one populated page
    phases = {phase.operation: phase for phase in workload.phases}
    total = len(workload.operations)
    stops = {*range(0, total, max(total // SAMPLES, 1)), *phases, total}
    done = 0
    for stop in sorted(stops):
        player.play(workload.operations[done:stop])
        done = stop
        for phase in (phase for phase in workload.phases if phase.operation == stop):
            player.settle()
            curve.phases.append(_figure(phase, allocator, kb))
        curve.memory.append((done, allocator.nr_populated * kb))
        if progress is not None:
            progress(done, total)
    curve.works = player.works
    curve.seconds = time.perf_counter() - began
    return curve


def _figure(phase: Phase, allocator: Allocator, kb: int) -> PhaseFigure:
    stranded = sum(chunk.nr_empty_pop_pages for chunk in allocator.chunks() if chunk.isolated)
    return PhaseFigure(
        phase.name,
        phase.operation,
        allocator.nr_populated * kb,
        stranded * kb,
        phase.percpu_kb,
        phase.stranded_kb,
    )


class Player:
    """One allocator, its callers' handles, and the balance work in progress."""

    def __init__(self, allocator: Allocator, schedule: Schedule) -> None:
        self.allocator = allocator
        self.works = 0
        self._schedule = schedule
        self._random = None if schedule.seed is None else Random(schedule.seed)
        self._handles: dict[int, Area | None] = {}
        self._steps: Steps[None] | None = None  # the work, while it runs
        self._wait = self._drawn(schedule.delay)  # operations until it begins or goes on

    def play(self, operations: Sequence[Operation]) -> None:
        """Apply allocations and frees, the balance work in between."""
        allocator, handles = self.allocator, self._handles
        for kind, handle, size, align, reserved, gfp in operations:
            if kind == "f":
                allocator.free(handles.pop(handle))
            else:
                if self._steps is not None and not allocator.is_atomic(gfp):
                    self._finish()
                handles[handle] = allocator.alloc(size, align, reserved=reserved, gfp=gfp)
            if self._steps is not None or allocator.work_pending:
                if self._wait:
                    self._wait -= 1
                else:
                    self._go_on()

    def settle(self) -> None:
        """Run the balance work until none is asked for."""
        while self._steps is not None or self.allocator.work_pending:
            self._finish()

    def _go_on(self) -> None:
        """Begin the work, or leave the gap it stands in, up to the next one that lasts."""
        if self._steps is None:
            self._steps = self.allocator.balance_workfn()
        for gap in self._steps:
            if gap.chunk is not None:  # the others take no time to speak of
                self._wait = self._drawn(self._schedule.gap)
                if self._wait:
                    return
        self._ended()

    def _finish(self) -> None:
        """Run the work to its end with nothing beside it, begun or not."""
        for _ in self._steps or self.allocator.balance_workfn():
            pass
        self._ended()

    def _ended(self) -> None:
        self._steps = None
        self.works += 1
        self._wait = self._drawn(self._schedule.delay)

    def _drawn(self, number: int) -> int:
        return number if self._random is None else self._random.randint(0, 2 * number)

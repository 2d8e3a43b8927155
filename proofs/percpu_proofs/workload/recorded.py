"""Recorded workloads: what a kernel was asked for, and what a variant that is asked the same holds.

No trace shows when the balance work runs among the requests, so a schedule says that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from percpu_proofs import data
from percpu_proofs.recorded.replay.marks import kernel_release, phase_begun, types_of_chunks
from percpu_proofs.recorded.replay.requests import AreaAddress, make_plan
from percpu_proofs.recorded.states.text import read_snapshot
from percpu_proofs.recorded.traces.events import Alloc, Free
from percpu_proofs.recorded.traces.reader import TraceRun, is_run, read_run
from percpu_proofs.run.inputs import InputError, read_json, read_text
from percpu_proofs.run.operations import Operation, read_operations
from percpu_proofs.run.runner import Progress
from percpu_reference.chunk import Area
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator, build, of_release, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT
from percpu_spec.views import ChunkView

STAGES = ("before", "created", "removed")
FACTS = "workloads.json"  # what is known of the shipped workloads, beside them

_SIZES = ("unit", "static", "reserved", "dyn", "cpus", "groups", "spare", "page")
"""That machines differ in."""


@dataclass(frozen=True, slots=True)
class WorkloadMark:
    """A marked moment of a run, and what the kernel held then, in kB of all units."""

    name: str
    operation: int  # operations before it
    percpu_kb: int  # populated pages: what /proc/meminfo calls Percpu
    stranded_kb: int  # of it in empty pages of isolated chunks


@dataclass(frozen=True, slots=True)
class Workload:
    """Allocations and frees of a run, and its phases."""

    name: str
    kernel: str  # release of the kernel that was recorded
    geometry: Geometry
    operations: list[Operation]
    phases: tuple[WorkloadMark, ...]

    @property
    def variant(self) -> str:
        """The variant that stands for the recorded kernel; empty if there is none."""
        return of_release(self.kernel)

    def facts(self) -> dict[str, Any]:
        """Return all but the operations as JSON types."""
        return {
            "kernel": self.kernel,
            "geometry": {size: getattr(self.geometry, size) for size in _SIZES},
            "phases": [
                asdict(phase) for phase in self.phases
            ],
        }


def shipped() -> list[str]:
    """Return the names of the workloads that ship with the package."""
    return sorted(_facts())


def published() -> list[dict[str, Any]]:
    """Return figures of other machines: source, kernel, and kB before, created and removed."""
    return list(read_json(read_text(data.folder("workload") / "published.json")))


def load(name: str) -> Workload:
    """Return a workload by its name, or that of the recorded run in a folder.

    Raises InputError for what is neither, TraceError for a run that cannot be read whole.
    """
    if name in shipped():
        listed = read_operations(data.folder("workload") / f"{name}.ops.gz")
        facts = _facts()[name]
        return Workload(
            name,
            facts["kernel"],
            Geometry(memcg=True, **facts["geometry"]),
            listed.operations,
            tuple(WorkloadMark(**phase) for phase in facts["phases"]),
        )
    if not is_run(Path(name)):
        expected = f"one of {', '.join(shipped())}, or the folder of a recorded run"
        raise InputError("WORKLOAD", None, expected, name)
    return derive(read_run(Path(name)))


def derive(run: TraceRun) -> Workload:
    """Return what a recorded run asked for, in the order in which its events were printed.

    A request is an accounted one if its flags say so; where a kernel with two types of chunks
    prints no flags, if it was given an area in a memcg chunk. That is all that is taken from the
    outcomes. Raises InputError if no state was recorded.
    """
    kernel = kernel_release(run)
    variant = of_release(kernel)
    two_types = bool(variant) and variant_class(variant).chunk_types > 1
    types = types_of_chunks(run) if two_types else {}
    plan = make_plan(run.trace, set(), types)
    operations: list[Operation] = []
    phases: list[WorkloadMark] = []
    handles: dict[AreaAddress, int] = {}
    spare: list[int] = []  # a handle is used again, as small numbers keep the list small
    for index, event in enumerate(run.trace.events):
        request = plan.printed.get(index)
        if request is not None:
            handle = spare.pop() if spare else len(handles) + 1
            accounted = isinstance(event, Alloc) and "ACCOUNT" in (event.gfp or "")
            gfp = request.gfp | (ACCOUNT if accounted else 0)
            operations.append(("a", handle, request.size, request.align, request.reserved, gfp))
            if request.expected is not None:
                handles[request.expected] = handle
            else:  # no caller has what the kernel refused
                operations.append(("f", handle, 0, 0, False, 0))
                spare.append(handle)
        elif isinstance(event, Free):
            handle = handles.pop(AreaAddress(event.base, event.off))
            operations.append(("f", handle, 0, 0, False, 0))
            spare.append(handle)
        elif (name := phase_begun(event)) in run.states:
            snapshot = read_snapshot(run.states[name], run.geometry)
            pages = snapshot.nr_populated, stranded(snapshot.chunks())
            in_kb = (count * kb_of_page(run.geometry) for count in pages)
            phases.append(WorkloadMark(name, len(operations), *in_kb))
    if not phases:
        raise InputError(run.trace.path, None, "a mark at which a state was recorded")
    geometry = replace(run.geometry, memcg=True)  # so that accounted requests are told apart
    return Workload(run.name, kernel, geometry, operations, tuple(phases))


def kb_of_page(geometry: Geometry) -> int:
    """Return the kB that one populated page takes, in all units."""
    return geometry.units * geometry.page // 1024


def stranded(chunks: Iterable[ChunkView]) -> int:
    """Return the empty pages of isolated chunks, of one unit."""
    return sum(chunk.nr_empty_pop_pages for chunk in chunks if chunk.isolated)


def _facts() -> dict[str, Any]:
    return dict(read_json(read_text(data.folder("workload") / FACTS)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the balance work runs among the callers' operations, which no trace shows.

    It begins `delay` operations after it was asked for. Each time that it releases pcpu_lock to
    map, unmap or flush pages or to destroy a chunk, `gap` operations run before it goes on. With a
    seed either number is drawn anew each time, from 0 to twice itself. A request that may sleep
    waits for pcpu_alloc_mutex: the work runs to its end first.
    """

    delay: int = 0
    gap: int = 0
    seed: int | None = None

    def __str__(self) -> str:
        drawn = "" if self.seed is None else f", drawn with seed {self.seed}"
        return f"delay {self.delay}, gap {self.gap}{drawn}"


USUAL = Schedule(0, 50)
"""With this gap as many pages are stranded in isolated chunks as on the recorded 6.12 with four
CPUs (cg612_4), so it is fitted to one figure of one run."""

TIMINGS: tuple[Schedule, ...] = (
    *(Schedule(0, gap) for gap in (0, 10, 20, 50, 100)),
    *(Schedule(30, gap) for gap in (0, 50)),
    *(Schedule(300, gap) for gap in (0, 50)),
    *(Schedule(0, 50, seed) for seed in (1, 2, 3)),
)
"""Other moments, to show what hangs on them."""


class Player:
    """One allocator, its callers' handles, and the balance work in progress."""

    def __init__(self, allocator: Allocator, schedule: Schedule) -> None:
        self.allocator = allocator
        self.works = 0
        self._schedule = schedule
        self._random = None if schedule.seed is None else Random(schedule.seed)
        self._handles: dict[int, Area | None] = {}
        self._steps: Steps[None] | None = None  # the work, while it runs
        self._wait = self._draw(schedule.delay)  # operations until it begins or goes on

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
                self._wait = self._draw(self._schedule.gap)
                if self._wait:
                    return
        self._end_run()

    def _finish(self) -> None:
        """Run the work to its end with nothing beside it, begun or not."""
        for _ in self._steps or self.allocator.balance_workfn():
            pass
        self._end_run()

    def _end_run(self) -> None:
        self._steps = None
        self.works += 1
        self._wait = self._draw(self._schedule.delay)

    def _draw(self, number: int) -> int:
        return number if self._random is None else self._random.randint(0, 2 * number)


def at_rest_after(workload: Workload, allocator: Allocator) -> Allocator:
    """Return an allocator after a workload, the balance work beside it as usual and then done."""
    player = Player(allocator, USUAL)
    player.play(workload.operations)
    player.settle()
    return allocator


SAMPLES = 400  # moments at which memory is noted
BANDS = {"before": 0.05, "created": 0.05, "removed": 0.25}
"""How far the variant of the recorded kernel may be from it, by stage, as a share of its memory."""


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

    @property
    def unstranded_kb(self) -> int:
        """What is held but for stranded pages."""
        return self.percpu_kb - self.stranded_kb


@dataclass(slots=True)
class Curve:
    """One workload run on one variant."""

    variant: str
    schedule: Schedule
    phases: list[PhaseFigure] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)  # operations done, kB
    stranded: list[int] = field(default_factory=list)  # of it in empty pages of isolated chunks
    works: int = 0  # runs of the balance work
    seconds: float = 0.0

    @property
    def stages(self) -> dict[str, PhaseFigure]:
        """The phases before, created and removed of the cgroup workload, the last of each."""
        return {stage: p for p in self.phases for stage in STAGES if stage in p.name}

    @property
    def outside(self) -> list[str]:
        """The stages at which memory is too far from the recorded kernel's (BANDS)."""
        return [s for s, p in self.stages.items() if abs(p.ratio - 1) > BANDS[s]]

    @property
    def given_back(self) -> float:
        """The share of the most memory held at a phase that is not held at the last."""
        most = max(phase.percpu_kb for phase in self.phases)
        return 1 - self.phases[-1].percpu_kb / most

    def as_json(self) -> dict[str, Any]:
        """Return the curve as JSON types."""
        phases = [asdict(phase) | {"ratio": round(phase.ratio, 4)} for phase in self.phases]
        return asdict(self) | {
            "phases": phases,
            "given_back": round(self.given_back, 4),
            "outside": self.outside,
            "seconds": round(self.seconds, 3),
        }


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
    kb = kb_of_page(workload.geometry)
    total = len(workload.operations)
    stops = {*range(0, total, max(total // SAMPLES, 1)), total}
    stops.update(phase.operation for phase in workload.phases)
    done = 0
    for stop in sorted(stops):
        player.play(workload.operations[done:stop])
        done = stop
        marks = [mark for mark in workload.phases if mark.operation == stop]
        if marks:
            player.settle()
        held, empty = allocator.nr_populated * kb, stranded(allocator.chunks()) * kb
        curve.phases += (
            PhaseFigure(mark.name, stop, held, empty, mark.percpu_kb, mark.stranded_kb)
            for mark in marks
        )
        curve.memory.append((done, held))
        curve.stranded.append(empty)
        if progress is not None:
            progress(done, total)
    curve.works = player.works
    curve.seconds = time.perf_counter() - began
    return curve

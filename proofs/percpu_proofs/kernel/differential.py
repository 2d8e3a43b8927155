"""Random cases on the model and a compiled kernel: what was run, and the first difference."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any, Final

from percpu_proofs import variant_errors
from percpu_proofs.choices import drawn
from percpu_proofs.conformance.difference import Difference
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel import interleaved
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.draws import Case, draw_case
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.interleaved import FoundSchedule
from percpu_proofs.kernel.model import Model
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.kernel.shrink import run_case, shrink
from percpu_proofs.spread import start_worker
from percpu_spec.geometry import Geometry

CASES: Final = 20
"""Cases of one task."""
SCHEDULES: Final = 400
"""Schedules of one task that draws schedules."""
OPERATIONS: Final = 1000
"""Operations of a case, about."""
TRIES: Final = 2000
"""Of leaving something out of a case that shows a difference."""
TRIES_OF_SCHEDULES: Final = 300
GRACE: Final = 10.0
"""Seconds that workers get to end the case they are at, when a run is interrupted."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some cases, or some schedules, given by their seed."""

    library: Library
    model: Model
    seed: int
    judge: bool
    cases: int = CASES
    operations: int = OPERATIONS
    schedules: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A case that shows a difference at its last operation."""

    library: Library
    case: Case
    difference: Difference
    stopped: str = ""  # why more may be left out


@dataclass(slots=True)
class Tally:
    """What was compared."""

    cases: int = 0
    operations: int = 0
    chunks: int = 0  # most that lived at the same time
    geometries: set[Geometry] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)  # of operations
    broken: Counter[str] = field(default_factory=Counter)  # clauses, by the kernel's states
    judged: int = 0
    alone: int = 0  # operations behind a difference, which the kernel did by itself
    schedules: int = 0
    steps: int = 0  # of schedules
    found_schedule: FoundSchedule | None = None
    found: Found | None = None
    seconds: float = 0.0
    interrupted: bool = False

    def add(self, other: Tally) -> None:
        """Take over what another part of the run did."""
        self.cases += other.cases
        self.operations += other.operations
        self.chunks = max(self.chunks, other.chunks)
        self.geometries |= other.geometries
        self.kinds += other.kinds
        self.broken += other.broken
        self.judged += other.judged
        self.alone += other.alone
        self.schedules += other.schedules
        self.steps += other.steps
        self.found = self.found or other.found
        self.found_schedule = self.found_schedule or other.found_schedule

    @property
    def differs(self) -> bool:
        """Whether a difference was found."""
        return self.found is not None or self.found_schedule is not None


def run_task(task: Task, into: Tally | None = None) -> Tally:
    """Draw and run the cases or schedules of a task, up to the first difference; shrink that.

    Fills `into` as it goes on and returns it.
    """
    tally = Tally() if into is None else into
    if task.schedules:
        return _run_schedules(task, tally)

    for number in range(task.cases):
        if tally.found is not None or _stopped():
            break
        choices = drawn(f"{task.seed}/{number}")
        tally.add(run_one(task, draw_case(choices, task.library.form, task.operations)))
    return tally


def _run_schedules(task: Task, tally: Tally) -> Tally:
    for number in range(task.seed * task.schedules, (task.seed + 1) * task.schedules):
        if _stopped():
            break
        plan = interleaved.draw(number, task.library.form.page)
        done, _ = interleaved.run_drawn(task.library, task.model, plan, number)
        tally.schedules += 1
        tally.steps += done.steps
        tally.geometries.add(plan.sizes)
        tally.broken.update(done.broken.keys())
        if done.difference is not None:
            tally.found_schedule = interleaved.shrunk(
                task.library, task.model, plan, number, TRIES_OF_SCHEDULES
            )
            break
    return tally


def run_one(task: Task, case: Case) -> Tally:
    """Run one case on both; shrink the difference if there is one.

    The kernel goes on behind it, and is judged by itself.
    """
    tally = Tally(cases=1, geometries={case.geometry})
    tally.kinds.update(operation[0] for operation in case.operations)
    difference: Difference | None
    try:
        pair = Pair(task.library, case.geometry, task.model, judge=task.judge)
    except KernelStopped as stopped:
        difference = Difference("stopped", str(stopped), "boots")
        tally.found = Found(task.library, Case(case.geometry, []), difference)
        return tally
    try:
        difference = pair.boot_difference()
        for number, operation in enumerate(case.operations if difference is None else (), 1):
            difference = pair.step(number, operation)
            tally.operations = number
            if difference is not None:
                break
        if difference is not None and task.judge:
            tally.alone = pair.go_on_alone(case.operations[tally.operations :])
        tally.chunks = sum(1 for _ in pair.machine.allocator.chunks())
        tally.broken += pair.broken
        tally.judged = tally.operations if task.judge else 0
    finally:
        pair.close()
    if difference is not None:
        tally.found = shrunk(task, Case(case.geometry, case.operations[: tally.operations]))
    return tally


def shrunk(task: Task, case: Case) -> Found:
    """Return a difference that a case shows, made small."""
    judge = task.judge and _needs_judge(task, case)

    def trial(operations: Sequence[Any]) -> int | None:
        attempt = Case(case.geometry, list(operations))
        result = run_case(task.library, attempt, task.model, judge=judge, every=judge)
        return None if result is None else result[0]

    shrunk_case = shrink(case.geometry, case.operations, trial, TRIES)
    small = shrunk_case.best
    # the trials looked at the last state only: the difference may show before
    again = run_case(task.library, small, task.model, judge=judge)
    if again is None:  # the library itself is not deterministic; say so with the whole case
        return Found(task.library, case, Difference("repeat", "differs once", "agrees again"))
    last = Case(small.geometry, small.operations[: again[0]])
    return Found(task.library, last, again[1], shrunk_case.stopped)


def _needs_judge(task: Task, case: Case) -> bool:
    return run_case(task.library, case, task.model) is None


_stop: Event | None = None  # in a worker: set when the run is interrupted


def _begin(stop: Event) -> None:
    """Leave signals to the parent, which asks the workers for what they have."""
    global _stop
    _stop = stop
    start_worker()


def _stopped() -> bool:
    return _stop is not None and _stop.is_set()


def run_tasks(
    tasks: Iterator[Task],
    into: Tally,
    *,
    jobs: int,
    operations: int | None,
    seconds: float | None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run tasks until so many operations are done, the time is over or a difference is found.

    Fills `into` as it goes on, for a caller that may be interrupted.
    """
    began = time.monotonic()

    def enough() -> bool:
        into.seconds = time.monotonic() - began
        if progress is not None:
            if operations is not None:
                progress(min(into.operations, operations), operations)
            elif seconds is not None:
                progress(int(min(into.seconds, seconds)), int(seconds))
        # a difference of a schedule says less than one of a list: one case at least is tried too
        return (
            into.found is not None
            or (into.found_schedule is not None and into.cases > 0)
            or (operations is not None and into.operations >= operations)
            or (seconds is not None and into.seconds >= seconds)
        )

    if jobs == 1:
        while not enough():
            part = Tally()
            try:
                run_task(next(tasks), part)
            finally:
                into.add(part)
                into.seconds = time.monotonic() - began
        return
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin, initargs=(stop,)
    ) as pool:
        running: set[Future[Tally]] = set()
        try:
            while not enough():
                while len(running) < 2 * jobs:
                    limit = variant_errors.LIMIT
                    task = pool.submit(variant_errors.run_guarded, limit, run_task, next(tasks))
                    running.add(task)
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    into.add(future.result())
        except KeyboardInterrupt:
            stop.set()
            for future in wait(running, GRACE).done:
                into.add(future.result())
            raise
        except BrokenProcessPool:
            raise InputError(
                "kernel", None, "a kernel that leaves its process alive (--jobs 1 shows where)"
            ) from None
        finally:
            into.seconds = time.monotonic() - began
            pool.shutdown(wait=False, cancel_futures=True)

"""Random cases on the model and a compiled kernel: what was run, and the first difference."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from percpu_proofs.explore.scenario import Program
from percpu_proofs.explore.shrink import shrink, simpler, smaller
from percpu_proofs.kernel import random_schedules
from percpu_proofs.kernel.cases import Case, Divergence, draw_case, go_on, run_case
from percpu_proofs.kernel.instance import KernelStopped, Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.kernel.random_schedules import DifferingSchedule
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import renumbered
from percpu_proofs.run.processes import broken_off, executor_of, submit
from percpu_proofs.run.state_record import Difference
from percpu_spec.geometry import Geometry

CASES: Final = 20
"""Cases of one task."""
SCHEDULES: Final = 400
"""Schedules of one task that draws schedules."""
OPERATIONS: Final = 1000
"""Operations of a case, about."""
TRIES: Final = 4000
"""Of leaving something out of a case that shows a difference."""
TRIES_OF_SCHEDULES: Final = 300
TRIES_THAT_STOP: Final = 500
"""Of these, those in which the kernel stops: a loop takes long until it is known to have no end."""


@dataclass(frozen=True, slots=True)
class CaseTask:
    """Some cases, or some schedules, given by their seed."""

    library: Library
    model: ModelVariant
    seed: int
    judge: bool
    cases: int = CASES
    operations: int = OPERATIONS
    schedules: int = 0


@dataclass(frozen=True, slots=True)
class DifferingCase:
    """A case that shows a difference at its last operation."""

    task: CaseTask
    case: Case
    difference: Difference
    divergence: Divergence | None = None  # what became of the case as drawn
    others: tuple[Difference, ...] = ()  # that show with it
    stopped: str = ""  # why more may be left out


_ADDED: Final = (
    "cases", "operations", "kinds", "broken", "judged", "declared", "divergences", "schedules",
    "steps", "gaps", "differing_schedules",
)  # fmt: skip
"""Of a tally, what parts of a run add up."""


@dataclass(slots=True)
class Tally:
    """What was compared."""

    cases: int = 0
    operations: int = 0  # compared, each up to the first difference of its case
    chunks: int = 0  # most that lived at the same time
    geometries: set[Geometry] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)  # of operations
    broken: Counter[str] = field(default_factory=Counter)  # clauses, by the kernel's states
    new: dict[str, str] = field(default_factory=dict)  # that the variant does not, and what is so
    judged: int = 0
    declared: int = 0  # operations with a declared difference, behind which all else is equal
    divergences: list[Divergence] = field(default_factory=list)  # one for each case that differs
    schedules: int = 0
    steps: int = 0  # of schedules
    gaps: Counter[str] = field(default_factory=Counter)  # in which an actor stood, others ran
    differing_schedules: int = 0
    differing_schedule: DifferingSchedule | None = None
    differing_case: DifferingCase | None = None
    stopped: str = ""  # why the kernel could not go on; nothing more was drawn then
    seconds: float = 0.0
    interrupted: bool = False

    def add(self, other: Tally) -> None:
        """Take over what another part of the run did."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.chunks = max(self.chunks, other.chunks)
        self.geometries |= other.geometries
        self.new = other.new | self.new
        # the shorter one takes less to be made small
        cases = filter(None, (self.differing_case, other.differing_case))
        self.differing_case = min(cases, key=lambda one: len(one.case.operations), default=None)
        self.differing_schedule = self.differing_schedule or other.differing_schedule
        self.stopped = self.stopped or other.stopped

    @property
    def behind(self) -> int:
        """Operations done behind differences."""
        return sum(divergence.operations for divergence in self.divergences)

    @property
    def done(self) -> int:
        """Operations done by both."""
        return self.operations + self.behind

    @property
    def differs(self) -> bool:
        """Whether a difference was found."""
        return self.differing_case is not None or self.differing_schedule is not None


def draw_until_interrupted(task: CaseTask) -> Tally:
    """Draw and run a task; return what was done until Ctrl-C."""
    tally = Tally()
    with suppress(KeyboardInterrupt):
        draw_task(task, tally)
    return tally


def draw_task(task: CaseTask, into: Tally | None = None) -> Tally:
    """Draw and run the cases or schedules of a task; go on to the next one behind a difference.

    Fills `into` as it goes on and returns it.
    """
    tally = Tally() if into is None else into
    if task.schedules:
        return _run_schedules(task, tally)
    for number in range(task.cases):
        if tally.stopped:
            break
        choices = drawn(f"{task.seed}/{number}")
        case = draw_case(choices, task.library.form, task.operations)
        if task.library.one_unit:
            case = replace(case, geometry=replace(case.geometry, cpus=1, groups=1, spare=0))
        tally.add(run_one(task, case))
    return tally


def _run_schedules(task: CaseTask, tally: Tally) -> Tally:
    expected = task.model.variant().EXPECTED
    for number in range(task.seed * task.schedules, (task.seed + 1) * task.schedules):
        if tally.stopped:
            break
        plan = random_schedules.draw(number, task.library.form.page)
        done, schedule = random_schedules.run_drawn(task.library, task.model, plan, number)
        tally.schedules += 1
        tally.steps += done.steps
        tally.gaps.update(done.gaps)
        tally.geometries.add(plan.sizes)
        tally.broken.update(done.broken.keys())
        for clause, (_, wrong) in done.broken.items():
            if clause not in expected:
                tally.new.setdefault(clause, wrong)
        if done.difference is not None:
            tally.differing_schedules += 1
            tally.stopped = done.stopped
            if tally.differing_schedule is None:
                tally.differing_schedule = DifferingSchedule(
                    task.library, task.model, plan, number, schedule, done.difference
                )
    return tally


def run_one(task: CaseTask, case: Case) -> Tally:
    """Run one case on both; behind a difference both go on, and the kernel is judged by itself."""
    tally = Tally(cases=1, geometries={case.geometry})
    tally.kinds.update(operation[0] for operation in case.operations)
    try:
        pair = Pair(task.library, case.geometry, task.model, judge=task.judge)
    except KernelStopped as stopped:
        stop = Difference("stopped", str(stopped), "boots")
        tally.differing_case = DifferingCase(task, Case(case.geometry, []), stop)
        tally.stopped = str(stopped)
        return tally
    with closing(pair):
        tally.operations, difference = pair.run(case.operations)
        tally.declared = pair.declared
        if difference is not None:
            at = tally.operations
            if difference.field == "stopped":
                tally.stopped = str(difference.kernel)
                left = len(case.operations) - at
                divergence = Divergence(at, 0, 0, None, "", tally.stopped, left)
            else:
                divergence = go_on(pair, at, case.operations[at:])
                tally.stopped = divergence.stopped
            tally.divergences = [divergence]
            shown = Case(case.geometry, case.operations[:at])
            tally.differing_case = DifferingCase(task, shown, difference, divergence)
        tally.chunks = sum(1 for _ in pair.driver.allocator.chunks())
        tally.broken += pair.broken
        tally.new = pair.new
        tally.judged = tally.done if task.judge else 0
    return tally


def shrink_first(tally: Tally) -> Tally:
    """Make the case that first showed a difference small, or the schedule if no case did.

    A schedule says less than a case.
    """
    if tally.differing_case is not None:
        tally.differing_case = shrink_case(tally.differing_case)
    elif tally.differing_schedule is not None:
        tally.differing_schedule = random_schedules.shrink_schedule(
            tally.differing_schedule, TRIES_OF_SCHEDULES
        )
    return tally


def shrink_case(found: DifferingCase) -> DifferingCase:
    """Return a difference made small, as far as TRIES allow.

    Stretches are left out, allocations merged, sizes, alignments and flags made plain.
    """
    task, case = found.task, found.case
    judge = task.judge and run_case(task.library, case, task.model) is None
    stops = 0

    def shows(program: Program) -> Program | None:
        nonlocal stops
        if stops == TRIES_THAT_STOP:
            return None
        attempt = Case(case.geometry, list(program.setup))
        try:
            result = run_case(
                task.library, attempt, task.model, judge=judge, every=judge, hasty=True
            )
        except HandleError:  # what a free without right names is no longer there
            return None
        if result is None:
            return None
        count, differences = result
        stops += differences[0].field == "stopped"
        return Program(program.setup[:count])

    whole = Program(tuple(case.operations))
    small = shrink(
        shows(whole) or whole, lambda best: chain(smaller(best), simpler(best)), shows, TRIES
    )
    operations = renumbered(small.best.setup)
    # the tries looked at the last state only: the difference may show before
    again = run_case(task.library, Case(case.geometry, operations), task.model, judge=judge)
    if again is None:  # the library itself is not deterministic; say so with the whole case
        return replace(found, difference=Difference("repeat", "differs once", "agrees again"))
    count, (difference, *others) = again
    stopped = small.stopped
    if stops == TRIES_THAT_STOP:
        stopped = f"stopped after {stops} tries in which the kernel stops"
    return replace(
        found, case=Case(case.geometry, operations[:count]), difference=difference,
        others=tuple(others), stopped=stopped,
    )  # fmt: skip


def run_tasks(
    tasks: Iterator[CaseTask],
    into: Tally,
    *,
    jobs: int,
    operations: int | None,
    seconds: float | None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run tasks until so many operations are done, the time is over or the kernel cannot go on.

    Fills `into` as it goes on, for a caller that may be interrupted. What first showed a difference
    is made small at the end.
    """
    began = time.monotonic()

    def enough() -> bool:
        into.seconds = time.monotonic() - began
        if progress is not None:
            if operations is not None:
                progress(min(into.done, operations), operations)
            elif seconds is not None:
                progress(int(min(into.seconds, seconds)), int(seconds))
        return (
            (bool(into.stopped) and into.cases > 0)
            or (operations is not None and into.done >= operations)
            or (seconds is not None and into.seconds >= seconds)
        )

    if jobs == 1:
        while not enough():
            part = Tally()
            try:
                draw_task(next(tasks), part)
            finally:
                into.add(part)
                into.seconds = time.monotonic() - began
        shrink_first(into)
        return
    running: deque[Future[Tally]] = deque()
    try:
        with executor_of(jobs) as executor:
            try:
                while not enough():
                    while len(running) < 2 * jobs:
                        running.append(submit(executor, draw_until_interrupted, next(tasks)))
                    # in their order, so that what was run is the same on any machine
                    into.add(running[0].result())
                    running.popleft()
                for future in running:
                    future.cancel()
                if into.differs:
                    small = submit(executor, shrink_first, into).result()
                    into.differing_case = small.differing_case
                    into.differing_schedule = small.differing_schedule
                list(broken_off(executor, running))  # the tasks under way come too late
            except KeyboardInterrupt:
                ready = [one for one in running if one.done() and not one.cancelled()]
                for future in (*ready, *broken_off(executor, running)):
                    into.add(future.result())
                raise
    except BrokenProcessPool:
        raise InputError(
            "kernel", None, "a kernel that leaves its process alive (--jobs 1 shows where)"
        ) from None
    finally:
        into.seconds = time.monotonic() - began

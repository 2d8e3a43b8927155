"""Runs operations through the contract-checked allocator: verdicts, memory over time, checksum."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from percpu_contracts.contract import Level
from percpu_contracts.monitor import Monitor
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.refine.allocator import DEPARTURE, machine_of, may_depart, with_machine
from percpu_proofs.run.driver import CallersError, Driver
from percpu_proofs.run.failures import FailedOperations, Failures
from percpu_proofs.run.operations import OperationList
from percpu_proofs.run.state_record import Recorder, checksum
from percpu_reference import build
from percpu_reference.backing import KmBacking
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import REFINE, clauses
from percpu_spec.counts import counted
from percpu_spec.geometry import Geometry

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

SAMPLES = 100  # moments at which memory is noted, and progress told
RUNG = "contracted"


def bound(contracts: Level, count: int, noun: str = "operation") -> str:
    """Return the rung of a run's verdicts, and how far they reach: how many of what.

    >>> bound("fast", 12)
    'contracted: 12 operations checked at level fast, of each area its first block'
    """
    if contracts == "off":
        return f"stated only: {counted(count, noun)} ran with contracts off"
    level = "fast, of each area its first block" if contracts == "fast" else contracts
    return f"{RUNG}: {counted(count, noun)} checked at level {level}"


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """What a run says of one clause, with its evidence."""

    clause: str
    verdict: str  # holds, violated, unchecked or not applicable
    expected: bool  # the variant declares that it breaks the clause
    evaluations: int = 0
    count: int = 0  # operations at which it was found broken
    first: int = 0  # the first of them
    line: int | None = None  # where that stands in the input
    message: str = ""


_WORSE = ("violated", "holds", "unchecked", "not applicable")


@dataclass(frozen=True, slots=True)
class Sample:
    """Backing memory at one moment: populated pages of a unit, and of all units.

    Those of units that belong to no CPU count, as they do in Percpu of /proc/meminfo.
    """

    operation: int
    pages: int
    pages_all_units: int


@dataclass(slots=True)
class RunReport:
    """One input run to its end, to a violation, or to an interruption."""

    file: str
    kind: str  # operation list or vector
    variant: str
    contracts: Level
    geometry: Geometry
    planned: int  # operations in the input
    every: int = 0  # the balance work, if asked for, runs after so many operations; 0: as listed
    operations: int = 0  # done
    allocations: int = 0  # of them
    failed: Failures | None = None
    works: int = 0  # runs of the balance work that no operation of the input asks for
    memory: list[Sample] = field(default_factory=list)
    clauses: list[ClauseVerdict] = field(default_factory=list)
    final_checksum: int | None = None
    recorded_checksum: int | None = None  # of the last state, where the input has it
    stopped_by: str | None = None  # the clause whose unexpected violation ended the run
    callers_errors: list[CallersError] = field(default_factory=list)  # frees that API-2 forbids
    notes: tuple[str, ...] = ()  # what of the input was not used, or is not known
    seconds: float = 0.0

    @property
    def violations(self) -> dict[str, ClauseVerdict]:
        """The clauses that were broken, by id."""
        return {v.clause: v for v in self.clauses if v.verdict == "violated"}

    @property
    def complete(self) -> bool:
        """Whether every operation of the input was done."""
        return self.operations == self.planned

    @property
    def checksum_agrees(self) -> bool:
        """Whether the final state has the recorded checksum, if one is recorded and was reached."""
        return self.recorded_checksum is None or self.final_checksum in (
            None,
            self.recorded_checksum,
        )

    @property
    def ok(self) -> bool:
        """Whether nothing but expected violations was found."""
        return self.stopped_by is None and self.checksum_agrees

    @property
    def bound(self) -> str:
        """The rung and bound that every verdict of this run stands on."""
        return bound(self.contracts, self.operations)

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        plain = asdict(self)
        del plain["planned"], plain["geometry"]["early"]
        plain["balance_runs"] = plain.pop("works")
        clauses = {verdict.pop("clause"): verdict for verdict in plain["clauses"]}
        return plain | {
            "every": self.every or None,
            "complete": self.complete,
            "ok": self.ok,
            "rung": RUNG if self.contracts != "off" else "stated",
            "bound": self.bound,
            "violations": {clause: clauses[clause] for clause in self.violations},
            "clauses": clauses,
            "callers_errors": [error._asdict() for error in self.callers_errors],
            "seconds": round(self.seconds, 3),
        }


def run_list(
    listed: OperationList, report: RunReport, progress: Progress | None = None
) -> Allocator:
    """Apply all operations and fill the report as they go; return the allocator.

    An unexpected violation ends the run and stands in the report. Raises InputError for a caller's
    error.
    """
    began = time.perf_counter()
    failed = FailedOperations(listed, report.geometry)
    full = report.contracts == "full"
    allocator = build(
        report.variant,
        report.geometry,
        contracts=report.contracts,
        stats=full,  # there is a clause about them
        around=lambda cls: failed.with_causes(_refined(cls) if full else cls),
    )
    driver = Driver(allocator, failed=failed.note)
    step = max(-(-report.planned // SAMPLES), 1)
    _sample(report, allocator)
    try:
        while not report.complete:
            _run(driver, listed, report, report.operations + step)
            _sample(report, allocator)
            if progress is not None:
                progress(report.operations, report.planned)
        report.final_checksum = checksum(allocator)
        if allocator.monitor is not None:  # whatever the level, the last state is judged whole
            allocator.monitor.judge(allocator, quiescent=allocator.quiescent)
    except ClauseViolation as error:
        report.stopped_by = error.clause
    finally:
        # an interrupted run keeps what it has found
        report.operations = driver.operation
        report.allocations = sum(o[0] == "a" for o in listed.operations[: report.operations])
        report.failed = failed.result(report.operations)
        report.callers_errors = driver.errors
        report.seconds = time.perf_counter() - began
        if hasattr(allocator, "checker") and allocator.monitor is not None:
            allocator.monitor.evaluated[REFINE] = allocator.checker.stretches
        report.clauses = verdicts(allocator.monitor, lambda number: listed.lines[number - 1])
        if may_depart(type(allocator)):
            report.notes += tuple(_departures(report))
    return allocator


def _run(driver: Driver, listed: OperationList, report: RunReport, stop: int) -> None:
    """Go on to an operation, the balance work where it is due and asked for."""
    stop = min(stop, report.planned)
    while report.operations < stop:
        due = stop
        if report.every:
            due = min(stop, (report.operations // report.every + 1) * report.every)
        driver.run(listed, report.operations, due)
        report.operations = driver.operation
        if report.every and due % report.every == 0 and driver.allocator.work_pending:
            driver.allocator.balance()
            report.works += 1


def _departures(report: RunReport) -> Iterator[str]:
    """Take a step that is no action of the machine from the verdicts, and say it in words."""
    for verdict in report.clauses:
        if verdict.clause == REFINE and verdict.verdict == "violated":
            report.clauses.remove(verdict)
            at = f"operation {verdict.first} (line {verdict.line})"
            yield f"at {at} it {DEPARTURE} (percpu-spec explain {REFINE}); {verdict.message}"


def _refined(cls: type[Allocator]) -> type[Allocator]:
    """Return the class followed by its variant's machine, if it has one."""
    machine = machine_of(cls, "km" if issubclass(cls, KmBacking) else "vm")
    return cls if machine is None else with_machine(cls, machine)


def _sample(report: RunReport, allocator: Allocator) -> None:
    pages = allocator.nr_populated
    report.memory.append(Sample(report.operations, pages, pages * report.geometry.units))


def verdicts(monitor: Monitor | None, line_of: Callable[[int], int]) -> list[ClauseVerdict]:
    """Return a verdict for every clause of the catalogue; `line_of` an operation, from 1."""
    if monitor is None:
        return [ClauseVerdict(clause, "unchecked", expected=False) for clause in clauses()]
    asked = monitor.asked()
    judged: list[ClauseVerdict] = []
    for clause in [*clauses(), *([REFINE] if asked.get(REFINE) else [])]:
        evaluations, broken = asked.get(clause, 0), monitor.violations.get(clause)
        if broken is not None:
            first = broken.first_operation
            verdict = ClauseVerdict(
                clause, "violated", broken.expected, evaluations, broken.count, first,
                line_of(first) if first else None, broken.first_message,
            )  # fmt: skip
        elif clause in monitor.not_applicable:
            verdict = ClauseVerdict(clause, "not applicable", expected=False)
        else:
            word = "holds" if evaluations else "unchecked"
            verdict = ClauseVerdict(clause, word, clause in monitor.expected, evaluations)
        judged.append(verdict)
    return judged


def merge_verdicts(one: list[ClauseVerdict], other: list[ClauseVerdict]) -> list[ClauseVerdict]:
    """Return the verdicts of two parts of a run: of each clause the worse, both counted."""
    if not one:
        return other
    before = {verdict.clause: verdict for verdict in one}
    together = []
    for second in other:
        first = before.pop(second.clause, replace(second, evaluations=0, count=0))
        worse = min(first, second, key=lambda each: _WORSE.index(each.verdict))
        evaluations, count = first.evaluations + second.evaluations, first.count + second.count
        together.append(replace(worse, evaluations=evaluations, count=count))
    return [*together, *before.values()]


def state_after(
    listed: OperationList,
    geometry: Geometry,
    variant: str,
    operations: int,
    progress: Progress | None = None,
) -> tuple[Allocator, list[int]]:
    """Return the allocator after so many operations, and the ids of chunks that the last changed.

    Contracts are off, so this also serves for an operation that one stopped.
    """
    allocator = build(variant, geometry, stats=True)
    driver = Driver(allocator)
    if not operations:
        return allocator, []
    step = max(-(-operations // SAMPLES), 1)
    for start in range(0, operations - 1, step):
        driver.run(listed, start, min(start + step, operations - 1))
        if progress is not None:
            progress(start, operations)
    recorder = Recorder(allocator)
    before = recorder.read().texts
    driver.run(listed, operations - 1, operations)
    after = recorder.read().texts
    return allocator, [i for i in sorted(after) if after[i] != before.get(i)]

"""Runs operations through the contract-checked allocator: verdicts, memory over time, checksum."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from percpu_contracts.contract import Level
from percpu_contracts.monitor import ClauseViolation, Monitor
from percpu_proofs.conformance.state import Recorder, checksum
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import OperationList
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import clauses
from percpu_spec.geometry import Geometry

Progress = Callable[[int, int], None]

SAMPLES = 100  # moments at which memory is noted, and progress told
RUNG = "contracted"


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


@dataclass(frozen=True, slots=True)
class Sample:
    """Backing memory at one moment: populated pages of a unit, and of all units."""

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
    operations: int = 0  # done
    memory: list[Sample] = field(default_factory=list)
    clauses: list[ClauseVerdict] = field(default_factory=list)
    final_checksum: int | None = None
    recorded_checksum: int | None = None  # of the last state, where the input has it
    stopped_by: str | None = None  # the clause whose unexpected violation ended the run
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
        if self.contracts == "off":
            return f"stated only: {self.operations} operations ran with contracts off"
        return f"{RUNG}: {self.operations} operations checked at level {self.contracts}"

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        return {
            "file": self.file,
            "kind": self.kind,
            "variant": self.variant,
            "contracts": self.contracts,
            "geometry": {k: v for k, v in asdict(self.geometry).items() if k != "early"},
            "operations": self.operations,
            "complete": self.complete,
            "ok": self.ok,
            "rung": RUNG if self.contracts != "off" else "stated",
            "bound": self.bound,
            "violations": {clause: _plain(v) for clause, v in self.violations.items()},
            "clauses": {v.clause: _plain(v) for v in self.clauses},
            "stopped_by": self.stopped_by,
            "memory": [asdict(sample) for sample in self.memory],
            "final_checksum": self.final_checksum,
            "recorded_checksum": self.recorded_checksum,
            "seconds": round(self.seconds, 3),
        }


def _plain(verdict: ClauseVerdict) -> dict[str, Any]:
    values = asdict(verdict)
    del values["clause"]
    return values


def run_list(
    listed: OperationList, report: RunReport, progress: Progress | None = None
) -> Allocator:
    """Apply all operations and fill the report as they go; return the allocator.

    An unexpected violation ends the run and stands in the report. Raises InputError for a caller's
    error.
    """
    began = time.perf_counter()
    allocator = build(report.variant, report.geometry, contracts=report.contracts)
    machine = Machine(allocator)
    step = max(-(-report.planned // SAMPLES), 1)
    _sample(report, allocator)
    try:
        while not report.complete:
            machine.run(listed, report.operations, report.operations + step)
            report.operations = machine.operation
            _sample(report, allocator)
            if progress is not None:
                progress(report.operations, report.planned)
        report.final_checksum = checksum(allocator)
    except ClauseViolation as error:
        report.stopped_by = error.clause
    finally:
        # an interrupted run keeps what it has found
        report.operations = machine.operation
        report.seconds = time.perf_counter() - began
        _conclude(report, allocator.monitor, listed)
    return allocator


def _sample(report: RunReport, allocator: Allocator) -> None:
    pages = allocator.nr_populated
    report.memory.append(Sample(report.operations, pages, pages * report.geometry.cpus))


def _conclude(report: RunReport, monitor: Monitor | None, listed: OperationList) -> None:
    """Enter a verdict for every clause of the catalogue."""
    asked = monitor.asked() if monitor is not None else {}
    report.clauses = []
    for clause in clauses():
        evaluations = asked.get(clause, 0)
        expected = monitor is not None and clause in monitor.expected
        found = monitor.violations.get(clause) if monitor is not None else None
        if found is not None:
            line = listed.lines[found.first_operation - 1] if found.first_operation else None
            verdict = ClauseVerdict(
                clause,
                "violated",
                found.expected,
                evaluations,
                found.count,
                found.first_operation,
                line,
                found.first_message,
            )
        elif monitor is not None and clause in monitor.not_applicable:
            verdict = ClauseVerdict(clause, "not applicable", False)
        else:
            word = "holds" if evaluations else "unchecked"
            verdict = ClauseVerdict(clause, word, expected, evaluations)
        report.clauses.append(verdict)


def state_after(
    listed: OperationList, geometry: Geometry, variant: str, operations: int, *, stats: bool = False
) -> Allocator:
    """Return the allocator after the first operations of a list, contracts off."""
    allocator = build(variant, geometry, stats=stats)
    if operations:
        Machine(allocator).run(listed, 0, operations)
    return allocator


def touched(
    listed: OperationList, geometry: Geometry, variant: str, operation: int
) -> tuple[Allocator, list[int]]:
    """Return the state after an operation, and the ids of the chunks that it changed.

    The run is repeated without contracts, so this also serves for an operation that one stopped.
    """
    allocator = build(variant, geometry)
    machine = Machine(allocator)
    recorder = Recorder(allocator)
    machine.run(listed, 0, operation - 1)
    before = recorder.read().texts
    machine.run(listed, operation - 1, operation)
    after = recorder.read().texts
    return allocator, [i for i in sorted(after) if after[i] != before.get(i)]

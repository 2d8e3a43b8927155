"""The jobs of a review, each run in a process of its own: hunts, scenarios, workloads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from percpu_contracts.whole_state import STATE_CLAUSES
from percpu_proofs import data
from percpu_proofs.conformance.vector_file import read_vector
from percpu_proofs.explore.alphabets import PLANS
from percpu_proofs.explore.hunt import Caught, Hunt
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Search
from percpu_proofs.explore.token import Token
from percpu_proofs.explore.watch import JUDGED
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import text_of
from percpu_reference import build

Engine = Literal["hunt", "scenario", "workload"]


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of a review: an engine's run on one variant."""

    variant: str
    engine: Engine
    what: str  # a plan's or scenario's name, or the path of a recorded run
    budget: float  # seconds, at most


@dataclass(frozen=True, slots=True)
class Example:
    """A counterexample: operations one after the other, those at once, and the schedule."""

    message: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    schedule: tuple[int, ...]
    shortest: bool  # of all within the engine's bound
    token: str | None

    @property
    def length(self) -> int:
        """Number of operations."""
        return len(self.setup) + len(self.actors)


@dataclass(slots=True)
class Outcome:
    """What a job found: how often each clause was judged, and what broke."""

    job: Job
    rung: str
    bound: str
    judged: dict[str, int] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    complete: bool = True
    seconds: float = 0.0


def jobs_for(variants: tuple[str, ...], budget: float) -> list[Job]:
    """Return all jobs of a review, the long ones first."""
    hunts = [Job(v, "hunt", plan.name, budget) for plan in PLANS for v in variants]
    loads = [Job(v, "workload", str(path), budget) for path in workloads() for v in variants]
    scenarios = [Job(v, "scenario", name, budget) for name in SCENARIOS for v in variants]
    return hunts + loads + scenarios


def workloads() -> list[Path]:
    """Return the recorded runs whose operations serve as workloads."""
    return sorted(data.folder("vectors").glob("*.jsonl.gz"))


def run(job: Job) -> Outcome:
    """Run a job to its end or to the end of its budget."""
    began = time.perf_counter()
    outcome = {"hunt": _hunt, "scenario": _scenario, "workload": _workload}[job.engine](job)
    outcome.seconds = time.perf_counter() - began
    return outcome


def _hunt(job: Job) -> Outcome:
    plan = next(p for p in PLANS if p.name == job.what)
    hunt = plan.hunt(job.variant, job.budget).run()
    clauses = set(JUDGED)
    if plan.hints:
        clauses |= set(STATE_CLAUSES)
    outcome = Outcome(
        job,
        "explored exhaustively within a bound",
        plan.bound if hunt.complete else f"all lists of up to {hunt.covered} operations "
        f"(planned {plan.longest}; out of time)",
        dict.fromkeys(clauses, hunt.steps),
        {c.clause: _example(hunt, c, plan.geometry) for c in hunt.caught.values()},
        hunt.complete,
    )
    return outcome


def _example(hunt: Hunt, caught: Caught, geometry: str) -> Example:
    setup = tuple(map(text_of, caught.setup))
    actors = tuple(map(text_of, caught.actors))
    token = Token(hunt.variant, caught.clause, geometry, setup, actors, 1, caught.schedule)
    return Example(caught.message, setup, actors, caught.schedule, True, str(token))


def _scenario(job: Job) -> Outcome:
    scenario = SCENARIOS[job.what]
    result = Search(scenario.start(job.variant)).run()
    outcome = Outcome(
        job,
        "explored exhaustively within a bound",
        f"every schedule of {len(scenario.actors)} actors and up to {scenario.works} runs of the "
        f"work: {result.schedules:,} schedules, {result.states:,} states",
        dict.fromkeys(JUDGED, result.steps),
        complete=result.complete,
    )
    for clause, found in result.findings.items():
        token = Token(
            job.variant,
            clause,
            scenario.geometry,
            scenario.setup,
            scenario.actors,
            scenario.works,
            found.schedule,
        )
        outcome.examples[clause] = Example(
            found.message, scenario.setup, scenario.actors, found.schedule, False, str(token)
        )
    return outcome


def _workload(job: Job) -> Outcome:
    vector = read_vector(Path(job.what))
    allocator = build(
        job.variant, vector.geometry, contracts="full", strict=False, stats=True
    )
    machine = Machine(allocator)
    monitor = allocator.monitor
    assert monitor is not None
    deadline = time.perf_counter() + job.budget
    operations = vector.listed.operations
    done = 0
    for number in _numbers(len(operations), deadline):
        machine.apply(number, operations[number - 1])
        done = number
    outcome = Outcome(
        job,
        "contracted",
        f"{done:,} of {len(operations):,} operations of a recorded run, contracts at full",
        dict(monitor.asked()),
        complete=done == len(operations),
    )
    for clause, violation in monitor.violations.items():
        first = violation.first_operation
        setup = tuple(text_of(operation) for operation in operations[:first])
        outcome.examples[clause] = Example(violation.first_message, setup, (), (), False, None)
    return outcome


def _numbers(count: int, deadline: float) -> Iterator[int]:
    for number in range(1, count + 1):
        if time.perf_counter() > deadline:
            return
        yield number

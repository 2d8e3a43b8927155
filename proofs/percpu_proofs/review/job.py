"""The jobs of a review, each run in a process of its own, and what they bring home."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Literal

from percpu_contracts.situations import SituationCoverage
from percpu_proofs.explore import searches
from percpu_proofs.explore.breadth import Breadth, Hunt, ListFinding, Sequences
from percpu_proofs.explore.fuzz import Fuzz
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.rerun import THEN, parts_of
from percpu_proofs.explore.scenario import KERNEL_32K, Program
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import DRAWN
from percpu_proofs.explore.token import Token, compact, read_token
from percpu_proofs.recorded.vectors import read_vector
from percpu_proofs.review.mechanisms import Mechanism, token_of, with_base
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import text_of
from percpu_reference import build
from percpu_reference.variants import variant_class
from percpu_spec.counts import counted
from percpu_spec.geometry import Geometry

Engine = Literal["sequences", "hunt", "scenario", "fuzz", "workload", "mechanism"]
KM_MEMORY = 1000
"""Pages that there are for recorded runs with km, of which some variants take all (BAL-3)."""

EXHAUSTIVE = "explored exhaustively within a bound"
FUZZED = "fuzzed"
CONTRACTED = "contracted"

FUZZED_AT = {
    "pages": KERNEL_32K,
    "accounted": f"{KERNEL_32K},memcg=1",
    "km": f"{KERNEL_32K},backing=km",
}
"""The geometries of the fuzz jobs, by name."""


_PROGRAMS = range(100, 1500)  # drawn: at least, and at most while something is sought
_FEWER = 30  # programs of a quick review
_SEED = 7  # any will do; by this one all that is sought shows early
_DEEPER = 100  # times as many steps or programs
_SOUGHT = frozenset({"COST-1", "LIST-3", "LIST-4"})
"""Declared violations that only fuzzing finds in some variant: for them it goes on."""


@dataclass(frozen=True, slots=True)
class ReviewExample:
    """A counterexample: operations one after the other, those at once, and the schedule."""

    message: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    schedule: tuple[int, ...]
    length: int  # operations; runs of the balance work that was asked for do not count
    shortest: bool  # of all within the engine's bound
    token: str | None
    geometry: str = KERNEL_32K

    @property
    def parts(self) -> Sequence[tuple[str, Sequence[str]]]:
        """How its operations run, and these: as `rerun.parts` has it."""
        if not self.schedule or self.token is None:
            return (("", (*self.setup, *self.actors)),)
        return parts_of(read_token(self.token))

    @property
    def rank(self) -> tuple[int, bool, int]:
        """What counterexamples are told apart by: the least has the fewest operations."""
        return self.length, not self.shortest, len(self.schedule)

    @property
    def at_once(self) -> list[str]:
        """The operations that run beside one another or beside the work."""
        return [text for how, said in self.parts if how not in ("", THEN) for text in said]

    @property
    def counterexample(self) -> tuple[object, ...]:
        """What was done: equal where two variants break a clause by the same."""
        return self.geometry, *self.parts

    @classmethod
    def of(cls, message: str, token: Token, *, shortest: bool) -> ReviewExample:
        """Return the counterexample that a token replays, as `compact` has it."""
        token = compact(token)
        setup, actors = token.setup, token.actors
        length = sum(operation != "b" for operation in (*setup, *actors))
        shortest |= length <= 1  # booting alone breaks nothing
        return cls(
            message, setup, actors, token.schedule, length, shortest, str(token), token.geometry
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of a review: an engine's run on one variant."""

    variant: str
    engine: Engine
    what: str  # a plan's, scenario's or geometry's name, a recorded run's path, or "RCL-3 R1"
    deep: bool = False  # go on beyond the plan's lists and programs, to many times the steps
    quick: bool = False  # lists one operation shorter than the plan's least, and fewer programs
    most: int | None = None  # steps or programs, in the place of the plan's bound
    drawn: tuple[str, Program] | None = None  # a clause, and what broke it: to be made small only
    examples: tuple[ReviewExample, ...] = ()  # of the clause of a mechanism, to begin with

    @property
    def name(self) -> str:
        """The engine and what it is set on: "hunt race", "workload 30-early-u32-c2"."""
        return f"{self.engine} {Path(self.what).name.removesuffix('.jsonl.gz')}"


@dataclass(slots=True)
class JobOutcome:
    """What a job found: how often each clause was judged in its situation, and what broke."""

    job: Job
    rung: str
    reach: str  # how far it came
    how: str  # what was done, the same for every variant
    judged: dict[str, int] = field(default_factory=dict)
    examples: dict[str, ReviewExample] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)  # of examples that may be made small
    covered: float = inf  # operations of the longest lists that were all tried
    complete: bool = True
    seconds: float = 0.0

    @property
    def engine(self) -> str:
        """Who found it, in words."""
        return self.job.name

    @property
    def bound(self) -> str:
        """How far it came in doing what."""
        return f"{self.reach}: {self.how}"


def run(job: Job) -> JobOutcome:
    """Run a job to its end."""
    began = time.perf_counter()
    outcome = _RUNS[job.engine](job)
    outcome.seconds = time.perf_counter() - began
    return outcome


def _declared(variant: str) -> frozenset[str]:
    """Return what a variant declares broken, with what its base does, which it may have mended."""
    return frozenset(c for name in with_base(variant) for c in variant_class(name).EXPECTED)


def _breadth(
    plans: Sequence[searches.AlphabetPlan], engine: type[Breadth], job: Job
) -> JobOutcome:
    plan = next(p for p in plans if p.name == job.what)
    declared = _declared(job.variant) & plan.sought
    if job.deep:
        plan = replace(plan, longest=plan.longest + 8, most=plan.most * _DEEPER)
        declared = frozenset({"all there is"})
    if job.quick:
        plan = replace(plan, least=max(plan.least - 1, 1), longest=max(plan.least - 1, 1))
    if job.most is not None:
        plan = replace(plan, most=job.most)
    search = engine(job.variant, plan, declared)
    search.run()
    short = "" if search.complete else f" of {plan.longest}, {search.stopped or 'interrupted'}"
    return JobOutcome(
        job,
        EXHAUSTIVE,
        f"all lists of up to {counted(search.covered, 'operation')}{short}",
        f"{plan.how}; {plan.bound}",
        dict(search.judged),
        {c.clause: _example(job, c, plan.geometry) for c in search.findings.values()},
        covered=search.covered,
        complete=search.complete,
    )


def _example(job: Job, caught: ListFinding, geometry: str) -> ReviewExample:
    token = token_of(caught, job.variant, geometry, f"{job.engine} {job.what}")
    return ReviewExample.of(caught.message, token, shortest=True)


def _fuzz(job: Job) -> JobOutcome:
    geometry = FUZZED_AT[job.what]
    fuzz = Fuzz(
        job.variant,
        Geometry().with_changes(geometry),
        seed=_SEED,
        least=_PROGRAMS.start,
        most=_PROGRAMS.stop * (_DEEPER if job.deep else 1) if job.most is None else job.most,
    )
    fuzz.prefixes = [
        s.prepared for s in SCENARIOS.values() if s.geometry == geometry and len(s.setup) <= 8
    ]
    if job.quick:
        fuzz.least = fuzz.most = _FEWER
    elif job.deep:
        fuzz.least = fuzz.most
    elif job.what == "pages":
        fuzz.sought = _declared(job.variant) & _SOUGHT
    if job.drawn is None:
        fuzz.run()
    else:
        fuzz.findings[job.drawn[0]] = fuzz.minimise(*job.drawn)
    return JobOutcome(
        job,
        FUZZED,
        f"{fuzz.programs:,} programs, {fuzz.callers_errors:,} frees in them the caller's errors",
        f"{fuzz.length} operations each in drawn schedules, contracts at full, some begun as a "
        f"scenario, seed {fuzz.seed}; {geometry}",
        dict(fuzz.judged),
        {c: _drawn(job, c, message, one) for c, (message, one) in fuzz.findings.items()},
        {clause: program for clause, (_, program) in fuzz.findings.items()},
    )


def _drawn(job: Job, clause: str, message: str, program: Program) -> ReviewExample:
    operations = tuple(map(text_of, program.actors))
    geometry, schedule = FUZZED_AT[job.what], program.schedule
    token = Token(
        job.variant, clause, geometry, (), operations, program.works, schedule, search=DRAWN
    )
    return ReviewExample.of(message, token, shortest=False)


def _scenario(job: Job) -> JobOutcome:
    scenario = SCENARIOS[job.what]
    result = search(scenario.start(job.variant), refine=job.deep)
    return JobOutcome(
        job,
        EXHAUSTIVE,
        f"{result.schedules:,} schedules",
        f"every schedule of {len(scenario.actors)} actors and up to {scenario.works} runs of the "
        "work",
        dict(result.witnessed),
        {
            clause: ReviewExample.of(
                found.message,
                Token.of(job.variant, clause, scenario, found.schedule),
                shortest=False,
            )
            for clause, found in result.findings.items()
        },
        complete=result.complete,
    )


def _workload(job: Job) -> JobOutcome:
    vector = read_vector(Path(job.what))
    allocator = build(
        job.variant, vector.geometry, contracts="full", strict=False, stats=True
    )
    if vector.geometry.backing == "km":
        allocator.env.memory = KM_MEMORY
    driver = Driver(allocator)
    monitor = allocator.monitor
    assert monitor is not None
    operations = vector.listed.operations
    sightings = SituationCoverage()
    done = 0
    with suppress(KeyboardInterrupt):
        for number, operation in enumerate(operations, 1):
            driver.apply(number, operation)
            done = number
            if done % 16 == 0:
                sightings.look(allocator, monitor.history, quiescent=allocator.quiescent)
    outcome = JobOutcome(
        job,
        CONTRACTED,
        f"{done:,} of {len(operations):,} operations",
        "a recorded run, contracts at full",
        dict(sightings.of(monitor.asked())),
        complete=done == len(operations),
    )
    for clause, violation in monitor.violations.items():
        first = violation.first_operation
        setup = tuple(text_of(operation) for operation in operations[:first])
        outcome.examples[clause] = ReviewExample(
            violation.first_message, setup, (), (), first, False, None, vector.geometry.text
        )
    return outcome


def _mechanism(job: Job) -> JobOutcome:
    clause, _, finding = job.what.partition(" ")
    known = [(read_token(example.token or ""), example.shortest) for example in job.examples]
    shown, bound = Mechanism(job.variant, clause, finding).find(known)
    outcome = JobOutcome(job, FUZZED, bound, "the variant with the fixes of the other mechanisms")
    if shown is not None:
        outcome.how = shown.how
        outcome.examples[clause] = ReviewExample.of(
            shown.message, shown.token, shortest=shown.shortest
        )
    return outcome


_RUNS: dict[Engine, Callable[[Job], JobOutcome]] = {
    "sequences": partial(_breadth, searches.SEQUENCES, Sequences),
    "hunt": partial(_breadth, searches.HUNTS, Hunt),
    "scenario": _scenario,
    "fuzz": _fuzz,
    "workload": _workload,
    "mechanism": _mechanism,
}

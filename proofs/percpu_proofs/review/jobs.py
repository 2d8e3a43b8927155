"""Which jobs a review of variants has, and their outcomes: run, or taken from earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from percpu_proofs import data
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import HUNTS, SEQUENCES
from percpu_proofs.review.cache import OutcomeCache
from percpu_proofs.review.job import FUZZED_AT, Engine, Job, JobOutcome, run
from percpu_proofs.review.matrix import Cell, matrix
from percpu_proofs.review.mechanisms import mechanisms, with_base
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.processes import spread
from percpu_reference.variants import RELEASES, VARIANTS, variant_class


def jobs_for(
    variants: tuple[str, ...],
    *,
    deep: bool = False,
    quick: bool = False,
    searches: Sequence[str] = (),
) -> list[Job]:
    """Return all jobs of a review: variant by variant those that find the shortest, then the rest.

    searches: engines, what they are set on ("race"), or both ("hunt race"); all unless given.
    Raises InputError for one that is none.
    """
    telling: list[tuple[Engine, Sequence[str]]] = [
        ("scenario", list(SCENARIOS)),
        ("sequences", [plan.name for plan in SEQUENCES]),
        ("hunt", [plan.name for plan in reversed(HUNTS)]),
    ]
    drawn: list[tuple[Engine, Sequence[str]]] = [
        ("fuzz", list(FUZZED_AT)),
        ("workload", list(map(str, workloads()))),
    ]
    planned = [
        Job(variant, engine, what, deep, quick)
        for kinds in (telling, drawn)
        for variant in variants
        for engine, names in kinds
        for what in names
    ]
    require_searches(searches, [word for job in planned for word in sorted(_words(job))])
    return [
        job
        for job in planned
        if not searches or not _words(job).isdisjoint(searches)
        if deep or job.engine != "scenario" or not _takes_long(job.variant, job.what)
    ]


def _words(job: Job) -> set[str]:
    """Return what a search can be named by."""
    return {job.name, job.engine, job.name.partition(" ")[2]}


def require_searches(names: Sequence[str], known: Iterable[str]) -> None:
    """Raise InputError for a search that is none of those known."""
    known = dict.fromkeys(known)
    for name in names:
        if name not in known:
            raise InputError("--search", None, one_of(name, known), name)


def _takes_long(variant: str, scenario: str) -> bool:
    """Return whether a scenario names no verdict of a variant, because the search takes long."""
    stated = "linux_6_12" if variant.partition("+")[0] in RELEASES else variant
    return stated in VARIANTS and stated not in SCENARIOS[scenario].verdicts


def workloads() -> list[Path]:
    """Return the recorded runs whose operations serve as workloads."""
    return sorted(data.folder("vectors").glob("*.jsonl.gz"))


def shrinking_jobs(outcomes: Sequence[JobOutcome]) -> list[Job]:
    """Return the jobs that make small what was drawn, where no shortest example is known."""
    short = {
        (outcome.job.variant, clause)
        for outcome in outcomes
        for clause, example in outcome.examples.items()
        if example.shortest
    }
    return [
        replace(outcome.job, drawn=(clause, program))
        for outcome in outcomes
        for clause, program in outcome.programs.items()
        if (outcome.job.variant, clause) not in short
    ]


def mechanism_jobs(outcomes: Sequence[JobOutcome]) -> list[Job]:
    """Return the jobs that look for each mechanism of the clauses that variants break by several.

    They begin with the counterexamples that are known, also of what a variant extends, those of
    that mechanism on other variants among them.
    """
    jobs = []
    for variant in dict.fromkeys(outcome.job.variant for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.job.variant in with_base(variant)]
        for one in mechanisms(variant):
            what = f"{one.clause} {one.finding}"
            known = [
                outcome.examples[one.clause]
                for outcome in mine
                if outcome.job.engine not in ("fuzz", "mechanism")  # of the first many at once
                and one.clause in outcome.examples and outcome.examples[one.clause].token
            ]  # fmt: skip
            known += [
                outcome.examples[one.clause]
                for outcome in outcomes
                if outcome.job.what == what and one.clause in outcome.examples
            ]
            known.sort(key=lambda example: example.rank[:2])
            jobs.append(Job(variant, "mechanism", what, examples=tuple(dict.fromkeys(known))))
    return jobs


def put_small(outcomes: Sequence[JobOutcome], small: Sequence[JobOutcome]) -> None:
    """Put smaller examples in the place of those of the jobs that found them."""
    for outcome in outcomes:
        for smaller in small:
            if replace(smaller.job, drawn=None) == outcome.job:
                outcome.examples |= smaller.examples


T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Workers:
    """Who runs jobs: processes of this machine or of a dask cluster, and what is kept of them."""

    jobs: int
    dask: str | None = None
    cache: OutcomeCache | None = None
    on_done: Callable[[int, int], None] = lambda done, total: None

    def run(
        self, jobs: Sequence[T], run: Callable[[T], R], cache: Any, enter: Callable[[R], None]
    ) -> tuple[list[R], int, bool]:
        """Run jobs as `spread` does, but for those whose outcome is in a cache, if there is one.

        enter gets each outcome as it is there. Returns the outcomes, those of the cache first, how
        many these are, and whether Ctrl-C came.
        """
        find = cache.find if cache is not None else lambda job: None
        cached = {job: outcome for job in jobs if (outcome := find(job)) is not None}
        for outcome in cached.values():
            enter(outcome)
        self.on_done(len(cached), len(jobs))

        def keep(outcome: R) -> None:
            if cache is not None:
                cache.keep(outcome)
            enter(outcome)

        done, interrupted = spread(
            [job for job in jobs if job not in cached], run, jobs=self.jobs, dask=self.dask,
            keep=keep, partial=True,
            on_done=lambda done, _: self.on_done(len(cached) + done, len(jobs)),
        )  # fmt: skip
        return [*cached.values(), *done], len(cached), interrupted


SECONDS_EACH: Final = 0.6
"""What a search takes a processor on average, for what is expected of a review."""


@dataclass(slots=True)
class ReviewRun:
    """The jobs of a review of variants, round by round; `run` fills the rest.

    quick, searches: not everything is done, so what does not show is no verdict. Raises InputError
    for a search that is none, UnknownVariantError, VariantFileError.
    """

    variants: tuple[str, ...]
    deep: bool = False
    quick: bool = False
    searches: tuple[str, ...] = ()
    on_outcome: Callable[[JobOutcome, Job | None], None] = lambda outcome, following: None
    outcomes: list[JobOutcome] = field(default_factory=list)
    planned: int = 0
    done: int = 0
    cached: int = 0  # of the outcomes, from earlier runs
    interrupted: bool = False
    _jobs: list[Job] = field(init=False)  # of the first round

    def __post_init__(self) -> None:
        for name in self.variants:
            variant_class(name)
        self._jobs = jobs_for(
            self.variants, deep=self.deep, quick=self.quick, searches=self.searches
        )

    @property
    def partial(self) -> bool:
        """Whether less was done than a verdict takes."""
        return self.interrupted or self.quick or bool(self.searches)

    def run(self, workers: Workers) -> None:
        """Run what is not known from earlier runs; Ctrl-C ends it with what is done.

        on_outcome gets outcomes in the order of the plan, each as soon as those before it are
        there, with the job that follows in its round. What is drawn is made small in the end, and
        each mechanism of a clause looked for.
        """
        self.outcomes = self._round(self._jobs, workers)
        if self.interrupted:
            return
        small = shrinking_jobs(self.outcomes)
        wanted = [] if self.partial else mechanism_jobs(self.outcomes)
        first: dict[str, Job] = {}  # of each mechanism; of other variants it is known then
        for job in sorted(wanted, key=lambda job: len(with_base(job.variant))):
            first.setdefault(job.what, job)
        done = self._round([*small, *first.values()], workers)
        put_small(self.outcomes, [outcome for outcome in done if outcome.job in small])
        self.outcomes += [outcome for outcome in done if outcome.job.engine == "mechanism"]
        if not self.interrupted and wanted:
            known = {(outcome.job.variant, outcome.job.what) for outcome in self.outcomes}
            again = mechanism_jobs(self.outcomes)
            left = [job for job in again if (job.variant, job.what) not in known]
            self.outcomes += self._round(left, workers)

    def cells(self) -> list[Cell]:
        """Return a cell for every clause and every variant."""
        return matrix(self.variants, self.outcomes, partial=self.partial)

    def _round(self, planned: Sequence[Job], workers: Workers) -> list[JobOutcome]:
        """Return the outcomes of jobs that depend on none of each other."""
        found: dict[Job, JobOutcome] = {}
        waiting = list(planned)

        def enter(outcome: JobOutcome) -> None:
            found[outcome.job] = outcome
            while waiting and waiting[0] in found:
                ready = found[waiting.pop(0)]
                self.on_outcome(ready, waiting[0] if waiting else None)

        done, cached, self.interrupted = workers.run(planned, run, workers.cache, enter)
        found |= {outcome.job: outcome for outcome in done}
        self.planned += len(planned)
        self.cached += cached
        self.done += len(found)
        for job in waiting:  # behind one that was broken off
            if job in found:
                self.on_outcome(found[job], None)
        return [found[job] for job in planned if job in found]

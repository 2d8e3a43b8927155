"""Which jobs a review has: what is searched first, and what depends on what that has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from percpu_proofs import data
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import HUNTS, SEQUENCES
from percpu_proofs.review.job import FUZZED_AT, Engine, Job, JobOutcome
from percpu_proofs.review.mechanisms import mechanisms
from percpu_proofs.run.inputs import InputError, one_of
from percpu_reference.variants import RELEASES, VARIANTS, base_of


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
    _require(searches, planned)
    return [
        job
        for job in planned
        if not searches or not _words(job).isdisjoint(searches)
        if deep or job.engine != "scenario" or not _takes_long(job.variant, job.what)
    ]


def _words(job: Job) -> set[str]:
    """Return what a search can be named by."""
    return {job.name, job.engine, job.name.partition(" ")[2]}


def _require(searches: Sequence[str], planned: Sequence[Job]) -> None:
    """Raise InputError for a search that no job is."""
    known = dict.fromkeys(word for job in planned for word in sorted(_words(job)))
    for name in searches:
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
        replace(outcome.job, found=(clause, program))
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
        shipped = variant in VARIANTS | RELEASES
        known_of = (variant,) if shipped else (variant, base_of(variant))
        mine = [outcome for outcome in outcomes if outcome.job.variant in known_of]
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
            known.sort(key=lambda example: (example.length, not example.shortest))
            jobs.append(Job(variant, "mechanism", what, known=tuple(dict.fromkeys(known))))
    return jobs


def put_small(outcomes: Sequence[JobOutcome], small: Sequence[JobOutcome]) -> None:
    """Put smaller examples in the place of those of the jobs that found them."""
    for outcome in outcomes:
        for smaller in small:
            if replace(smaller.job, found=None) == outcome.job:
                outcome.examples |= smaller.examples

"""Putting the outcomes of all jobs together: one verdict for each variant and clause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.review.job import CONTRACTED, EXHAUSTIVE, FUZZED, JobOutcome, ReviewExample
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import clauses

Verdict = Literal["holds", "violated", "unchecked", "not applicable"]

RUNGS = ("stated", CONTRACTED, FUZZED, EXHAUSTIVE)
"""From the weakest to the strongest."""


@dataclass(slots=True)
class Cell:
    """What is known of one clause for one variant."""

    variant: str
    clause: str
    verdict: Verdict
    expected: Verdict
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: ReviewExample | None = None
    engine: str = ""  # that found the example
    found_by: str = ""  # engine and bound of the example
    partial: bool = False  # not every job was done
    reach: Mapping[str, float] = field(default_factory=dict)  # of each engine, in operations
    mechanisms: dict[str, ReviewExample | None] = field(default_factory=dict)  # by finding
    sought: dict[str, str] = field(default_factory=dict)  # how far mechanisms were looked for

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the declared one.

        A clause that no run could have broken may be declared to hold, not to be broken. Of a
        review of which not every job was done nothing more is asked than that it contradicts
        nothing.
        """
        if self.verdict == "unchecked":
            return self.partial or self.expected == "holds"
        return self.verdict == self.expected

    @property
    def rung(self) -> str:
        """The strongest rung of the evidence."""
        reached = [e["rung"] for e in self.evidence]
        return max(reached, key=RUNGS.index) if reached else RUNGS[0]

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "expected": self.expected,
            "as_expected": self.as_expected,
            "rung": self.rung,
            "evidence": self.evidence,
            "counterexample": _plain(self.example),
            "mechanisms": {name: _plain(example) for name, example in self.mechanisms.items()},
            "mechanism_bounds": self.sought,
        }


def _plain(example: ReviewExample | None) -> dict[str, Any] | None:
    if example is None:
        return None
    return {
        "message": example.message,
        "operations": [*example.setup, *example.actors],
        "at_once": example.at_once,
        "schedule": list(example.schedule),
        "length": example.length,
        "shortest_within_bound": example.shortest,
        "token": example.token,
    }


def matrix(
    variants: Sequence[str], outcomes: Sequence[JobOutcome], *, partial: bool = False
) -> list[Cell]:
    """Return a cell for every variant and clause, in the catalogue's order.

    partial: not every job was done.
    """
    mine = {v: [outcome for outcome in outcomes if outcome.job.variant == v] for v in variants}
    return [_cell(v, clause, mine[v], partial) for v in variants for clause in clauses()]


def evidence_of(
    outcome: JobOutcome | TreeOutcome, engine: str, rung: str, count: int, *, violated: bool
) -> dict[str, Any]:
    """Return what a job says of a clause that it asked so often, with plain values only."""
    return {
        "engine": engine,
        "rung": rung,
        "bound": outcome.bound,
        "count": count,
        "seconds": round(outcome.seconds, 2),
        "violated": violated,
        "complete": outcome.complete,
    }


def _cell(variant: str, clause: str, outcomes: list[JobOutcome], partial: bool) -> Cell:
    cls = variant_class(variant)
    if clause in cls.NOT_APPLICABLE:
        reason = cls.NOT_APPLICABLE[clause]
        return Cell(variant, clause, "not applicable", "not applicable", reason)
    cell = Cell(
        variant, clause, "unchecked", "violated" if clause in cls.EXPECTED else "holds",
        partial=partial, reach={outcome.engine: outcome.covered for outcome in outcomes},
    )  # fmt: skip
    examples = []
    for outcome in outcomes:
        example = outcome.examples.get(clause)
        if outcome.job.engine == "mechanism":
            asked, _, finding = outcome.job.what.partition(" ")
            if asked == clause:
                cell.mechanisms[finding], cell.sought[finding] = example, outcome.reach
            continue
        judged = outcome.judged.get(clause, 0)
        if not judged and example is None:
            continue
        violated = example is not None
        cell.evidence.append(
            evidence_of(outcome, outcome.engine, outcome.rung, judged, violated=violated)
        )
        if example is not None:
            examples.append((example, outcome))
    if examples:
        cell.example, outcome = min(examples, key=lambda one: one[0].rank)
        cell.verdict, cell.reason = "violated", cls.EXPECTED.get(clause, "")
        cell.engine, cell.found_by = outcome.engine, f"{outcome.engine}, {outcome.bound}"
    elif cell.evidence and partial and cell.expected == "violated":
        cell.reason = "not seen in what was done of this review"
    elif cell.evidence:
        cell.verdict = "holds"
        cell.reason = f"{cls.EXPECTED[clause]} did not show" if clause in cls.EXPECTED else ""
    else:
        cell.reason = "its situation occurred in no run of this review"
    return cell


def matrix_json(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the matrix as `variants.NAME.CLAUSE`."""
    found: dict[str, Any] = {}
    for cell in cells:
        found.setdefault(cell.variant, {})[cell.clause] = cell.as_json()
    return {"variants": found}


def not_asked(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the clauses that were judged of no variant, each with the reason."""
    judged = {cell.clause for cell in cells if cell.verdict in ("holds", "violated")}
    return {cell.clause: cell.reason for cell in cells if cell.clause not in judged}

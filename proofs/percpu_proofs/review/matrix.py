"""Putting the outcomes of all jobs together: one verdict for each variant and clause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from percpu_proofs.review.jobs import Example, Outcome
from percpu_reference.variants import RELEASES, VARIANTS, variant_class
from percpu_spec.catalogue import clauses

Verdict = Literal["holds", "violated", "unchecked", "not applicable"]

# from the weakest to the strongest
RUNGS = ("stated", "contracted", "fuzzed", "explored exhaustively within a bound")


@dataclass(slots=True)
class Cell:
    """What is known of one clause for one variant."""

    variant: str
    clause: str
    verdict: Verdict
    expected: Verdict
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: Example | None = None
    found_by: str = ""  # engine and bound of the example
    interrupted: bool = False  # not every job was done

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the declared one.

        A clause that no run could have broken may be declared to hold, not to be broken. Of a
        review that was interrupted nothing more is asked than that it contradicts nothing.
        """
        if self.verdict == "unchecked":
            return self.interrupted or self.expected == "holds"
        return self.verdict == self.expected

    @property
    def rung(self) -> str:
        """The strongest rung of the evidence."""
        reached = [e["rung"] for e in self.evidence]
        return max(reached, key=RUNGS.index) if reached else RUNGS[0]

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        example = self.example
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "expected": self.expected,
            "as_expected": self.as_expected,
            "rung": self.rung,
            "evidence": self.evidence,
            "counterexample": None
            if example is None
            else {
                "message": example.message,
                "operations": [*example.setup, *example.actors],
                "at_once": list(example.actors),
                "schedule": list(example.schedule),
                "length": example.length,
                "shortest_within_bound": example.shortest,
                "token": example.token,
            },
        }


def matrix(
    variants: Sequence[str], outcomes: Iterable[Outcome], *, interrupted: bool = False
) -> list[Cell]:
    """Return a cell for every variant and clause, in the catalogue's order."""
    mine: dict[str, list[Outcome]] = {variant: [] for variant in variants}
    for outcome in outcomes:
        mine[outcome.job.variant].append(outcome)
    return [_cell(v, clause, mine[v], interrupted) for v in variants for clause in clauses()]


class Bounded(Protocol):
    """What a job brings home, of a variant or of a tree."""

    @property
    def bound(self) -> str:
        """How far it came in doing what."""

    seconds: float
    complete: bool


def evidence_of(outcome: Bounded, count: int, *, violated: bool) -> dict[str, Any]:
    """Return what a job says of a clause that it asked so often, with plain values only."""
    return {
        "bound": outcome.bound,
        "count": count,
        "seconds": round(outcome.seconds, 2),
        "violated": violated,
        "complete": outcome.complete,
    }


def _cell(variant: str, clause: str, outcomes: list[Outcome], interrupted: bool) -> Cell:
    cls = variant_class(variant)
    if clause in cls.NOT_APPLICABLE:
        reason = cls.NOT_APPLICABLE[clause]
        return Cell(variant, clause, "not applicable", "not applicable", reason)
    expected: Verdict = "violated" if clause in cls.EXPECTED else "holds"
    evidence = []
    examples = []
    for outcome in outcomes:
        judged = outcome.judged.get(clause, 0)
        example = outcome.examples.get(clause)
        if not judged and example is None:
            continue
        evidence.append(
            {"engine": outcome.engine, "rung": outcome.rung}
            | evidence_of(outcome, judged, violated=example is not None)
        )
        if example is not None:
            examples.append((example, outcome))
    if examples:
        best, outcome = min(
            examples, key=lambda e: (e[0].length, not e[0].shortest, len(e[0].schedule))
        )
        reason = cls.EXPECTED.get(clause, "")
        found_by = f"{outcome.engine}, {outcome.bound}"
        return Cell(variant, clause, "violated", expected, reason, evidence, best, found_by)
    if evidence and interrupted and expected == "violated":
        reason = "not seen before the interruption"
        return Cell(variant, clause, "unchecked", expected, reason, evidence, interrupted=True)
    if evidence:
        reason = f"{cls.EXPECTED[clause]} did not show" if clause in cls.EXPECTED else ""
        return Cell(variant, clause, "holds", expected, reason, evidence)
    reason = "its situation occurred in no run of this review"
    return Cell(variant, clause, "unchecked", expected, reason, interrupted=interrupted)


def matrix_json(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the matrix as `variants.NAME.CLAUSE`."""
    found: dict[str, Any] = {}
    for cell in cells:
        found.setdefault(cell.variant, {})[cell.clause] = cell.as_json()
    return {"variants": found}


def changes(variants: Sequence[str], cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Return what variants of files break that the classes they extend do not, and what they mend.

    What a shipped class breaks is what it declares, which its own review confirms.
    """
    new: list[str] = []
    mended: list[str] = []
    shipped = VARIANTS | RELEASES
    for name in variants:
        if not name.endswith(".py"):
            continue
        base = next(v for b in variant_class(name).__mro__ for v in shipped.values() if v is b)
        of = {cell.clause: cell for cell in cells if cell.variant == name}
        new += [c for c in of if of[c].verdict == "violated" and c not in base.EXPECTED]
        mended += [c for c in of if of[c].verdict == "holds" and c in base.EXPECTED]
    return {"new": new, "mended": mended}


def not_asked(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the clauses that were judged of no variant, each with the reason."""
    judged = {cell.clause for cell in cells if cell.verdict in ("holds", "violated")}
    return {cell.clause: cell.reason for cell in cells if cell.clause not in judged}

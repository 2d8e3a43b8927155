"""The verdict matrix of variants: one verdict for each clause, and what is new against a base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.review.job import CONTRACTED, EXHAUSTIVE, FUZZED, JobOutcome, ReviewExample
from percpu_reference.variants import RELEASES, VARIANTS, base_of, variant_class
from percpu_reference.variants.composition import findings_in
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
    origin: str = ""  # engine and bound of the example
    partial: bool = False  # not every job was done
    reach: Mapping[str, float] = field(default_factory=dict)  # of each engine, in operations
    mechanisms: dict[str, ReviewExample | None] = field(default_factory=dict)  # by finding
    bounds: dict[str, str] = field(default_factory=dict)  # how far mechanisms were looked for

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
            "mechanism_bounds": self.bounds,
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
                cell.mechanisms[finding], cell.bounds[finding] = example, outcome.reach
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
        cell.engine, cell.origin = outcome.engine, f"{outcome.engine}, {outcome.bound}"
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
    variants = dict.fromkeys(cell.variant for cell in cells)
    return {
        "variants": {v: {c.clause: c.as_json() for c in cells if c.variant == v} for v in variants}
    }


def not_asked(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the clauses that were judged of no variant, each with the reason."""
    judged = {cell.clause for cell in cells if cell.verdict in ("holds", "violated")}
    return {cell.clause: cell.reason for cell in cells if cell.clause not in judged}


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes of the verdicts: lists of clauses.

    A clause that is broken on both, but by a finding more or less, stands as "RCL-3 by R1" in new,
    mended or open, for each such finding, and not in unchanged.
    open: broken on one of the two; on the other the search that shows it did not come as far.
    otherwise: of those broken on both, what is broken by a schedule that the base survives.
    """

    new: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    shorter: list[str] = field(default_factory=list)
    longer: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    @property
    def by_finding(self) -> list[str]:
        """The clauses of which a finding is new, mended or open while others break them."""
        entries = (clause_and_finding(one) for one in (*self.new, *self.mended, *self.open))
        return list(dict.fromkeys(clause for clause, finding in entries if finding))

    def enter(
        self, clause: str, *, before: bool, now: bool, longer: int, compared: bool
    ) -> None:
        """Put a clause, broken before or now, into the list for it; others into none.

        longer: operations that break it now more than before. compared: where it is broken on one
        alone, whether the search that shows it came as far on the other.
        """
        if before and now:
            same = self.shorter if longer < 0 else self.longer
            (same if longer else self.unchanged).append(clause)
        elif before or now:
            changed = self.new if now else self.mended
            (changed if compared else self.open).append(clause)


def clause_and_finding(entry: str) -> tuple[str, str]:
    """Return what an entry of changes is about; the finding is empty where it is all of a clause.

    >>> clause_and_finding("RCL-3 by R1"), clause_and_finding("RCL-3")
    (('RCL-3', 'R1'), ('RCL-3', ''))
    """
    clause, _, finding = entry.partition(" by ")
    return clause, finding


def bases(variants: Sequence[str]) -> dict[str, str]:
    """Return the variants that a shipped one is compared with, each with that."""
    shipped = VARIANTS | RELEASES
    return {name: base_of(name) for name in variants if name not in shipped}


def changes(name: str, cells: Sequence[Cell]) -> Changes:
    """Compare a variant with its base by their cells.

    What a base breaks of which there are no cells is what it declares, which its own review
    confirms; then nothing is shorter or longer.
    """
    base = base_of(name)
    mine = {cell.clause: cell for cell in cells if cell.variant == name}
    theirs = {cell.clause: cell for cell in cells if cell.variant == base}
    declared = (VARIANTS | RELEASES)[base].EXPECTED
    found = Changes()
    for clause, now in mine.items():
        was = theirs.get(clause)
        broken = now.verdict == "violated"
        if was is None or was.verdict == "unchecked":
            broken_before = clause in declared
        else:
            broken_before = was.verdict == "violated"
        if broken or now.verdict == "holds":
            compared = _covers(now, was) if broken else was is None or _covers(was, now)
            longer = 0 if was is None else _longer(was, now)
            found.enter(
                clause, before=broken_before, now=broken, longer=longer, compared=compared
            )
            if was is not None and broken and broken_before:
                _enter_findings(found, was, now)
    return found


def _enter_findings(found: Changes, was: Cell, now: Cell) -> None:
    """Enter the findings by which a clause that is broken on both is broken on one alone.

    Only what was looked for on both counts; a finding that the base does not declare is new.
    """
    before, after = _by_finding(was), _by_finding(now)
    declared = findings_in((VARIANTS | RELEASES)[was.variant].EXPECTED.get(was.clause, ""))
    for finding in dict.fromkeys((*before, *after)):
        entry = f"{now.clause} by {finding}"
        shown_before, shown_now = before.get(finding), after.get(finding)
        if shown_before is not None and finding in after and shown_now is None:
            found.mended.append(entry)
        elif shown_now is not None and shown_before is None and declared and before:
            (found.open if finding in declared else found.new).append(entry)
    if now.clause in found.by_finding and now.clause in found.unchanged:
        found.unchanged.remove(now.clause)


def example_of(cell: Cell, finding: str) -> ReviewExample | None:
    """Return the counterexample of a cell, or of a finding of it."""
    return _by_finding(cell).get(finding) if finding else cell.example


def _by_finding(cell: Cell) -> dict[str, ReviewExample | None]:
    """Return what was found of each finding of a cell; one that is declared alone shows it all."""
    alone = findings_in(variant_class(cell.variant).EXPECTED.get(cell.clause, ""))
    if cell.mechanisms or len(alone) != 1 or cell.verdict != "violated":
        return cell.mechanisms
    return {alone[0]: cell.example}


def _longer(was: Cell, now: Cell) -> int:
    """Return by how many operations a counterexample is longer; only the shortest are compared."""
    old, new = was.example, now.example
    if old is None or new is None or not (old.shortest and new.shortest):
        return 0
    return new.length - old.length


def _covers(broken: Cell, other: Cell | None) -> bool:
    """Whether the search that shows a counterexample would have shown it on the other too."""
    if other is None or broken.example is None:
        return True
    return other.reach.get(broken.engine, 0) >= broken.example.length

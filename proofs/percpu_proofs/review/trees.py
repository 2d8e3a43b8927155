"""The verdict of every clause on a kernel tree, and what a patch changes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from percpu_contracts.registry import COMPILED
from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import STOPS
from percpu_proofs.review.jobs import EXHAUSTIVE
from percpu_proofs.review.matrix import evidence_of
from percpu_reference.variants import DEFAULT, variant_class
from percpu_spec.catalogue import clauses


@dataclass(slots=True)
class TreeCell:
    """What is known of one clause on one tree."""

    clause: str
    verdict: str  # holds, violated or unchecked
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: TreeExample | None = None
    whole: frozenset[str] = frozenset()  # searches that came to their end
    backings: frozenset[str] = frozenset()  # of the searches that break it

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        e = self.example
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence,
            "counterexample": None
            if e is None
            else {
                "message": e.message,
                "operations": [*e.plan.setup_texts, *e.retraced.operations],
                "schedule": list(e.labels),
                "length": e.length,
                "search": e.search,
                "token": e.token,
                "steps": [rung.as_json() for rung in e.retraced.rungs],
                "stopped": e.retraced.stopped,
                "model_token": e.on_model.token,
                "model_reason": e.on_model.reason,
            },
        }


def verdicts(
    outcomes: Sequence[TreeOutcome], tree: str, variant: str = DEFAULT
) -> dict[str, TreeCell]:
    """Return the cell of every clause on a tree; that the kernel stops is one too, if it does.

    variant: of the model, which counterexamples are taken to.
    """
    mine = [outcome for outcome in outcomes if outcome.job.tree == tree]
    whole = frozenset(outcome.job.search.name for outcome in mine if outcome.complete)
    cells = {clause: _cell(clause, mine, variant) for clause in (*clauses(), CRASH)}
    for cell in cells.values():
        cell.whole = whole
    if cells[CRASH].verdict != "violated":
        del cells[CRASH]
    return cells


def _cell(clause: str, outcomes: Sequence[TreeOutcome], variant: str) -> TreeCell:
    evidence, examples, backings = [], [], set()
    for outcome in outcomes:
        asked, example = outcome.asked.get(clause, 0), outcome.examples.get(clause)
        if not asked and example is None:
            continue
        evidence.append(
            {"engine": f"search {outcome.job.search.name}", "rung": EXHAUSTIVE}
            | evidence_of(outcome, asked, violated=example is not None)
        )
        if example is not None:
            examples.append(example)
            backings.add(outcome.job.search.form.backing)
    if examples:
        best = min(examples, key=lambda e: (e.length, len(e.labels))).with_model(variant)
        return TreeCell(clause, "violated", "", evidence, best, backings=frozenset(backings))
    if evidence:
        return TreeCell(clause, "holds", "", evidence)
    reason = COMPILED.not_asked().get(clause, "its situation occurred in no search of this review")
    return TreeCell(clause, "unchecked", reason)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a patch changes of the verdicts: lists of clauses.

    open: broken on one tree; on the other the search that shows it did not come to its end.
    """

    new: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    shorter: list[str] = field(default_factory=list)
    longer: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def changes(base: dict[str, TreeCell], patched: dict[str, TreeCell]) -> Changes:
    """Compare the verdicts on two trees.

    What one of them breaks counts as mended by the patch, or as new, only where the search that
    shows it came to its end on the other too; a search that only the patched tree has is its own.
    """
    found = Changes()
    unseen, other = (
        TreeCell("", "unchecked", whole=next(iter(cells.values())).whole)
        for cells in (base, patched)
    )
    for clause in dict.fromkeys([*base, *patched]):
        was, now = base.get(clause, unseen), patched.get(clause, other)
        if now.example is not None and was.example is not None:
            difference = now.example.length - was.example.length
            where = found.shorter if difference < 0 else found.longer
            (where if difference else found.unchanged).append(clause)
        elif now.example is not None:
            search = now.example.search
            compared = search in was.whole or search.startswith(STOPS)
            (found.new if compared else found.open).append(clause)
        elif was.example is not None:
            compared = was.example.search in now.whole
            (found.mended if compared else found.open).append(clause)
    return found


KM_COUNTS: Final = frozenset({"FLT-1", "POP-1", "POP-3"})
"""What breaks where km counts a chunk's pages once for each unit."""


def undeclared(
    cells: dict[str, TreeCell], variant: str, km_counts: Callable[[], bool]
) -> list[str]:
    """Return what a tree breaks that the model of the kernel does not declare.

    km_counts: whether its km backing counts a chunk's pages once for each unit, which is known.
    """
    declared = variant_class(variant).EXPECTED
    return [
        c
        for c, cell in cells.items()
        if cell.example is not None
        and c not in declared
        and not (c in KM_COUNTS and cell.backings == {"km"} and km_counts())
    ]


def not_asked(cells: dict[str, TreeCell]) -> dict[str, str]:
    """Return the clauses that were not judged, each with the reason."""
    return {c: cell.reason for c, cell in cells.items() if cell.verdict == "unchecked"}

"""The verdict of every clause on a kernel tree, and what a patch changes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from percpu_contracts.registry import COMPILED
from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import STOPS
from percpu_proofs.kernel.search.tree_token import found_by
from percpu_proofs.review.changes import Changes
from percpu_proofs.review.job import EXHAUSTIVE, FUZZED
from percpu_proofs.review.matrix import evidence_of
from percpu_reference.variants import MERGED, variant_class
from percpu_spec.catalogue import clauses

NO_SITUATION: Final = "its situation occurred in no search of this review"
NOT_NOTED: Final = "no search of this review notes accesses without locks (`accesses in ...` do)"


@dataclass(slots=True)
class TreeCell:
    """What is known of one clause on one tree."""

    clause: str
    verdict: str  # holds, violated or unchecked
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: TreeExample | None = None
    reach: Mapping[str, float] = field(default_factory=dict)  # of each search, in operations
    backings: frozenset[str] = frozenset()  # of the searches that break it

    @property
    def searched(self) -> str:
        """How far the search of its counterexample came, in words; empty without one."""
        if self.example is None:
            return ""
        engine = f"search {self.example.search}"
        found = (one for one in self.evidence if one["engine"] == engine and one["violated"])
        return found_by(self.example.search, next(found)["bound"])

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence,
            "counterexample": example_record(self.example) if self.example else None,
        }


def example_record(e: TreeExample) -> dict[str, Any]:
    """Return a counterexample of a tree with plain values only."""
    return {
        "message": e.message,
        "operations": [*e.plan.setup_texts, *e.retraced.operations],
        "schedule": list(e.labels),
        "length": e.length,
        "search": e.search,
        "token": e.token,
        "steps": [step.as_json() for step in e.retraced.steps],
        "stopped": e.retraced.stopped,
        "model_token": e.on_model.token,
        "model_reason": e.on_model.reason,
    }


def verdicts(
    outcomes: Sequence[TreeOutcome], tree: str, variant: str = MERGED
) -> dict[str, TreeCell]:
    """Return the cell of every clause on a tree; that the kernel stops is one too, if it does.

    variant: of the model, which counterexamples are taken to.
    """
    mine = [outcome for outcome in outcomes if outcome.job.tree == tree]
    reach = {outcome.job.search.name: outcome.reach for outcome in mine}
    cells = {clause: _cell(clause, mine, variant) for clause in (*clauses(), CRASH)}
    for cell in cells.values():
        cell.reach = reach
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
            {"engine": f"search {outcome.job.search.name}", "rung": _rung(outcome)}
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
    missing = NOT_NOTED if clause.startswith("LOCK") else NO_SITUATION
    return TreeCell(clause, "unchecked", COMPILED.not_asked().get(clause, missing))


def _rung(outcome: TreeOutcome) -> str:
    return FUZZED if outcome.job.search.plan.programs or outcome.job.schedule else EXHAUSTIVE


def changes(base: dict[str, TreeCell], patched: dict[str, TreeCell]) -> Changes:
    """Compare the verdicts on two trees.

    What one of them breaks counts as mended by the patch, or as new, only where the search that
    shows it came as far on the other too.
    """
    found = Changes()
    unseen, other = (
        TreeCell("", "unchecked", reach=next(iter(cells.values())).reach)
        for cells in (base, patched)
    )
    for clause in dict.fromkeys([*base, *patched]):
        was, now = base.get(clause, unseen), patched.get(clause, other)
        old, new = was.example, now.example
        longer = new.length - old.length if old is not None and new is not None else 0
        compared = _covers(new, was) and _covers(old, now)
        found.enter(
            clause, before=old is not None, now=new is not None, longer=longer, compared=compared
        )
    return found


def broken_on_both(cells: Mapping[str, Mapping[str, TreeCell]]) -> list[str]:
    """Return the clauses that every tree breaks, but those of accesses, which are told by line."""
    first, *others = cells.values()
    return [
        clause
        for clause, cell in first.items()
        if cell.example is not None and not clause.startswith("LOCK")
        and all(clause in of and of[clause].example is not None for of in others)
    ]


def _covers(example: TreeExample | None, other: TreeCell) -> bool:
    """Whether the search that shows an example would have shown it on the other tree.

    One that stops where a patch adds accesses is the patched tree's alone.
    """
    if example is None or example.search.startswith(STOPS):
        return True
    return other.reach.get(example.search, 0) >= max(example.length, 1)


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

"""What of a review of variants is asked for, and which counterexamples are shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from percpu_proofs.review.jobs import ReviewExample
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import variant_class
from percpu_reference.variants.composition import findings_in


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What is asked for: which variants, which clauses are shown, and how far it goes.

    everything: bounds and every counterexample too.
    """

    variants: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    quick: bool = False
    deep: bool = False
    searches: tuple[str, ...] = ()
    everything: bool = False

    @property
    def named(self) -> bool:
        """Whether what is shown is asked for by its name."""
        return bool(self.clauses or self.findings)

    def shows(self, clause: str) -> bool:
        """Whether a clause is shown."""
        declared = (variant_class(name).EXPECTED.get(clause, "") for name in self.variants)
        return (not self.clauses or clause in self.clauses) and (
            not self.findings or any(self.names(reason) for reason in declared)
        )

    def names(self, reason: str) -> list[str]:
        """Return those of the findings asked for by which a variant declares a clause broken."""
        return [name for name in findings_in(reason) if name in self.findings]

    def of(self, cell: Cell) -> list[Shown]:
        """Return what is shown of a cell: its own counterexample, or those of findings."""
        if not self.findings:
            return [Shown(cell, cell.example, cell.found_by)] if cell.example is not None else []
        reason = variant_class(cell.variant).EXPECTED.get(cell.clause, "")
        if len(findings_in(reason)) == 1:
            known = dict.fromkeys(findings_in(reason), (cell.example, cell.found_by))
        else:
            known = {
                name: (example, _sought(cell, name)) for name, example in cell.mechanisms.items()
            }
        found = [(name, *known.get(name, (None, ""))) for name in self.names(reason)]
        return [Shown(cell, one, how, name) for name, one, how in found if one is not None]


class Shown(NamedTuple):
    """A counterexample of a cell, how it was come by, and the finding that it shows if asked."""

    cell: Cell
    example: ReviewExample
    how: str
    finding: str = ""


def _sought(cell: Cell, finding: str) -> str:
    """Return how far a finding was looked for alone, in words."""
    example = cell.mechanisms[finding]
    small = "" if example is None or example.shortest else "; made small, maybe not the fewest"
    return f"{finding} alone, the others mended: {cell.sought[finding]}{small}"

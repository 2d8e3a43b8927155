"""The report of a review of variants: what is not as declared first, then what is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from percpu_proofs.report.document import Document
from percpu_proofs.report.reviews import (
    ClauseLine,
    Exhibit,
    Group,
    ReviewReport,
    SearchBound,
    Sign,
    render,
)
from percpu_proofs.report.walks import place_of, walks
from percpu_proofs.review.changes import Changes, clause_and_finding
from percpu_proofs.review.matrix import Cell

_STYLES = {"holds": "holds", "violated": "violated"}


def report_of_variants(cells: Sequence[Cell], changed: Mapping[str, Changes]) -> str:
    """Return the report of a review as HTML.

    changed: what changes of the verdicts of variants that are compared with what they extend.
    """
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    names = [Path(variant).stem for variant in variants]
    into = Document()
    told: set[tuple[str, str]] = set()

    def group(heading: str, chosen: Iterable[Cell], says: str = "", serious: bool = False) -> Group:
        """Return a group of what is in none before it."""
        fresh = [cell for cell in chosen if (cell.variant, cell.clause) not in told]
        told.update((cell.variant, cell.clause) for cell in fresh)
        return Group(heading, tuple(_shown(cell, into, changed) for cell in fresh), serious, says)

    def among(kind: str) -> list[Cell]:
        """Return the cells of clauses that changed so."""
        return [
            cell for cell in cells
            if cell.variant in changed and cell.clause in getattr(changed[cell.variant], kind)
        ]  # fmt: skip

    def by_finding(kind: str) -> list[Cell]:
        """Return the cells of clauses that other findings break before and now."""
        return [cell for cell in cells if _findings(cell, changed, kind)]

    broken = [cell for cell in cells if cell.verdict == "violated"]
    unexpected = [cell for cell in cells if not cell.as_expected]
    groups = [
        group("Newly broken", among("new"), "The class that it extends holds.", serious=True),
        group("Not as declared", unexpected, serious=True),
        group("Newly broken by a finding", by_finding("new"),
              "The class that it extends breaks them too, but not by that.", serious=True),
        group("Mended", among("mended"), "Broken by the class that it extends."),
        group("No longer broken by a finding", by_finding("mended"),
              "The class that it extends breaks them by that too; what is left breaks them still."),
        group("Broken with fewer operations than before", among("shorter")),
        group("Broken with more operations than before", among("longer")),
        group("Not compared", [*among("open"), *by_finding("open")],
              "Broken on one; on the other the search that shows it did not come as far."),
        group("Broken, as declared", broken),
    ]  # fmt: skip
    wrong = ", ".join(
        dict.fromkeys(
            f"{Path(c.variant).stem} {c.clause}" for c in (*among("new"), *unexpected)
        )
    )
    by_clause: dict[str, list[Cell]] = {}
    for cell in cells:
        by_clause.setdefault(cell.clause, []).append(cell)
    summary = [
        f"{len(cells)} verdicts, {len(broken)} of them that a clause is broken.",
        f"Newly broken or not as declared: {wrong}." if wrong else "All is as declared.",
    ]
    if any(cell.partial for cell in cells):
        summary.append("Not every search was done: what does not show here is no verdict.")
    review = ReviewReport(
        f"Review of {', '.join(names)}",
        summary,
        names,
        groups,
        [ClauseLine(name, tuple(map(_sign, of)), _reason(of)) for name, of in by_clause.items()],
        _bounds(cells),
    )
    return render(into, review)


def _findings(cell: Cell, changed: Mapping[str, Changes], kind: str) -> list[str]:
    """Return the findings by which alone a clause changed so."""
    entries = getattr(changed[cell.variant], kind) if cell.variant in changed else ()
    named = map(clause_and_finding, entries)
    return [finding for clause, finding in named if finding and clause == cell.clause]


def _shown(cell: Cell, into: Document, changed: Mapping[str, Changes]) -> Exhibit:
    words = f"{Path(cell.variant).stem}: {cell.verdict}, declared: {cell.expected}"
    words += f"; {cell.reason}" if cell.reason else ""
    for kind, said in (("new", "newly by"), ("mended", "no longer by"), ("open", "not compared:")):
        if names := _findings(cell, changed, kind):
            words += f"; {said} {', '.join(names)}"
    place = f"{place_of(cell)}-shown"
    return Exhibit(cell.clause, place, words, tuple(walks(cell, into.bars)))


def _sign(cell: Cell) -> Sign:
    words = {"violated": "broken", "unchecked": "?", "not applicable": "–"}.get(
        cell.verdict, cell.verdict
    )
    if cell.example is not None:
        words += f" {cell.example.length}"
    return Sign(words, _STYLES.get(cell.verdict, "unchecked"), not cell.as_expected)


def _reason(cells: Sequence[Cell]) -> str:
    """Return why a clause was asked of none of the variants; nothing if it was of one."""
    reasons = [cell.reason for cell in cells if cell.verdict in ("unchecked", "not applicable")]
    return "; ".join(dict.fromkeys(reasons)) if len(reasons) == len(cells) else ""


def _bounds(cells: Iterable[Cell]) -> list[SearchBound]:
    """Return how far each search came on each variant."""
    return list(
        dict.fromkeys(
            SearchBound(one["engine"], Path(cell.variant).stem, one["bound"])
            for cell in cells
            for one in cell.evidence
        )
    )

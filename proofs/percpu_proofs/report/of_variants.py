"""The report of a review of variants: what is not as declared first, then what is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from percpu_proofs.counterexample import of_token
from percpu_proofs.report.document import Document
from percpu_proofs.report.reviews import Bound, Group, Mark, Review, Row, Shown, document, render
from percpu_proofs.report.walks import walk
from percpu_proofs.review.matrix import Cell, changes

_STYLES = {"holds": "holds", "violated": "violated"}


def report_of_variants(cells: Sequence[Cell]) -> str:
    """Return the report of a review as HTML."""
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    names = [Path(variant).stem for variant in variants]
    into = document()
    broken = [cell for cell in cells if cell.verdict == "violated"]
    changed = changes(variants, cells)
    own = [cell for cell in cells if cell.variant.endswith(".py")]
    new = [cell for cell in own if cell.clause in changed["new"] and cell in broken]
    mended = [cell for cell in own if cell.clause in changed["mended"] and cell not in broken]
    unexpected = [cell for cell in cells if not cell.as_expected and cell not in new]
    rest = [cell for cell in broken if cell.as_expected and cell not in new]
    groups = [
        Group("Newly broken", _shown(new, into), serious=True, says="The class it extends holds."),
        Group("Not as declared", _shown(unexpected, into), serious=True),
        Group("Mended", _shown(mended, into), says="Broken by the class it extends."),
        Group("Broken, as declared", _shown(rest, into)),
    ]
    wrong = ", ".join(f"{Path(c.variant).stem} {c.clause}" for c in (*new, *unexpected))
    by_clause: dict[str, list[Cell]] = {}
    for cell in cells:
        by_clause.setdefault(cell.clause, []).append(cell)
    review = Review(
        f"Review of {', '.join(names)}",
        [
            f"{len(cells)} verdicts, {len(broken)} of them that a clause is broken.",
            f"Not as declared: {wrong}." if wrong else "All is as declared.",
        ],
        names,
        groups,
        [
            Row(clause, tuple(map(_mark, of)), _reason(of))
            for clause, of in by_clause.items()
        ],
        _bounds(cells),
    )  # fmt: skip
    return render(into, review)


def _shown(cells: Iterable[Cell], into: Document) -> tuple[Shown, ...]:
    return tuple(_one(cell, into) for cell in cells)


def _one(cell: Cell, into: Document) -> Shown:
    place = f"walk-{cell.clause}-{Path(cell.variant).stem}"
    words = f"{Path(cell.variant).stem}: {cell.verdict}, declared: {cell.expected}"
    words += f"; {cell.reason}" if cell.reason else ""
    example = cell.example
    if example is None or not example.token:
        return Shown(cell.clause, f"{place}-shown", words)
    note = f"{example.length} operations: {cell.found_by}"
    command = f"percpu-spec replay {example.token}"
    of = of_token(example.token, cell.found_by)
    return Shown(cell.clause, f"{place}-shown", words, walk(of, into.bars, place, note, command))


def _mark(cell: Cell) -> Mark:
    words = {"violated": "broken", "unchecked": "?", "not applicable": "–"}.get(
        cell.verdict, cell.verdict
    )
    if cell.example is not None:
        words += f" {cell.example.length}"
    return Mark(words, _STYLES.get(cell.verdict, "unchecked"), not cell.as_expected)


def _reason(cells: Sequence[Cell]) -> str:
    """Return why a clause was asked of none of the variants; nothing if it was of one."""
    reasons = [cell.reason for cell in cells if cell.verdict in ("unchecked", "not applicable")]
    return "; ".join(dict.fromkeys(reasons)) if len(reasons) == len(cells) else ""


def _bounds(cells: Iterable[Cell]) -> list[Bound]:
    """Return how far each search came on each variant."""
    return list(
        dict.fromkeys(
            Bound(one["engine"], Path(cell.variant).stem, one["bound"])
            for cell in cells
            for one in cell.evidence
        )
    )

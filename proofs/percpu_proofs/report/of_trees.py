"""The report of a review of a kernel tree, and of what a patch makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from percpu_proofs.counterexample import of_tree
from percpu_proofs.kernel.search.accesses import Noted
from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.report.document import Document
from percpu_proofs.report.reviews import (
    AccessLine,
    ClauseLine,
    Exhibit,
    Group,
    Reach,
    ReviewReport,
    Sign,
    document,
    render,
)
from percpu_proofs.report.walks import walk
from percpu_proofs.review.changes import Changes
from percpu_proofs.review.trees import TreeCell

Cells = Mapping[str, TreeCell]


def report_of_trees(
    release: str,
    patches: Sequence[Path],
    cells: Mapping[str, Cells],
    changed: Changes | None,
    undeclared: Sequence[str],
    outcomes: Sequence[TreeOutcome],
    accesses: Sequence[Noted],
    new_accesses: Sequence[Noted],
    variant: str,
    options: tuple[str, str],
) -> str:
    """Return the report as HTML.

    cells: of each tree, the base first. changed: what the patches change, None without one.
    undeclared: what is broken that the model, a variant, does not declare. accesses: those without
    pcpu_lock of the newest tree. options: those of a command that choose the base, and the newest.
    """
    into = document()
    first, last = next(iter(cells.values())), list(cells.values())[-1]
    base, newest = f"Linux {release}", f"Linux {release} with " + ", ".join(
        path.name for path in patches
    )  # fmt: skip

    def shown(names: Iterable[str], of: Cells) -> tuple[Exhibit, ...]:
        of_base = of is first and first is not last
        subject = base if of_base or not patches else newest
        given = options[0 if of_base else 1]
        return tuple(_shown(name, of[name], subject, given, into) for name in names)

    if changed is not None:
        groups = [
            Group(f"Newly broken by the patch, not by {base}", shown(changed.new, last), True),
            Group("Broken with fewer operations than before", shown(changed.shorter, last)),
            Group("Broken before too, but not by this schedule", shown(changed.otherwise, last)),
            Group(f"Mended by the patch, broken by {base}", shown(changed.mended, first)),
            Group("Broken with more operations than before", shown(changed.longer, last)),
            Group("Broken before and after, with as many operations",
                  shown(changed.unchanged, last)),
            Group("Not compared", shown(changed.open, _either(first, last)),
                  says="Broken on one tree; on the other the search that shows it did not come as "
                  "far."),
        ]  # fmt: skip
        summary = [
            f"Newly broken: {', '.join(changed.new) or 'nothing'}.",
            f"Mended: {', '.join(changed.mended) or 'nothing'}.",
        ]
    else:
        broken = [clause for clause, cell in last.items() if cell.example is not None]
        known = [clause for clause in broken if clause not in undeclared]
        groups = [
            Group(f"Broken, and not declared of {variant}", shown(undeclared, last), True),
            Group(f"Broken, as declared of {variant}", shown(known, last)),
        ]
        summary = [f"Not declared of {variant}: {', '.join(undeclared) or 'nothing'}."]
    names = dict(zip(cells, (base, newest), strict=False))
    fresh = {entry.access for entry in new_accesses}
    every = dict.fromkeys(entry.access for entry in (*new_accesses, *accesses))
    review = ReviewReport(
        f"Review of {newest if changed is not None else base}",
        summary,
        [names[name] for name in cells],
        groups,
        list(_rows(cells, () if changed is None else changed.new)),
        list(dict.fromkeys(
            Reach(one.job.search.name, names[one.job.tree], one.bound) for one in outcomes
        )),
        [AccessLine(str(access), access in fresh) for access in every],
        {path.name: path.read_text("utf-8", "replace") for path in patches},
    )  # fmt: skip
    return render(into, review)


def _either(first: Cells, last: Cells) -> Cells:
    """Return of each clause the cell that has a counterexample."""
    return {**first, **{c: cell for c, cell in last.items() if cell.example is not None}}


def _shown(
    clause: str, cell: TreeCell, subject: str, options: str, into: Document
) -> Exhibit:
    example = cell.example
    place = f"walk-{clause}"
    if example is None:
        return Exhibit(clause, f"{place}-shown", cell.reason)
    command = f"percpu-spec replay {example.token}{options}" if example.token else ""
    note = f"{example.length} operations, the fewest of search {example.search}"
    on_model = example.on_model
    words = "" if on_model.token else f"On the model: {on_model.reason}"
    of = of_tree(example, subject)
    return Exhibit(clause, f"{place}-shown", words, (walk(of, into.bars, place, note, command),))


def _rows(cells: Mapping[str, Cells], new: Sequence[str]) -> Iterable[ClauseLine]:
    names = list(cells)
    for clause in dict.fromkeys(c for of in cells.values() for c in of):
        marks = []
        for name in names:
            cell = cells[name].get(clause)
            marks.append(None if cell is None else _sign(cell, name == names[-1] and clause in new))
        reasons = [cells[n][clause].reason for n in names if clause in cells[n]]
        asked = any(mark is not None and mark.words != "–" for mark in marks)
        yield ClauseLine(clause, tuple(marks), "" if asked or not reasons else reasons[-1])


def _sign(cell: TreeCell, is_new: bool) -> Sign:
    if cell.example is not None:
        return Sign(f"broken {cell.example.length}", "violated", is_new)
    if cell.verdict == "holds":
        return Sign("holds", "holds")
    return Sign("–", "unchecked")

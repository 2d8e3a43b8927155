"""The report of a review of a kernel tree, and of what a patch makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from percpu_proofs.counterexample import of_tree
from percpu_proofs.report.document import Document
from percpu_proofs.report.reviews import (
    AccessLine,
    ClauseLine,
    Exhibit,
    Group,
    ReviewReport,
    SearchBound,
    Sign,
    render,
)
from percpu_proofs.report.walks import walk
from percpu_proofs.review.tree_results import TreeResults
from percpu_proofs.review.trees import TreeCell
from percpu_spec.counts import counted

Cells = Mapping[str, TreeCell]


def report_of_trees(of: TreeResults, options: tuple[str, str]) -> str:
    """Return the report as HTML. options: of a command, those that choose the base, the newest."""
    into = Document()
    names = dict(zip(of.cells, dict.fromkeys((of.base, of.newest)), strict=True))
    fresh = {entry.access for entry in of.new_accesses}
    every = dict.fromkeys(entry.access for entry in (*of.new_accesses, *of.accesses))
    bounds = [
        SearchBound(one.job.search.name, names[one.job.tree], one.bound) for one in of.outcomes
    ]
    bounds += [
        SearchBound(name, of.newest, f"not searched: {why}")
        for name, why in of.not_searched.items()
    ]
    review = ReviewReport(
        f"Review of {of.newest}",
        _summary(of),
        [names[name] for name in of.cells],
        list(_groups(of, options, into)),
        list(_rows(of.cells, () if of.changed is None else of.changed.new)),
        list(dict.fromkeys(bounds)),
        [AccessLine(str(access), access in fresh) for access in every],
        {path.name: path.read_text("utf-8", "replace") for path in of.patches},
    )
    return render(into, review)


def _summary(of: TreeResults) -> list[str]:
    if of.changed is None:
        said = [f"Not declared of {of.variant}: {', '.join(of.undeclared) or 'nothing'}."]
    else:
        said = [
            f"Newly broken: {', '.join(of.changed.new) or 'nothing'}.",
            f"Mended: {', '.join(of.changed.mended) or 'nothing'}.",
        ]
    if of.interrupted:
        said.append("Interrupted: what does not show here is no verdict.")
    return said


def _groups(of: TreeResults, options: tuple[str, str], into: Document) -> Iterator[Group]:
    """Yield what is to be shown, what is new first."""
    first, *others = of.cells.values()
    last = others[-1] if others else first
    changed = of.changed

    def shown(names: Iterable[str], cells: Cells, *, base: bool = False) -> tuple[Exhibit, ...]:
        subject, chosen = (of.base, options[0]) if base else (of.newest, options[1])
        return tuple(_shown(name, cells[name], subject, chosen, into) for name in names)

    if changed is None:
        broken = [clause for clause, cell in last.items() if cell.example is not None]
        known = [clause for clause in broken if clause not in of.undeclared]
        yield Group(
            f"Broken, and not declared of {of.variant}", shown(of.undeclared, last), serious=True
        )
        yield Group(f"Broken, as declared of {of.variant}", shown(known, last))
        return
    yield Group(
        f"Newly broken by the patch, not by {of.base}", shown(changed.new, last), serious=True
    )
    yield Group("Broken with fewer operations than before", shown(changed.shorter, last))
    again = [clause for clause in changed.otherwise if clause not in changed.shorter]
    yield Group("Broken before too, but not by this schedule", shown(again, last))
    yield Group(
        f"Mended by the patch, broken by {of.base}", shown(changed.mended, first, base=True)
    )
    told = {*changed.shorter, *changed.otherwise}
    for heading, names in (
        ("Broken with more operations than before", changed.longer),
        ("Broken before and after, with as many operations", changed.unchanged),
    ):
        yield Group(heading, shown([name for name in names if name not in told], last))
    new = [name for name in changed.open if name in last and last[name].example is not None]
    old = [name for name in changed.open if name not in new]
    says = "On the other tree the search that shows it did not come as far."
    yield Group("Broken by the patched tree, not compared", shown(new, last), says=says)
    yield Group(
        f"Broken by {of.base}, not compared", shown(old, first, base=True), says=says
    )


def _shown(
    clause: str, cell: TreeCell, subject: str, options: str, into: Document
) -> Exhibit:
    example = cell.example
    place = f"walk-{clause}"
    if example is None:
        return Exhibit(clause, f"{place}-shown", cell.reason)
    command = f"percpu-spec replay {example.token}{options}" if example.token else ""
    note = f"{counted(example.length, 'operation')}, {example.rank}"
    on_model = example.on_model
    words = "" if on_model.token else f"On the model: {on_model.reason}"
    of = of_tree(example, subject, cell.searched)
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

"""What every report of a review shows: what is new first, the verdicts, how far was searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from percpu_proofs.counterexample.of_tree import of_tree
from percpu_proofs.counterexample.record import sentence_of, title_of
from percpu_proofs.report.document import Document, IndexEntry, clause_index
from percpu_proofs.report.walks import Walkthrough, place_of, walk, walks
from percpu_proofs.review.matrix import Cell, Changes, clause_and_finding
from percpu_proofs.review.trees import TreeCell, TreeResults
from percpu_spec.counts import counted


class ClauseLine(NamedTuple):
    """A clause in the matrix, with the cell of each subject; reason: why it was not asked."""

    clause: str
    cells: Sequence[Cell | TreeCell | None]
    reason: str


class Exhibit(NamedTuple):
    """A clause that is broken, or mended, with its counterexamples."""

    clause: str
    place: str
    words: str
    walks: tuple[Walkthrough, ...] = ()


class Group(NamedTuple):
    """Clauses of one kind: newly broken, mended, and so on."""

    heading: str
    exhibits: list[Exhibit]
    says: str = ""
    serious: bool = False


def report_of_variants(cells: Sequence[Cell], changed: Mapping[str, Changes]) -> str:
    """Return the report of a review as HTML.

    changed: what changes of the verdicts of variants that are compared with what they extend.
    """
    names = [Path(name).stem for name in dict.fromkeys(cell.variant for cell in cells)]
    into = Document()
    entered: set[tuple[str, str]] = set()

    def group(heading: str, chosen: Iterable[Cell], says: str = "", serious: bool = False) -> Group:
        """Return a group of what is in none before it."""
        fresh = [cell for cell in chosen if (cell.variant, cell.clause) not in entered]
        entered.update((cell.variant, cell.clause) for cell in fresh)
        shown = [_exhibit_of_variant(cell, into, changed) for cell in fresh]
        return Group(heading, shown, says, serious)

    def among(kind: str) -> list[Cell]:
        """Return the cells of clauses that changed so."""
        return [cell for cell in cells if (cell.clause, "") in _changes(cell, changed, kind)]

    def by_finding(kind: str) -> list[Cell]:
        """Return the cells of clauses that other findings break before and now."""
        return [cell for cell in cells if any(f for _, f in _changes(cell, changed, kind))]

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
    wrong = dict.fromkeys(
        f"{Path(cell.variant).stem} {cell.clause}" for cell in (*among("new"), *unexpected)
    )
    summary = [
        f"{len(cells)} verdicts, {len(broken)} of them that a clause is broken.",
        f"Newly broken or not as declared: {', '.join(wrong)}." if wrong else "All is as declared.",
    ]
    if any(cell.partial for cell in cells):
        summary.append("Not every search was done: what does not show here is no verdict.")
    by_clause: dict[str, list[Cell]] = {}
    for cell in cells:
        by_clause.setdefault(cell.clause, []).append(cell)
    bounds = [
        (one["engine"], Path(cell.variant).stem, one["bound"])
        for cell in cells
        for one in cell.evidence
    ]
    return _render(
        into, f"Review of {', '.join(names)}", summary, names, groups,
        _lines(by_clause), unexpected, bounds,
    )  # fmt: skip


def _changes(cell: Cell, changed: Mapping[str, Changes], kind: str) -> list[tuple[str, str]]:
    """Return what of a clause changed so on a variant: all of it, or findings."""
    entries = getattr(changed[cell.variant], kind) if cell.variant in changed else ()
    return [entry for entry in map(clause_and_finding, entries) if entry[0] == cell.clause]


def _exhibit_of_variant(cell: Cell, into: Document, changed: Mapping[str, Changes]) -> Exhibit:
    words = f"{Path(cell.variant).stem}: {cell.verdict}, declared: {cell.expected}"
    words += f"; {cell.reason}" if cell.reason else ""
    for kind, label in (("new", "newly by"), ("mended", "no longer by"), ("open", "not compared:")):
        if names := [name for _, name in _changes(cell, changed, kind) if name]:
            words += f"; {label} {', '.join(names)}"
    place = f"{place_of(cell)}-shown"
    return Exhibit(cell.clause, place, words, tuple(walks(cell, into.bars)))


def report_of_trees(of: TreeResults, options: tuple[str, str]) -> str:
    """Return the report as HTML. options: of a command, those that choose the base, the newest."""
    into = Document()
    names = dict(zip(of.cells, dict.fromkeys((of.base, of.newest)), strict=True))
    added = {entry.access for entry in of.new_accesses}
    accesses = dict.fromkeys(entry.access for entry in (*of.new_accesses, *of.accesses))
    bounds = [(one.job.search.name, names[one.job.tree], one.bound) for one in of.outcomes]
    bounds += [(name, of.newest, f"not searched: {why}") for name, why in of.not_searched.items()]
    by_clause = {
        clause: [cells.get(clause) for cells in of.cells.values()]
        for clause in dict.fromkeys(clause for cells in of.cells.values() for clause in cells)
    }
    new = [] if of.changed is None else [of.newest_cells[clause] for clause in of.changed.new]
    return _render(
        into, f"Review of {of.newest}", _summary(of), list(names.values()),
        _groups_of_trees(of, options, into),
        _lines(by_clause), new, bounds,
        accesses=[(str(access), access in added) for access in accesses],
        patches={path.name: path.read_text("utf-8", "replace") for path in of.patches},
    )  # fmt: skip


def _summary(of: TreeResults) -> list[str]:
    if of.changed is None:
        lines = [f"Not declared of {of.variant}: {', '.join(of.undeclared) or 'nothing'}."]
    else:
        lines = [
            f"Newly broken: {', '.join(of.changed.new) or 'nothing'}.",
            f"Mended: {', '.join(of.changed.mended) or 'nothing'}.",
        ]
    if of.interrupted:
        lines.append("Interrupted: what does not show here is no verdict.")
    return lines


def _groups_of_trees(of: TreeResults, options: tuple[str, str], into: Document) -> list[Group]:
    """Return what is to be shown, what is new first."""
    base, last = next(iter(of.cells.values())), of.newest_cells
    changed = of.changed

    def group(heading: str, names: Iterable[str], says: str = "", serious: bool = False) -> Group:
        """Return a group of clauses as the newest tree breaks them."""
        shown = [_exhibit_of_tree(name, last[name], of.newest, options[1], into) for name in names]
        return Group(heading, shown, says, serious)

    def group_of_base(heading: str, names: Iterable[str], says: str = "") -> Group:
        shown = [_exhibit_of_tree(name, base[name], of.base, options[0], into) for name in names]
        return Group(heading, shown, says)

    if changed is None:
        known = [c for c, cell in last.items() if cell.example and c not in of.undeclared]
        return [
            group(f"Broken, and not declared of {of.variant}", of.undeclared, serious=True),
            group(f"Broken, as declared of {of.variant}", known),
        ]
    again = [clause for clause in changed.otherwise if clause not in changed.shorter]
    above = {*changed.shorter, *changed.otherwise}
    new = [name for name in changed.open if name in last and last[name].example is not None]
    old = [name for name in changed.open if name not in new]
    says = "On the other tree the search that shows it did not come as far."
    return [
        group(f"Newly broken by the patch, not by {of.base}", changed.new, serious=True),
        group("Broken with fewer operations than before", changed.shorter),
        group("Broken before too, but not by this schedule", again),
        group_of_base(f"Mended by the patch, broken by {of.base}", changed.mended),
        group("Broken with more operations than before",
              [name for name in changed.longer if name not in above]),
        group("Broken before and after, with as many operations",
              [name for name in changed.unchanged if name not in above]),
        group("Broken by the patched tree, not compared", new, says),
        group_of_base(f"Broken by {of.base}, not compared", old, says),
    ]  # fmt: skip


def _exhibit_of_tree(
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
    of = of_tree(example, subject, cell.origin)
    return Exhibit(clause, f"{place}-shown", words, (walk(of, into.bars, place, note, command),))


def _lines(by_clause: Mapping[str, Sequence[Cell | TreeCell | None]]) -> list[ClauseLine]:
    """Return the matrix: the cells of each clause, None of a subject that has none of it."""
    lines = []
    for clause, row in by_clause.items():
        judged = any(cell and cell.verdict in ("holds", "violated") for cell in row)
        reasons = dict.fromkeys(cell.reason for cell in row if cell and not judged)
        lines.append(ClauseLine(clause, row, "; ".join(reasons)))
    return lines


def _render(
    into: Document,
    title: str,
    summary: Sequence[str],
    subjects: Sequence[str],
    groups: Iterable[Group],
    lines: Sequence[ClauseLine],
    unexpected: Sequence[Cell | TreeCell],
    bounds: Iterable[tuple[str, str, str]],
    *,
    accesses: Sequence[tuple[str, bool]] = (),
    patches: Mapping[str, str] | None = None,
) -> str:
    """Return the report of a review as HTML.

    unexpected: cells that stand out. bounds: how far each search came: its name, of which subject,
    and that in words. accesses: without pcpu_lock, in words, and whether they are new. patches:
    texts by name.
    """
    shown = [group for group in groups if group.exhibits]
    index = [
        IndexEntry(one.place, "shown here", f"{one.clause}: {title_of(one.clause)}", one.words)
        for group in shown
        for one in group.exhibits
    ]
    return into.render(
        "review.html", title, [*index, *clause_index()], summary=summary, groups=shown,
        subjects=subjects, lines=lines, unexpected=unexpected, bounds=list(dict.fromkeys(bounds)),
        accesses=accesses, patches=patches or {}, title_of=title_of, sentence_of=sentence_of,
    )  # fmt: skip

"""What every report of a review shows: what is new first, the verdicts, how far was searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from percpu_proofs.counterexample.of_tree import of_tree
from percpu_proofs.counterexample.record import sentence_of, title_of
from percpu_proofs.report.document import Document, IndexEntry, clause_index
from percpu_proofs.report.walks import Walkthrough, place_of, walk, walks
from percpu_proofs.review.changes import Changes, clause_and_finding
from percpu_proofs.review.matrix import Cell
from percpu_proofs.review.trees import TreeCell, TreeResults
from percpu_spec.counts import counted


@dataclass(frozen=True, slots=True)
class Sign:
    """A verdict in the matrix."""

    words: str
    style: str  # a class of the style sheet
    unexpected: bool = False


@dataclass(frozen=True, slots=True)
class ClauseLine:
    """A clause in the matrix, with a mark for each subject; reason: why it was not asked."""

    clause: str
    marks: tuple[Sign | None, ...]
    reason: str = ""

    @property
    def title(self) -> str:
        """The clause's title, also of what stands in the place of one."""
        return title_of(self.clause)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A clause that is broken, or mended, with its counterexamples."""

    clause: str
    place: str
    words: str = ""
    walks: tuple[Walkthrough, ...] = ()

    @property
    def title(self) -> str:
        """The clause's title."""
        return title_of(self.clause)

    @property
    def sentence(self) -> str:
        """What the clause says, in Markdown."""
        return sentence_of(self.clause)


@dataclass(frozen=True, slots=True)
class Group:
    """Clauses of one kind: newly broken, mended, and so on."""

    heading: str
    shown: tuple[Exhibit, ...]
    serious: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class SearchBound:
    """How far a search came."""

    search: str
    subject: str
    reach: str


@dataclass(frozen=True, slots=True)
class AccessLine:
    """An access without pcpu_lock, in words."""

    words: str
    new: bool


@dataclass(slots=True)
class ReviewReport:
    """A review as its report shows it."""

    title: str
    summary: list[str]
    subjects: list[str]
    groups: list[Group] = field(default_factory=list)
    rows: list[ClauseLine] = field(default_factory=list)
    bounds: list[SearchBound] = field(default_factory=list)
    accesses: Sequence[AccessLine] = ()
    patches: Mapping[str, str] = field(default_factory=dict)


def render(into: Document, review: ReviewReport) -> str:
    """Return the report of a review as HTML."""
    shown = [one for group in review.groups for one in group.shown]
    index = [IndexEntry(one.place, "shown here", f"{one.clause}: {one.title}", one.words)
             for one in shown]  # fmt: skip
    return into.render(
        "review.html", review.title, [*index, *clause_index()], summary=review.summary,
        groups=[group for group in review.groups if group.shown], subjects=review.subjects,
        rows=review.rows, bounds=review.bounds, accesses=review.accesses, patches=review.patches,
    )  # fmt: skip


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
        return Group(
            heading, tuple(_variant_findings(cell, into, changed) for cell in fresh), serious, says
        )

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
        [
            ClauseLine(name, tuple(map(_variant_sign, of)), _reason(of))
            for name, of in by_clause.items()
        ],
        _bounds(cells),
    )
    return render(into, review)


def _findings(cell: Cell, changed: Mapping[str, Changes], kind: str) -> list[str]:
    """Return the findings by which alone a clause changed so."""
    entries = getattr(changed[cell.variant], kind) if cell.variant in changed else ()
    named = map(clause_and_finding, entries)
    return [finding for clause, finding in named if finding and clause == cell.clause]


def _variant_findings(cell: Cell, into: Document, changed: Mapping[str, Changes]) -> Exhibit:
    words = f"{Path(cell.variant).stem}: {cell.verdict}, declared: {cell.expected}"
    words += f"; {cell.reason}" if cell.reason else ""
    for kind, said in (("new", "newly by"), ("mended", "no longer by"), ("open", "not compared:")):
        if names := _findings(cell, changed, kind):
            words += f"; {said} {', '.join(names)}"
    place = f"{place_of(cell)}-shown"
    return Exhibit(cell.clause, place, words, tuple(walks(cell, into.bars)))


def _variant_sign(cell: Cell) -> Sign:
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
        return tuple(_tree_findings(name, cells[name], subject, chosen, into) for name in names)

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


def _tree_findings(
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
            marks.append(
                None if cell is None else _tree_sign(cell, name == names[-1] and clause in new)
            )
        reasons = [cells[n][clause].reason for n in names if clause in cells[n]]
        asked = any(mark is not None and mark.words != "–" for mark in marks)
        yield ClauseLine(clause, tuple(marks), "" if asked or not reasons else reasons[-1])


def _tree_sign(cell: TreeCell, is_new: bool) -> Sign:
    if cell.example is not None:
        return Sign(f"broken {cell.example.length}", "violated", is_new)
    if cell.verdict == "holds":
        return Sign("holds", "holds")
    return Sign("–", "unchecked")

"""`percpu-spec review` of variants as it is shown: findings as they come, the new, the matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.review_lines import (
    FindingLines,
    brief,
    number_of,
    operations_of,
    say_wrapped,
)
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.review.job import JobOutcome, ReviewExample
from percpu_proofs.review.jobs import ReviewRun
from percpu_proofs.review.matrix import (
    Cell,
    Changes,
    bases,
    changes,
    clause_and_finding,
    example_of,
    matrix_json,
    not_asked,
)
from percpu_reference.variants import variant_class
from percpu_reference.variants.composition import findings_in
from percpu_spec.catalogue import clause as clause_of
from percpu_spec.counts import counted, times

_HEAD: Final = """\
Clauses that are broken, with the fewest operations that were found and these in the operation
language: "a HANDLE SIZE ALIGN FLAGS" allocates, f frees, b runs the balance work. They run one
after the other, but for those behind "beside the work" or "at once"; ~ there may be fewer.
percpu-spec explain tells of each clause and finding (L1 to R4).
Sizes but for those in brackets: {}."""
_LEGEND: Final = """\
{}: operations of the shortest counterexample of these searches of the model; ~ there may be a
shorter one; . holds in every search that judged it, within its bound; ? not judged: its situation
did not occur; - not asked of this variant; ! not as declared"""


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


class VariantsReview:
    """A review of variants and how it is shown; `take` enters what was found.

    cells: of the variants that are asked for. changed: of those that are compared with their base.
    """

    def __init__(self, out: Console, request: ReviewRequest) -> None:
        self.out, self.request = out, request
        self.bases = bases(request.variants)
        every = tuple(dict.fromkeys((*request.variants, *self.bases.values())))
        self.review = ReviewRun(every, request.deep, request.quick, request.searches)
        self.lines = FindingLines(out, self._at_once, request.findings)

    def begin(self) -> FindingLines:
        """Print what lines of findings mean, and return what prints them as they come."""
        self._wrapped(_HEAD.format(KERNEL_32K.replace(",", ", ")))
        return self.lines

    def _at_once(self, variant: str, clause: str) -> bool:
        """Whether a finding is told as it comes; of what is compared with its base what is new."""
        if variant not in self.request.variants or not self.request.shows(clause):
            return False
        base = self.bases.get(variant)
        return base is None or clause not in variant_class(base).EXPECTED

    def take(self) -> None:
        """Take the verdicts of the review."""
        self.every = self.review.cells()
        self.cells = [cell for cell in self.every if cell.variant in self.request.variants]
        self.changed = {name: changes(name, self.every) for name in self.bases}
        self.wrong = [cell for cell in self.cells if not cell.as_expected]

    @property
    def listed(self) -> list[Cell]:
        """The cells of clauses that are shown."""
        return [cell for cell in self.cells if self.request.shows(cell.clause)]

    def as_json(self) -> dict[str, Any]:
        """Return the review with plain values only."""
        review = self.review
        every = [asdict(one) for one in self.changed.values()] or [asdict(Changes())]
        return matrix_json(self.listed) | {
            "changes": {
                kind: list(dict.fromkeys(clause for one in every for clause in one[kind]))
                for kind in every[0]
            },
            "bases": bases(list(self.changed)),
            "not_asked": not_asked(self.cells),
            "jobs": output.record(review, "planned", "done") | {"kept": review.cached},
            "interrupted": review.interrupted,
        }

    def show(self) -> None:
        """Print what was not told yet, what is new, the matrix, and all else that is asked for."""
        request = self.request
        self.lines.end(self.cells)
        for name, one in self.changed.items():
            self._show_changes(name, one)
        self._show_matrix()
        if request.everything:
            columns = ("search", "how far", "what")
            self.out.print(output.table("\nbounds", columns, _search_rows(self.review.outcomes)))
        if request.everything or request.named:
            for cell in sorted(self.listed, key=lambda cell: cell.as_expected):
                if cell.verdict == "violated" or request.named:
                    self._show_cell(cell)

    def _wrapped(self, text: str, style: str = "") -> None:
        """Print a text in as many lines as it takes, those behind the first as far to the right."""
        say_wrapped(self.out, text, style, indent=len(text) - len(text.lstrip()))

    def _show_replay(self, example: ReviewExample, indent: str = "  ") -> None:
        if example.token:
            output.say(self.out, f"{indent}percpu-spec replay {example.token}")

    def _show_changes(self, name: str, changed: Changes) -> None:
        """Print what a variant changes of its base, the new first."""
        base = self.bases[name]
        mine, theirs = (
            {cell.clause: cell for cell in self.every if cell.variant == variant}
            for variant in (name, base)
        )
        stem = Path(name).stem
        groups = (
            (f"NEW in {stem}, not in {base}", changed.new, mine, "bold red"),
            ("broken; how far the base keeps it is open", changed.open, mine, "bold"),
            (f"mended, broken by {base}", changed.mended, theirs, "bold green"),
            (f"broken with fewer operations than by {base}", changed.shorter, mine, "bold"),
            (f"broken with more operations than by {base}", changed.longer, mine, "bold"),
        )
        for heading, entries, of, style in groups:
            shown = [entry for entry in entries if self.request.shows(clause_and_finding(entry)[0])]
            if shown:
                self.out.print(Text(f"\n{heading}", style))
            for entry in shown:
                clause, finding = clause_and_finding(entry)
                found = of if example_of(of[clause], finding) is not None else mine
                self._show_change(found[clause], finding)
                if finding and of is theirs:
                    self._wrapped(f"    looked for in {stem}: {mine[clause].bounds[finding]}")
        if not changed.new:
            self.out.print(f"\nnothing new against {base}")
        same = [clause for clause in changed.unchanged if self.request.shows(clause)]
        self._wrapped(f"broken as by {base}: {', '.join(same) or 'nothing'}")
        other = [clause for clause in changed.by_finding if self.request.shows(clause)]
        if other:
            self._wrapped(f"broken as by {base} but for these findings: {', '.join(other)}")

    def _show_change(self, cell: Cell, finding: str) -> None:
        """Print what a clause is broken by on one; by a finding, if it is about that alone."""
        clause, example = cell.clause, example_of(cell, finding)
        reason = f" ({cell.reason})" if cell.reason and not finding else ""
        by = f" by {finding}:" if finding else ""
        self._wrapped(f"  {clause}{by} {clause_of(clause).title}{reason}")
        if example is not None:
            self._wrapped(f"    {example.message}")
            self._wrapped(f"    {number_of(example)} operations: {brief(clause, example)}")
            self._show_replay(example, "    ")

    def _show_matrix(self) -> None:
        """Print a row for each clause that is broken somewhere, and the ids of the others."""
        columns = list(dict.fromkeys(cell.variant for cell in self.every))
        rows: dict[str, dict[str, Cell]] = {}
        for cell in self.every:
            if self.request.shows(cell.clause):
                rows.setdefault(cell.clause, {})[cell.variant] = cell
        named = (f"{n}\N{NO-BREAK SPACE}{Path(name).stem}" for n, name in enumerate(columns, 1))
        self.out.print()
        self._wrapped("  ".join(named), "bold")
        broken = {
            clause: row
            for clause, row in rows.items()
            if any(cell.verdict == "violated" or not cell.as_expected for cell in row.values())
        }
        room = min(self.out.width, 120) - 9 - 4 * len(columns)
        head = "".join(f"{number:>4}" for number in range(1, len(columns) + 1))
        if broken:
            self.out.print(Text(f"{'clause':{room + 9}}{head}", "bold"))
        for clause, row in broken.items():
            title = textwrap.shorten(clause_of(clause).title, room, placeholder="...")
            marks = Text("").join(_mark(row[name]) for name in columns)
            output.say(self.out, Text(f"{clause:8} {title:{room}}") + marks)
        for what, verdicts in _WITHOUT_VIOLATION.items():
            names = [
                clause
                for clause, row in rows.items()
                if clause not in broken and {cell.verdict for cell in row.values()} in verdicts
            ]
            if names:
                self._wrapped(f"{what}: {', '.join(names)}")
        if broken:
            self._wrapped(_LEGEND.format("number"), "dim")

    def _show_cell(self, cell: Cell) -> None:
        """Print a verdict with all that it rests on; of several findings those asked for, if any.
        """
        findings = self.request.findings
        declared = "as declared" if cell.as_expected else f"declared: {cell.expected}"
        name = Path(cell.variant).stem
        self.out.print(f"\n{name} {cell.clause} {cell.verdict}, {declared}", style="bold")
        if cell.reason:
            self._wrapped(f"  {cell.reason}")
        if not findings or not cell.mechanisms:
            self._show_example(cell)
        for finding, shown in cell.mechanisms.items():
            if findings and finding not in findings:
                continue
            if shown is None:
                self._wrapped(f"  by {finding} alone: not shown by {cell.bounds[finding]}")
            else:
                length = counted(shown.length, "operation")
                self._wrapped(f"  by {finding}, {length}: {operations_of(shown)}")
                self._show_replay(shown)

    def _show_example(self, cell: Cell) -> None:
        """Print the counterexample of a cell, or how often its clause was judged."""
        example = cell.example
        if example is None:
            for found in cell.evidence:
                self._wrapped(f"  {found['engine']}: judged {times(found['count'])}")
            return
        self._wrapped(f"  {example.message}")
        shortest = "the shortest within this bound" if example.shortest else "maybe not the fewest"
        self._wrapped(f"  {counted(example.length, 'operation')}, {shortest}: {cell.origin}")
        if example.length <= 60:
            self._wrapped(f"  {operations_of(example)}")
        others = [e["engine"] for e in cell.evidence if e["violated"]]
        if len(others) > 1:
            self._wrapped(f"  broken in {len(others)} searches: {', '.join(others)}")
        self._show_replay(example)

    def end(self, seconds: float) -> None:
        """Print the last line: what is not as declared, how much was done."""
        review = self.review
        wrong = ", ".join(f"{Path(cell.variant).stem} {cell.clause}" for cell in self.wrong)
        cached = f", {review.cached} of them kept from earlier runs" if review.cached else ""
        text = "interrupted: " if review.interrupted else ""
        text += f"{review.done} of {review.planned} searches in {seconds:.0f} s{cached}; "
        if self.changed:
            new = [f"{Path(name).stem} {c}" for name, one in self.changed.items() for c in one.new]
            mended = [
                f"{Path(name).stem} {c}" for name, one in self.changed.items() for c in one.mended
            ]
            text += f"new: {', '.join(new) or 'nothing'}; "
            text += f"mended: {', '.join(mended)}; " if mended else ""
        if wrong:
            text += f"not as declared: {wrong}"
        else:
            partial = "what was done contradicts nothing declared"
            text += partial if review.partial else "all as declared"
        self._wrapped(text, "bold red" if wrong else "bold")


_WITHOUT_VIOLATION: Final = {
    "holds": [{"holds"}],
    "holds where it is asked and judged": [
        {"holds", "unchecked"}, {"holds", "not applicable"},
        {"holds", "unchecked", "not applicable"},
    ],
    "not judged: its situation did not occur": [{"unchecked"}, {"unchecked", "not applicable"}],
    "not asked of these": [{"not applicable"}],
}  # fmt: skip


def _mark(cell: Cell) -> Text:
    """Return the four columns of a cell."""
    word = {"holds": ".", "unchecked": "?", "not applicable": "-"}.get(cell.verdict, "")
    if cell.example is not None:
        word = number_of(cell.example)
    if not cell.as_expected:
        return Text(f" {word + '!':>3}", "bold red")
    return Text(f" {word:>3}", {"holds": "green", "violated": "yellow"}.get(cell.verdict, "dim"))


def _search_rows(outcomes: Sequence[JobOutcome]) -> list[tuple[str, str, str]]:
    """Return each search, how far it came for which variants, and what it did."""
    rows = []
    for (engine, how), alike in output.grouped(((o.engine, o.how), o) for o in outcomes).items():
        reached = output.grouped((o.reach, Path(o.job.variant).stem) for o in alike)
        far = [f"{', '.join(who)}: {how_far}" for how_far, who in reached.items()]
        rows.append((engine, "; ".join(far if len(far) > 1 else reached), how))
    return rows

"""`percpu-spec review` of variants: findings as they come, what is new first, then the matrix."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.report import write_variants
from percpu_proofs.commands.review_lines import (
    FindingLines,
    brief,
    number_of,
    operations_of,
    wrapped,
)
from percpu_proofs.commands.review_mail import show_review_mail
from percpu_proofs.commands.review_request import ReviewRequest
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.review.changes import Changes, bases, changes, lost
from percpu_proofs.review.jobs import JobOutcome
from percpu_proofs.review.matrix import Cell, matrix_json, not_asked
from percpu_proofs.review.results import ReviewRun, Workers
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import clause as clause_of

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


def review_variants(
    wanted: ReviewRequest, workers: Workers, *, mail: Path | None, page: Path | None, as_json: bool
) -> None:
    """Review variants, those of files beside what they extend; exit 1 for what is not declared.

    mail: where a block for a mail enters its tokens; None for no such block. page: where a report
    goes.
    """
    began = time.perf_counter()
    compared = bases(wanted.variants)
    every = tuple(dict.fromkeys((*wanted.variants, *compared.values())))
    review = ReviewRun(every, wanted.deep, wanted.quick, wanted.searches)
    lines = None
    out = output.console()
    if not as_json and mail is None:
        _wrapped(out, _HEAD.format(KERNEL_32K.replace(",", ", ")))
        lines = FindingLines(
            out, lambda *of: _at_once(wanted, compared, *of), wanted.findings
        )
        review.on_outcome = lines
    with output.progress_bar("review") as bar:
        review.run(replace(workers, on_done=bar))
    cells = review.cells()
    of_wanted = [cell for cell in cells if cell.variant in wanted.variants]
    changed = {name: changes(name, cells) for name in compared if name in wanted.variants}
    if page is not None:
        shown = [cell for cell in of_wanted if wanted.shows(cell.clause)]
        write_variants(page, shown, changed)
    if as_json:
        _print_json(wanted, review, of_wanted, changed, time.perf_counter() - began)
    elif mail is not None:
        show_review_mail(wanted, of_wanted, changed, mail)
    else:
        assert lines is not None
        _show(out, wanted, review, cells, changed, lines)
        _show_end(out, review, of_wanted, changed, time.perf_counter() - began)
    output.end(
        interrupted=review.interrupted, ok=all(cell.as_expected for cell in of_wanted)
    )


def _at_once(wanted: ReviewRequest, compared: dict[str, str], variant: str, clause: str) -> bool:
    """Whether a finding is told as it comes; of what is compared with its base what is new."""
    if variant not in wanted.variants or not wanted.shows(clause):
        return False
    base = compared.get(variant)
    return base is None or clause not in variant_class(base).EXPECTED


def _wrapped(out: Console, text: str, style: str = "") -> None:
    """Print a text in as many lines as it takes, those behind the first as far to the right."""
    indent = " " * (len(text) - len(text.lstrip()))
    output.say(out, wrapped(text, out.width, indent), style)


def _print_json(
    wanted: ReviewRequest,
    review: ReviewRun,
    cells: Sequence[Cell],
    changed: dict[str, Changes],
    seconds: float,
) -> None:
    found = matrix_json([cell for cell in cells if wanted.shows(cell.clause)])
    every = [asdict(one) for one in changed.values()] or [asdict(Changes())]
    found["changes"] = {
        kind: list(dict.fromkeys(clause for one in every for clause in one[kind]))
        for kind in every[0]
    }
    found["bases"] = bases(list(changed))
    found["not_asked"] = not_asked(cells)
    found["jobs"] = {
        "planned": review.planned, "done": review.done, "kept": review.kept
    }
    found["interrupted"] = review.interrupted
    found["seconds"] = round(seconds, 1)
    output.print_json(found)


def _show(
    out: Console,
    wanted: ReviewRequest,
    review: ReviewRun,
    cells: Sequence[Cell],
    changed: dict[str, Changes],
    lines: FindingLines,
) -> None:
    of_wanted = [cell for cell in cells if cell.variant in wanted.variants]
    lines.end(of_wanted)
    for name, one in changed.items():
        _show_changes(out, wanted, cells, name, one)
    _show_matrix(out, wanted, cells)
    if wanted.everything:
        columns = ("search", "how far", "what")
        out.print(output.table("\nbounds", columns, _searched(review.outcomes)))
    if wanted.everything or wanted.named:
        for cell in sorted(of_wanted, key=lambda cell: cell.as_expected):
            if wanted.shows(cell.clause) and (cell.verdict == "violated" or wanted.named):
                _show_cell(out, cell, wanted.findings)


def _show_changes(
    out: Console, wanted: ReviewRequest, cells: Sequence[Cell], name: str, changed: Changes
) -> None:
    """Print what a variant changes of its base, the new first."""
    base = bases([name])[name]
    mine, theirs = (
        {cell.clause: cell for cell in cells if cell.variant == variant} for variant in (name, base)
    )
    stem = Path(name).stem
    groups = (
        (f"NEW in {stem}, not in {base}", changed.new, mine, "bold red"),
        ("broken; how far the base keeps it is open", changed.open, mine, "bold"),
        (f"mended, broken by {base}", changed.mended, theirs, "bold green"),
        (f"broken with fewer operations than by {base}", changed.shorter, mine, "bold"),
        (f"broken with more operations than by {base}", changed.longer, mine, "bold"),
    )
    for heading, clauses, of, style in groups:
        shown = [clause for clause in clauses if wanted.shows(clause)]
        if not shown:
            continue
        out.print(Text(f"\n{heading}", style))
        for clause in shown:
            _show_change(out, clause, of[clause])
    for clause, findings in lost(name, mine, theirs).items():
        _wrapped(out, f"no longer by {', '.join(findings)}, as far as looked: {clause}")
    if not changed.new:
        out.print(f"\nnothing new against {base}")
    same = [clause for clause in changed.unchanged if wanted.shows(clause)]
    _wrapped(out, f"broken as by {base}: {', '.join(same) or 'nothing'}")


def _show_change(out: Console, clause: str, cell: Cell) -> None:
    title = clause_of(clause).title
    _wrapped(out, f"  {clause} {title}" + (f" ({cell.reason})" if cell.reason else ""))
    if cell.example is None:
        return
    _wrapped(out, f"    {cell.example.message}")
    _wrapped(out, f"    {number_of(cell.example)} operations: {brief(clause, cell.example)}")
    if cell.example.token:
        output.say(out, f"    percpu-spec replay {cell.example.token}")


def _show_matrix(out: Console, wanted: ReviewRequest, cells: Sequence[Cell]) -> None:
    """Print a row for each clause that is broken somewhere, and the ids of the others."""
    columns = list(dict.fromkeys(cell.variant for cell in cells))
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        if wanted.shows(cell.clause):
            rows.setdefault(cell.clause, {})[cell.variant] = cell
    stems = [Path(name).stem for name in columns]
    named = (f"{number}\N{NO-BREAK SPACE}{stem}" for number, stem in enumerate(stems, 1))
    out.print()
    _wrapped(out, "  ".join(named), "bold")
    broken = {
        clause: row
        for clause, row in rows.items()
        if any(cell.verdict == "violated" or not cell.as_expected for cell in row.values())
    }
    room = min(out.width, 120) - 9 - 4 * len(columns)
    head = "".join(f"{number:>4}" for number in range(1, len(columns) + 1))
    if broken:
        out.print(Text(f"{'clause':{room + 9}}{head}", "bold"))
    for clause, row in broken.items():
        title = textwrap.shorten(clause_of(clause).title, room, placeholder="...")
        line = Text(f"{clause:8} {title:{room}}")
        for name in columns:
            line.append_text(_mark(row[name]))
        output.say(out, line)
    kept = {clause: row for clause, row in rows.items() if clause not in broken}
    for what, verdicts in _KEPT.items():
        names = [
            clause
            for clause, row in kept.items()
            if {cell.verdict for cell in row.values()} in verdicts
        ]
        if names:
            _wrapped(out, f"{what}: {', '.join(names)}")
    if broken:
        _wrapped(out, _LEGEND.format("number"), "dim")


_KEPT: Final = {
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


def _show_cell(out: Console, cell: Cell, findings: Sequence[str]) -> None:
    """Print a verdict with all that it rests on; findings: of several only these, if any."""
    declared = "as declared" if cell.as_expected else f"declared: {cell.expected}"
    name = Path(cell.variant).stem
    out.print(f"\n{name} {cell.clause} {cell.verdict}, {declared}", style="bold")
    if cell.reason:
        _wrapped(out, f"  {cell.reason}")
    if not findings or not cell.mechanisms:
        _show_example(out, cell)
    for finding, shown in cell.mechanisms.items():
        if findings and finding not in findings:
            continue
        if shown is None:
            _wrapped(out, f"  by {finding} alone: not shown by {cell.sought[finding]}")
        else:
            _wrapped(out, f"  by {finding}, {shown.length} operations: {operations_of(shown)}")
            output.say(out, f"  percpu-spec replay {shown.token}")


def _show_example(out: Console, cell: Cell) -> None:
    """Print the counterexample of a cell, or how often its clause was judged."""
    example = cell.example
    if example is None:
        for found in cell.evidence:
            _wrapped(out, f"  {found['engine']}: judged {found['count']} times")
        return
    _wrapped(out, f"  {example.message}")
    shortest = "the shortest within this bound" if example.shortest else "maybe not the fewest"
    _wrapped(out, f"  {example.length} operations, {shortest}: {cell.found_by}")
    if example.length <= 60:
        _wrapped(out, f"  {operations_of(example)}")
    others = [e["engine"] for e in cell.evidence if e["violated"]]
    if len(others) > 1:
        _wrapped(out, f"  broken in {len(others)} searches: {', '.join(others)}")
    if example.token:
        output.say(out, f"  percpu-spec replay {example.token}")


def _show_end(
    out: Console,
    review: ReviewRun,
    cells: Sequence[Cell],
    changed: dict[str, Changes],
    seconds: float,
) -> None:
    """Print the last line: what is not as declared, how much was done."""
    wrong = [f"{Path(cell.variant).stem} {cell.clause}" for cell in cells if not cell.as_expected]
    end = "what was done contradicts nothing declared" if review.partial else "all as declared"
    kept = f", {review.kept} of them kept from earlier runs" if review.kept else ""
    text = "interrupted: " if review.interrupted else ""
    text += f"{review.done} of {review.planned} searches in {seconds:.0f} s{kept}; "
    new = [f"{Path(name).stem} {c}" for name, one in changed.items() for c in one.new]
    if changed:
        text += f"new: {', '.join(new) or 'nothing'}; "
    text += f"not as declared: {', '.join(wrong)}" if wrong else end
    _wrapped(out, text, "bold red" if wrong else "bold")


def _searched(outcomes: Sequence[JobOutcome]) -> list[tuple[str, str, str]]:
    """Return each search, how far it came for which variants, and what it did."""
    by_search: dict[tuple[str, str], dict[str, list[str]]] = {}
    for outcome in outcomes:
        reached = by_search.setdefault((outcome.engine, outcome.how), {})
        reached.setdefault(outcome.reach, []).append(Path(outcome.job.variant).stem)
    rows = []
    for (engine, how), reached in by_search.items():
        if len(reached) == 1:
            reach = next(iter(reached))
        else:
            reach = "; ".join(f"{', '.join(who)}: {how_far}" for how_far, who in reached.items())
        rows.append((engine, reach, how))
    return rows

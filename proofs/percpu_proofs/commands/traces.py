"""Kernel traces replayed and printed, and the verdicts of any run, never without their evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from percpu_contracts.contract import Level
from percpu_proofs.commands import output
from percpu_proofs.commands.source import sizes
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.holders import WhoReport
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.run.runner import ClauseVerdict, bound
from percpu_spec.catalogue import title as title_of
from percpu_spec.counts import counted, times

_SHOWN = 20  # call sites, and pages
_COLUMNS = ("clause", "what", "verdict", "evidence")


def replay(
    path: Path,
    variant: str | None,
    contracts: Level,
    geometry: str | None,
    state: Path | None = None,
    at: int | None = None,
) -> TraceReport:
    """Replay a recorded run with a progress bar; on its kernel's variant if none is given.

    geometry: sizes for what its boot messages leave open. state: one taken during the trace. at:
    the events after which it is told who holds memory. Raises TraceError, InputError.
    """
    with output.progress_bar(path.name) as bar:
        return conform_trace(
            path, variant=variant, contracts=contracts, sizes=sizes(geometry), state=state, at=at,
            progress=bar,
        )  # fmt: skip


def show(out: Console, report: TraceReport) -> None:
    """Print what a replay found: the comparison, then the verdicts if contracts were checked."""
    rows = [(name, Text.from_markup(value)) for name, value in report.rows()]
    pages = [sample.pages_all_units for sample in report.memory]
    if pages:
        rows.append(("pages, all units", Text(f"{min(pages)} to {max(pages)}")))
        rows.append(("over time", Text(output.sparkline(pages))))
    output.show_pairs(out, rows)
    if report.contracts != "off":
        bounds = bound(report.contracts, report.checked, "event")
        show_verdicts(out, report.clauses, report.variant, bounds, "event")


def show_holders(out: Console, who: WhoReport) -> None:
    """Print who holds memory, and the pages that the fewest bytes keep."""
    where = f", on {counted(len(who.pages), 'page')} of {who.page} bytes" if who.pages else ""
    out.print(
        f"after {counted(who.at, 'event')} (line {who.line}): {counted(who.areas, 'area')} in use, "
        f"{who.bytes} bytes of each CPU{where}",
        highlight=False,
    )
    if not who.complete:
        output.say(out, f"not all is known: {who.why}", "yellow")
    rows = [
        (one.call_site, one.areas, one.bytes, one.pages, one.pins_pages, one.chunks,
         " ".join(one.pins_chunks))
        for one in who.call_sites[:_SHOWN]
    ]  # fmt: skip
    head = ["asked for by", "areas", "bytes", "pages", "it alone pins", "chunks", "alone"]
    out.print(output.table("who holds memory", head, rows))
    if len(who.call_sites) > _SHOWN:
        out.print(f"{len(who.call_sites) - _SHOWN} more in --json")
    if not who.pages:
        return
    fewest = sorted(who.pages, key=lambda page: (page.bytes, page.chunk, page.page))[:_SHOWN]
    pages = [
        (one.chunk, one.page, one.areas, one.bytes, ", ".join(one.call_sites)) for one in fewest
    ]
    head = ["chunk", "page", "areas", "bytes", "of"]
    out.print(output.table("pages that the fewest bytes pin", head, pages))


def as_json(report: TraceReport) -> dict[str, Any]:
    """Return a replay with plain values, in the terms that all runs share."""
    return report.to_dict() | {
        "file": report.run,
        "kind": "trace",
        "operations": report.allocations + report.failures + report.frees,
        "bound": bound(report.contracts, report.checked, "event"),
        "who": None,  # conform trace --who
    }


def show_verdicts(
    out: Console,
    verdicts: Sequence[ClauseVerdict],
    variant: str,
    bound: str,
    noun: str = "operation",
) -> None:
    """Print a row for each clause that was asked, name the others, and sum up.

    noun says what the run was made of.
    """
    asked = [v for v in verdicts if v.verdict in ("holds", "violated")]
    if asked:
        out.print(output.table("clauses", _COLUMNS, [_row(v, noun) for v in asked]))
        for word, why in (
            ("unchecked", "at this level or in this run"),
            ("not applicable", f"to {variant}"),
        ):
            names = [v.clause for v in verdicts if v.verdict == word]
            if names:
                out.print(f"{word} {why}: {', '.join(names)}")
    output.say(out, _summary(verdicts, bound) if asked else bound)


def _row(verdict: ClauseVerdict, noun: str) -> tuple[object, ...]:
    """Return the table row of a clause that was asked."""
    title = title_of(verdict.clause)
    if verdict.verdict == "holds":
        evidence = f"asked {times(verdict.evaluations)}"
        if verdict.expected:
            evidence += "; this variant is expected to break it, which did not show here"
        return verdict.clause, title, Text("holds", "green"), evidence
    style = "yellow" if verdict.expected else "bold red"
    word = "violated, expected" if verdict.expected else "violated"
    evidence = (
        f"at {counted(verdict.count, noun)}, first {verdict.first} (line {verdict.line}): "
        f"{verdict.message}"
    )
    return verdict.clause, title, Text(word, style), evidence


def _summary(verdicts: Sequence[ClauseVerdict], bound: str) -> Text:
    """Return all verdicts in one line, with rung and bound."""
    counts = Counter(v.verdict for v in verdicts)
    violated = [v for v in verdicts if v.verdict == "violated"]
    unexpected = [v.clause for v in violated if not v.expected]
    found = "violated as expected of this variant"
    if unexpected:
        found = f"violated, {', '.join(unexpected)} unexpectedly"
    return Text(
        f"{bound}: {counts['holds']} clauses held, {len(violated)} {found}, "
        f"{counts['unchecked']} unchecked",
        "bold red" if unexpected else "bold",
    )

"""`percpu-spec log`: what the messages of a kernel say of percpu memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.source import geometry_option
from percpu_proofs.logs.advice import Explanation, MachineFacts
from percpu_proofs.logs.failure_site import FailureSite, open_site, site_record, why_at_site
from percpu_proofs.logs.failures import Failure
from percpu_proofs.logs.reading import LogReport, read_log, unread_failures
from percpu_proofs.logs.reports import Report
from percpu_proofs.recorded.boot.layout import Layout
from percpu_proofs.run.room import Why
from percpu_proofs.run.sizes import sizes
from percpu_spec.counts import counted

_LINES_SHOWN = 8  # at which failures alike stand


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@geometry_option(
    help="What the messages leave open: page, cpus, groups, spare (units without CPU), backing.",
)
@click.option(
    "--state", "source", metavar="WHAT",
    help="Also tell why each failure happened there: from a saved state, a core or percpu_stats of "
    "that machine (as for percpu-spec state).",
)
@output.json_option
def log(file: Path, geometry: str | None, source: str | None) -> None:
    """Explain what FILE says of percpu memory: dmesg, a console log, a journal, a mail with either.
    FILE - is standard input (dmesg | percpu-spec log -).

    The layout: how large pages and units are, which CPUs have which, what a populated page costs
    and what Percpu of /proc/meminfo counts for it; the sizes as other commands take them. Each
    failure: which clause explains it, whether it does harm, what to change. Reports of checkers and
    watchdogs: what the specification says to them, and what is outside of it. For what is no log:
    the command that reads it. What the messages leave open is said, not guessed.

    Exit status: 0 told, 2 nothing of percpu memory can be read, or of its failures none.
    """
    place = None if source is None else open_site(source)
    found = read_log(file, sizes(geometry), place.machine if place is not None else None)
    whys = {
        one.kind: why_at_site(place, one, found.machine_of(one)) if place is not None else None
        for one, _ in found.kinds
    }
    if output.as_json():
        record = found.as_json()
        if place is not None:
            record["state"] = site_record(place, found.machines)
            for entry, (failure, _) in zip(record["failures"], found.failures, strict=True):
                answer = whys[failure.kind]
                entry["there"] = answer and asdict(answer)
        output.print_json(record)
    else:
        show(output.console(), found, place, whys)
    if found.unread and not (found.failures or found.reports or found.material):
        raise unread_failures(file, found.unread[0])


def show(
    out: Console,
    found: LogReport,
    place: FailureSite | None,
    whys: Mapping[tuple[Any, ...], Why | None],
) -> None:
    """Print what a log says, and why its failures happened in a place, if there is one."""
    rows = [("log", str(found.file))]
    several = len(found.boots) > 1
    for boot in found.distinct_boots:
        if several:
            rows.append(("boot", f"from line {boot.line} on"))
        if boot.release is not None:
            rows.append(("kernel", boot.release))
        if boot.layout is not None:
            rows += _rows(boot.layout)
    output.show_pairs(out, rows)
    printed: set[str] = set()
    for failure, explanation in found.kinds:
        there = found.machine_of(failure) if several else None
        _show_failure(out, failure, explanation, printed, there)
        answer = whys[failure.kind]
        if answer is not None and place is not None:
            _show_lines(out, f"in {place.source}: ", answer.lines)
            out.print(f"  clauses there: {', '.join(answer.clauses)}", markup=False)
    for report in found.reports:
        _show_report(out, report)
    for one in found.material:
        out.print(Text(f"\nline {one.line}: {one.kind}", "bold"))
        _show_lines(out, "", one.says)
        output.say(out, f"  read it with: {one.command}")
    notes = (*(found.layout.notes if found.layout is not None else ()), *found.notes,
             *(place.against(found.machines) if place is not None else ()))  # fmt: skip
    for note in notes:
        output.say(out, note, "yellow")
    text = found.layout.as_json()["geometry"] if found.layout is not None else None
    if text is not None:
        output.say(out, f"--geometry {text}")


def _show_failure(
    out: Console,
    failure: Failure,
    explanation: Explanation,
    printed: set[str],
    where_failed: MachineFacts | None,
) -> None:
    """Print one failure, or several alike, and of what it means all that was not said before.

    where_failed: the machine, where the log has several boots.
    """
    where = ", ".join(map(str, failure.lines[:_LINES_SHOWN]))
    more = " ..." if len(failure.lines) > _LINES_SHOWN else ""
    times = f", {failure.count} times" if failure.count > 1 else ""
    output.say(out, f"\nline {where}{more}: {failure.title}{times}", "bold")
    if where_failed is not None:
        kernel, page = where_failed.release or "not told", where_failed.page
        pages = f"{page} bytes" if page else "not told"
        output.say(out, f"  in its boot: kernel {kernel}, page {pages}")
    callers = list(failure.stack.callers[:3])
    if failure.stack.task is not None:
        callers.append(f"task {failure.stack.task}")
    if callers:
        output.say(out, f"  asked for by {' < '.join(callers)}")
    _show_lines(out, "", explanation.says, printed)
    _show_lines(out, "harmless: ", (explanation.harm,), printed)
    _show_lines(out, "change: ", explanation.advice, printed)
    out.print(f"  clauses: {', '.join(explanation.clauses)}", markup=False)


def _show_report(out: Console, report: Report) -> None:
    output.say(out, f"\nline {report.line}: {report.kind}: {report.title}", "bold")
    _show_lines(out, "", report.says)
    _show_lines(out, "change: ", report.advice)
    word = "nearest clauses, as the question is outside" if report.outside else "clauses"
    if report.clauses:
        out.print(f"  {word}: {', '.join(report.clauses)}", markup=False)


def _show_lines(
    out: Console, label: str, lines: Sequence[str], printed: set[str] | None = None
) -> None:
    """Print lines, but for those said before, and enter them."""
    for line in lines:
        if printed is not None:
            if line in printed:
                continue
            printed.add(line)
        output.say(out, f"  {label}{line}")


def _rows(layout: Layout) -> list[tuple[str, str]]:
    fields, page = layout.as_json(), layout.page
    parts = f"static {layout.static}, reserved {layout.reserved}, dynamic {layout.dyn} bytes"
    unit = f"{layout.unit} bytes"
    if page is not None:
        unit += f", {counted(layout.unit // page, 'page')}"
    cpus = "open"
    if layout.cpus is not None:
        cpus = str(layout.cpus)
        cpus += "" if layout.groups is None else f" in {counted(layout.groups, 'group')}"
        if layout.units is not None:
            spare = layout.units - layout.cpus
            cpus += f"; {counted(layout.units, 'unit')}"
            cpus += f", {spare} of them without CPU" if spare else ""
    rows = [
        ("line", f"{layout.line}: {parts}"),
        ("page", f"{page} bytes: {layout.page_by}" if page else f"open: {layout.open_page}"),
        ("unit", unit),
        ("first chunk", layout.first_chunk),
        ("chunks", f"backed by percpu-{layout.backing}"),
        ("CPUs", cpus),
    ]
    cost, counts = fields["page_cost"], fields["percpu_page"]
    if cost is None and page is not None:
        rows.append(("a populated page", f"{page // 1024} kB on each possible CPU"))
    if cost is not None:
        rows.append(("a populated page", f"{counted(cost // page, 'page')}, {cost // 1024} kB"))
        more = "" if cost == counts else f": {100 * (counts - cost) // cost}% too much"
        rows.append(("Percpu counts", f"{counts // 1024} kB for it{more}"))
    return rows

"""`percpu-spec conform`: is the model the kernel? Traces and verdicts are printed as for `run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from percpu_contracts.contract import Level
from percpu_proofs import data
from percpu_proofs.commands import output
from percpu_proofs.commands.kernel import kernel, record
from percpu_proofs.commands.source import geometry_option
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.holders import WhoReport, is_memleak, of_memleak
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.vectors import VectorReport, conform_vectors
from percpu_proofs.run.runner import ClauseVerdict, bound
from percpu_proofs.run.sizes import sizes
from percpu_spec.catalogue import title as title_of
from percpu_spec.counts import counted, times

_SHOWN = 20  # call sites, and pages
_COLUMNS = ("clause", "what", "verdict", "evidence")


@click.group(commands=[kernel, record])
def conform() -> None:
    """Compare the model with recorded kernels, and with compiled kernel code."""


@conform.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@output.json_option
def vectors(paths: tuple[Path, ...]) -> None:
    """Compare every field of every recorded state in vectors: files, or folders of them.

    Without PATH, the vectors that ship with the package.
    """
    report = VectorReport()
    with output.interruption() as stop, output.progress_bar("vectors") as bar:
        conform_vectors(paths or [data.folder("vectors")], bar, report)
    output.result(
        lambda: asdict(report) | {"interrupted": stop.came},
        lambda out: _show_vectors(out, report, stop.came),
    )
    output.end(interrupted=stop.came, ok=not report.mismatches)


def _show_vectors(out: Console, report: VectorReport, interrupted: bool) -> None:
    rows = [
        ("files", str(report.files)),
        ("operations", str(report.operations)),
        ("states that differ", str(report.mismatches)),
    ]
    if report.not_compared:
        rows.append(("not compared", report.not_compared))
    output.show_pairs(out, rows)
    for note in report.notes:
        output.say(out, note, "yellow")
    if report.first_mismatch is not None:
        output.say(out, f"first: {report.first_mismatch}", "bold red")
    elif interrupted:
        out.print("interrupted: the states compared so far are the kernel's")
    else:
        out.print(Text("every field of every recorded state is the kernel's", "bold"))


@conform.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option(
    "--variant", callback=output.named_variant,
    help="The algorithm to compare.  [default: that of the recorded kernel]",
)
@geometry_option(
    help="What the boot messages leave open: page, cpus, groups, spare (units without CPU).",
)
@click.option(
    "--state", type=click.Path(path_type=Path, dir_okay=False),
    help="A saved state of this kernel, taken while the trace ran (state live --save FILE).",
)
@click.option("--who", is_flag=True, help="Who holds memory at the end, by call site and page.")
@click.option(
    "--at", type=click.IntRange(0), metavar="N", help="With --who: after N events of the trace."
)
@output.json_option
def trace(
    runs: tuple[Path, ...],
    variant: str | None,
    geometry: str | None,
    state: Path | None,
    who: bool,
    at: int | None,
) -> None:
    """Compare every placement and recorded state of kernel traces: folders of runs, or traces.

    Read are tracefs and trace-cmd text, perf script and bpftrace output, and with --who the stacks
    that bcc's memleak --percpu prints. A replay begins at boot or
    in a state; without one, events are checked as far as they tell of each other. `conform
    recorder` prints a script that records a folder. Without RUN, the trace that ships with the
    package.
    """
    if at is not None and not who:
        raise click.UsageError("--at tells the moment for --who")
    reports: list[TraceReport] = []
    stacks: list[dict[str, Any]] = []
    with output.interruption() as stop:
        for path in runs or [data.default_trace()]:
            if is_memleak(path):  # no events to compare: it tells who, and nothing else
                holders = of_memleak(path)
                stacks.append({"run": str(path), "who": asdict(holders)})
                if not output.as_json():
                    show_holders(output.console(), holders)
                continue
            reports.append(replay_trace(path, variant, "off", geometry, state, at))
            if not output.as_json():
                show_trace(output.console(), reports[-1])
                if who:
                    show_holders(output.console(), reports[-1].who)
    if output.as_json():
        of_pages = {} if who else {"who": None}
        found = [*(report.to_dict() | of_pages for report in reports), *stacks]
        only = found[0] if len(found) == 1 else {}
        output.print_json(only | {"runs": found, "interrupted": stop.came})
    output.end(interrupted=stop.came, ok=all(report.ok for report in reports))


@conform.command()
@click.option("--bpftrace", is_flag=True, help="A bpftrace program, for machines that have it.")
def recorder(bpftrace: bool) -> None:
    """Print a shell script that records a trace with states: `conform recorder > record.sh`.

    `sh record.sh FOLDER 60` on the machine in question fills FOLDER with the percpu events of a
    minute, states before and after, percpu_stats, and the layout that the kernel printed at boot.
    """
    name = "record.bt" if bpftrace else "record.sh"
    output.echo((data.folder("recorder") / name).read_text(encoding="utf-8"), nl=False)


def replay_trace(
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


def show_trace(out: Console, report: TraceReport) -> None:
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


def trace_record(report: TraceReport) -> dict[str, Any]:
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
    judged = [v for v in verdicts if v.verdict in ("holds", "violated")]
    if not judged:
        output.say(out, bound)
        return
    out.print(output.table("clauses", _COLUMNS, [_verdict_row(v, noun) for v in judged]))
    for word, why in (
        ("unchecked", "at this level or in this run"), ("not applicable", f"to {variant}")
    ):  # fmt: skip
        if names := [v.clause for v in verdicts if v.verdict == word]:
            out.print(f"{word} {why}: {', '.join(names)}")
    counts = Counter(v.verdict for v in verdicts)
    unexpected = [v.clause for v in judged if v.verdict == "violated" and not v.expected]
    violated = f"{counts['violated']} violated as expected of this variant"
    if unexpected:
        violated = f"{counts['violated']} violated, {', '.join(unexpected)} unexpectedly"
    output.say(
        out,
        f"{bound}: {counts['holds']} clauses held, {violated}, {counts['unchecked']} unchecked",
        "bold red" if unexpected else "bold",
    )


def _verdict_row(verdict: ClauseVerdict, noun: str) -> tuple[object, ...]:
    """Return the table row of a clause that was judged."""
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

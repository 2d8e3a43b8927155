"""`percpu-spec run`: operations, vectors and traces through the contract-checked allocator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from percpu_contracts.contract import Level
from percpu_proofs import data
from percpu_proofs.commands import options, output
from percpu_proofs.commands.conform import replay_trace, show_trace, show_verdicts, trace_record
from percpu_proofs.commands.source import (
    InputKind,
    Source,
    expand,
    geometry_option,
    kind_of,
    read_source,
)
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import text_of
from percpu_proofs.run.runner import ClauseVerdict, RunReport, run_list, state_after
from percpu_proofs.run.sizes import SIZES
from percpu_proofs.show.picture import picture_of_state
from percpu_proofs.show.text import chunk_text
from percpu_reference import DEFAULT
from percpu_spec.counts import counted

_MAPS_SHOWN = 2  # chunks drawn after a violation
_ERRORS_SHOWN = 10  # of callers
_KINDS_SHOWN = 12  # of requests that failed
_FAILED = ("size", "align", "flags", "failed", "of", "reason")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@options.variant(f"{DEFAULT}; for what was recorded that of the kernel")
@click.option(
    "--contracts", type=click.Choice(["off", "fast", "full"]), default="fast", show_default=True,
    help="What is checked: nothing, constant work an operation, everything.",
)
@geometry_option(
    help=f"Sizes in bytes, counts, switches (0 or 1) and backing (vm or km): {', '.join(SIZES)}. "
    "For an operation list those of the benchmark lists unless given; a trace brings its own, but "
    "for what its boot messages leave open.",
)
@click.option(
    "--every", type=click.IntRange(min=1), metavar="N",
    help="Run the balance work, if it is asked for, after each N operations, beside what the list "
    "says; checksums that are recorded are not compared then. For operation lists and vectors.",
)
@output.json_option
def run(
    files: tuple[Path, ...],
    variant: str | None,
    contracts: Level,
    geometry: str | None,
    every: int | None,
) -> None:
    """Run FILEs (operation lists, vectors, kernel traces) through the contract-checked allocator.

    Allocations that fail are told by size and flags, with the reason in the kernel's own words.

    Without FILE, the trace of a real kernel that ships with the package.
    """
    paths = expand(files) or [data.default_trace()]
    out = output.console()
    reports: list[RunReport | TraceReport] = []
    with output.interruption() as stop:
        for path in paths:
            if kind_of(path) is InputKind.TRACE:
                if every is not None:
                    expected = "an operation list or a vector: a trace has work of its own"
                    raise InputError("--every", None, expected, str(path))
                replayed = replay_trace(path, variant, contracts, geometry)
                reports.append(replayed)
                if not output.as_json():
                    show_trace(out, replayed)
                continue
            source = read_source(path, geometry)
            report = _report(path, source, variant or source.variant, contracts, every or 0)
            reports.append(report)
            with output.interruption() as within, output.progress_bar(path.name) as bar:
                run_list(source.listed, report, bar)
            if not output.as_json():
                show(out, report, source)
            if within.came:
                raise KeyboardInterrupt

    if output.as_json():
        output.print_json(_merged(reports, stop.came))
    if stop.came:
        done = sum(isinstance(report, TraceReport) or report.complete for report in reports)
        output.console(stderr=True).print(f"interrupted: {done} of {len(paths)} inputs done")
    output.end(interrupted=stop.came, ok=all(report.ok for report in reports))


def _report(path: Path, source: Source, variant: str, contracts: Level, every: int) -> RunReport:
    recorded, notes = source.recorded, source.notes
    if recorded is not None and variant != source.variant:  # only this one promises to end so
        notes += (f"recorded checksum not compared: it is that of {source.variant}",)
        recorded = None
    elif recorded is not None and every:
        notes += ("recorded checksum not compared: --every runs work that was not recorded",)
        recorded = None
    return RunReport(
        str(path), source.kind.value, variant, contracts, source.geometry,
        len(source.listed.operations), every, recorded_checksum=recorded, notes=notes,
    )  # fmt: skip


def _merged(reports: Sequence[RunReport | TraceReport], interrupted: bool) -> dict[str, Any]:
    """Return all runs; what concerns one input stands at the top too if there is only one."""
    runs = [r.as_json() if isinstance(r, RunReport) else trace_record(r) for r in reports]
    violations: dict[str, dict[str, Any]] = {}
    for one in runs:
        for name, found in one["violations"].items():
            known = violations.setdefault(name, found | {"count": 0, "file": one["file"]})
            known["count"] += found["count"]
    only = runs[0] if len(runs) == 1 else {}
    return only | {
        "operations": sum(one["operations"] for one in runs),
        "violations": violations,
        "memory": only.get("memory"),
        "final_checksum": only.get("final_checksum"),
        "ok": all(one["ok"] for one in runs) and not interrupted,
        "interrupted": interrupted,
        "runs": runs,
    }


def show(out: Console, report: RunReport, source: Source) -> None:
    """Print what a run found."""
    done = f"{report.operations}"
    if not report.complete:
        done += f" of {report.planned}"
    if report.every:
        runs = counted(report.works, "run")
        done += f", after each {report.every} the balance work if asked for: {runs}"
    pages = [sample.pages_all_units for sample in report.memory]
    allocations = []
    if report.allocations:
        failed = report.failed.count if report.failed is not None else 0
        text = f"{report.allocations}, all served"
        if failed:
            text = f"{report.allocations - failed} of {report.allocations} served, {failed} failed"
        allocations = [("allocations", text)]
    rows = [
        ("input", f"{report.file} ({report.kind})"),
        ("allocator", f"{report.variant}, contracts {report.contracts}"),
        ("operations", f"{done}, {report.seconds:.1f} s"),
        *allocations,
        ("pages, all units", f"{pages[0]} to {pages[-1]}, at most {max(pages)}"),
        ("over time", output.sparkline(pages)),
    ]
    if report.final_checksum is not None:
        text = str(report.final_checksum)
        if report.recorded_checksum is not None:
            agrees = report.checksum_agrees
            text += ", as recorded" if agrees else f", recorded {report.recorded_checksum}"
        rows.append(("final checksum", text))
    output.show_pairs(out, rows)
    for note in report.notes:
        output.say(out, note, "yellow")
    _show_failed(out, report, source)
    for number, said in report.callers_errors[:_ERRORS_SHOWN]:
        line, words = source.listed.lines[number - 1], source.listed.operations[number - 1]
        where = f"operation {number} ({source.listed.path}:{line}, {text_of(words)})"
        output.say(out, output.callers_error(f"{where}: {said}"))
    if len(report.callers_errors) > _ERRORS_SHOWN:
        out.print(f"and {len(report.callers_errors) - _ERRORS_SHOWN} more, all in --json")
    show_verdicts(out, report.clauses, report.variant, report.bound)
    if report.stopped_by is not None:
        _show_violation(out, report, source, report.violations[report.stopped_by])


def _show_failed(out: Console, report: RunReport, source: Source) -> None:
    """Print which allocations failed, and the first of them."""
    failed = report.failed
    if failed is None or failed.first is None:
        return
    first = failed.first
    output.say(
        out,
        f"first failure: operation {first.operation} ({source.listed.path}:{first.line}, "
        f"{first.text}): {first.reason}",
    )
    rows = list(map(astuple, failed.by_size))
    out.print(output.table("failed allocations", _FAILED, rows[:_KINDS_SHOWN]))
    if len(rows) > _KINDS_SHOWN:
        out.print(f"and {len(rows) - _KINDS_SHOWN} more kinds, all in --json")


def _show_violation(
    out: Console, report: RunReport, source: Source, verdict: ClauseVerdict
) -> None:
    """Print where a run was stopped, and the maps of the chunks that the operation changed."""
    listed = source.listed
    index = report.operations - 1
    words = text_of(listed.operations[index])
    output.say(
        out,
        f"{verdict.clause} violated at operation {report.operations} ({listed.path}:"
        f"{listed.lines[index]}, {words}): {verdict.message}",
        "bold red",
    )
    allocator, ids = state_after(listed, report.geometry, report.variant, report.operations)
    picture = picture_of_state(allocator)
    for chunk_id in ids[:_MAPS_SHOWN]:
        out.print(Text("\n" + chunk_text(picture.chunks[str(chunk_id)])))

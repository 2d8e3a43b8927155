"""`percpu-spec conform`: is the model the kernel?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs import data
from percpu_proofs.commands import output, traces
from percpu_proofs.commands.kernel import kernel, record
from percpu_proofs.commands.source import geometry_option
from percpu_proofs.recorded.replay.holders import is_memleak, of_memleak
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.vectors import VectorReport, conform_vectors


@click.group()
def conform() -> None:
    """Compare the model with recorded kernels, and with compiled kernel code."""


conform.add_command(kernel)
conform.add_command(record)


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
        lambda: report.as_json() | {"interrupted": stop.came},
        lambda out: _show(out, report, stop.came),
    )
    output.end(interrupted=stop.came, ok=not report.mismatches)


def _show(out: Console, report: VectorReport, interrupted: bool) -> None:
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
                    traces.show_holders(output.console(), holders)
                continue
            reports.append(traces.replay(path, variant, "off", geometry, state, at))
            if not output.as_json():
                traces.show(output.console(), reports[-1])
                if who:
                    traces.show_holders(output.console(), reports[-1].who)
    if output.as_json():
        found = [report.to_dict() for report in reports]
        for one in found:
            one |= {} if who else {"who": None}  # of every page
        found += stacks
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

"""`percpu-spec bench`: operations per second at each level of contracts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs.bench.explorers import Rate, of_tree
from percpu_proofs.bench.explorers import measure as measure_explorer
from percpu_proofs.bench.throughput import BenchmarkWork, BenchReport, measure, prepare
from percpu_proofs.commands import output
from percpu_proofs.kernel.build import workshop
from percpu_proofs.kernel.instance import USUAL
from percpu_proofs.kernel.search.trees import compiled_trees
from percpu_reference.variants import MERGED


@click.command()
@click.argument("lists", nargs=-1, metavar="[LIST]...")
@click.option(
    "--lists", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of c10.ops.gz, c100.ops.gz, c1000.ops.gz, or of vectors.",
)
@click.option(
    "--variant", callback=output.named_variant, default=MERGED, show_default=True,
    help="The algorithm to measure.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True,
    help="Times everything is measured; the best counts.",
)
@click.option(
    "--source", type=click.Path(path_type=Path),
    help="A Linux source tree: measure its compiled mm/percpu.c in the same run.",
)
@click.option(
    "--explorer/--no-explorer", default=True,
    help="Measure the explorer too, unless LISTs are named.",
)
@output.json_option
def bench(
    lists: tuple[str, ...],
    folder: Path | None,
    variant: str,
    rounds: int,
    source: Path | None,
    explorer: bool,
) -> None:
    """Measure operation LISTs: c10, c100, c1000, or files. Without LIST, all that are there, and
    the explorer, beside frontrun if that is installed.

    c10 and some vectors ship with the package; the others are looked for in ../shared/bench and
    ../shared/vectors.
    """
    report = prepare(lists, [folder] if folder else [], variant, rounds)
    rates: list[Rate] = []
    with output.interruption() as stop:
        with ExitStack() as stack:
            if source is not None:
                report.library = stack.enter_context(workshop(source)).library(USUAL)
            bar = stack.enter_context(output.progress_bar("bench"))
            measure(report, bar)
        if explorer and not lists:
            if source is not None:
                with compiled_trees(source) as trees:
                    rates = of_tree(trees[0])
            rates += measure_explorer(variant)
    output.result(
        lambda: report.as_json() | {"explore": [rate.as_json() for rate in rates]},
        lambda out: _show(out, report, rates),
    )
    if stop.came:
        click.echo("interrupted: shown is what was measured so far", err=True)
    output.end(interrupted=stop.came, ok=report.agree)


def _show(out: Console, report: BenchReport, rates: Sequence[Rate]) -> None:
    rows = [_row(work) for work in report.works if work.seconds]
    out.print(output.table("operations a second, best of the rounds", _COLUMNS, rows))
    out.print("* measured in this run" if report.library else "* as known; --source measures it")
    growth = report.growth()
    if growth is not None:
        out.print(f"growth: c1000 runs at {growth:.0%} of c10's rate, contracts off")
    for work in report.works:
        if work.files:
            folders = output.grouped((path.parent, path.name) for path in map(Path, work.files))
            names = "; ".join(f"in {folder}: {', '.join(its)}" for folder, its in folders.items())
            output.say(out, f"{work.name}: {names}")
    for name in report.missing:
        out.print(f"not measured: {name}, not found here or in ../shared/bench; --lists says where")
    if not report.agree:
        out.print(Text("a run did not end in the known state: its rates mean nothing", "bold red"))
    if rates:
        _show_explorer(out, rates)


def _show_explorer(out: Console, rates: Sequence[Rate]) -> None:
    rows = [
        (
            rate.way,
            rate.scenario,
            f"{rate.schedules:,}",
            f"{rate.states:,}" if rate.states else "",
            _number(rate.schedules_per_second),
            _number(rate.steps / rate.seconds) if rate.steps else "",
            _number(rate.covered / rate.seconds) if rate.covered else "",
        )
        for rate in rates
    ]
    names = (
        "way", "scenario", "schedules", "states", "a second", "steps a second", "steps in effect"
    )  # fmt: skip
    out.print(output.table("explorer, every step judged", names, rows))
    if rates[-1].way.startswith("frontrun"):
        times = rates[-2].schedules_per_second / rates[-1].schedules_per_second
        out.print(f"explorer/frontrun on {rates[-1].scenario}: {times:,.0f} times the schedules")
    else:
        out.print("frontrun not measured: install the extra `bench`")


_COLUMNS = (
    "list", "operations", "off", "fast", "full", "off/fast", "off/full", "kernel C*", "C/off",
    "final checksum",
)  # fmt: skip


def _row(work: BenchmarkWork) -> tuple[object, ...]:
    found = work.as_json()
    rates = found["operations_per_second"]
    slower = found["times_slower_than_off"]
    if len(work.checksums) > 1:
        checksum = f"{len(work.checksums)} files agree"
    else:
        checksum = str(found["final_checksum"])
    return (
        work.name,
        work.operations,
        *(_number(rates.get(level)) for level in ("off", "fast", "full")),
        *(_number(slower.get(level), ".1f") for level in ("fast", "full")),
        _number(found["kernel_operations_per_second"]),
        _number(found["kernel_ratio"], ".1f"),
        checksum if work.agree else Text(f"{found['checksums']} compared, some differ", "bold red"),
    )


def _number(value: float | None, form: str = ",.0f") -> str:
    return "" if value is None else format(value, form)

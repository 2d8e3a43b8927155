"""`percpu-spec workload`: memory given back, what searches and fixes cost, how bursts go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.text import Text

from percpu_proofs.bench.throughput import find_list
from percpu_proofs.commands import figures, options, output
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.search.trees import PATCHED
from percpu_proofs.kernel.search_cost import ExaminedKernel, compile_examined
from percpu_proofs.live import subject
from percpu_proofs.live.continuation import cannot_go_on
from percpu_proofs.live.verdicts import KernelStateJudge, broken
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import read_operations
from percpu_proofs.run.sizes import SIZES, geometry_with
from percpu_proofs.workload import burst as served
from percpu_proofs.workload.fix_cost import COLUMNS, combinations, measure, rows
from percpu_proofs.workload.plots import cost_svg, removal_svg, served_svg
from percpu_proofs.workload.recorded import (
    BANDS,
    TIMINGS,
    USUAL,
    Curve,
    Schedule,
    Workload,
    at_rest_after,
    load,
    published,
    run_workload,
    shipped,
)
from percpu_proofs.workload.search_cost import GEOMETRY, Burst, after, piles, piles_on
from percpu_reference.variants import VARIANTS, Allocator, build, variant_class
from percpu_spec.definitions import is_legal
from percpu_spec.geometry import Geometry


@click.command()
@click.argument("lists", nargs=-1, type=click.Path(path_type=Path), metavar="[LIST]...")
@click.option("--size", type=int, default=40, show_default=True, help="Of a request, in bytes.")
@click.option("--align", type=int, default=8, show_default=True, help="Of a request, in bytes.")
@click.option(
    "--requests", type=click.IntRange(min=1), default=served.REQUESTS, show_default=True,
    help="How many are made, one after another.",
)
@click.option(
    "--every", "periods", type=click.IntRange(min=1), multiple=True, metavar="N",
    help="Run the balance work, if asked for, after each N of them; may be given again.  "
    f"[default: {', '.join(map(str, served.PERIODS))}]",
)
@options.variants
@options.after
@click.option(
    "--state", "saved", metavar="WHAT", multiple=True,
    help="Also from a kernel's state, as for percpu-spec state: a saved one or a core.",
)
@click.option(
    "--geometry", metavar="NAME=VALUE,...",
    help=f"Sizes as for run: {', '.join(SIZES)}.  [default: {served.GEOMETRY.text}]",
)
@options.plot
@output.json_option
def burst(
    lists: tuple[Path, ...],
    size: int,
    align: int,
    requests: int,
    periods: tuple[int, ...],
    names: tuple[str, ...],
    workload_name: str | None,
    saved: tuple[str, ...],
    geometry: str | None,
    svg: Path | None,
) -> None:
    """Count the atomic requests that are served between two runs of the balance work, and say why.

    From these states at rest: just booted; after a wave, of which one area in four pages is left;
    after each operation LIST; and in states of kernels. Requests are made until one fails, then
    the work runs, again and again; and a number of them with the work after every N.
    """
    sized = geometry_with(geometry, served.GEOMETRY)
    if not is_legal(sized, size, align):
        expected = f"a size of 1 to {sized.largest} and an alignment that is a power of two up to "
        raise InputError("--size", None, f"{expected}{sized.page}", f"{size}, aligned to {align}")
    variants = {name: variant_class(name) for name in names or VARIANTS}
    states: list[tuple[str, Callable[[str, Geometry], Allocator | None]]] = [
        ("just booted", build),
        ("after a wave", partial(served.after_wave, size=size, align=align)),
        *(
            (f"after {path}", partial(served.after_list, listed=read_operations(path)))
            for path in lists
        ),
    ]
    if workload_name is not None:
        left = load(workload_name)
        states.append(
            (f"after {left.name}", lambda name, _: at_rest_after(left, build(name, left.geometry)))
        )
    states += [(f"in {what}", _in_state(what)) for what in saved]
    found: list[served.Served] = []
    with output.interruption() as stop, output.progress_bar("burst") as bar:
        for (state, start), name in product(states, variants):
            bar(len(found), len(states) * len(variants), f"{state}, {name}")
            allocator = start(name, sized)
            if allocator is not None:  # else of another number of chunk types
                measured = served.measure(
                    name, state, allocator, size, align,
                    requests=requests, periods=periods or served.PERIODS,
                )  # fmt: skip
                found.append(measured)
    output.result(
        lambda: {
            "size": size, "align": align, "requests": requests, "geometry": sized.text,
            "served": [one.as_json() for one in found],
            "ok": not stop.came, "interrupted": stop.came,
        },
        lambda out: figures.show_served(out, found),
    )  # fmt: skip
    _end(stop.came, ok=True, svg=svg, drawing=served_svg(found))


def _in_state(what: str) -> Callable[[str, Geometry], Allocator | None]:
    """Return what puts a variant into a kernel's state. Raises InputError where it cannot go on."""
    kind = subject.kind_of(what)
    if kind is subject.SubjectKind.STATS:
        raise InputError("--state", None, "a saved state or a core: percpu_stats has no maps", what)
    state = subject.read_subject(what, kind, None, owners=False)
    if stays := cannot_go_on(state, broken(KernelStateJudge().verdicts(state))):
        expected = f"a state that the model goes on from, not this: {stays}"
        raise InputError("--state", None, expected, what)
    return lambda name, _: served.in_state(name, state.snapshot)


def _end(interrupted: bool, *, ok: bool, svg: Path | None, drawing: str) -> None:
    """Write the drawing if there is to be one, last as that can fail, and exit."""
    if svg is not None:
        output.write_file(svg, drawing)
    if interrupted:
        click.echo("interrupted: shown is what was done so far", err=True)
    output.end(interrupted=interrupted, ok=ok)


@click.group(commands=[burst])
def workload() -> None:
    """Run the workload of the depopulation series, and measure what its search costs."""


@workload.command()
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@options.variants
@click.option(
    "--delay", type=click.IntRange(min=0), default=USUAL.delay, show_default=True,
    help="Operations from asking for balance work to its begin.",
)
@click.option(
    "--gap", type=click.IntRange(min=0), default=USUAL.gap, show_default=True,
    help="Operations each time that the work maps, unmaps or flushes pages.",
)
@click.option("--seed", type=int, help="Draw both numbers from 0 to twice what is given.")
@click.option("--timings", is_flag=True, help="Also run the kernel's own variant at other moments.")
@options.plot
@output.json_option
def removal(
    workloads: tuple[str, ...],
    names: tuple[str, ...],
    delay: int,
    gap: int,
    seed: int | None,
    timings: bool,
    svg: Path | None,
) -> None:
    """Create 1000 x (1 + 10) cgroups, remove 10 of every 11: memory held over time.

    WORKLOAD is cg612_4 or cg510_4 (what a recorded 6.12 and 5.10 asked for, both if none is given)
    or the folder of a recorded run. The memory of the recorded kernel stands beside that of every
    variant; exit 1 if the kernel's own variant is too far from it.
    """
    variants = {name: variant_class(name) for name in names or VARIANTS}
    loads = [load(name) for name in workloads or reversed(shipped())]
    results: list[tuple[Workload, list[Curve]]] = [(one, []) for one in loads]
    timed: list[tuple[Workload, list[Curve]]] = [(one, []) for one in loads if timings]
    with output.interruption() as stop:
        for one, curves in results:
            _run(one, curves, [(name, Schedule(delay, gap, seed)) for name in variants])
        for one, curves in timed:
            _run(one, curves, [(one.variant, schedule) for schedule in TIMINGS])

    differs = [
        (one, curve, curve.outside)
        for one, curves in (*results, *timed)
        for curve in curves
        if curve.variant == one.variant and curve.outside
    ]
    if output.as_json():
        records = {
            one.name: one.facts() | {
                "operations": len(one.operations),
                "kernel_variant": one.variant,
                "variants": {curve.variant: curve.as_json() for curve in curves},
            }
            for one, curves in results
        }  # fmt: skip
        for one, curves in timed:
            records[one.name]["timings"] = [curve.as_json() for curve in curves]
        output.print_json(
            {
                "workloads": records,
                "bands": BANDS,
                "published": published(),
                "ok": not differs and not stop.came,
                "interrupted": stop.came,
            }
        )
    else:
        out = output.console()
        for one, curves in results:
            figures.show_removal(out, one, curves)
        for one, curves in timed:
            figures.show_timings(out, one, curves)
        figures.show_published(out)
        for one, curve, stages in differs:
            text = f"{one.name}, {curve.variant} at {curve.schedule}: {', '.join(stages)} too far"
            out.print(Text(text, "bold red"))
    _end(stop.came, ok=not differs, svg=svg, drawing=removal_svg(results))


@workload.command()
@options.variants
@options.after
@options.tree
@options.plot
@output.json_option
def cost(
    names: tuple[str, ...],
    workload_name: str | None,
    tree: options.TreeOptions | None,
    svg: Path | None,
) -> None:
    """Count the chunks that one atomic allocation examines as depopulated chunks pile up (COST-1).

    Requests of a page are made one after another until none is populated any more; the balance
    work does not run in between. Exit 1 if a variant breaks COST-1 that does not declare it.
    With --source it is the tree's own code that is asked, patched and not, beside the variants
    that are named; exit 1 if it stops.
    """
    variants = {name: variant_class(name) for name in names or (VARIANTS if tree is None else ())}
    state = None if workload_name is None else load(workload_name)
    bursts: list[Burst] = []
    later: list[Burst] = []
    stopped: dict[str, str] = {}
    total = len(variants) * (1 if state is None else 2)
    with output.interruption() as stop:
        if tree is not None:
            bursts += _on_trees(tree, stopped)
        with output.progress_bar("cost") as bar:
            for done, name in enumerate(variants, 1):
                bursts += piles(name)
                bar(done, total)
            if state is not None:
                for name in variants:
                    later.append(after(state, name))
                    bar(len(variants) + len(later), total)

    breaking = dict.fromkeys(b.variant for b in (*bursts, *later) if b.broken)
    declared = {name for name, cls in variants.items() if "COST-1" in cls.EXPECTED}
    unexpected = [name for name in breaking if name not in declared]
    if output.as_json():
        output.print_json(
            {
                "clause": "COST-1",
                "variants": output.grouped((b.variant, b.as_json()) for b in bursts),
                "after": {b.variant: b.as_json() for b in later},
                "workload": workload_name,
                "breaking": list(breaking),
                "stopped": stopped,
                "ok": not unexpected and not stopped and not stop.came,
                "interrupted": stop.came,
            }
        )
    else:
        out = output.console()
        figures.show_cost(out, bursts, later, workload_name, unexpected)
        for name, why in stopped.items():
            out.print(Text(f"{name} stops while chunks are drained: {why}", "bold red"))
    ok = not unexpected and not stopped
    _end(stop.came, ok=ok, svg=svg, drawing=cost_svg(bursts, later))


def _on_trees(chosen: options.TreeOptions, stopped: dict[str, str]) -> list[Burst]:
    """Return the bursts of a tree, and of the patched one if there are patches.

    Which of them stops, and why, is entered.
    """
    bursts: list[Burst] = []
    with chosen.compiled() as trees, TemporaryDirectory(prefix="percpu-spec-") as folder:
        for each in trees:
            into = Path(folder) / each.name
            into.mkdir()
            library = compile_examined(each.tree, into, each.stub)
            name = f"Linux {each.tree.name}" + (", patched" if each.name == PATCHED else "")
            try:
                for burst in piles_on(name, partial(ExaminedKernel, library, GEOMETRY)):
                    bursts.append(burst)
            except KernelStopped as why:
                stopped[name] = str(why)
    return bursts


@workload.command()
@click.argument("name", metavar="[LIST]", default="c10")
@click.option("--operations", type=click.IntRange(min=1), help="Only so many, from the first on.")
@output.json_option
def fixes(name: str, operations: int | None) -> None:
    """Count the work that each fix of `reference` adds to linux_6_12 over LIST (c10, or a file).

    Work by operation, which carries over to the kernel's C: blocks whose hints are reached, hint
    updates and refreshes, chunks examined, scans of maps and the bits they walk over.
    """
    path = find_list(name, [])
    if path is None:
        raise InputError("LIST", None, "c10, c100, c1000 where they are found, or a file", name)
    variants = combinations()
    costs = []
    with output.progress_bar("fixes") as bar:
        for each in measure(read_operations(path), Geometry(), variants, operations):
            costs.append(each)
            bar(len(costs), len(variants))
    title = f"work by operation over {name}"
    output.result(
        lambda: {each.name: asdict(each) | each.per_operation() for each in costs},
        lambda out: out.print(output.table(title, COLUMNS, list(rows(costs)))),
    )


def _run(one: Workload, curves: list[Curve], runs: Sequence[tuple[str, Schedule]]) -> None:
    """Append a curve for each variant and schedule."""
    for name, schedule in runs:
        with output.progress_bar(f"{one.name}, {name}") as bar:
            curves.append(run_workload(one, name, schedule, bar))

"""`percpu-spec workload burst`: how many atomic requests are served between runs of the work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from percpu_proofs.commands import figures, options, output
from percpu_proofs.commands.source import SIZES, asked_for
from percpu_proofs.live import subject
from percpu_proofs.live.continuation import cannot_go_on
from percpu_proofs.live.verdicts import KernelStateJudge, broken
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import read_operations
from percpu_proofs.workload import burst as served
from percpu_proofs.workload.plots import served_svg
from percpu_proofs.workload.requests import load
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
    as_json: bool,
) -> None:
    """Count the atomic requests that are served between two runs of the balance work, and say why.

    From these states at rest: just booted; after a wave, of which one area in four pages is left;
    after each operation LIST; and in states of kernels. Requests are made until one fails, then
    the work runs, again and again; and a number of them with the work after every N.
    """
    sized = asked_for(geometry, served.GEOMETRY)
    if not is_legal(sized, size, align):
        expected = f"a size of 1 to {sized.largest} and an alignment that is a power of two up to "
        raise InputError("--size", None, f"{expected}{sized.page}", f"{size}, aligned to {align}")
    chosen = names or tuple(VARIANTS)
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
        states.append((f"after {left.name}", lambda name, _: served.after_workload(name, left)))
    states += [(f"in {what}", _in_state(what)) for what in saved]
    for name in chosen:
        variant_class(name)
    found: list[served.Served] = []
    total = len(states) * len(chosen)
    with output.interruption() as stop, output.progress_bar("burst") as bar:
        for state, start in states:
            for name in chosen:
                bar(len(found), total, f"{state}, {name}")
                allocator = start(name, sized)
                if allocator is None:  # of another number of chunk types
                    continue
                found.append(
                    served.measure(
                        name, state, allocator, size, align,
                        requests=requests, periods=periods or served.PERIODS,
                    )
                )  # fmt: skip
    if as_json:
        output.print_json(
            {
                "size": size, "align": align, "requests": requests, "geometry": sized.text,
                "served": [one.as_json() for one in found],
                "ok": not stop.came, "interrupted": stop.came,
            }
        )  # fmt: skip
    else:
        figures.show_served(output.console(), found)
    options.end_workload(stop.came, ok=True, svg=svg, drawing=served_svg(found))


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

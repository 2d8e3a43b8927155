"""`percpu-spec show`: the memory map of a state."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from percpu_proofs.commands import moments, options, output
from percpu_proofs.commands.moments import StateDrawing, map_svg, map_text, picture_of_kernel
from percpu_proofs.commands.source import InputKind, geometry_option, kind_of, read_source
from percpu_proofs.explain.names import DRAWN, find_file
from percpu_proofs.explore.packing import MODEL, TREE, cut
from percpu_proofs.explore.token import read_token, token_of
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.search.tree_token import read_tree_token
from percpu_proofs.live.kernel_memory import is_reads
from percpu_proofs.live.reader import TornError
from percpu_proofs.live.sample import UnstableError, is_samples
from percpu_proofs.live.subject import LIVE, is_core, read_subject
from percpu_proofs.live.subject import SubjectKind as Source
from percpu_proofs.recorded.replay.holders import is_memleak
from percpu_proofs.recorded.states.saved_state import is_state
from percpu_proofs.recorded.states.stats_text import is_stats
from percpu_proofs.recorded.traces.reader import is_run
from percpu_proofs.run.inputs import InputError, read_text
from percpu_proofs.run.runner import state_after
from percpu_proofs.run.sizes import sizes
from percpu_proofs.run.state_record import Recorder, counter_record
from percpu_proofs.run.variant_errors import guard
from percpu_proofs.show.picture import StatePicture
from percpu_proofs.show.stats import stats_text
from percpu_proofs.show.text import state_text
from percpu_reference import DEFAULT
from percpu_reference.variants import Allocator


@click.command()
@click.argument("what", metavar="FILE")
@click.option(
    "--at", type=click.IntRange(min=0), help="Stop after so many operations, or events of a trace."
)
@click.option(
    "--step", type=click.IntRange(min=0),
    help="Of a token: stop after so many steps; 0 draws the state in which its actors begin.",
)
@click.option("--chunk", "name", help="The chunk to draw: 0 the first, -1 the reserved one.")
@click.option("--map", "--all", "whole", is_flag=True, help="Draw all chunks on one page.")
@click.option(
    "--svg", type=output.NewFile(), help="Write the chunk's map, or that of all, there as SVG."
)
@options.debug
@click.option(
    "--state", "begin", type=click.Path(path_type=Path, dir_okay=False),
    help="Of a trace: a saved state taken while it ran.",
)
@click.option("--stats", is_flag=True, help="Print the kernel's percpu_stats instead.")
@click.option(
    "--variant", callback=output.named_variant,
    help=f"The algorithm to run.  [default: {DEFAULT}; for a vector that of the recorded kernel]"
    " Of a token of a variant's FILE.py: where that is here.",
)
@geometry_option(help="Sizes, as for run.")
@options.tree
@output.json_option
def show(
    what: str,
    at: int | None,
    step: int | None,
    name: str | None,
    whole: bool,
    svg: Path | None,
    debug: Path | None,
    begin: Path | None,
    stats: bool,
    variant: str | None,
    geometry: str | None,
    tree: options.TreeOptions | None,
) -> None:
    """Draw a state: its lists, and a chunk page by page, or all chunks.

    FILE is one of: an operation list or a recorded vector, drawn where it leads, --at an operation
    before its end; a trace or the folder of a recorded run, drawn where the model stands behind its
    last event, or --at another; a scenario, drawn where its actors begin; the token of a
    counterexample, drawn --step by step (one of compiled code with --source); a kernel's state as
    for `state`: a core or `live` (with drgn), what `state --save` wrote, recorded reads. What ships
    with the package goes by its name alone: 612_4.removed60, c10, 33-frag-u32-c4-odd, boot61_2,
    reclaim-frees.

    Without --chunk, the chunk that the last operation, event or step changed.
    """
    settings = {"--at": at, "--step": step, "--variant": variant, "--geometry": geometry,
             "--source": tree, "--debug": debug, "--state": begin}  # fmt: skip
    what = token_of(what)
    if what.startswith((MODEL, TREE)):
        _only("a token", settings, "--step", "--source", "--variant")
        moment = _of_token(what, step, tree, variant)
    else:
        moment = _of_file(what, settings)
    if stats:
        _print_stats(moment)
        return
    picture = moment.picture
    name = moment.chunk if name is None else name
    if name not in picture.chunks:
        raise InputError("--chunk", None, f"one of {' '.join(picture.chunks)}", name)
    if svg is not None:
        output.write_file(svg, map_svg(picture, None if whole else name))
    if output.as_json():
        output.print_json(_as_json(moment, name))
        return
    width = output.console().width
    if not whole:
        output.echo(state_text(picture, width) + "\n")
    output.echo(map_text(picture, None if whole else name, width))
    if svg is not None:
        output.echo(f"\nwritten: {svg}")


def _of_token(
    text: str, step: int | None, tree: options.TreeOptions | None, file: str | None
) -> StateDrawing:
    """Return the moment of a schedule that a token holds; file: of its variant.

    Raises InputError.
    """
    if file is not None and text.startswith(TREE):
        raise InputError("--variant", None, f"a token of the model, {MODEL}...", cut(text))
    if not text.startswith(TREE):
        if tree is not None:
            raise InputError("--source", None, f"a token of compiled code, {TREE}...")
        with guard():
            return moments.of_token(read_token(text, file), step)
    if tree is None:
        raise InputError("token", None, "--source TREE to run compiled code", cut(text))
    token = read_tree_token(text)
    with tree.compiled() as trees:
        library = trees[-1].search_library(TreeSearch("token", token.clause, token.plan))
        return moments.of_tree_token(token, library, step)


def _of_file(what: str, settings: dict[str, Any]) -> StateDrawing:
    """Return the moment that a file holds, or leads to. Raises InputError."""
    if what == LIVE:
        return _of_kernel(what, Source.LIVE, settings, "--debug")
    path = find_file(Path(what), *DRAWN)
    if path.is_dir():
        return _of_trace(path, settings)
    if is_core(path):
        return _of_kernel(what, Source.CORE, settings, "--debug")
    text = read_text(path)
    for kind, is_so in ((Source.STATE, is_state), (Source.READS, is_reads)):
        if is_so(text):
            return _of_kernel(str(path), kind, settings)
    if moments.is_scenario(text):
        _only("a scenario", settings, "--variant")
        return moments.scenario_start(path, settings["--variant"])
    for is_so, name in ((is_stats, "percpu_stats"), (is_samples, "samples")):
        if is_so(text):
            command = f"percpu-spec state {shlex.quote(what)}"
            raise InputError(path, None, f"a state, which has maps; what {name} tell: {command}")
    if is_memleak(path) or kind_of(path) is InputKind.TRACE:
        return _of_trace(path, settings)
    _only("an operation list or a vector", settings, "--at", "--variant", "--geometry")
    return _of_list(path, settings["--at"], settings["--variant"], settings["--geometry"])


def _of_kernel(what: str, kind: Source, settings: dict[str, Any], *allowed: str) -> StateDrawing:
    _only("a kernel's state", settings, *allowed)
    try:
        state = read_subject(what, kind, settings["--debug"], owners=False)
    except (TornError, UnstableError) as error:
        output.echo(f"torn: {error}; there is no one moment to draw")
        raise SystemExit(output.TORN) from None
    return StateDrawing(picture_of_kernel(state))


def _of_trace(path: Path, settings: dict[str, Any]) -> StateDrawing:
    if is_memleak(path):
        command = f"percpu-spec conform trace --who {shlex.quote(str(path))}"
        raise InputError(path, None, f"a trace of events; what memleak tells: {command}")
    if path.is_dir() and not is_run(path):
        raise InputError(path, None, "a file, or the folder of a recorded run with its trace")
    _only("a trace", settings, "--at", "--variant", "--geometry", "--state")
    with output.progress_bar(path.name) as bar:
        return moments.of_trace(
            path, settings["--at"], variant=settings["--variant"],
            sizes=sizes(settings["--geometry"]), state=settings["--state"], progress=bar,
        )  # fmt: skip


def _only(what: str, settings: dict[str, Any], *allowed: str) -> None:
    """Raise InputError for an option that is given and means nothing for what is drawn."""
    for option, value in settings.items():
        if value is not None and option not in allowed:
            expected = _MEANT_FOR.get(option, "an operation list, a vector or a token")
            raise InputError(option, None, f"{expected} to draw", what)


_MEANT_FOR = {
    "--at": "an operation list, a vector or a trace", "--step": "a token", "--debug": "a core",
    "--state": "a trace",
}  # fmt: skip


def _of_list(path: Path, at: int | None, variant: str | None, geometry: str | None) -> StateDrawing:
    source = read_source(path, geometry)
    variant = variant or source.variant
    operations = len(source.listed.operations)
    last = operations if at is None else at
    if last > operations:
        raise InputError(path, None, f"at least {last} operations, for --at", str(operations))
    with output.progress_bar(path.name) as bar:
        allocator, changed = state_after(source.listed, source.geometry, variant, last, bar)
    title = f"{path.name}, {variant}, after operation {last} of {operations}"
    last_changed = str(changed[0]) if changed else None
    picture = moments.picture_of_model(allocator, title)
    return StateDrawing(picture, last_changed, allocator, last, operations)


def _print_stats(moment: StateDrawing) -> None:
    allocator = moment.allocator
    if allocator is None or allocator.stats is None:
        expected = "an operation list or a vector: states and tokens carry no statistics"
        raise InputError("--stats", None, expected)
    text = stats_text(allocator)
    output.result(
        lambda: {"operations": moment.step, "percpu_stats": text},
        lambda _: output.echo(text, nl=False),
    )


def _as_json(moment: StateDrawing, name: str) -> dict[str, Any]:
    """Return the state, in the terms of recorded vectors where the model has it."""
    picture = moment.picture
    return {
        "operations": moment.step,
        "of": moment.steps,
        "title": picture.title,
        "geometry": asdict(picture.geometry),
        "lists": {title: list(members) for title, members in picture.lists},
        **(_drawn(picture) if moment.allocator is None else _recorded(moment.allocator)),
        "chunk": name,
        "map": map_text(picture, name),
    }


def _drawn(picture: StatePicture) -> dict[str, Any]:
    return {
        "float": picture.float_pages,
        "nr_populated": picture.populated,
        "chunks": [
            {"chunk": chunk.name}
            | output.record(chunk, "place", "free_bytes", "populated", "empty", "areas")
            | {"pages": chunk.strip, "hints": chunk.hints._asdict()}
            for chunk in picture.chunks.values()
        ],
    }


def _recorded(allocator: Allocator) -> dict[str, Any]:
    state = Recorder(allocator).read()
    return {
        "g": state.g,
        "x": counter_record(allocator),
        "slots": state.slots,
        "chunks": list(state.chunks.values()),
        "final_checksum": state.crc,
    }

"""`percpu-spec show`: the memory map of a state."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from percpu_proofs.commands import output
from percpu_proofs.commands.source import Kind, geometry_option, kind_of, read_source
from percpu_proofs.conformance.state import Recorder, counter_record
from percpu_proofs.inputs import InputError
from percpu_proofs.runs import state_after
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.stats import stats_text
from percpu_proofs.show.svg import chunk_svg
from percpu_proofs.show.text import chunk_text, state_text
from percpu_reference import DEFAULT
from percpu_reference.variants import Allocator


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--at", type=click.IntRange(min=0), help="Stop after so many operations.")
@click.option("--chunk", "name", help="The chunk to draw: 0 the first, -1 the reserved one.")
@click.option("--svg", type=output.NewFile(), help="Write the chunk's map there as SVG.")
@click.option("--stats", is_flag=True, help="Print the kernel's percpu_stats instead.")
@click.option(
    "--variant", callback=output.named_variant,
    help=f"The algorithm to run.  [default: {DEFAULT}; for a vector that of the recorded kernel]",
)
@geometry_option(help="Sizes, as for run.")
@output.json_option
def show(
    file: Path,
    at: int | None,
    name: str | None,
    svg: Path | None,
    stats: bool,
    variant: str | None,
    geometry: str | None,
    as_json: bool,
) -> None:
    """Draw the state that an operation list or vector FILE leads to.

    Without --chunk, the chunk that the last operation changed.
    """
    if kind_of(file) is Kind.TRACE:
        raise InputError(file, None, "an operation list or a vector")
    source = read_source(file, geometry)
    variant = variant or source.variant
    operations = len(source.listed.operations)
    last = operations if at is None else at
    if last > operations:
        raise InputError(file, None, f"at least {last} operations, for --at", str(operations))

    with output.progress_bar(file.name) as bar:
        allocator, changed = state_after(source.listed, source.geometry, variant, last, bar)
    if stats:
        text = stats_text(allocator)
        if as_json:
            output.print_json({"operations": last, "percpu_stats": text})
        else:
            output.echo(text, nl=False)
        return

    title = f"{file.name}, {variant}, after operation {last} of {operations}"
    picture = picture_of_state(allocator, title=title, pending=allocator.work_pending)
    if name is None:
        name = str(changed[0]) if changed else "0"
    if name not in picture.chunks:
        raise InputError("--chunk", None, f"one of {' '.join(picture.chunks)}", name)
    if svg is not None:
        output.write_file(svg, chunk_svg(picture, name))
    if as_json:
        output.print_json(_as_json(allocator, picture, name, last))
    else:
        output.echo(state_text(picture))
        output.echo("\n" + chunk_text(picture.chunks[name]))
        if svg is not None:
            output.echo(f"\nwritten: {svg}")


def _as_json(
    allocator: Allocator, picture: StatePicture, name: str, operations: int
) -> dict[str, Any]:
    """Return the state in the terms of the recorded vectors, with the lists in words."""
    state = Recorder(allocator).read()
    return {
        "operations": operations,
        "geometry": asdict(picture.geometry),
        "lists": {title: list(members) for title, members in picture.lists},
        "g": state.g,
        "x": counter_record(allocator),
        "slots": state.slots,
        "chunks": list(state.chunks.values()),
        "final_checksum": state.crc,
        "chunk": name,
        "map": chunk_text(picture.chunks[name]),
    }

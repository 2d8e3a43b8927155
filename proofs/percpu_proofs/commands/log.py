"""`percpu-spec log`: what the boot messages of a kernel say of its percpu layout."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.source import sizes
from percpu_proofs.runs import counted
from percpu_proofs.traces.layout import Layout, read_layout


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--geometry",
    metavar="NAME=VALUE,...",
    help="What the messages leave open: page, cpus, groups, spare (units without CPU), backing.",
)
@output.json_option
def log(file: Path, geometry: str | None, as_json: bool) -> None:
    """Explain the percpu layout in FILE, the output of dmesg or a console log, plain or gzip.

    It says how large pages and units are, which CPUs have which, what a populated page costs and
    what Percpu of /proc/meminfo counts for it; at the end the sizes as other commands take them.
    What the messages leave open is said, not guessed.
    """
    found = read_layout(file, sizes(geometry))
    if as_json:
        output.print_json({"file": str(file), "layout": found.as_json()})
        return
    out = output.console()
    out.print(output.pairs([("log", str(file)), *_rows(found)]))
    for note in found.notes:
        out.print(Text(note, "yellow"), soft_wrap=True)
    text = found.as_json()["geometry"]
    if text is not None:
        out.print(f"--geometry {text}", soft_wrap=True)


def _rows(found: Layout) -> list[tuple[str, str]]:
    fields, page = found.as_json(), found.page
    parts = f"static {found.static}, reserved {found.reserved}, dynamic {found.dyn} bytes"
    unit = f"{found.unit} bytes"
    if page is not None:
        unit += f", {counted(found.unit // page, 'page')}"
    rows = [
        ("line", f"{found.line}: {parts}"),
        ("page", f"{page} bytes: {found.page_by}" if page else f"open: {found.open_page}"),
        ("unit", unit),
        ("first chunk", found.first_chunk),
        ("chunks", f"backed by percpu-{found.backing}"),
        ("CPUs", "open" if found.cpus is None else _cpus(found)),
    ]
    cost, counts = fields["page_cost"], fields["percpu_page"]
    if cost is not None:
        rows.append(("a populated page", f"{counted(cost // page, 'page')}, {cost // 1024} kB"))
        more = "" if cost == counts else f": {100 * (counts - cost) // cost}% too much"
        rows.append(("Percpu counts", f"{counts // 1024} kB for it{more}"))
    return rows


def _cpus(found: Layout) -> str:
    groups = "" if found.groups is None else f" in {counted(found.groups, 'group')}"
    text = f"{found.cpus}{groups}"
    if found.units is not None:
        text += f"; {counted(found.units, 'unit')}"
        spare = found.units - (found.cpus or 0)
        text += f", {spare} of them without CPU" if spare else ""
    return text

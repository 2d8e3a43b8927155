"""What the commands of `percpu-spec workload` have in common: options, and how they end."""

from __future__ import annotations

from pathlib import Path

import click

from percpu_proofs.commands import output

variants_option = click.option(
    "--variant",
    "names",
    callback=output.named_variant,
    multiple=True,
    help="An algorithm to run, may be given again.  [default: all]",
)
svg_option = click.option(
    "--svg",
    type=output.NewFile(),
    help="Write the plot there as SVG.",
)
after_option = click.option(
    "--after",
    "workload_name",
    metavar="WORKLOAD",
    help="Also in the state in which a workload (as for removal) leaves each variant.",
)


def end(interrupted: bool, *, ok: bool, svg: Path | None, drawing: str) -> None:
    """Write the drawing if it is asked for, last as that can fail, and exit."""
    if svg is not None:
        output.write_file(svg, drawing)
    if interrupted:
        click.echo("interrupted: shown is what was done so far", err=True)
        raise SystemExit(output.INTERRUPTED)
    if not ok:
        raise SystemExit(output.DIFFERS)

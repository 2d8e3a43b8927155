"""`percpu-spec beside`: the kernel's C beside the model's Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from percpu_proofs.beside import pages
from percpu_proofs.beside.comparison import (
    Comparison,
    ComparisonSources,
    compare,
    compare_all,
    texts_of,
)
from percpu_proofs.commands import options, output
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import variant_class
from percpu_spec.geometry import Backing


@click.command()
@click.argument("function", required=False)
@options.needed_tree
@click.option("--all", "every", is_flag=True, help="All functions: how many steps are aligned.")
@click.option(
    "--variant", metavar="NAME", callback=output.named_variant,
    help="A variant or a Python file, in the place of the one that the tree is found to be.",
)  # fmt: skip
@click.option(
    "--backing", type=click.Choice(["vm", "km"]), default="vm", show_default=True,
    help="Of the functions that both backings have, whose.",
)  # fmt: skip
@click.option("--html", "page", type=output.NewFile(), help="Write a page, with --all of all.")
@output.json_option
def beside(
    function: str | None,
    tree: options.TreeOptions,
    every: bool,
    variant: str | None,
    backing: Backing,
    page: Path | None,
) -> None:
    """Put FUNCTION of a kernel tree beside the model's, step against step, with its contract.

    FUNCTION is a kernel function or one of the model's (pcpu_isolate_chunk, isolate_chunk). The
    model is the variant that the tree's behaviour picks. With --patch the patched function is
    shown, added lines with a +. Side by side from 100 columns on; piped, one above the other.
    """
    if (function is None) != every:
        raise InputError("beside", None, "either FUNCTION or --all", function)
    with tree.compiled() as trees:
        sources = sources_of(trees, variant)
        found = compare_all(sources) if function is None else [compare(sources, function, backing)]
    if page is not None:
        output.write_file(page, pages.page(found))
    if output.as_json():
        records = [one.as_json() for one in found]
        output.print_json(records if every else records[0])
    elif every:
        _table(found)
    elif page is None:
        out = output.console()
        for line in pages.lines_of(found[0], out.width if out.is_terminal else pages.NARROW):
            output.echo(line)
    if page is not None and not output.as_json():
        output.echo(f"{page}: {len(found)} function{'s'[:len(found) != 1]}")


def sources_of(trees: Sequence[CompiledTree], variant: str | None = None) -> ComparisonSources:
    """Return the newest tree beside a variant: the one that the first tree is, unless named."""
    shown, base = trees[-1].tree, trees[0].tree
    if variant is None:
        model = trees[0].model
        chosen, name, because = model.variant(), model.name, model.because
    else:
        chosen, name, because = variant_class(variant), variant, ""
    before = texts_of(base) if shown is not base else None
    return ComparisonSources(shown.name, texts_of(shown), chosen, name, because, before)


def _table(found: list[Comparison]) -> None:
    """Print how many steps of each function are aligned."""
    columns = ("function", "file", "C steps", "model steps", "aligned", "share")
    rows = [
        (one.function, one.file, one.kernel_steps, one.model_steps, one.aligned, one.share)
        for one in found
    ]
    steps, aligned = sum(one.kernel_steps for one in found), sum(one.aligned for one in found)
    title = f"Linux {found[0].release} beside {found[0].variant}"
    out = output.console()
    out.print(output.table(title, columns, rows))
    out.print(f"{aligned} of {steps} steps aligned ({aligned / steps:.0%})")

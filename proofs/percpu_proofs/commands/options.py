"""Options that several commands have in common; some are given to a command as one value."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from percpu_proofs.commands import output
from percpu_proofs.explain.shipped import find
from percpu_proofs.kernel.search.trees import CompiledTree, compiled_trees, fix_patch
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.processes import default_jobs
from percpu_proofs.show.mail import LINES, WIDTH

_Decorator = Callable[[Callable[..., None]], Callable[..., None]]
_PATH = click.Path(path_type=Path)
_NAMES: Final = "percpu-tokens.txt"


def together(name: str, made: Callable[..., object], *options: _Decorator) -> _Decorator:
    """Return options that a command gets as one parameter: what is made of their values."""
    parts = list(inspect.signature(made).parameters)

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*args: Any, **given: Any) -> None:
            value = made(**{part: given.pop(part) for part in parts})
            command(*args, **{name: value}, **given)

        chosen: Callable[..., None] = run
        for option in reversed(options):
            chosen = option(chosen)
        return chosen

    return add


@dataclass(frozen=True, slots=True)
class ChosenTree:
    """A tree, patches in their order, names of fixes that follow them, and a header of stubs."""

    source: Path
    patches: tuple[Path, ...]
    fixes: tuple[str, ...]
    stub: Path | None

    def options(self, source: str = "", patch: str = "", *, whole: bool = False) -> str:
        """Return the options that choose it, for a line to be pasted.

        source, patch: what stands for their paths; otherwise the last parts of these, or, here and
        now, the whole of a patch's.
        """
        given = ["--source", source or self.source.name or str(self.source)]
        for path in self.patches:
            given += ["--patch", patch or (str(path) if whole else path.name)]
        for name in self.fixes:
            given += ["--fix", name]
        if self.stub is not None:
            given += ["--stub", self.stub.name]
        return f" {shlex.join(given)}"

    def compiled(self) -> AbstractContextManager[list[CompiledTree]]:
        """Give the tree, and behind it the patched one if there are patches. Raises InputError."""
        patches = [find(path, "patch") for path in self.patches]
        fixes = [path for name in self.fixes for path in fix_patch(name)]
        return compiled_trees(self.source, [*patches, *fixes], self.stub)


def _chosen(
    source: Path | None, patches: tuple[Path, ...], fixes: tuple[str, ...], stub: Path | None
) -> ChosenTree | None:
    if source is not None:
        return ChosenTree(source, patches, fixes, stub)
    if patches or fixes or stub:
        raise InputError("--patch, --fix, --stub", None, "--source TREE beside them")
    return None


def _needed(source: Path, patches: tuple[Path, ...], stub: Path | None) -> ChosenTree:
    return ChosenTree(source, patches, (), stub)


_source = functools.partial(
    click.option, "--source", type=_PATH, metavar="DIR",
    help="A Linux source tree, 5.14 or later, or Debian's archive of one.",
)  # fmt: skip
_PATCHES: Final = click.option(
    "--patch", "patches", type=_PATH, multiple=True,
    help="Apply a patch, a file or the name of one that ships, to a copy of the tree; several in "
    "order.",
)  # fmt: skip
_FIXES: Final = click.option(
    "--fix", "fixes", multiple=True, help="A fix of `reference`, as a patch of the tree."
)
_STUB: Final = click.option(
    "--stub", type=_PATH, help="A header for a tree that needs more stubs."
)

tree = together("tree", _chosen, _source(), _PATCHES, _FIXES, _STUB)
"""--source, --patch, --fix and --stub, which a command gets as `tree`; None without.

Raises InputError for any of the others without --source.
"""
needed_tree = together("tree", _needed, _source(required=True), _PATCHES, _STUB)
"""--source, which must be given, --patch and --stub, which a command gets as `tree`."""


def _mailed(as_mail: bool, names: Path) -> Path | None:
    return names if as_mail else None


mail = together(
    "mail", _mailed,
    click.option(
        "--mail", "as_mail", is_flag=True,
        help=f"Print a block for a mail, {WIDTH} columns and {LINES} lines at most.",
    ),
    click.option(
        "--names", type=click.Path(path_type=Path, dir_okay=False), default=_NAMES, metavar="FILE",
        help="Where --mail enters a token that is too long for its line, by name "
        f"(NAME@FILE replays it). Default: {_NAMES}.",
    ),
)  # fmt: skip
"""--mail, a block for a mail, and --names; `mail` is where tokens go that are long, or None."""

variant_file = click.option(
    "--variant", "file", metavar="FILE",
    help="Of a token of a variant's FILE.py: where that is here.",
)  # fmt: skip
jobs = click.option(
    "--jobs", type=click.IntRange(min=1), default=default_jobs, help="Processes."
)
dask = click.option(
    "--dask", metavar="ADDRESS", help="Run on the dask cluster of this scheduler."
)
debug = click.option(
    "--debug", type=click.Path(path_type=Path, exists=True),
    help="Of a core or live: vmlinux with debug information.",
)  # fmt: skip
page = click.option(
    "--html", "page", type=output.NewFile(), help="Write a report there, one page."
)
plot = click.option("--svg", type=output.NewFile(), help="Write the plot there as SVG.")
variants = click.option(
    "--variant", "names", callback=output.named_variant, multiple=True,
    help="An algorithm to run, may be given again.  [default: all]",
)  # fmt: skip
after = click.option(
    "--after", "workload_name", metavar="WORKLOAD",
    help="Also in the state in which a workload (as for removal) leaves each variant.",
)  # fmt: skip


def end_workload(interrupted: bool, *, ok: bool, svg: Path | None, drawing: str) -> None:
    """Write the drawing if it is asked for, last as that can fail, and exit."""
    if svg is not None:
        output.write_file(svg, drawing)
    if interrupted:
        click.echo("interrupted: shown is what was done so far", err=True)
    output.end(interrupted=interrupted, ok=ok)

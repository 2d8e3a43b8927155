"""The options by which commands take a kernel tree in the place of a variant."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from percpu_proofs.explain.shipped import find
from percpu_proofs.kernel.search.trees import CompiledTree, compiled_trees, fix_patch
from percpu_proofs.run.inputs import InputError

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class ChosenTree:
    """A tree, patches in their order, names of fixes that follow them, and a header of stubs."""

    source: Path
    patches: tuple[Path, ...]
    fixes: tuple[str, ...]
    stub: Path | None

    def options(self, source: str = "", patch: str = "") -> str:
        """Return the options that choose it, for a line to be pasted.

        source, patch: what stands for their paths; otherwise the last parts of these.
        """
        given = ["--source", source or self.source.name or str(self.source)]
        for path in self.patches:
            given += ["--patch", patch or path.name]
        for name in self.fixes:
            given += ["--fix", name]
        return f" {shlex.join(given)}"

    def compiled(self) -> AbstractContextManager[list[CompiledTree]]:
        """Give the tree, and behind it the patched one if there are patches. Raises InputError."""
        patches = [find(path, "patch") for path in self.patches]
        fixes = [path for name in self.fixes for path in fix_patch(name)]
        return compiled_trees(self.source, [*patches, *fixes], self.stub)


def tree_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --source, --patch, --fix and --stub, which the command gets as `tree`; None without.

    Raises InputError for any of the others without --source.
    """
    return _with_tree(command, _SOURCE(), _PATCHES, _FIXES, _STUB)


def needed_tree(command: Callable[..., None]) -> Callable[..., None]:
    """Add --source, which must be given, --patch and --stub, which the command gets as `tree`."""
    return _with_tree(command, _SOURCE(required=True), _PATCHES, _STUB)


_Option = Callable[[Callable[..., None]], Callable[..., None]]
_SOURCE = functools.partial(
    click.option, "--source", type=_PATH, metavar="DIR",
    help="A Linux source tree, 5.14 or later, or Debian's archive of one.",
)  # fmt: skip
_PATCHES: _Option = click.option(
    "--patch", "patches", type=_PATH, multiple=True,
    help="Apply a patch, a file or the name of one that ships, to a copy of the tree; several in "
    "order.",
)  # fmt: skip
_FIXES: _Option = click.option(
    "--fix", "fixes", multiple=True, help="A fix of `reference`, as a patch of the tree."
)
_STUB: _Option = click.option(
    "--stub", type=_PATH, help="A header for a tree that needs more stubs."
)


def _with_tree(command: Callable[..., None], *options: _Option) -> Callable[..., None]:
    @functools.wraps(command)
    def with_tree(
        *args: Any,
        source: Path | None,
        patches: tuple[Path, ...],
        stub: Path | None,
        **given: Any,
    ) -> None:
        fixes = given.pop("fixes", ()) if _FIXES in options else ()
        tree = None
        if source is not None:
            tree = ChosenTree(source, patches, fixes, stub)
        elif patches or fixes or stub:
            raise InputError("--patch, --fix, --stub", None, "--source TREE beside them")
        command(*args, tree=tree, **given)

    chosen: Callable[..., None] = with_tree
    for option in reversed(options):
        chosen = option(chosen)
    return chosen

"""The options by which commands take a kernel tree in the place of a variant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)


def tree_options(command: F) -> F:
    """Add --source, --patch, --fix and --stub to a command."""
    for option in (
        click.option("--stub", type=_PATH, help="A header for a tree that needs more stubs."),
        click.option(
            "--fix", "fixes", multiple=True, help="A fix of `reference`, as a patch of the tree."
        ),
        click.option(
            "--patch", "patches", type=_PATH, multiple=True,
            help="Apply a patch to a copy of the tree; several in order.",
        ),
        click.option(
            "--source", type=_PATH, metavar="DIR",
            help="A Linux source tree, 5.14 or later, or Debian's archive of one.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command

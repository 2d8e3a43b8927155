"""The examples that end each command's --help; a test runs every one of them.

In them stand for what a reader has: list.ops an operation list, mine.txt a scenario, mine.py a
variant, dmesg.txt a log, TREE a Linux source tree, TOKEN that of a counterexample.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import click


class Example(NamedTuple):
    """A command line and what it does. takes: what it needs that is not there at once."""

    line: str
    does: str
    takes: str = ""  # seconds: it is run with the deep tests; a tree: it needs one as well


SECONDS, TREE = "seconds", "a tree"
_FILE: Final = Path(__file__).with_suffix(".txt")
"""A line each, or two: a command, the words behind it, what that does, and what it takes."""


def _parsed() -> Iterator[tuple[str, Example]]:
    for one in _FILE.read_text("utf-8").replace("\n    |", " |").splitlines():
        called, *said = one.split(" | ")
        command, _, words = called.partition(": ")
        yield command, Example(f"percpu-spec {command} {words}".rstrip(), *said)


EXAMPLES: Final = {
    command: tuple(example for _, example in both)
    for command, both in groupby(_parsed(), key=lambda one: one[0])
}
OF_GROUPS: Final = {
    "": ("explain", "review"),
    "conform": ("conform trace", "conform kernel"),
    "workload": ("workload cost", "workload removal"),
}
"""The commands whose first examples end the help of a group."""


def examples_of(path: str) -> tuple[Example, ...]:
    """Return the examples of a command, or of a group, by the words that call it."""
    if path in OF_GROUPS:
        return tuple(EXAMPLES[command][0] for command in OF_GROUPS[path])
    return EXAMPLES.get(path, ())


def with_examples(path: str, command: click.Command) -> None:
    """End the help of a command with its examples; one that has none is left as it is."""
    lines = [line for one in examples_of(path) for line in (f"  {one.line}", f"      {one.does}")]
    if lines:
        command.epilog = "\n".join(("\b", "Examples:", *lines))

"""Counterexamples on the command line, of the model and of compiled code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from percpu_proofs.counterexample import Counterexample, of_tree
from percpu_proofs.counterexample.text import Line, head, text
from percpu_proofs.kernel.search.example import TreeExample

WIDTH: Final = 76
"""Columns where no terminal says how wide it is: what a mail takes."""
_WIDEST: Final = 110
_STYLES: Final = {"head": "bold", "broken": "red", "change": "dim", "dim": "dim"}


def width_of(out: Console) -> int:
    """Return how many columns counterexamples take."""
    return min(out.width, _WIDEST) if out.is_terminal else WIDTH


def show(out: Console, c: Counterexample) -> None:
    """Print a counterexample."""
    show_lines(out, text(c, width_of(out)))


def show_lines(out: Console, lines: Iterable[Line]) -> None:
    """Print lines as they are, in the styles of what they are."""
    for kind, line in lines:
        out.print(line, style=_STYLES.get(kind), markup=False, soft_wrap=True)


def subject_of(release: str, patches: Sequence[Path] = ()) -> str:
    """Return what a tree is called."""
    return f"Linux {release}" + "".join(f" with {patch.name}" for patch in patches)


def show_example(
    out: Console,
    release: str,
    example: TreeExample,
    patches: Sequence[Path] = (),
    *,
    brief: bool = False,
) -> None:
    """Print a counterexample of a tree, and how to replay it; brief: what is wrong only.

    release, patches: of the tree that it was found on.
    """
    c = of_tree(example, subject_of(release, patches))
    out.print()
    show_lines(out, head(c, width_of(out)) if brief else text(c, width_of(out)))
    out.print(
        f"{example.length} operations, the fewest of search {example.search}", markup=False
    )
    if example.token:
        tree = "".join([" --source TREE", *(f" --patch {patch}" for patch in patches)])
        out.print(f"percpu-spec replay {example.token}{tree}", markup=False, soft_wrap=True)
    if example.on_model.token:
        out.print(f"on the model: percpu-spec replay {example.on_model.token}", soft_wrap=True)
    else:
        out.print(f"on the model: {example.on_model.reason}", markup=False)

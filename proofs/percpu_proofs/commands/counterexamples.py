"""Counterexamples on the command line, of the model and of compiled code."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from percpu_proofs.commands import options, output
from percpu_proofs.counterexample import Counterexample, of_tree
from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.text import Line, head, text
from percpu_proofs.explore.token import file_of
from percpu_proofs.explore.token_file import name_in
from percpu_proofs.review.trees import TreeCell
from percpu_proofs.show.mail import WIDTH
from percpu_spec.counts import counted

_WIDEST: Final = 110
_NARROWEST: Final = 40
_STYLES: Final = {"head": "bold", "broken": "red", "change": "dim", "dim": "dim"}


def width_of(out: Console) -> int:
    """Return how many columns counterexamples take: those of a mail where there is no terminal."""
    return min(max(out.width, _NARROWEST), _WIDEST) if out.is_terminal else WIDTH


def show(out: Console, c: Counterexample) -> None:
    """Print a counterexample."""
    show_lines(out, text(c, width_of(out)))


def show_lines(out: Console, lines: Iterable[Line]) -> None:
    """Print lines as they are, in the styles of what they are."""
    for kind, line in lines:
        output.say(out, line, _STYLES.get(kind, ""))


def reproducer(c: Counterexample, names: Path, tree: options.ChosenTree | None = None) -> str:
    """Return the line that shows a counterexample again, as short as it takes to fit a mail.

    A token that is too long is entered in a file of names. TREE and PATCH stand for the tree and
    its patches where their names have no room. Raises InputError if that file cannot be written.
    """
    file = file_of(c.subject)
    own = f" --variant {shlex.quote(Path(file).name)}" if file else ""
    shorter_and_shorter = [own] if tree is None else [
        tree.options(), tree.options("TREE"), tree.options("TREE", "PATCH")
    ]  # fmt: skip

    def fitting(begin: str) -> Iterator[str]:
        lines = (begin + chosen for chosen in shorter_and_shorter)
        return (line for line in lines if len(line) <= WIDTH)

    if not c.token:  # the kernel ended its process: there is no schedule
        begin = "percpu-spec review"
    elif line := next(fitting(f"percpu-spec replay {c.token}"), ""):
        return line
    else:
        begin = f"percpu-spec replay {shlex.quote(name_in(names, c.clause, c.token))}"
    return next(fitting(begin), begin + shorter_and_shorter[-1])


def show_mail(c: Counterexample, line: str) -> None:
    """Print a counterexample as a block for a mail."""
    output.echo("\n".join(mail(c, line)))


def and_others(clauses: Iterable[str], first: str) -> str:
    """Return the words for what is broken beside the clause that a block is about."""
    others = ", ".join(dict.fromkeys(clause for clause in clauses if clause != first))
    return f"{others} broken too (--clause ID); " if others else ""


def subject_of(release: str, patches: Sequence[Path] = ()) -> str:
    """Return what a tree is called."""
    return f"Linux {release}" + "".join(f" with {patch.name}" for patch in patches)


def show_example(
    out: Console,
    release: str,
    cell: TreeCell,
    patches: Sequence[Path] = (),
    *,
    brief: bool = False,
) -> None:
    """Print what breaks a clause of a tree, and how to replay it; brief: what is wrong only.

    release, patches: of the tree that it was found on.
    """
    example = cell.example
    assert example is not None
    c = of_tree(example, subject_of(release, patches), cell.searched)
    out.print()
    show_lines(out, head(c, width_of(out)) if brief else text(c, width_of(out)))
    out.print(f"{counted(example.length, 'operation')}, {example.rank}", markup=False)
    if example.token:
        tree = options.ChosenTree(Path("TREE"), tuple(patches), (), None)
        output.say(out, f"percpu-spec replay {example.token}{tree.options(whole=True)}")
    if example.on_model.token:
        output.say(out, f"on the model: percpu-spec replay {example.on_model.token}")
    else:
        out.print(f"on the model: {example.on_model.reason}", markup=False)

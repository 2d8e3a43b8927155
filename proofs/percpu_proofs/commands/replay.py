"""`percpu-spec replay`: one schedule run again, on the model or on compiled code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from percpu_proofs.commands import options, output
from percpu_proofs.commands.counterexamples import (
    reproducer,
    show,
    show_lines,
    show_mail,
    subject_of,
    width_of,
)
from percpu_proofs.counterexample import Counterexample, of_token
from percpu_proofs.counterexample.of_tree import of_retraced
from percpu_proofs.counterexample.relevance import relevance
from percpu_proofs.counterexample.table import rows, table
from percpu_proofs.counterexample.text import Line, head, legend, state, wrap_lines
from percpu_proofs.explore.packing import MODEL, TREE, cut, no_token
from percpu_proofs.explore.token_file import token_of
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.example import broken_by
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.search.retrace import retrace
from percpu_proofs.kernel.search.tree_token import TreeToken, read_tree_token
from percpu_proofs.run.inputs import InputError

_KEYS: Final = "n or space: next, p or b: back, f: first, l: last, q: quit"
_BY: Final = {
    "n": 1, " ": 1, "\r": 1, "\n": 1, "\x1b[C": 1, "\x1b[B": 1,
    "p": -1, "b": -1, "\x1b[D": -1, "\x1b[A": -1,
}  # fmt: skip
"""By how many steps a key goes; arrows too."""
_BEFORE: Final = 3  # steps that are shown before the present one


@click.command()
@click.argument("token")
@options.tree
@click.option("--step", "stepwise", is_flag=True, help="Walk through it, a screen a step.")
@options.variant_file
@options.mail
@output.json_option
def replay(
    token: str,
    tree: options.ChosenTree | None,
    stepwise: bool,
    file: str | None,
    mail: Path | None,
    as_json: bool,
) -> None:
    """Run the schedule of TOKEN again and show each step with what it changes.

    TOKEN may be NAME@FILE, where --mail has entered it. It is refused when the code of its variant
    has changed since; one of a variant's file is told with --variant where that is. One of
    compiled code (t2....) runs on a tree, with --source.

    --step takes the keys n or space for the next step, p or b for the one before, f and l for the
    first and the last, q to quit; lines of these where standard input is no terminal.
    """
    found, values = _replayed(token_of(token), tree, file)
    if as_json:
        output.print_json(values)
    elif mail is not None:
        show_mail(found, reproducer(found, mail, tree))
    elif stepwise:
        walk(output.console(), found)
    else:
        show(output.console(), found)
    if found.clause not in found.broken:
        click.echo(f"{found.clause} is not broken by this schedule", err=True)
        raise SystemExit(output.DIFFERS)


def _replayed(
    token: str, tree: options.ChosenTree | None, file: str | None
) -> tuple[Counterexample, dict[str, Any]]:
    """Return what the schedule of a token shows, and the same with plain values."""
    if file is not None and (tree is not None or token.startswith(TREE)):
        raise InputError("--variant", None, f"a token of the model, {MODEL}...", cut(token))
    if not token.startswith(TREE) and tree is None:
        found = of_token(token, file=file)
        return found, found.as_json()
    if tree is None:
        raise InputError("token", None, "--source TREE to run compiled code", cut(token))
    if not token.startswith(TREE):
        if not token.startswith(MODEL):
            raise no_token(token)
        raise InputError(
            "token", None, f"a token of compiled code, {TREE}...: "
            "conform kernel --token replays those of the model on a tree", cut(token),
        )  # fmt: skip
    return _replayed_on_tree(read_tree_token(token), tree)


def _replayed_on_tree(
    token: TreeToken, chosen: options.ChosenTree
) -> tuple[Counterexample, dict[str, Any]]:
    """Return what the schedule of a token shows on a tree, and the same with plain values.

    Raises InputError for a tree on which the schedule is not possible.
    """
    noted = bool(token.plan.stops_at) or token.clause.startswith("LOCK")
    search = TreeSearch("token", token.clause, token.plan, noted=noted)
    with chosen.compiled() as trees:
        tree = trees[-1]
        library = tree.library(search)
        try:
            with CompiledSearch(library, token.plan) as compiled:
                broken = broken_by(compiled, library, token.labels, accesses=noted)
                rest = token.clause in ("BAL-3", CRASH)
                shown = retrace(compiled, library, token.labels, rest=rest)
        except KernelStopped as stopped:
            expected = "a setup that the tree survives"
            raise InputError("token", None, expected, str(stopped)) from None
        release = tree.tree.name
    subject = subject_of(release, tree.tree.patches)
    c = of_retraced(subject, token.clause, broken, token.plan, shown, str(token))
    return c, {
        "source": release,
        "clause": token.clause,
        "broken": broken,
        "operations": list(shown.operations),
        "steps": [step.as_json() for step in shown.steps],
        "stopped": shown.stopped,
    }


def walk(out: Console, c: Counterexample) -> None:
    """Walk through a counterexample by keys, or by lines where standard input is no terminal."""
    at, last = 0, len(c.steps)
    while True:
        if out.is_terminal:
            out.clear()
        show_lines(out, screen(c, at, width_of(out)))
        key = _key()
        if key in ("q", "\x1b", "\x03", ""):
            return
        if key in ("f", "l"):
            at = 0 if key == "f" else last
        at = min(max(at + _BY.get(key, 0), 0), last)


def _key() -> str:
    """Return the next key; of a line its first letter, empty at the end of the input."""
    if sys.stdin.isatty():
        return click.getchar()
    line = sys.stdin.readline()
    return line[:1] if line.strip() else line[-1:]


def screen(c: Counterexample, at: int, width: int) -> Iterator[Line]:
    """Yield the lines of the screen behind so many steps."""
    shown = relevance(c)
    yield from wrap_lines("head", f"{c.clause} on {c.subject}, step {at} of {len(c.steps)}", width)
    if at == 0:
        yield from head(c, width)
    yield "", ""
    if at:
        since = max(at - 1 - _BEFORE, 0)
        present = rows(c, 0, shown)[since:at]
        yield from table(present, c.cpus, width)
        yield "", ""
    yield from state("State:", c.state_at(at), c, shown, width)
    yield from wrap_lines("dim", legend(c, shown), width)
    yield from wrap_lines("dim", _KEYS, width)

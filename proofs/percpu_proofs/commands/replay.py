"""`percpu-spec replay`: one schedule run again, on the model or on compiled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from percpu_proofs.commands import options, output
from percpu_proofs.commands.counterexamples import reproducer, show, show_mail
from percpu_proofs.commands.stepping import walk
from percpu_proofs.commands.trees import replayed_on_tree
from percpu_proofs.counterexample import Counterexample, of_token
from percpu_proofs.counterexample.plain import as_json as plain
from percpu_proofs.explore.packing import MODEL, TREE, cut, no_token
from percpu_proofs.explore.token_file import token_of
from percpu_proofs.kernel.search.tree_token import read_tree_token
from percpu_proofs.run.inputs import InputError


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
        return found, plain(found)
    if tree is None:
        raise InputError("token", None, "--source TREE to run compiled code", cut(token))
    if not token.startswith(TREE):
        if not token.startswith(MODEL):
            raise no_token(token)
        raise InputError(
            "token", None, f"a token of compiled code, {TREE}...: "
            "conform kernel --token replays those of the model on a tree", cut(token),
        )  # fmt: skip
    return replayed_on_tree(read_tree_token(token), tree)

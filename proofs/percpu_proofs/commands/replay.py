"""`percpu-spec replay`: one schedule run again, on the model or on compiled code."""

from __future__ import annotations

import click

from percpu_proofs.commands import output
from percpu_proofs.commands.ladder import plain, show_ladder
from percpu_proofs.commands.tree_options import ChosenTree, tree_options
from percpu_proofs.commands.trees import replay_on_tree
from percpu_proofs.explore.ladder import climb, replayed
from percpu_proofs.explore.schedulers.replay import ImpossibleStepError
from percpu_proofs.explore.token import read_token
from percpu_proofs.explore.world import World
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.search.tree_token import PREFIX, read_tree_token
from percpu_proofs.variant_errors import guard
from percpu_spec.catalogue import REFINE, title


@click.command()
@click.argument("token")
@tree_options
@output.json_option
def replay(
    token: str,
    tree: ChosenTree | None,
    as_json: bool,
) -> None:
    """Run the schedule of TOKEN again and show each step with its memory map.

    A token is refused when the code of its variant has changed since. One of compiled code
    (percputree1.) runs on a tree, with --source.
    """
    if token.startswith(PREFIX) or tree is not None:
        if tree is None:
            raise InputError("token", None, "--source TREE to run compiled code", token[:20])
        if not token.startswith(PREFIX):
            raise InputError(
                "token", None, f"a token of compiled code, {PREFIX}...: "
                "conform kernel --token replays those of the model on a tree", token[:20],
            )  # fmt: skip
        replay_on_tree(read_tree_token(token), tree, as_json)
        return
    read = read_token(token)
    try:
        with guard():
            if read.clause == REFINE:
                rungs = list(climb(World(read.scenario.start(read.variant)), read.schedule))
            else:
                rungs = list(replayed(read))
    except (ImpossibleStepError, KeyError) as error:
        raise InputError("token", None, f"a schedule of its actors ({error})") from None
    broken = sorted({name for rung in rungs for name, _ in rung.broken})
    if as_json:
        output.print_json(
            {
                "variant": read.variant,
                "clause": read.clause,
                "broken": broken,
                "setup": list(read.setup),
                "actors": list(read.actors),
                "steps": [plain(rung) for rung in rungs],
            }
        )
    else:
        out = output.console()
        out.print(f"{read.variant}: {read.clause}, {title(read.clause)}", style="bold")
        show_ladder(out, read.setup, rungs)
    if read.clause not in broken:
        click.echo(f"{read.clause} is not broken by this schedule", err=True)
        raise SystemExit(output.DIFFERS)

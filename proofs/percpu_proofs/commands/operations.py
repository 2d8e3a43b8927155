"""`percpu-spec operations`: the language of operation lists and scenarios."""

from __future__ import annotations

import click

from percpu_proofs.commands import output
from percpu_proofs.explain import grammar


@click.command()
@output.json_option
def operations(as_json: bool) -> None:
    """Print the language of operation lists and of scenario files, with examples."""
    if as_json:
        output.print_json(grammar.as_json())
    else:
        output.echo(grammar.text())

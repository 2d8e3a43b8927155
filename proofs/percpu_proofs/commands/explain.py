"""`percpu-spec explain`: a clause, its predicates and contracts."""

from __future__ import annotations

import click
from rich.text import Text

from percpu_proofs import explain as explaining
from percpu_proofs.commands import output
from percpu_spec.catalogue import clauses


@click.command()
@click.argument("clause_id", required=False, metavar="[CLAUSE]")
@output.json_option
def explain(clause_id: str | None, as_json: bool) -> None:
    """State CLAUSE and say what checks it. Without CLAUSE, list all clauses."""
    out = output.console()
    if clause_id is None:
        every = clauses().values()
        if as_json:
            output.print_json({c.id: c.title for c in every})
        else:
            rows = [(c.id, c.title, c.when.split("\n")[0]) for c in every]
            out.print(output.table("clauses", ("clause", "what", "when"), rows))
        return

    found = explaining.explain(clause_id)
    if as_json:
        output.print_json(found.as_json())
        return
    stated = found.clause
    out.print(Text(f"{stated.id}: {stated.title}", "bold"))
    for name, text in (
        ("", stated.statement),
        ("formally: ", stated.formal),
        ("when: ", stated.when),
        ("kernel: ", stated.kernel),
        ("known on 6.12: ", stated.known or ""),
        ("asked of: ", found.state),
    ):
        if text:
            out.print(Text(f"\n{name}{text}"))
    for title, verdicts in (
        ("expected to break it", found.expected),
        ("not asked of", found.not_applicable),
    ):
        if verdicts:
            words = ", ".join(f"{name} ({why})" for name, why in verdicts.items())
            out.print(Text(f"\n{title}: {words}"))
    out.print()
    if found.predicates:
        said = [(f"{p['module']}.{p['name']}", p["says"]) for p in found.predicates]
        out.print(output.table("predicates", ("predicate", "says"), said))
    if found.contracts:
        held = [(c["function"], c["kind"], c["level"], c["condition"]) for c in found.contracts]
        columns = ("function", "kind", "from level", "condition")
        out.print(output.table("contracts", columns, held))

"""`percpu-spec explain`: what a word names."""

from __future__ import annotations

import click
from rich.text import Text

from percpu_proofs import explain as explaining
from percpu_proofs.commands import output
from percpu_proofs.explain_mail import explain_mail
from percpu_spec.catalogue import clauses, findings

_LABELS = {"statement": "", "says": "", "what": "", "known": "known on 6.12", "state": "asked of",
           "expected": "expected to break it", "not_applicable": "not asked of",
           "reproduced": "reproduced on", "parts": "its other parts here",
           "by_release": "by release"}  # fmt: skip


@click.command()
@click.argument("word", required=False)
@click.option("--mail", "as_mail", is_flag=True, help="Print a block for a mail.")
@output.json_option
def explain(word: str | None, as_mail: bool, as_json: bool) -> None:
    """Say what WORD names, and what stands for it here. Without WORD, list clauses and findings.

    WORD is a clause (HINT-5), a finding (L1, REFINE), a function of the model or of the kernel
    (isolate_chunk, pcpu_isolate_chunk), a trace event, a gap, or a line that the kernel prints of a
    failed allocation.
    """
    out = output.console()
    if word is None and as_mail:
        raise click.UsageError("--mail needs a WORD")
    if word is None:
        every = {c.id: c.title for c in clauses().values()}
        every |= {f.id: f.title for f in findings().values()}
        if as_json:
            output.print_json(every)
            return
        rows = [(c.id, c.title, c.when.split("\n")[0]) for c in clauses().values()]
        out.print(output.table("clauses", ("clause", "what", "when"), rows))
        known = [(f.id, f.title, f.breaks) for f in findings().values()]
        out.print(output.table("findings", ("finding", "what", "breaks"), known))
        return

    found = explaining.explain(word)
    if as_json:
        output.print_json(found)
        return
    if as_mail:
        output.echo("\n".join(explain_mail(word, found)))
        return
    out.print(Text(f"{found.pop('id')}: {found.pop('title')}", "bold"))
    for name, value in found.items():
        label = _LABELS.get(name, name)
        if name in ("requires", "ensures") and value:
            out.print(Text("\n".join((f"\n{name}", *(f"  {line['says']}" for line in value)))))
        elif isinstance(value, list) and value:
            columns = tuple(value[0])
            out.print()
            rows = [tuple(record.values()) for record in value]
            out.print(output.table(label, columns, rows))
        elif isinstance(value, dict) and value:
            words = ", ".join(f"{key} ({why})" for key, why in value.items())
            out.print(Text(f"\n{label}: {words}"))
        elif isinstance(value, str) and value and name != "chapter":
            out.print(Text(f"\n{label}: {value}" if label else f"\n{value}"))

"""`percpu-spec explain`: what a word names; `operations`: the language of lists and scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.explain import Explanation, explanation, lookup, terms
from percpu_proofs.explain.mail import explain_mail
from percpu_spec.catalogue import clauses, findings

_LABELS = {"statement": "", "says": "", "what": "", "known": "known on 6.12", "state": "asked of",
           "expected": "expected to break it", "not_applicable": "not asked of",
           "reproduced": "reproduced on", "parts": "its other parts here",
           "by_release": "by release, operations of the compiled code of a tree",
           "mended_in": "mended in",
           "backports": "in stable trees from", "searched": "searched tree",
           "compared": "equal trees"}  # fmt: skip

_TABLES = {"breaks": "breaks, after so many operations of compiled code"}
"""Labels of what is a table for some words and a line for others."""


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--mail", "as_mail", is_flag=True, help="Print a block for a mail.")
@output.json_option
def explain(words: tuple[str, ...], as_mail: bool) -> None:
    """Say what WORD names, and what stands for it here. Without WORD, list clauses and findings.

    WORD is a clause (HINT-5), a finding (L1, REFINE), a function of the model or of the kernel
    (isolate_chunk, pcpu_isolate_chunk), a field or constant (nr_empty_pop_pages,
    PCPU_EMPTY_POP_PAGES_HIGH), a trace event (percpu:percpu_free_percpu), a gap, a word of the
    glossary (float), a column of our output, a release or variant (6.14, linux_6_13, linux-mm), a
    scenario, a search, a predicate, or a line pasted from a log, a trace or an operation list.
    Several WORDs are one line if that says something, else each is asked by itself.
    """
    if not words and as_mail:
        raise click.UsageError("--mail needs a WORD")
    if not words:
        titles = {c.id: c.title for c in clauses().values()}
        output.result(lambda: titles | {f.id: f.title for f in findings().values()}, _list)
        return
    line = lookup.known(" ".join(words)) if len(words) > 1 else None
    found = [line] if line else [_explain(word) for word in words]
    if output.as_json() or not as_mail:
        output.result(
            lambda: found[0] if len(found) == 1 else found,
            lambda out: show_senses(out, [s for each in found for s in (each, *each["also"])]),
        )
        return
    named = words if len(found) == len(words) else (" ".join(words),)
    for word, one in zip(named, found, strict=True):
        output.echo("\n".join(explain_mail(word, one)))


def _list(out: Console) -> None:
    """Print all clauses and findings."""
    rows = [(c.id, c.title, c.when.split("\n")[0]) for c in clauses().values()]
    out.print(output.table("clauses", ("clause", "what", "when"), rows))
    rows = [(f.id, f.title, f.breaks) for f in findings().values()]
    out.print(output.table("findings", ("finding", "what", "breaks"), rows))


def _explain(word: str) -> Explanation:
    """Return what a word names: a command, or what any word may. Raises UnknownWordError."""
    group = click.get_current_context().find_root().command
    command = group.commands.get(word) if isinstance(group, click.Group) else None
    if command is None:
        return lookup.explain(word)
    first = (command.help or "").split("\f")[0].partition("\n\n")[0]
    read = f"percpu-spec {word} --help"
    found = explanation(word, "a command", " ".join(first.split()), read_it_with=read)
    other = lookup.known(word)
    return found | {"also": [] if other is None else [other, *other["also"]]}


def show_senses(out: Console, senses: Sequence[Mapping[str, Any]]) -> None:
    """Print senses of words, an empty line between two."""
    for number, sense in enumerate(senses):
        if number:
            out.print()
        _show_sense(out, sense)


def _show_sense(out: Console, sense: Mapping[str, Any]) -> None:
    out.print(Text(f"{sense['id']}: {sense['title']}", "bold"))
    for name, value in sense.items():
        if name in ("id", "title", "also", "chapter"):
            continue
        label = _LABELS.get(name, name.replace("_", " "))
        if name in ("requires", "ensures") and value:
            out.print(Text("\n".join((f"\n{name}", *(f"  {line['says']}" for line in value)))))
        elif isinstance(value, list) and value:
            columns = tuple(value[0])
            label = _TABLES.get(name, label)
            out.print()
            rows = [tuple(record.values()) for record in value]
            out.print(output.table(label, columns, rows))
        elif isinstance(value, dict) and value:
            pairs = ", ".join(f"{key} ({why})" for key, why in value.items())
            out.print(Text(f"\n{label}: {pairs}"))
        elif name == "code":
            output.say(out, f"\n{value.rstrip()}")
        elif isinstance(value, str) and value:
            out.print(Text(f"\n{label}: {value}" if label else f"\n{value}"))


@click.command()
@output.json_option
def operations() -> None:
    """Print the language of operation lists and of scenario files, with examples."""
    output.result(terms.language_record, lambda out: output.say(out, terms.language_text()))

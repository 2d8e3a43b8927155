"""`percpu-spec prove`: every claim checked by machine, with its bound, its twin and its bugs."""

from __future__ import annotations

import importlib.util
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import options, output
from percpu_proofs.prove import ledger
from percpu_proofs.prove.catalogue import bugs_without_claim, not_by_symbols, select, without_claim
from percpu_proofs.prove.crosshair_arguments import PLUGIN
from percpu_proofs.prove.dependencies import source_hash
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.processes import spread

_GUARD = 1800.0  # CPU seconds for one check; its limits are of cases, paths and solver steps

_MEANS = """\
confirmed, crosshair: CrossHair ran the real function on what the bound names and covered every
path, with every number that the bound calls any a symbol: those hold for any. It judges the
conditions that stand on the function, as `crosshair check` does with the plugin. confirmed,
enumeration: every case within the bound was run. confirmed, z3: on every path of the function,
retold for numbers of any size and compared with it case by case, z3 found no case. confirmed,
induction: z3 found no state, of any number of chunks, pages and actors, from which the action of
the abstract machine breaks a clause; that the allocator takes no other steps is checked where it
runs, not proved. refuted: some case breaks the clause; for what a variant is known to break, that
is expected. Inputs are any state that the clauses allow, whether or not operations lead there;
claims "from boot" run operations. Each claim has a twin that says that none of its cases says
anything, which must be refuted, and seeded bugs, each a changed line of a function under proof,
refuted too."""


def _print_plugin(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Print where the plugin is, and end. Raises InputError without CrossHair."""
    if not given:
        return
    if importlib.util.find_spec("crosshair") is None:
        raise InputError("prove --plugin", None, "CrossHair: pip install crosshair-tool")
    click.echo(PLUGIN)
    context.exit()


@click.command()
@click.argument("names", metavar="[ID]...", nargs=-1)
@options.jobs
@options.dask
@click.option("--no-cache", is_flag=True, help="Prove anew what is known from earlier runs.")
@click.option("--timeout", type=click.FloatRange(min=1), default=_GUARD, show_default=True,
              help="CPU seconds after which a check is given up: a guard, no limit.")  # fmt: skip
@click.option("--plugin", is_flag=True, is_eager=True, expose_value=False, callback=_print_plugin,
              help="Print the path of the plugin for CrossHair's own command.")  # fmt: skip
@click.option("--summary", type=output.NewFile(),
              help="Write what must not shrink to this file.")  # fmt: skip
@output.json_option
def prove(
    names: tuple[str, ...],
    jobs: int,
    dask: str | None,
    no_cache: bool,
    timeout: float,
    summary: Path | None,
) -> None:
    """Check claims by machine: all, or those with an ID or about a clause.

    Exit 1 where one is not as declared, its twin or a seeded bug of it is not refuted, a function
    under contract has no claim, or the ledger differs from the committed one.
    """
    claims = {claim.id: claim for claim in select(names)}
    cache = ledger.EntryCache()
    began = time.perf_counter()
    known = [] if no_cache else [e for c in claims.values() if (e := cache.find(c)) is not None]
    ready = {entry.id for entry in known}
    tasks = [ledger.ClaimTask(name, timeout) for name in claims if name not in ready]

    def keep(entry: ledger.LedgerEntry) -> None:
        if entry.source != source_hash(claims[entry.id].sources):
            expected = f"workers with this version of percpu-spec; one proved {entry.id} of another"
            raise InputError(f"--dask {dask}", None, expected)
        cache.keep(entry)

    with output.progress_bar("prove") as bar:
        proved, interrupted = spread(
            tasks, ledger.prove, jobs=jobs, dask=dask, on_done=bar, keep=keep
        )
    seconds = time.perf_counter() - began
    if cache.unusable is not None:
        click.echo(f"percpu-spec: results are not kept: {cache.unusable}", err=True)
    found = {entry.id: entry for entry in (*known, *proved)}
    entries = [found[name] for name in claims if name in found]
    missing = [] if names else without_claim([*claims.values()])
    complete = not names and not interrupted
    if summary is not None:
        output.write_file(summary, json.dumps(ledger.summary(entries), indent=1) + "\n")
    changed = ledger.ledger_changes(entries, complete=complete) if summary is None else []
    if output.as_json():
        output.print_json({
            "claims": [asdict(one) | {"as_expected": one.as_expected} for one in entries],
            "planned": len(claims),
            "done": len(entries),
            "without_claim": missing,
            "not_by_symbols": not_by_symbols(),
            "changed": changed,
            "seconds": round(seconds, 1),
        })
    else:
        _show(output.console(), entries, len(claims), missing, changed, seconds)
        for text in () if names else _not_proved():
            output.say(output.console(), text, "dim")
    as_expected = all(entry.as_expected for entry in entries)
    output.end(interrupted=interrupted, ok=as_expected and not missing and not changed)


def _show(
    out: Console,
    entries: Sequence[ledger.LedgerEntry],
    planned: int,
    missing: Sequence[str],
    changed: Sequence[str],
    seconds: float,
) -> None:
    rows = [
        (
            Text.assemble(entry.id, "\n", (entry.bound, "dim")),
            entry.clause,
            entry.engine,
            _mark(entry),
            entry.paths,
            entry.seconds,
            "refuted" if entry.twin == "refuted" else Text(entry.twin, "bold red"),
            f"{len(entry.bugs) - len(entry.survivors)}/{len(entry.bugs)}",
            entry.source[:8],
        )
        for entry in entries
    ]
    columns = ("claim\nand its bound", "clause", "engine", "state", "paths", "s", "twin", "bugs",
               "source")  # fmt: skip
    out.print(output.table("ledger", columns, rows))
    for entry in (entry for entry in entries if not entry.as_expected):
        out.print(f"\n{entry.id}: {entry.state}, expected {entry.expected}", style="bold red")
        if entry.message:
            out.print(f"  {entry.message}", markup=False)
        if entry.twin != "refuted":
            out.print(f"  its twin is {entry.twin}: it may hold by saying nothing")
        if entry.survivors:
            out.print(f"  seeded bugs not refuted: {', '.join(entry.survivors)}")
    for line in changed:
        out.print(f"ledger: {line}", style="red", markup=False)
    if missing:
        out.print(f"under contract and in no claim: {', '.join(missing)}", style="bold red")
    out.print(_MEANS, style="dim")
    bugs = [state for entry in entries for state in entry.bugs.values()]
    killed = sum(state == "refuted" for state in bugs)
    different = {name for entry in entries for name in entry.bugs}
    states = Counter((entry.engine, entry.state) for entry in entries)
    results = ", ".join(f"{n} {state} by {engine}" for (engine, state), n in states.items())
    rate = 100 * killed / len(bugs) if bugs else 100.0
    output.say(
        out,
        f"{len(entries)} of {planned} claims in {seconds:.0f} s: {results}; "
        f"{killed} of {len(bugs)} checks with a seeded bug refuted ({rate:.1f}%), "
        f"{len(different)} bugs",
        "bold",
    )


def _not_proved() -> Iterator[str]:
    """Yield why no claim is to refute a seeded bug, or CrossHair to judge a function."""
    for bug in bugs_without_claim():
        why = "changes nothing" if bug.same else "no clause forbids it, the recorded vectors do"
        yield f"not among them: {bug.name}: {why}: {bug.reason}"
    for name, why in not_by_symbols().items():
        yield f"not by symbols: {name}: {why}"


def _mark(entry: ledger.LedgerEntry) -> Text:
    text = entry.state if entry.state == entry.expected else f"{entry.state} !"
    return Text(text, "green" if entry.as_expected else "bold red")

"""`percpu-spec review --source`: what a C patch breaks, mends and leaves, clause by clause."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from percpu_proofs.commands import options, output
from percpu_proofs.commands.replay import and_others, show_example, show_mail, subject_of
from percpu_proofs.commands.review_lines import TreeLines
from percpu_proofs.counterexample.of_tree import of_tree
from percpu_proofs.kernel.build import ONE_UNIT
from percpu_proofs.kernel.search.accesses import AccessSite
from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.search.trees import BASE, CompiledTree
from percpu_proofs.review.jobs import Workers
from percpu_proofs.review.matrix import Changes
from percpu_proofs.review.trees import KM_COUNTS, MOST_STOPS, TreeResults, not_asked_of, results_of
from percpu_proofs.run.inputs import InputError


def review_trees(
    chosen: options.TreeOptions,
    *,
    searches: Sequence[TreeSearch],
    clauses: Sequence[str],
    workers: Workers,
    mail: Path | None,
    page: Path | None,
) -> None:
    """Judge a tree, and what patches make of it; exit 1 for what they newly break.

    Without a patch: for what the tree breaks and the variant that it is does not declare. mail:
    where a block for a mail enters its tokens; None for no such block. page: where a report goes.
    """
    began = time.perf_counter()
    with chosen.compiled() as trees, output.progress_bar("review") as bar:
        lines = TreeLines(output.console(), trees[0].model.name if len(trees) == 1 else None)
        tell = [lines] if not output.as_json() and mail is None else []
        results = results_of(trees, searches, replace(workers, on_done=bar), *tell)
    if page is not None:
        from percpu_proofs.report.reviews import report_of_trees

        base = replace(chosen, patches=(), fixes=())
        output.write_page(page, report_of_trees(results, (base.options(), chosen.options())))
    if output.as_json():
        output.print_json(_plain(results, clauses, time.perf_counter() - began))
    elif mail is not None:
        _mail(chosen, results, clauses or results.unexpected, mail)
    else:
        out = output.console()
        show(out, results, clauses)
        _show_end(out, results, time.perf_counter() - began)
    output.end(interrupted=results.interrupted, ok=not results.unexpected)
    for outcome in results.outcomes:
        if outcome.killed:
            name = outcome.job.search.name
            raise InputError("memory", None, f"enough for the search {name}, which was killed")


def _plain(results: TreeResults, clauses: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return what was found with plain values only."""
    return {
        "trees": {
            name: {c: cell.as_json() for c, cell in of.items() if not clauses or c in clauses}
            for name, of in results.cells.items()
        },
        "releases": {tree.name: tree.tree.name for tree in results.trees},
        "changes": asdict(results.changed or Changes()),
        "variant": results.variant,
        "because": results.because,
        "undeclared": results.undeclared,
        "not_asked": not_asked_of(results.newest_cells),
        "not_searched": results.not_searched,
        "accesses": {
            "new": [entry.access.as_json() for entry in results.new_accesses],
            "all": [one.access.as_json() for one in results.accesses],
        },
        "bounds": [
            {
                "tree": outcome.job.tree, "search": outcome.job.search.name,
                "what": outcome.job.search.what,
                **output.record(outcome, "bound", "states", "edges", "complete"),
                "seconds": round(outcome.seconds, 2),
            }
            for outcome in results.outcomes
        ],
        "jobs": {"planned": results.planned, "done": len(results.outcomes), "kept": results.cached},
        "interrupted": results.interrupted,
        "seconds": round(seconds, 1),
    }  # fmt: skip


def _mail(
    chosen: options.TreeOptions, results: TreeResults, clauses: Sequence[str], names: Path
) -> None:
    """Print a block about the first of these clauses that is broken; the others are named."""
    cells = {c: cell for c, cell in results.newest_cells.items() if c in clauses}
    broken = {c: cell.example for c, cell in cells.items() if cell.example is not None}
    if not broken:
        click.echo("percpu-spec: nothing to report: no clause is newly broken", err=True)
        return
    first = min(broken, key=lambda clause: broken[clause].length)
    bound = and_others(broken, first) + cells[first].origin
    c = of_tree(broken[first], subject_of(results.trees[-1].tree.name, results.patches), bound)
    show_mail(c, names, chosen)


def show(out: Console, results: TreeResults, only: Sequence[str] = ()) -> None:
    """Print what is wrong of a tree, or what patches change, with the bounds; only: clauses."""
    trees, name, changed = results.trees, results.base, results.changed
    cells, newest = results.cells, results.newest_cells
    if changed is not None:
        groups = [
            (f"NEWLY BROKEN by the patch, not by {name}", changed.new, newest),
            (f"mended by the patch, broken by {name}", changed.mended, cells[BASE]),
            ("broken with fewer operations than before", changed.shorter, newest),
            ("broken with more operations than before", changed.longer, newest),
            ("broken before too, but not by this schedule", changed.otherwise, newest),
        ]
    else:
        out.print(f"{name} is {results.variant}: {results.because}", markup=False)
        broken = [c for c, cell in newest.items() if cell.example is not None]
        known = [c for c in broken if c not in results.undeclared]
        groups = [
            (f"broken, and not declared of {results.variant}", results.undeclared, newest),
            (f"broken, as declared of {results.variant}", known, newest),
        ]
        if any(c in KM_COUNTS and newest[c].backings == {"km"} for c in known):
            out.print(f"known: {ONE_UNIT.partition(',')[0]}")
    for heading, names, of in groups:
        names = [n for n in names if not only or n in only]
        if not names:
            continue
        out.print(f"\n{heading}: {', '.join(names)}", style="bold")
        for clause in names:
            mended = changed is not None and clause in changed.mended
            patches = () if of is cells[BASE] else results.patches
            show_example(out, trees[0].tree.name, of[clause], patches, brief=mended)
    if changed is not None:
        unchanged = ", ".join(changed.unchanged) or "none"
        out.print(f"\nbroken before and after, with as many operations: {unchanged}")
        if changed.open:
            out.print(
                f"not compared: {', '.join(changed.open)}: broken on one tree; on the other the "
                "search that shows it did not come as far"
            )
    output.show_not_asked(out, not_asked_of(newest))
    _show_bounds(out, trees, results.outcomes)
    _show_accesses(out, results.new_accesses, results.accesses)
    for search, why in results.not_searched.items():
        out.print(f"not searched: {search}: {why}", markup=False)


def _show_bounds(
    out: Console, trees: Sequence[CompiledTree], outcomes: Sequence[TreeOutcome]
) -> None:
    """Print how far the searches came: a line for those of both trees that came as far."""
    names = [tree.name for tree in trees]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for outcome in outcomes:
        line = lines.setdefault((outcome.job.search.name, outcome.bound), {})
        line[outcome.job.tree] = f"{outcome.states:,}"
    rows = [(*line, *(states.get(name, "") for name in names)) for line, states in lines.items()]
    columns = ("search", "how far", *(f"states, {name}" for name in names))
    out.print(output.table("\nbounds", columns, rows))


def _show_accesses(out: Console, new: Sequence[AccessSite], every: Sequence[AccessSite]) -> None:
    """List accesses without pcpu_lock, those that the patch adds first."""
    if new:
        places = len({entry.pc for entry in new})
        stops = "searched as stops too"
        if places > MOST_STOPS:
            stops = f"{MOST_STOPS} of {places} places {stops}"
        out.print(f"\naccesses without pcpu_lock that the patch adds; {stops}")
        for entry in new:
            out.print(f"  {entry.access}", markup=False)
    known = {entry.access for entry in new}
    rest = dict.fromkeys(str(e.access) for e in every if e.access not in known)
    if rest:
        out.print("\naccesses without pcpu_lock" + (" beside those" if new else ""))
        for text in rest:
            out.print(f"  {text}", markup=False)


def _show_end(out: Console, results: TreeResults, seconds: float) -> None:
    changed, wrong = results.changed, results.unexpected
    begin = "interrupted: " if results.interrupted else ""
    done = len(results.outcomes)
    end = f"{begin}{done} of {results.planned} searches of {results.base} in {seconds:.0f} s: "
    if changed is None:
        end += f"not declared: {', '.join(wrong)}" if wrong else "nothing but what is declared"
    else:
        end += f"newly broken: {', '.join(wrong) or 'nothing'}"
        end += f"; mended: {', '.join(changed.mended) or 'nothing'}"
        for what, clauses in (
            ("with fewer operations", changed.shorter), ("with more", changed.longer),
            ("otherwise than before", changed.otherwise), ("not compared", changed.open),
        ):  # fmt: skip
            end += f"; {what}: {', '.join(clauses)}" if clauses else ""
    out.print(end, style="bold red" if wrong else "bold", markup=False)

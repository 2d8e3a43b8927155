"""`percpu-spec review --source`: what a C patch breaks, mends and leaves, clause by clause."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from percpu_proofs.commands import output
from percpu_proofs.commands.counterexamples import (
    reproducer,
    show_example,
    show_mail,
    subject_of,
)
from percpu_proofs.commands.report import write_trees
from percpu_proofs.commands.review_lines import TreeLines
from percpu_proofs.commands.source import page_asked_for
from percpu_proofs.commands.tree_options import ChosenTree
from percpu_proofs.counterexample import of_tree
from percpu_proofs.inputs import InputError, one_of
from percpu_proofs.kernel.search.accesses import Noted, added
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run
from percpu_proofs.kernel.search.paged import at_page
from percpu_proofs.kernel.search.plans import (
    DRAWN,
    QUICK,
    UNNAMED,
    TreeSearch,
    deeper,
    noting,
    shallower,
    stopping_at,
)
from percpu_proofs.kernel.search.remote import parcel, run_parcel
from percpu_proofs.kernel.search.trees import (
    BASE,
    PATCHED,
    CompiledTree,
    accesses,
    broken_on,
    crosses,
    jobs_for,
    left_out,
    schedules,
)
from percpu_proofs.kernel.workshop import ONE_UNIT
from percpu_proofs.review.changes import Changes
from percpu_proofs.review.results import Workers
from percpu_proofs.review.tree_cache import TreeCache
from percpu_proofs.review.trees import (
    KM_COUNTS,
    TreeCell,
    broken_on_both,
    changes,
    not_asked,
    undeclared,
    verdicts,
)
from percpu_proofs.spread import spread

REFUSES_NOTHING = "refuses no free that names no live area: such a free is its caller's error"
_QUICK_NOTED = ("accesses in pages", "accesses in only-isolated")
MOST_STOPS = 64
"""Places at which actors stand still because a patch makes an access there."""


def searches_for(
    names: Sequence[str], *, quick: bool, deep: bool, geometry: str | None = None
) -> list[TreeSearch]:
    """Return the searches of a review. Raises InputError for a name that is none.

    geometry: a page size; scenarios are of one alone.
    """
    page = page_asked_for(geometry)
    known = {
        search.name: at_page(search, page)
        for search in (*QUICK, UNNAMED, *noting(), *DRAWN)
        if search.plan.longest or page == search.plan.geometry.page
    }
    for name in names:
        if name not in known:
            raise InputError("--search", None, one_of(name, known), name)
    chosen = [known[name] for name in names or known]
    if quick:  # of those that note accesses one of lists and one of schedules are enough
        return [shallower(one) for one in chosen if not one.noted or one.name in _QUICK_NOTED]
    return [deeper(search) for search in chosen] if deep else chosen


def review_trees(
    chosen: ChosenTree,
    *,
    searches: Sequence[TreeSearch],
    clauses: Sequence[str],
    workers: Workers,
    names: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Judge a tree, and what patches make of it; exit 1 for what they newly break.

    Without a patch: for what the tree breaks and the variant that it is does not declare. names:
    where a block for a mail enters its tokens; None for no such block. page: where a report goes.
    """
    began = time.perf_counter()
    planned: list[TreeJob] = []
    outcomes: list[TreeOutcome] = []
    with chosen.compiled() as trees, output.progress_bar("review") as bar:
        model = trees[0].model()
        told = TreeLines(output.console(), model.name if len(trees) == 1 else None)
        lacking = left_out(trees, searches)
        searches = [one for one in searches if one.name not in lacking]

        kept = TreeCache(workers.cache if workers.dask is None else None, trees)

        def tell(outcome: TreeOutcome) -> None:
            if not (as_json or names is not None):
                told(outcome)

        def keep(outcome: TreeOutcome) -> None:
            kept.keep(outcome)
            tell(outcome)

        def search(more: list[TreeJob]) -> bool:
            """Run more jobs; return whether there may be more still."""
            planned.extend(more)
            known = [found for job in more if (found := kept.find(job)) is not None]
            for outcome in known:
                tell(outcome)
            ready = [outcome.job for outcome in known]
            left = [job for job in more if job not in ready]
            options: dict[str, Any] = {
                "jobs": workers.jobs, "on_done": bar, "keep": keep, "partial": True
            }
            if workers.dask is None:
                done, stopped = spread(left, run, **options)
            else:
                options["dask"] = workers.dask
                done, stopped = spread([*map(parcel, left)], run_parcel, **options)
            outcomes.extend([*known, *done])
            return not stopped and not any(outcome.interrupted for outcome in done)

        interrupted = not (
            search(jobs_for(trees, [one for one in searches if not one.plan.programs]))
            and search(_second_round(trees, searches, outcomes))
            and search(crosses(trees, outcomes))
        )
        new = added_accesses(outcomes)
        cells = {tree.name: verdicts(outcomes, tree.name, model.name) for tree in trees}
        unknown = undeclared(cells[trees[-1].name], model.name, trees[0].km_counts)
        changed = changes(cells[BASE], cells[PATCHED]) if len(trees) > 1 else None
        if changed is not None and not interrupted:
            examples = {c: cells[PATCHED][c].example for c in broken_on_both(cells)}
            following = schedules(trees[0], examples)
            done, interrupted = spread([*following.values()], run, jobs=workers.jobs)
            if following and not interrupted:
                both = zip(following, done, strict=True)
                changed.otherwise.extend(c for c, o in both if c not in o.examples)
    newest = cells[trees[-1].name]
    if not _refused(outcomes):
        lacking |= {one.name: f"the tree {REFUSES_NOTHING}" for one in searches if one.plan.refuses}
        for of in cells.values():
            of["API-2"].reason = f"{trees[0].tree.name} {REFUSES_NOTHING}"
    wrong = unknown if changed is None else changed.new
    if page is not None:
        write_trees(
            page, chosen, trees, model.name, cells, changed, unknown, outcomes, new, lacking,
            interrupted=interrupted,
        )  # fmt: skip
    if as_json:
        found: dict[str, Any] = {
            "trees": {
                name: {c: cell.as_json() for c, cell in of.items() if not clauses or c in clauses}
                for name, of in cells.items()
            },
            "releases": {tree.name: tree.tree.name for tree in trees},
            "changes": asdict(changed or Changes()),
            "variant": model.name,
            "because": trees[0].between or model.because,
            "undeclared": unknown,
            "not_asked": not_asked(newest),
            "not_searched": lacking,
            "accesses": {
                "new": [entry.access.as_json() for entry in new],
                "all": [e.access.as_json() for e in accesses(outcomes, trees[-1].name)],
            },
            "bounds": [_bound(outcome) for outcome in outcomes],
            "jobs": {"planned": len(planned), "done": len(outcomes), "kept": kept.kept},
            "interrupted": interrupted,
            "seconds": round(time.perf_counter() - began, 1),
        }
        output.print_json(found)
    elif names is not None:
        _mail(chosen, trees[-1], newest, [c for c in newest if c in (clauses or wrong)], names)
    else:
        out = output.console()
        _show(out, trees, cells, changed, unknown, outcomes, clauses)
        _show_accesses(out, new, accesses(outcomes, trees[-1].name))
        for name, why in lacking.items():
            out.print(f"not searched: {name}: {why}", markup=False)
        seconds = time.perf_counter() - began
        _show_end(out, trees, changed, wrong, len(outcomes), len(planned), seconds, interrupted)
    if interrupted:
        raise SystemExit(output.INTERRUPTED)
    if wrong:
        raise SystemExit(output.DIFFERS)
    for outcome in outcomes:
        if outcome.killed:
            name = outcome.job.search.name
            raise InputError("memory", None, f"enough for the search {name}, which was killed")


def _mail(
    chosen: ChosenTree,
    tree: CompiledTree,
    cells: dict[str, TreeCell],
    clauses: Sequence[str],
    names: Path,
) -> None:
    """Print a block about the first of these clauses that is broken; the others are named."""
    broken = {c: found for c in clauses if (found := cells[c].example) is not None}
    if not broken:
        click.echo("percpu-spec: nothing to report: no clause is newly broken", err=True)
        return
    first = min(broken, key=lambda clause: broken[clause].length)
    c = of_tree(broken[first], subject_of(tree.tree.name, tree.tree.patches))
    others = ", ".join(clause for clause in broken if clause != first)
    more = f"{others} broken too (--clause ID); " if others else ""
    c = replace(c, bound=more + (c.bound or f"search {broken[first].search}"))
    show_mail(c, reproducer(c, names, chosen))


def _refused(outcomes: Sequence[TreeOutcome]) -> bool:
    """Return whether the base refuses frees that name no live area, so that some were tried."""
    return any(outcome.job.search.plan.refuses for outcome in outcomes)


def _second_round(
    trees: Sequence[CompiledTree], searches: Sequence[TreeSearch], outcomes: Sequence[TreeOutcome]
) -> list[TreeJob]:
    """Return the jobs that draw programs, and those that stop where a patch adds accesses."""
    drawing = [search for search in searches if search.plan.programs]
    if _refused(outcomes):
        drawing = [replace(one, plan=replace(one.plan, refuses=True)) for one in drawing]
    places = tuple(sorted({entry.pc for entry in added_accesses(outcomes)})[:MOST_STOPS])
    stopping = jobs_for(trees[-1:], stopping_at(places, searches)) if places else []
    return [
        replace(job, known=broken_on(outcomes, job.tree)) for job in jobs_for(trees, drawing)
    ] + stopping


def added_accesses(outcomes: Sequence[TreeOutcome]) -> list[Noted]:
    """Return the accesses without pcpu_lock that only the patched tree makes."""
    base = [entry.access for entry in accesses(outcomes, BASE)]
    patched = {entry.access: entry for entry in accesses(outcomes, PATCHED)}
    return [patched[access] for access in added(base, patched)]


def _bound(outcome: TreeOutcome) -> dict[str, Any]:
    search = outcome.job.search
    return {
        "tree": outcome.job.tree, "search": search.name, "what": search.what,
        "bound": outcome.bound, "states": outcome.states, "edges": outcome.edges,
        "complete": outcome.complete, "seconds": round(outcome.seconds, 2),
    }  # fmt: skip


def _show(
    out: Console,
    trees: Sequence[CompiledTree],
    cells: dict[str, dict[str, TreeCell]],
    changed: Changes | None,
    unknown: list[str],
    outcomes: Sequence[TreeOutcome],
    only: Sequence[str],
) -> None:
    name = f"Linux {trees[0].tree.name}"
    newest = cells[trees[-1].name]
    if changed is not None:
        groups = [
            (f"NEWLY BROKEN by the patch, not by {name}", changed.new, newest),
            (f"mended by the patch, broken by {name}", changed.mended, cells[BASE]),
            ("broken with fewer operations than before", changed.shorter, newest),
            ("broken with more operations than before", changed.longer, newest),
            ("broken before too, but not by this schedule", changed.otherwise, newest),
        ]
    else:
        model = trees[0].model()
        why = trees[0].between or model.because
        out.print(f"{name} is {model.name}: {why}", markup=False)
        broken = [c for c, cell in newest.items() if cell.example is not None]
        known = [c for c in broken if c not in unknown]
        groups = [
            (f"broken, and not declared of {model.name}", unknown, newest),
            (f"broken, as declared of {model.name}", known, newest),
        ]
        if any(c in KM_COUNTS and newest[c].backings == {"km"} for c in known):
            out.print(f"known: {ONE_UNIT.partition(',')[0]}")
    for heading, names, of in groups:
        names = [n for n in names if not only or n in only]
        if not names:
            continue
        out.print(f"\n{heading}: {', '.join(names)}", style="bold")
        for clause in names:
            example = of[clause].example
            assert example is not None
            mended = changed is not None and clause in changed.mended
            patches = () if of is cells[BASE] else trees[-1].tree.patches
            show_example(out, trees[0].tree.name, example, patches, brief=mended)
    if changed is not None:
        unchanged = ", ".join(changed.unchanged) or "none"
        out.print(f"\nbroken before and after, with as many operations: {unchanged}")
        if changed.open:
            out.print(
                f"not compared: {', '.join(changed.open)}: broken on one tree; on the other the "
                "search that shows it did not come as far"
            )
    output.show_not_asked(out, not_asked(newest))
    out.print(_bounds(trees, outcomes))


def _bounds(trees: Sequence[CompiledTree], outcomes: Sequence[TreeOutcome]) -> Table:
    """Return how far the searches came: a line for those of both trees that came as far."""
    names = [tree.name for tree in trees]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for outcome in outcomes:
        line = lines.setdefault((outcome.job.search.name, outcome.bound), {})
        line[outcome.job.tree] = f"{outcome.states:,}"
    rows = [(*line, *(states.get(name, "") for name in names)) for line, states in lines.items()]
    columns = ("search", "how far", *(f"states, {name}" for name in names))
    return output.table("\nbounds", columns, rows)


def _show_accesses(out: Console, new: Sequence[Noted], every: Sequence[Noted]) -> None:
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


def _show_end(
    out: Console,
    trees: Sequence[CompiledTree],
    changed: Changes | None,
    wrong: Sequence[str],
    done: int,
    planned: int,
    seconds: float,
    interrupted: bool,
) -> None:
    begin = "interrupted: " if interrupted else ""
    end = f"{begin}{done} of {planned} searches of Linux {trees[0].tree.name} in {seconds:.0f} s: "
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

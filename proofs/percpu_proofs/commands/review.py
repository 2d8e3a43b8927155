"""`percpu-spec review`: the verdict matrix of variants and clauses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.report import write_variants
from percpu_proofs.commands.review_tree import review_trees, searches_for
from percpu_proofs.commands.tree_options import ChosenTree, tree_options
from percpu_proofs.inputs import InputError
from percpu_proofs.review.jobs import Outcome, enter_small, jobs_for, run, shrinking
from percpu_proofs.review.matrix import Cell, changes, matrix, matrix_json, not_asked
from percpu_proofs.spread import default_jobs, spread
from percpu_reference.variants import VARIANTS, variant_class
from percpu_spec.catalogue import clause as clause_of

_SIGNS = {"holds": "holds", "violated": "BROKEN", "unchecked": "?", "not applicable": "-"}
_QUESTION = """\
What must the percpu allocator never break, and which algorithm keeps it? A row is a clause of the
specification (percpu-spec explain ID), a column an algorithm: linux_6_12 is the kernel's of 5.17 to
6.12, reference the same with the fixes after which all clauses hold, the others came before it.
"""
_LEGEND = """\
holds     in every search below that judged it, within its bound; never more than that
BROKEN n  a run broke it; n operations in the shortest counterexample that was found
?         not judged: its situation occurred in no run     -  not asked of this variant
!         not what the variant declares"""


@click.command()
@click.option(
    "--variant", "chosen", callback=output.named_variant, multiple=True,
    help="A variant, a release (6.14), or a FILE.py with one.  [default: the six]",
)
@tree_options
@click.option("--search", "searches", multiple=True, help="With --source: only this search.")
@click.option(
    "--geometry", metavar="page=N", help="With --source: pages of so many bytes.  [default: 4096]"
)
@click.option("--clause", metavar="ID", help="With --source: show no other clause.")
@click.option("--quick", is_flag=True, help="With --source: search lists one operation shorter.")
@click.option("--jobs", type=click.IntRange(min=1), default=default_jobs, help="Processes.")
@click.option("--dask", metavar="ADDRESS", help="Run on the dask cluster of this scheduler.")
@click.option("--deep", is_flag=True, help="Search further: up to a hundred times the steps.")
@click.option("--html", "page", type=output.NewFile(), help="Write a report there, one page.")
@output.json_option
def review(
    chosen: tuple[str, ...],
    tree: ChosenTree | None,
    searches: tuple[str, ...],
    geometry: str | None,
    clause: str | None,
    quick: bool,
    jobs: int,
    dask: str | None,
    deep: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Say for each variant and clause whether it holds, how that is known and how far.

    Where it does not, the shortest counterexample found is given. Exit 1 where a verdict is not the
    one that the variant declares.

    FILE.py holds a variant of your own: a subclass of a variant that overrides what your patch
    changes and declares, in EXPECTED, the clauses that it breaks.

    With --source the code of a kernel tree is searched itself, compiled for user space; with
    --patch, what the patch makes of it too. Exit 1 for what the patch newly breaks, or, without
    one, what the tree breaks and the model of it does not declare.
    """
    if tree is not None:
        if chosen:
            raise InputError("--variant", None, "variants, or a tree with --source, not both")
        if clause is not None:
            clause_of(clause)  # raises for one that is not there
        review_trees(
            tree,
            searches=searches_for(searches, quick=quick, deep=deep, geometry=geometry),
            clause=clause,
            jobs=jobs,
            dask=dask,
            page=page,
            as_json=as_json,
        )
        return
    if searches or clause or quick or geometry:
        given = "--search, --clause, --quick, --geometry"
        raise InputError(given, None, "--source TREE beside them")
    variants = tuple(dict.fromkeys(chosen)) or tuple(VARIANTS)
    for name in variants:
        variant_class(name)
    began = time.perf_counter()
    planned = jobs_for(variants, deep=deep)
    with output.progress_bar("review") as bar:
        outcomes, interrupted = spread(
            planned, run, jobs=jobs, dask=dask, on_done=bar, partial=True
        )
    if not interrupted:
        small, interrupted = spread(shrinking(outcomes), run, jobs=jobs, dask=dask)
        enter_small(outcomes, small)
    cells = matrix(variants, outcomes, interrupted=interrupted)
    seconds = time.perf_counter() - began
    if page is not None:
        write_variants(page, cells)
    if as_json:
        found = matrix_json(cells)
        found["changes"] = changes(variants, cells)
        found["not_asked"] = not_asked(cells)
        found["jobs"] = {"planned": len(planned), "done": len(outcomes)}
        found["interrupted"] = interrupted
        found["seconds"] = round(seconds, 1)
        output.print_json(found)
    else:
        _show(output.console(), variants, cells, outcomes, len(planned), seconds, interrupted)
    if interrupted:
        raise SystemExit(output.INTERRUPTED)
    if not all(cell.as_expected for cell in cells):
        raise SystemExit(output.DIFFERS)


def _show(
    out: Console,
    variants: Sequence[str],
    cells: Sequence[Cell],
    outcomes: Sequence[Outcome],
    planned: int,
    seconds: float,
    interrupted: bool,
) -> None:
    shown = sorted(
        (cell for cell in cells if cell.verdict == "violated" or not cell.as_expected), key=_rank
    )
    unexpected = [cell for cell in shown if not cell.as_expected]
    for cell in unexpected:
        _show_cell(out, cell)
    by_clause: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_clause.setdefault(cell.clause, {})[cell.variant] = cell
    rows = [
        (name, clause_of(name).title, *(_mark(row[v]) for v in variants))
        for name, row in by_clause.items()
    ]
    names = [Path(v).stem for v in variants]
    title = "\nverdicts" if unexpected else "verdicts"
    if not unexpected:
        out.print(_QUESTION, markup=False, soft_wrap=True)
    out.print(output.table(title, ("clause", "what", *names), rows))
    out.print(_LEGEND, markup=False)
    columns = ("search", "how far", "what")
    out.print(output.table("\nbounds", columns, _searched(outcomes)))
    for cell in shown[len(unexpected) :]:
        _show_cell(out, cell)
    counts = Counter(cell.verdict for cell in cells)
    end = "; what was done contradicts nothing declared" if interrupted else "; all as declared"
    named = ", ".join(f"{Path(c.variant).stem} {c.clause}" for c in unexpected)
    out.print(
        f"{'interrupted: ' if interrupted else ''}{len(outcomes)} of {planned} jobs in "
        f"{seconds:.0f} s: "
        + ", ".join(f"{n} {word}" for word, n in counts.items())
        + (f"; not as declared: {named}" if unexpected else end),
        style="bold red" if unexpected else "bold",
        soft_wrap=True,
    )


def _rank(cell: Cell) -> tuple[bool, bool, int]:
    """Return where a cell is shown: what is not as declared first, of that what is broken."""
    length = cell.example.length if cell.example is not None else 0
    return cell.as_expected, cell.verdict != "violated", 0 if cell.as_expected else length


def _mark(cell: Cell) -> Text:
    word = _SIGNS[cell.verdict]
    if cell.example is not None:
        word = f"{word} {cell.example.length}"
    if not cell.as_expected:
        return Text(f"{word} !", "bold red")
    return Text(word, {"holds": "green", "violated": "yellow"}.get(cell.verdict, "dim"))


def _show_cell(out: Console, cell: Cell) -> None:
    declared = "as declared" if cell.as_expected else f"declared: {cell.expected}"
    name = Path(cell.variant).stem
    out.print(f"\n{name} {cell.clause} {cell.verdict}, {declared}", style="bold")
    if cell.reason:
        out.print(f"  {cell.reason}", markup=False)
    example = cell.example
    if example is None:
        return
    out.print(f"  {example.message}", markup=False)
    shortest = "the shortest within this bound" if example.shortest else "maybe not the fewest"
    out.print(f"  {example.length} operations, {shortest}: {cell.found_by}", markup=False)
    if len(example.setup) + len(example.actors) <= 14:
        alone = "; ".join(example.setup)
        together = "; ".join(example.actors)
        names = ("then at once", "at once") if example.schedule else ("then", "")
        joint = f" | {names[0]}: " if alone else (f"{names[1]}: " if names[1] else "")
        out.print(f"  {alone}{joint}{together}", markup=False)
    others = [e["engine"] for e in cell.evidence if e["violated"]]
    if len(others) > 1:
        out.print(f"  broken in {len(others)} searches: {', '.join(others)}", markup=False)
    if example.token:
        out.print(f"  percpu-spec replay {example.token}", soft_wrap=True, markup=False)


def _searched(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str]]:
    """Return each search, how far it came for which variants, and what it did."""
    by_search: dict[tuple[str, str], dict[str, list[str]]] = {}
    for outcome in outcomes:
        reached = by_search.setdefault((outcome.engine, outcome.how), {})
        reached.setdefault(outcome.reach, []).append(Path(outcome.job.variant).stem)
    rows = []
    for (engine, how), reached in by_search.items():
        if len(reached) == 1:
            reach = next(iter(reached))
        else:
            reach = "; ".join(f"{', '.join(who)}: {how_far}" for how_far, who in reached.items())
        rows.append((engine, reach, how))
    return rows

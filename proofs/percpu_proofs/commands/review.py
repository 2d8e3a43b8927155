"""`percpu-spec review`: what a variant, or a kernel tree, breaks; what is new of it first."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click

from percpu_proofs.commands import options, output
from percpu_proofs.commands.replay import and_others, show_mail
from percpu_proofs.commands.review_tree import review_trees
from percpu_proofs.commands.review_variants import ReviewRequest, VariantsReview
from percpu_proofs.commands.source import geometry_option
from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.counterexample.record import Counterexample
from percpu_proofs.review.cache import OutcomeCache
from percpu_proofs.review.job import ReviewExample
from percpu_proofs.review.jobs import SECONDS_EACH, Workers
from percpu_proofs.review.matrix import Cell, Changes, clause_and_finding, example_of
from percpu_proofs.review.trees import searches_for
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.sizes import page_size
from percpu_reference.variants import (
    DEFAULT,
    VARIANTS,
    UnknownVariantError,
    base_of,
    variant_class,
    variant_name,
)
from percpu_reference.variants.composition import findings_in
from percpu_spec.catalogue import clause as clause_of
from percpu_spec.catalogue import findings as every_finding

SERIES = (DEFAULT, "rfc_1", "rfc_series", "rfc_1_reviewed", "reference")
"""The newest kernel, the series that partial depopulation began with, and what could be."""


def require_findings(
    findings: Sequence[str], variants: Sequence[str], clauses: Sequence[str]
) -> None:
    """Raise InputError for a finding that none of these variants declares of these clauses."""
    declared = {
        name
        for variant in variants
        for clause, reason in variant_class(variant).EXPECTED.items()
        if not clauses or clause in clauses
        for name in findings_in(reason)
    }
    for name in findings:
        if name not in every_finding():
            raise InputError("--finding", None, one_of(name, every_finding()), name)
        if name not in declared:
            of = f" of {', '.join(clauses)}" if clauses else ""
            declare = f"{', '.join(variants)} {'declares' if len(variants) == 1 else 'declare'}"
            expected = f"one that {declare}{of} ({', '.join(sorted(declared))})"
            if not declared:
                expected = f"no finding: {declare} none{of}"
            raise InputError("--finding", None, expected, name)


@click.command()
@click.option(
    "--variant", "chosen", callback=output.named_variant, multiple=True,
    help="A variant, a release (6.14), either with fixes (6.14+R1), or a FILE.py with one.  "
    "[default: the newest kernel, the rfc series, reference]",
)
@options.tree
@click.option("--search", "searches", multiple=True, help="Only this search.")
@geometry_option(metavar="page=N", help="With --source: pages of so many bytes.  [default: 4096]")
@click.option(
    "--clause", "clauses", metavar="ID", multiple=True, callback=output.clause_ids,
    help="Show no other clause.",
)
@click.option(
    "--finding", "findings", metavar="ID", multiple=True,
    help="Of clauses that are broken by several findings the counterexample of this one.",
)
@click.option("--quick", is_flag=True, help="Search lists one operation shorter.")
@options.jobs
@options.dask
@click.option("--deep", is_flag=True, help="Search further: up to a hundred times the steps.")
@click.option("--no-cache", is_flag=True, help="Search anew what is known from earlier runs.")
@click.option("--all", "everything", is_flag=True,
              help="All variants, the bounds, and every counterexample.")  # fmt: skip
@options.page
@options.mail
@output.json_option
def review(
    chosen: tuple[str, ...],
    tree: options.TreeOptions | None,
    searches: tuple[str, ...],
    geometry: str | None,
    clauses: tuple[str, ...],
    findings: tuple[str, ...],
    quick: bool,
    jobs: int,
    dask: str | None,
    deep: bool,
    no_cache: bool,
    everything: bool,
    page: Path | None,
    mail: Path | None,
) -> None:
    """Say for each variant and clause whether it holds, how that is known and how far.

    Findings are printed as they come, the shortest counterexample of each in the operation
    language. Exit 1 where a verdict is not the one that the variant declares.

    FILE.py holds a variant of your own: a subclass of a variant that overrides what your patch
    changes and declares, in EXPECTED, the clauses that it breaks. What is new against the class
    that it extends comes first.

    With --source the code of a kernel tree is searched itself, compiled for user space; with
    --patch, what the patch makes of it too. Exit 1 for what the patch newly breaks, or, without
    one, what the tree breaks and the model of it does not declare.
    """
    for clause in clauses:
        clause_of(clause)  # raises for one that is not there
    if quick and deep:
        raise InputError("--quick, --deep", None, "one of them")
    workers = Workers(jobs, dask, None if no_cache else OutcomeCache())
    if tree is not None:
        if chosen:
            raise InputError("--variant", None, "variants, or a tree with --source, not both")
        if findings:
            raise InputError("--finding", None, "variants: of a tree no finding is told apart")
        review_trees(
            tree,
            searches=searches_for(searches, quick=quick, deep=deep, page=page_size(geometry)),
            clauses=clauses,
            workers=workers,
            mail=mail,
            page=page,
        )
        return
    if geometry is not None:
        expected = "--source TREE beside it: the searches of variants have their own sizes"
        raise InputError("--geometry", None, expected)
    variants = tuple(dict.fromkeys(chosen)) or SERIES
    if everything and not chosen:
        variants = (DEFAULT, *(name for name in VARIANTS if name != DEFAULT))
    if findings and (quick or searches):
        expected = "the whole review: findings are told apart by what all searches find"
        raise InputError("--finding", None, expected, "--quick" if quick else "--search")
    require_findings(findings, variants, clauses)
    _review_variants(
        ReviewRequest(variants, clauses, findings, quick, deep, searches, everything=everything),
        workers,
        mail=mail,
        page=page,
    )


def _review_variants(
    request: ReviewRequest, workers: Workers, *, mail: Path | None, page: Path | None
) -> None:
    """Review variants, those of files beside what they extend; exit 1 for what is not declared.

    mail: where a block for a mail enters its tokens; None for no such block. page: where a report
    goes.
    """
    began = time.perf_counter()
    view = VariantsReview(output.console(), request)
    run = view.review
    if not output.as_json() and mail is None:
        run.on_outcome = view.begin()
    with output.progress_bar("review", SECONDS_EACH / workers.jobs) as bar:
        run.run(replace(workers, on_done=bar))
    view.take()
    if page is not None:
        from percpu_proofs.report.reviews import report_of_variants

        output.write_page(page, report_of_variants(view.listed, view.changed))
    seconds = time.perf_counter() - began
    if output.as_json():
        output.print_json(view.as_json() | {"seconds": round(seconds, 1)})
    elif mail is not None:
        _show_mail(request, view.every, view.changed, mail)
    else:
        view.show()
        view.end(seconds)
    output.end(interrupted=run.interrupted, ok=not view.wrong)


class CellExample(NamedTuple):
    """A counterexample of a cell, and how it was come by."""

    cell: Cell
    example: ReviewExample
    how: str

    def counterexample(self) -> Counterexample:
        """Return it as it is shown: the schedule of its token."""
        return replace(of_token(self.example.token or ""), bound=self.how)


def _examples_of(request: ReviewRequest, cell: Cell) -> list[CellExample]:
    """Return what is shown of a cell: its own counterexample, or those of findings asked for."""
    reason = variant_class(cell.variant).EXPECTED.get(cell.clause, "")
    names = request.names(reason) if request.findings else [""]
    return [shown for name in names if (shown := _example_by(cell, name)) is not None]


def _example_by(cell: Cell, finding: str) -> CellExample | None:
    """Return what is shown of a cell by a finding, or by all of them; None without a token."""
    example = example_of(cell, finding)
    if example is None or not example.token:
        return None
    how = _sought(cell, finding) if finding in cell.bounds else cell.origin
    return CellExample(cell, example, how)


def _sought(cell: Cell, finding: str) -> str:
    """Return how far a finding was looked for alone, in words."""
    example = cell.mechanisms[finding]
    small = "" if example is None or example.shortest else "; made small, maybe not the fewest"
    return f"{finding} alone, the others mended: {cell.bounds[finding]}{small}"


def _show_mail(
    request: ReviewRequest, every: Sequence[Cell], changed: Mapping[str, Changes], names: Path
) -> None:
    """Print a block about the clause that is newly broken; of several that by the shortest.

    Where none is, one about what is mended, as what is extended breaks it. every: cells, those of
    what is extended among them.
    """
    cells = [cell for cell in every if cell.variant in request.variants]
    new = {(name, clause) for name, one in changed.items() for clause in one.new}
    chosen = [
        shown
        for cell in cells
        if request.shows(cell.clause)
        for shown in _of_changes(request, cell, new)
    ]
    if not chosen and not request.named and (mended := _mended(every, changed)):
        first, others = min(mended, key=lambda one: one[0].example.length)
        show_mail(replace(first.counterexample(), others=others), names)
        return
    if not chosen:
        why = "; ".join(_unreported(request, cells, changed))
        click.echo(f"percpu-spec: nothing to report: {why}", err=True)
        return
    first = min(chosen, key=lambda shown: shown.example.length)
    more = and_others((shown.cell.clause for shown in chosen), first.cell.clause)
    c = first.counterexample()
    c = replace(
        c, subject=Path(c.subject).name, bound=f"{more}{first.how}", others=_by_others(c, first)
    )
    show_mail(c, names)


def _of_changes(
    request: ReviewRequest, cell: Cell, new: Collection[tuple[str, str]]
) -> Iterator[CellExample]:
    """Yield what of a cell is to be reported: what is asked for, not as declared, or new."""
    if request.named or not cell.as_expected or (cell.variant, cell.clause) in new:
        yield from _examples_of(request, cell)
        return
    for variant, entry in new:
        clause, finding = clause_and_finding(entry)
        if (variant, clause) == (cell.variant, cell.clause) and (
            shown := _example_by(cell, finding)
        ):
            yield shown


def _mended(
    every: Sequence[Cell], changed: Mapping[str, Changes]
) -> list[tuple[CellExample, str]]:
    """Return what of a base has a counterexample and is mended, each with what mends it."""
    mended = []
    for name, one in changed.items():
        others = f"Mended by {Path(name).name}, as far as was searched: {', '.join(one.mended)}"
        of_base = {cell.clause: cell for cell in every if cell.variant == base_of(name)}
        for clause, finding in map(clause_and_finding, one.mended):
            if clause in of_base and (shown := _example_by(of_base[clause], finding)):
                mended.append((shown, others))
    return mended


def _by_others(c: Counterexample, shown: CellExample) -> str:
    """Return by which other findings the clause is broken, and what prints them."""
    cell = shown.cell
    known = re.findall(r"\b[LR]\d+\b", c.mechanism)
    others = [name for name in cell.mechanisms if name not in known]
    missing = [name for name in others if cell.mechanisms[name] is None]
    also = [name for name in others if name not in missing]
    line = f"percpu-spec review --variant {_short(cell.variant)} --clause {cell.clause}"
    parts = [f"Also by {', '.join(also)}: {line} --finding {also[0]}"] if also else []
    parts += [f"By {', '.join(missing)}: none found"] if missing else []
    return "; ".join(parts)


def _short(variant: str) -> str:
    """Return the shortest name of a variant: a release, if it is mainline's.

    >>> _short("linux_7_1"), _short("rfc_1"), _short("linux_mm")
    ('7.1', 'rfc_1', 'linux_mm')
    """
    release = variant.removeprefix("linux_").replace("_", ".")
    with suppress(UnknownVariantError):
        if variant_name(release) == variant:
            return release
    return variant


def _unreported(
    request: ReviewRequest, cells: Sequence[Cell], changed: Mapping[str, Changes]
) -> Iterator[str]:
    """Yield why there is no block: what became of the clauses that were asked for, or of all."""
    if request.named:
        for cell in cells:
            if cell.variant in request.variants and request.shows(cell.clause):
                for name in request.findings:
                    if name in cell.bounds:
                        yield f"{name}: no counterexample of it alone: {cell.bounds[name]}"
                reason = f" ({cell.reason})" if cell.reason else ""
                yield f"{cell.clause} of {Path(cell.variant).stem}: {cell.verdict}{reason}"
        return
    yield "no clause is newly broken"
    for name, one in changed.items():
        if one.mended:
            yield f"{Path(name).stem} mends {', '.join(one.mended)}"
    for name in request.variants:
        known = [cell.clause for cell in cells if cell.variant == name and cell.example]
        if known:
            yield (f"{Path(name).stem} breaks {', '.join(known)} as declared, of which --clause ID "
                   "prints one")  # fmt: skip

"""`percpu-spec review`: what a variant, or a kernel tree, breaks; what is new of it first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from percpu_proofs.commands import options, output
from percpu_proofs.commands.review_request import ReviewRequest
from percpu_proofs.commands.review_tree import review_trees
from percpu_proofs.commands.review_variants import review_variants
from percpu_proofs.commands.source import geometry_option, page_asked_for
from percpu_proofs.review.cache import OutcomeCache
from percpu_proofs.review.jobs import Workers
from percpu_proofs.review.trees import searches_for
from percpu_proofs.run.inputs import InputError, one_of
from percpu_reference.variants import DEFAULT, VARIANTS, variant_class
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
            known = ", ".join(sorted(declared))
            declare = "declares" if len(variants) == 1 else "declare"
            expected = f"one that {', '.join(variants)} {declare}{of} ({known})"
            if not declared:
                expected = f"no finding: {', '.join(variants)} {declare} none{of}"
            raise InputError("--finding", None, expected, name)


@click.command()
@click.option(
    "--variant", "chosen", callback=output.named_variant, multiple=True,
    help="A variant, a release (6.14), either with fixes (6.14+R1), or a FILE.py with one.  "
    "[default: the newest kernel, the rfc series, reference]",
)
@options.tree
@click.option("--search", "searches", multiple=True, help="Only this search.")
@geometry_option(
    metavar="page=N", help="With --source: pages of so many bytes.  [default: 4096]"
)
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
    tree: options.ChosenTree | None,
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
            searches=searches_for(
                searches, quick=quick, deep=deep, page=page_asked_for(geometry)
            ),
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
    review_variants(
        ReviewRequest(variants, clauses, findings, quick, deep, searches, everything=everything),
        workers,
        mail=mail,
        page=page,
    )

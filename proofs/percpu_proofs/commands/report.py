"""`percpu-spec report`: the specification as a book, one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from percpu_proofs.beside.comparison import Comparison, compare_all
from percpu_proofs.commands import options, output
from percpu_proofs.commands.beside import sources_of
from percpu_proofs.review.cache import OutcomeCache
from percpu_proofs.review.jobs import SECONDS_EACH, ReviewRun, Workers
from percpu_reference.variants import DEFAULT, VARIANTS


@click.command()
@click.option(
    "--html", "page", type=output.NewFile(), default="percpu-spec.html", show_default=True,
    help="The file to write.",
)  # fmt: skip
@options.tree
@options.jobs
@output.json_option
def report(page: Path, tree: options.TreeOptions | None, jobs: int) -> None:
    """Write the specification as a book: one HTML file that needs no network.

    Every clause with its code, contracts, proofs, tests and verdicts, counterexamples to walk
    through, findings, releases, variants, charts, scenarios, kernel functions and a glossary.
    With --source the C of a kernel tree stands beside the model's functions.
    Results of `review` are kept; what is missing is run first, for some minutes where nothing is.
    Ctrl-C ends that: the book then has what is known so far, and says so; exit 130.
    """
    from percpu_proofs.report.book import book  # what only pages need takes time to load

    review = ReviewRun((*VARIANTS, DEFAULT))
    with output.progress_bar("review", SECONDS_EACH / jobs) as bar:
        review.run(Workers(jobs, cache=OutcomeCache(), on_done=bar))
    comparisons: list[Comparison] = []
    if tree is not None and not review.interrupted:
        with output.progress_bar("the tree"), tree.compiled() as trees:
            comparisons = compare_all(sources_of(trees))
    with output.progress_bar("pages"):
        html, counts = book(review.cells(), comparisons)
    output.write_file(page, html)
    size = len(html.encode())
    if output.as_json():
        output.print_json(
            {"file": str(page), "bytes": size, "interrupted": review.interrupted} | counts
        )
    else:
        stopped = f"interrupted: {review.done} of {review.planned} searches; "
        output.say(
            output.console(),
            f"{stopped if review.interrupted else ''}{page}: {size / 1e6:.1f} MB, "
            f"{counts['clauses']} clauses, {counts['walks']} counterexamples, "
            f"{counts['functions']} kernel functions, {counts['claims']} claims",
        )
    output.end(interrupted=review.interrupted)

"""`percpu-spec review --mail` of variants: a counterexample as a block, and what others are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from percpu_proofs.commands.counterexamples import reproducer, show_mail
from percpu_proofs.commands.review_request import ReviewRequest, Shown
from percpu_proofs.counterexample import Counterexample, of_token
from percpu_proofs.review.changes import Changes
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import UnknownVariantError, variant_name


def show_review_mail(
    wanted: ReviewRequest, cells: Sequence[Cell], changed: dict[str, Changes], names: Path
) -> None:
    """Print a block about the clause that is newly broken; of several that by the shortest."""
    new = {(name, clause) for name, one in changed.items() for clause in one.new}
    chosen = [
        shown
        for cell in cells
        if wanted.shows(cell.clause)
        if wanted.named or not cell.as_expected or (cell.variant, cell.clause) in new
        for shown in wanted.of(cell)
        if shown.example.token
    ]
    if not chosen:
        why = "; ".join(_unreported(wanted, cells))
        click.echo(f"percpu-spec: nothing to report: {why}", err=True)
        return
    first = min(chosen, key=lambda shown: shown.example.length)
    others = dict.fromkeys(s.cell.clause for s in chosen if s.cell.clause != first.cell.clause)
    more = f"{', '.join(others)} broken too (--clause ID); " if others else ""
    c = of_token(first.example.token or "")
    c = replace(
        c, subject=Path(c.subject).name, bound=f"{more}{first.how}", others=_by_others(c, first)
    )
    show_mail(c, reproducer(c, names))


def _by_others(c: Counterexample, shown: Shown) -> str:
    """Return by which other findings the clause is broken, and what prints them."""
    cell = shown.cell
    known = re.findall(r"\b[LR]\d+\b", c.mechanism)
    others = [name for name in cell.mechanisms if name not in known]
    if not others:
        return ""
    line = f"percpu-spec review --variant {_short(cell.variant)} --clause {cell.clause}"
    missing = [name for name in others if cell.mechanisms[name] is None]
    said = f"Also by {', '.join(others)}: {line} --finding {others[0]}"
    return said + (f" ({', '.join(missing)}: none found)" if missing else "")


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


def _unreported(wanted: ReviewRequest, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield why there is no block: what became of the clauses that were asked for, or of all."""
    if wanted.named:
        for cell in cells:
            if cell.variant in wanted.variants and wanted.shows(cell.clause):
                for name in wanted.findings:
                    if name in cell.sought:
                        yield f"{name}: no counterexample of it alone: {cell.sought[name]}"
                reason = f" ({cell.reason})" if cell.reason else ""
                yield f"{cell.clause} of {Path(cell.variant).stem}: {cell.verdict}{reason}"
        return
    yield "no clause is newly broken"
    for name in wanted.variants:
        known = [cell.clause for cell in cells if cell.variant == name and cell.example]
        if known:
            yield (f"{Path(name).stem} breaks {', '.join(known)} as declared, of which --clause ID "
                   "prints one")  # fmt: skip

"""What of a review of variants is asked for, which counterexamples are shown, and one as a mail."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import click

from percpu_proofs.commands.replay import and_others, show_mail
from percpu_proofs.counterexample import Counterexample, of_token
from percpu_proofs.review.changes import Changes, clause_and_finding, example_of
from percpu_proofs.review.job import ReviewExample
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import (
    UnknownVariantError,
    base_of,
    variant_class,
    variant_name,
)
from percpu_reference.variants.composition import findings_in


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What is asked for: which variants, which clauses are shown, and how far it goes.

    everything: bounds and every counterexample too.
    """

    variants: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    quick: bool = False
    deep: bool = False
    searches: tuple[str, ...] = ()
    everything: bool = False

    @property
    def named(self) -> bool:
        """Whether what is shown is asked for by its name."""
        return bool(self.clauses or self.findings)

    def shows(self, clause: str) -> bool:
        """Whether a clause is shown."""
        declared = (variant_class(name).EXPECTED.get(clause, "") for name in self.variants)
        return (not self.clauses or clause in self.clauses) and (
            not self.findings or any(self.names(reason) for reason in declared)
        )

    def names(self, reason: str) -> list[str]:
        """Return those of the findings asked for by which a variant declares a clause broken."""
        return [name for name in findings_in(reason) if name in self.findings]

    def examples_of(self, cell: Cell) -> list[ShownExample]:
        """Return what is shown of a cell: its own counterexample, or those of findings."""
        reason = variant_class(cell.variant).EXPECTED.get(cell.clause, "")
        names = self.names(reason) if self.findings else [""]
        return [shown for name in names if (shown := _shown_example(cell, name)) is not None]


class ShownExample(NamedTuple):
    """A counterexample of a cell, and how it was come by."""

    cell: Cell
    example: ReviewExample
    how: str

    def counterexample(self) -> Counterexample:
        """Return it as it is shown: the schedule of its token."""
        return replace(of_token(self.example.token or ""), bound=self.how)


def _shown_example(cell: Cell, finding: str) -> ShownExample | None:
    """Return what is shown of a cell by a finding, or by all of them; None without a token."""
    example = example_of(cell, finding)
    if example is None or not example.token:
        return None
    how = _sought(cell, finding) if finding in cell.sought else cell.found_by
    return ShownExample(cell, example, how)


def _sought(cell: Cell, finding: str) -> str:
    """Return how far a finding was looked for alone, in words."""
    example = cell.mechanisms[finding]
    small = "" if example is None or example.shortest else "; made small, maybe not the fewest"
    return f"{finding} alone, the others mended: {cell.sought[finding]}{small}"


def show_review_mail(
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
) -> Iterator[ShownExample]:
    """Yield what of a cell is to be reported: what is asked for, not as declared, or new."""
    if request.named or not cell.as_expected or (cell.variant, cell.clause) in new:
        yield from request.examples_of(cell)
        return
    for variant, entry in new:
        clause, finding = clause_and_finding(entry)
        if (variant, clause) == (cell.variant, cell.clause) and (
            shown := _shown_example(cell, finding)
        ):
            yield shown


def _mended(
    every: Sequence[Cell], changed: Mapping[str, Changes]
) -> list[tuple[ShownExample, str]]:
    """Return what of a base has a counterexample and is mended, each with what mends it."""
    mended = []
    for name, one in changed.items():
        others = f"Mended by {Path(name).name}, as far as was searched: {', '.join(one.mended)}"
        of_base = {cell.clause: cell for cell in every if cell.variant == base_of(name)}
        for clause, finding in map(clause_and_finding, one.mended):
            if clause in of_base and (shown := _shown_example(of_base[clause], finding)):
                mended.append((shown, others))
    return mended


def _by_others(c: Counterexample, shown: ShownExample) -> str:
    """Return by which other findings the clause is broken, and what prints them."""
    cell = shown.cell
    known = re.findall(r"\b[LR]\d+\b", c.mechanism)
    others = [name for name in cell.mechanisms if name not in known]
    missing = [name for name in others if cell.mechanisms[name] is None]
    also = [name for name in others if name not in missing]
    line = f"percpu-spec review --variant {_short(cell.variant)} --clause {cell.clause}"
    said = [f"Also by {', '.join(also)}: {line} --finding {also[0]}"] if also else []
    said += [f"By {', '.join(missing)}: none found"] if missing else []
    return "; ".join(said)


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
                    if name in cell.sought:
                        yield f"{name}: no counterexample of it alone: {cell.sought[name]}"
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

"""The findings of `percpu-spec review` as lines, printed when they are there, never taken back."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands.output import grouped, say
from percpu_proofs.explore.rerun import one_line
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.kernel.search.job import TreeOutcome
from percpu_proofs.kernel.search.trees import BASE, PATCHED
from percpu_proofs.review.job import Job, JobOutcome, ReviewExample
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import variant_class
from percpu_reference.variants.composition import findings_in
from percpu_spec.counts import counted

_INDENT: Final = 12
_LISTED: Final = 6
"""Operations of the longest lists that are searched: what has more may get shorter in the end."""
_MOST_SHOWN: Final = 20
"""Operations of a counterexample that has a line; others are for --clause."""
UNPROVEN: Final = "~"
"""Behind a number of operations: no search has shown that there is no counterexample of fewer."""
_STAGES: Final = {"scenario": 0, "sequences": 0, "hunt": 1}
"""Engines that find the shortest, with the stage in which they do."""


def operations_of(example: ReviewExample) -> str:
    """Return a counterexample in the operation language, with what of its sizes is unusual.

    Within an operation blanks are such that no line is broken there.
    """
    text = one_line(example.parts, _unbroken)
    usual = KERNEL_32K.split(",")
    unusual = ",".join(part for part in example.geometry.split(",") if part not in usual)
    return f"{text} [{unusual}]" if unusual else text


def _unbroken(operation: str) -> str:
    return operation.replace(" ", _NO_BREAK)


def say_wrapped(out: Console, text: str, style: str = "", indent: int = _INDENT) -> None:
    """Print a text in as many lines as it takes; those behind the first have an indent."""
    lines = textwrap.wrap(text, out.width, subsequent_indent=" " * indent, break_on_hyphens=False)
    say(out, "\n".join(lines).replace(_NO_BREAK, " "), style)


_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def number_of(example: ReviewExample) -> str:
    """Return how many operations a counterexample has, marked where there may be fewer."""
    return f"{example.length}{'' if example.shortest else UNPROVEN}"


def brief(clause: str, example: ReviewExample) -> str:
    """Return a counterexample in the operation language; of a long one what shows it."""
    if example.length <= _MOST_SHOWN:
        return operations_of(example)
    return f"percpu-spec review --clause {clause} shows them"


class FindingLines:
    """Prints findings: those of a variant's lists when all its lists were searched, and so on.

    They are the shortest of a stage, so few of them have to be printed again, shorter, in the end.

    shows: which clauses of which variant are printed as they come; the others are for the end.
    findings: of clauses that several break, only what shows these; all if empty.
    """

    def __init__(
        self, out: Console, shows: Callable[[str, str], bool], findings: Collection[str] = ()
    ) -> None:
        self._out = out
        self._shows = shows
        self._findings = findings
        self._best: dict[tuple[str, str], ReviewExample] = {}  # by variant and clause
        self.printed: dict[tuple[str, str], ReviewExample] = {}
        self._heading = ""
        self._headed = set[str]()
        self._alike: list[tuple[str, tuple[str, str]]] = []  # variant, that it is like, in what
        self._mechanisms: dict[str, tuple[str, ReviewExample]] = {}  # the first printed of each

    def __call__(self, outcome: JobOutcome, following: Job | None) -> None:
        """Take in an outcome, the next in the order of the plan; following: the job behind it."""
        job = outcome.job
        if job.engine == "mechanism":
            self._print_mechanism(outcome)
        if job.engine not in _STAGES:
            return  # what is drawn is made small before
        for clause, example in outcome.examples.items():
            if self._shows(job.variant, clause):
                best = self._best.setdefault((job.variant, clause), example)
                self._best[job.variant, clause] = min(best, example, key=attrgetter("rank"))
        if following is None or _stage(following) != _stage(job):
            self._print_all(
                job.variant,
                {
                    clause: example
                    for (variant, clause), example in self._best.items()
                    if variant == job.variant and example.length <= _LISTED
                },
            )
            self._print_alike()

    def end(self, cells: Sequence[Cell]) -> None:
        """Print what was not printed yet: the final counterexamples."""
        for variant in dict.fromkeys(cell.variant for cell in cells):
            self._print_all(
                variant,
                {
                    cell.clause: cell.example
                    for cell in cells
                    if cell.variant == variant and cell.example is not None
                    if self._shows(variant, cell.clause)
                },
            )
        self._print_alike()

    def _print_all(self, variant: str, examples: Mapping[str, ReviewExample]) -> None:
        """Print the counterexamples of a variant that are not printed yet, equal ones together."""
        lines: dict[tuple[object, str, bool], list[str]] = {}
        for clause, example in examples.items():
            known = self.printed.get((variant, clause))
            if known is not None and known.length <= example.length:
                continue
            declared = variant_class(variant).EXPECTED.get(clause)
            if self._findings and len(findings_in(declared or "")) > 1:
                continue  # each has a line of its own
            self.printed[variant, clause] = example
            other = self._same(variant, clause, example)
            if known is None and other and declared is not None:
                self._alike.append((variant, (other, f"{clause} {example.length}")))
                continue
            names = findings_in(declared or "")
            what = names[0] if len(names) == 1 else ""  # of several each has a line of its own
            key = example.counterexample, "shorter" if known else what, declared is None
            lines.setdefault(key, []).append(clause)
        for (_, what, undeclared), clauses in lines.items():
            self._print(
                variant, ", ".join(clauses), examples[clauses[0]], what, undeclared=undeclared
            )

    def _same(self, variant: str, clause: str, example: ReviewExample) -> str:
        """Return the first variant for which the same was printed; empty if there is none."""
        for (other, broken), printed in self.printed.items():
            if (other != variant and broken == clause
                    and printed.counterexample == example.counterexample):  # fmt: skip
                return Path(other).stem
        return ""

    def _print_alike(self) -> None:
        """Print in what variants are like others: those that are so in the same in one line."""
        alike, self._alike = self._alike, []
        texts = []
        for variant, parts in grouped(alike).items():
            likes = (f"as {other}: {', '.join(whats)}" for other, whats in grouped(parts).items())
            texts.append(("; ".join(likes), variant))
        for text, variants in grouped(texts).items():
            if variants == [self._heading]:
                say_wrapped(self._out, f"  {text}")
                continue
            self._heading = ""
            names = ", ".join(Path(variant).stem for variant in variants)
            say_wrapped(self._out, f"{names} {text}")

    def _print_mechanism(self, outcome: JobOutcome) -> None:
        variant = outcome.job.variant
        clause, _, finding = outcome.job.what.partition(" ")
        if (self._findings and finding not in self._findings) or not self._shows(variant, clause):
            return
        example = outcome.examples.get(clause)
        if example is None:
            self._head(variant)
            text = f"  {clause:6}  - {finding}: no counterexample of it alone: {outcome.reach}"
            say_wrapped(self._out, text)
            return
        other, first = self._mechanisms.setdefault(outcome.job.what, (variant, example))
        if other != variant and first.counterexample == example.counterexample:
            what = f"{outcome.job.what} {example.length}"
            self._alike.append((variant, (Path(other).stem, what)))
            return
        self._print_alike()
        printed = self.printed.get((variant, clause))
        if printed is not None and printed.counterexample == example.counterexample:
            self._head(variant)
            say_wrapped(self._out, f"  {clause:6} {example.length:>2} {finding}: as above")
            return
        self._print(variant, clause, example, finding, undeclared=False)

    def _print(
        self, variant: str, clauses: str, example: ReviewExample, what: str, *, undeclared: bool
    ) -> None:
        """Print by how many operations clauses are broken, and these; what: such as the finding."""
        self._head(variant)
        before = ", ".join(filter(None, ("NOT DECLARED" if undeclared else "", what)))
        text = f"  {clauses:6} {number_of(example):>{2 if example.shortest else 3}} "
        text += f"{before}: " if before else ""
        text += brief(clauses.partition(",")[0], example)
        say_wrapped(self._out, text, "bold red" if undeclared else "")

    def _head(self, variant: str) -> None:
        if variant != self._heading:
            self._heading = variant
            more = ", more of it" if variant in self._headed else ""
            self._headed.add(variant)
            self._out.print(Text(f"{Path(variant).stem}{more}", "bold"))


def _stage(job: Job) -> tuple[str, int | None]:
    return job.variant, _STAGES.get(job.engine)


class TreeLines:
    """Prints what a search breaks on the patched tree and not on the base, when both are done.

    Of a tree alone, what the variant that it is does not declare.
    """

    def __init__(self, out: Console, variant: str | None) -> None:
        self._out = out
        self._declared = None if variant is None else variant_class(variant).EXPECTED
        self._of: dict[str, dict[str, TreeOutcome]] = {}  # by search and tree
        self._printed: set[str] = set()

    def __call__(self, outcome: TreeOutcome) -> None:
        """Take in the outcome of a search of one tree."""
        if outcome.job.schedule:
            return
        both = self._of.setdefault(outcome.job.search.name, {})
        both[outcome.job.tree] = outcome
        if self._declared is not None:
            known, what = set(self._declared), "not declared"
        elif len(both) == len((BASE, PATCHED)):
            outcome, what = both[PATCHED], "by the patch, not without it"
            known = {c for of in self._of.values() if BASE in of for c in of[BASE].examples}
        else:
            return
        for clause in outcome.examples.keys() - known - self._printed:
            self._printed.add(clause)
            example = outcome.examples[clause]
            operations = one_line(example.parts, _unbroken)
            text = (
                f"{clause} broken {what}, in search {outcome.job.search.name} by "
                f"{counted(example.length, 'operation')}: {operations}"
            )
            say_wrapped(self._out, text, "bold red")

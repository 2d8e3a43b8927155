"""The table of CPUs: a column for each, a step's text begins in the column of who takes it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from percpu_proofs.counterexample.bearing import Bearing
from percpu_proofs.counterexample.changes import changes
from percpu_proofs.counterexample.record import Counterexample

_LEAST: Final = 36  # columns for the text of the last CPU
_MARGIN: Final = 4  # of step numbers
_APART: Final = 17  # columns between two CPUs, if there is room


@dataclass(frozen=True, slots=True)
class Row:
    """Some steps of one CPU, one if they are not folded."""

    numbers: str
    cpu: str
    words: str  # of the operation that begins
    text: str
    changes: tuple[str, ...]
    broken: tuple[str, ...]  # clauses that have not been named before, and the clause itself

    @property
    def quiet(self) -> bool:
        """Whether nothing that is shown has changed."""
        return not self.changes and not self.broken


def rows(
    c: Counterexample, since: int, shown: Bearing, *, lines: bool = True, ahead: bool = True
) -> list[Row]:
    """Return the rows of a counterexample's steps behind the first `since`.

    A clause is named where it is broken first; the counterexample's own wherever it is broken
    otherwise than before. lines, ahead: as Step.said has it.
    """
    found: list[Row] = []
    named: dict[str, str] = {}
    for before, step in list(c.states())[since:]:
        broken = []
        for clause, wrong in step.broken:
            if named.get(clause) != wrong and (clause not in named or clause == c.clause):
                broken.append(f"{clause} broken: {wrong}")
            named[clause] = wrong
        words = f"{step.words}: " if step.begins else ""
        text = step.said(lines=lines, ahead=ahead).removeprefix(words)
        changed = tuple(changes(before, step, shown))
        found.append(Row(str(step.number), step.cpu, words, text, changed, tuple(broken)))
    return found


def folded(found: list[Row]) -> list[Row]:
    """Return the rows with those in which nothing changes put to the next one of the same CPU."""
    kept: list[Row] = []
    for row in found:
        if kept and kept[-1].quiet and kept[-1].cpu == row.cpu and not row.words:
            last = kept.pop()
            numbers = f"{last.numbers.partition('-')[0]}-{row.numbers}"
            kept.append(replace(row, numbers=numbers, words=last.words))
        else:
            kept.append(row)
    return kept


def table(found: list[Row], cpus: tuple[str, ...], width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of rows, each with what it is: "head", "step", "change" or "broken"."""
    apart = (width - _LEAST - _MARGIN) // max(len(cpus) - 1, 1)
    columns = {cpu: _MARGIN + max(min(apart, _APART), 0) * n for n, cpu in enumerate(cpus)}
    margin = max([_MARGIN, *(len(row.numbers) + 1 for row in found)])
    columns = {cpu: column + margin - _MARGIN for cpu, column in columns.items()}
    yield "head", _head(columns)
    for row in found:
        column = columns[row.cpu]
        lines = textwrap.wrap(row.words + row.text, width - column, subsequent_indent=" ")
        blank = " " * column
        yield "step", f"{row.numbers:<{column}}{lines[0]}"
        for line in lines[1:]:
            yield "step", blank + line
        for kind, said in (("change", row.changes), ("broken", row.broken)):
            for one in said:
                for line in textwrap.wrap(
                    one, width, initial_indent=" " * (margin + 2) + "-> ",
                    subsequent_indent=" " * (margin + 5),
                ):  # fmt: skip
                    yield kind, line


def _head(columns: dict[str, int]) -> str:
    """Return the line with the CPUs' names, above their columns."""
    line = ""
    for cpu, column in columns.items():
        line = f"{line:{column}}" if len(line) < column else f"{line} "
        line += cpu
    return line

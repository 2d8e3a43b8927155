"""The table of CPUs: a column for each, a step's text begins in the column of who takes it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from percpu_proofs.counterexample.changes import changes
from percpu_proofs.counterexample.record import Counterexample
from percpu_proofs.counterexample.relevance import Relevance

_LEAST: Final = 36  # columns for the text of the last CPU, if there is room
_MARGIN: Final = 4  # of step numbers
_APART: Final = 17  # columns between two CPUs, if there is room
_NAME: Final = 6  # the fewest: a name and a blank
_NARROW: Final = 16  # the fewest columns for the text of the last CPU


@dataclass(frozen=True, slots=True)
class TableRow:
    """Some steps of one CPU, one if they are not folded."""

    numbers: str
    cpu: str
    words: str  # of the operation that begins
    text: str
    changes: tuple[str, ...]
    broken: tuple[str, ...]  # clauses that have not been named before, and the clause itself

    @property
    def changes_nothing(self) -> bool:
        """Whether nothing that is shown has changed."""
        return not self.changes and not self.broken


def rows(
    c: Counterexample, since: int, shown: Relevance, *, lines: bool = True, ahead: bool = True
) -> list[TableRow]:
    """Return the rows of a counterexample's steps behind the first `since`, numbered from 1.

    A clause is named where it is broken first, which for some is before these rows; the
    counterexample's own wherever it is broken otherwise than before. lines, ahead: as CpuStep.said
    has it.
    """
    found: list[TableRow] = []
    named = c.broken_before(since)
    for number, (before, step) in enumerate(list(c.states())[since:], 1):
        broken = []
        for clause, wrong in step.broken:
            if named.get(clause) != wrong and (clause not in named or clause == c.clause):
                broken.append(f"{clause} broken: {wrong}")
            named[clause] = wrong
        text = step.said(lines=lines, ahead=ahead).removeprefix(step.beginning)
        changed = tuple(changes(before, step, shown))
        found.append(
            TableRow(str(number), step.cpu, step.beginning, text, changed, tuple(broken))
        )
    return found


def fold_rows(found: list[TableRow]) -> list[TableRow]:
    """Return the rows with those in which nothing changes put to the next one of the same CPU."""
    kept: list[TableRow] = []
    for row in found:
        if kept and kept[-1].changes_nothing and kept[-1].cpu == row.cpu and not row.words:
            last = kept.pop()
            numbers = f"{last.numbers.partition('-')[0]}-{row.numbers}"
            kept.append(replace(row, numbers=numbers, words=last.words))
        else:
            kept.append(row)
    return kept


def table(found: list[TableRow], cpus: tuple[str, ...], width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of rows, each with what it is: "head", "step", "change" or "broken".

    Where there is no room for a column each, all CPUs share one and are named in it.
    """
    margin = max([_MARGIN, *(len(row.numbers) + 1 for row in found)])
    columns = _columns(cpus, margin, width)
    shared = len(columns) < len(cpus)
    blank = " " * margin
    names = textwrap.wrap(", ".join(cpus), width, initial_indent=blank, subsequent_indent=blank)
    for line in names if shared else [_head(columns)]:
        yield "head", line
    for row in found:
        column = margin if shared else columns[row.cpu]
        said = f"{row.cpu} {row.words}{row.text}" if shared else row.words + row.text
        lines = textwrap.wrap(said, width - column, subsequent_indent=" ")
        blank = " " * column
        yield "step", f"{row.numbers:<{column}}{lines[0]}".rstrip()
        for line in lines[1:]:
            yield "step", (blank + line).rstrip()  # a long word was broken before a blank
        for kind, said_of in (("change", row.changes), ("broken", row.broken)):
            for one in said_of:
                for line in textwrap.wrap(
                    one, width, initial_indent=" " * (margin + 2) + "-> ",
                    subsequent_indent=" " * (margin + 5),
                ):  # fmt: skip
                    yield kind, line


def _columns(cpus: tuple[str, ...], margin: int, width: int) -> dict[str, int]:
    """Return where the column of each CPU begins; nothing where there is no room for all."""
    between = max(len(cpus) - 1, 1)
    apart = min(max((width - _LEAST - margin) // between, _NAME), _APART)
    if margin + apart * (len(cpus) - 1) > width - _NARROW:
        return {}
    return {cpu: margin + apart * number for number, cpu in enumerate(cpus)}


def _head(columns: dict[str, int]) -> str:
    """Return the line with the CPUs' names, above their columns."""
    line = ""
    for cpu, column in columns.items():
        line = f"{line:{column}}{cpu}"
    return line

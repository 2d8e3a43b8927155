"""A counterexample as text: what is broken, states, and a table with a column for each CPU.

A step's text begins in the column of who takes it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from percpu_proofs.counterexample.record import (
    WORK,
    Counterexample,
    CpuStep,
    OperationWords,
    Relevance,
    relevance,
    sequential_steps,
)
from percpu_proofs.counterexample.words import short_row, state_changes
from percpu_proofs.explore.rerun import OperationStep, spans
from percpu_proofs.show.picture import HintPicture
from percpu_proofs.show.text import PAGES, ChunkRow, StateRows
from percpu_spec.counts import counted

_LEAST: Final = 36  # columns for the text of the last CPU, if there is room
_MARGIN: Final = 4  # of step numbers
_APART: Final = 17  # columns between two CPUs, if there is room
_NAME: Final = 6  # the fewest: a name and a blank
_NARROW: Final = 16  # the fewest columns for the text of the last CPU
_FREE: Final = "free "

Line = tuple[str, str]
"""What a line is, for those who colour it, and its text."""

LOCKS: Final = (
    "In a step its CPU holds pcpu_lock where the kernel does; between two steps the lock is free."
)


def text(c: Counterexample, width: int) -> Iterator[Line]:
    """Yield the lines of a counterexample."""
    since = sequential_steps(c)
    shown = relevance(c, since)
    yield from head(c, width)
    yield "", ""
    yield from setup(c, since, width)
    if c.steps:
        yield "", ""
        already = tuple(c.broken_before(since))
        yield from state("State before:", c.state_at(since), c, shown, width, already=already)
        yield "", ""
        yield from table(fold_rows(rows(c, since, shown)), c.cpus_since(since), width)
    if c.stopped:
        yield from wrap_lines("broken", f"the kernel stops: {c.stopped}", width)
    yield "", ""
    if c.steps:
        yield from state("State after:", c.state_at(len(c.steps)), c, shown, width, counted=False)
        yield "", ""
        yield from wrap_lines("dim", f"{legend(c, shown, since)} {LOCKS}", width)
    yield from wrap_lines("", f"{c.reach}.", width)


def wrap_lines(kind: str, said: str, width: int, indent: str = "") -> Iterator[Line]:
    """Yield a text in lines of a width; those behind the first are indented."""
    for line in textwrap.wrap(said, width, subsequent_indent=indent):
        yield kind, line


def head(c: Counterexample, width: int) -> Iterator[Line]:
    """Yield what is broken, and where the kernel says that it is to hold."""
    yield from wrap_lines("head", f"{c.subject} breaks {c.clause}: {c.title}", width, "  ")
    yield from wrap_lines("", c.sentence, width)
    if c.source_of_clause:
        yield from wrap_lines("", f"Kernel: {c.source_of_clause}", width, "  ")
    parts = (("broken", "Broken: ", c.message), ("", "Known: ", c.mechanism), ("", "", c.others))
    for kind, label, words in parts:
        yield from wrap_lines(kind, f"{label}{words}.", width, "  ") if words else ()


def setup(c: Counterexample, since: int, width: int) -> Iterator[Line]:
    """Yield the operations before, which ran one after the other, and those of the steps."""
    yield from wrap_lines("", f"Sizes: {c.geometry.replace(',', ', ')}", width, "  ")
    before = group_operations(c, since)
    if before:
        steps = f" ({counted(since, 'step')})" if since else ""
        yield "", f"Before, one after the other{steps}:"
        for one in before:
            yield from _spoken("", one, width)
    for number, span in enumerate(spans(_moves(c, since))):
        how = f", {span.how}" if span.how else ""
        begins = "Then" if before or number else "First"
        yield from wrap_lines("", f"{begins}{how}, as below:", width)
        for step, _ in span.members:
            yield from _spoken(f"{step.cpu:6} ", OperationWords(step.words, step.operation), width)


def _moves(c: Counterexample, since: int) -> Iterator[OperationStep[CpuStep]]:
    """Yield the steps behind the first `since`; an actor of compiled code may begin again."""
    for step in c.steps[since:]:
        yield OperationStep(step.actor, step, step.cpu == WORK, step.ends)


def group_operations(c: Counterexample, since: int) -> list[OperationWords]:
    """Return the operations that ran one after the other before a step; equal ones are counted."""
    begun = [step for step in c.steps[:since] if step.begins]
    operations = [*c.setup, *(OperationWords(one.words, one.operation) for one in begun)]
    grouped: list[OperationWords] = []
    for what, run in groupby(operations, _but_for_its_handle):
        same = list(run)
        if len(same) < 3:
            grouped += same
            continue
        areas = [one.words.removeprefix(what).strip(" ()") for one in same]
        if what == _FREE:
            words = f"free {', '.join(areas)}"
        elif any(areas):
            words = f"{what}, {len(same)} times ({areas[0]} to {areas[-1]})"
        else:
            words = f"{what}, {len(same)} times"
        grouped.append(OperationWords(words, f"{same[0].operation} ... {same[-1].operation}"))
    return grouped


def _but_for_its_handle(one: OperationWords) -> str:
    """Return the words of an operation without the letter of its area."""
    if re.fullmatch(f"{_FREE}[a-z]+", one.words):
        return _FREE
    return one.words.rpartition(" (")[0] or one.words


def _spoken(who: str, one: OperationWords, width: int) -> Iterator[Line]:
    line = f"  {who}{one.words}"
    if len(line) + len(one.operation) + 2 <= width:
        yield "", f"{line}{one.operation:>{width - len(line)}}"
    else:
        yield from wrap_lines("", line, width, "    ")
        yield "", f"{one.operation:>{width}}" if len(one.operation) <= width else one.operation


def state(
    heading: str, now: StateRows, c: Counterexample, shown: Relevance, width: int,
    *, counted: bool = True, already: tuple[str, ...] = (),
) -> Iterator[Line]:  # fmt: skip
    """Yield a state's counters and chunks, as far as they bear on the clause.

    counted: with how many chunks are not shown. already: clauses that were broken on the way to it.
    """
    counters = [f"{name} {value}" for name, value in now.counters if name in shown.counters]
    if now.mutex:
        counters.append(f"pcpu_alloc_mutex held by {now.mutex}")
    if already:
        counters.append(f"{', '.join(already)} already broken")
    more = shown.others(now) if counted else 0
    if more:
        counters.append(f"{'one more chunk' if more == 1 else f'{more} more chunks'} unchanged")
    yield from wrap_lines("", f"{heading} {', '.join(counters)}".rstrip(), width, "  ")
    for row in shown.rows(now):
        line = f"  chunk {row.name:3} {row.place:24} {short_row(row.pages)}".rstrip()
        yield from wrap_lines("row", line, width, "    ")
        for line in hint_lines(row, c.message) if shown.hints else ():
            yield from wrap_lines("", f"    {line}", width, "      ")


def hint_lines(row: ChunkRow, message: str) -> Iterator[str]:
    """Yield the areas of a chunk, and the hints that a message is about: a block's, or its own."""
    areas = row.areas
    first_areas = ", ".join(f"[{first}, {last}]" for first, last in areas[:6])
    more = f" and {len(areas) - 6} more" if len(areas) > 6 else ""
    yield f"areas in bytes: {first_areas}{more}" if areas else "no areas"
    blocks = [int(number) for number in re.findall(r"\bblock (\d+)", message)]
    for page in row.picture.pages:
        if page.index in blocks:
            yield f"md_blocks[{page.index}]: {_hints(page.hints)}"
    if not blocks:
        yield f"chunk_md: {_hints(row.picture.hints)}"


def _hints(hints: HintPicture) -> str:
    return (
        f"contig_hint {hints.contig} at {hints.contig_start}, scan_hint {hints.scan} at "
        f"{hints.scan_start}, left_free {hints.left}, right_free {hints.right}, first_free "
        f"{hints.first}"
    )


def legend(c: Counterexample, shown: Relevance, since: int = 0) -> str:
    """Return what the characters of the rows say, of those that occur from a step on."""
    states = [c.state_at(number) for number in range(since, len(c.steps) + 1)]
    characters = {page for now in states for row in shown.rows(now) for page in row.pages}
    words = ", ".join(f"{page} {what}" for page, what in PAGES.items() if page in characters)
    return f"Pages: {words}." if words else ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """Some steps of one CPU, one if they are not folded."""

    numbers: str
    cpu: str
    words: str  # of the operation that begins
    text: str
    changes: tuple[str, ...]
    broken: tuple[str, ...]  # clauses that have not been named before, and the clause itself


def rows(
    c: Counterexample, since: int, shown: Relevance, *, lines: bool = True, ahead: bool = True
) -> list[TableRow]:
    """Return the rows of a counterexample's steps behind the first `since`, numbered from 1.

    A clause is named where it is broken first, which for some is before these rows; the
    counterexample's own wherever it is broken otherwise than before. lines, ahead: as for
    CpuStep.sentence.
    """
    table_rows: list[TableRow] = []
    named = c.broken_before(since)
    for number, (before, step) in enumerate(list(c.states())[since:], 1):
        broken = []
        for clause, wrong in step.broken:
            if named.get(clause) != wrong and (clause not in named or clause == c.clause):
                broken.append(f"{clause} broken: {wrong}")
            named[clause] = wrong
        words = step.beginning, step.sentence(lines=lines, ahead=ahead)
        changed = tuple(state_changes(before, step, shown))
        table_rows.append(TableRow(str(number), step.cpu, *words, changed, tuple(broken)))
    return table_rows


def fold_rows(single: list[TableRow]) -> list[TableRow]:
    """Return the rows with those in which nothing changes put to the next one of the same CPU."""
    folded: list[TableRow] = []
    for row in single:
        last = folded[-1] if folded else row
        if last.cpu == row.cpu and not (row is last or row.words or last.changes or last.broken):
            numbers = f"{last.numbers.partition('-')[0]}-{row.numbers}"
            folded[-1] = replace(row, numbers=numbers, words=last.words)
        else:
            folded.append(row)
    return folded


def table(table_rows: list[TableRow], cpus: tuple[str, ...], width: int) -> Iterator[Line]:
    """Yield the lines of rows, each with what it is: "head", "step", "change" or "broken".

    Where there is no room for a column each, all CPUs share one and are named in it.
    """
    margin = max([_MARGIN, *(len(row.numbers) + 1 for row in table_rows)])
    columns = _columns(cpus, margin, width)
    shared = len(columns) < len(cpus)
    blank = " " * margin
    names = textwrap.wrap(", ".join(cpus), width, initial_indent=blank, subsequent_indent=blank)
    for line in names if shared else [_head(columns)]:
        yield "head", line
    for row in table_rows:
        column = margin if shared else columns[row.cpu]
        text = f"{row.cpu} {row.words}{row.text}" if shared else row.words + row.text
        lines = textwrap.wrap(text, width - column, subsequent_indent=" ")
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

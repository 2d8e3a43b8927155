"""A counterexample as a block for a mail: plain ASCII, 76 columns and 40 lines at most.

What does not fit is counted, with where it is to be seen: nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from percpu_proofs.counterexample.record import (
    Counterexample,
    Relevance,
    first_sentence,
    relevance,
    sequential_steps,
    subject_of,
)
from percpu_proofs.counterexample.text import (
    TableRow,
    fold_rows,
    group_operations,
    legend,
    rows,
    state,
    table,
)
from percpu_proofs.show.mail import LINES, WIDTH, block, command, plain, wrap
from percpu_spec.counts import counted

_SENTENCE, _SETUP, _STATE, _SEARCHED = 4, 4, 6, 3
"""Lines that parts take at most; the table has what is left."""


class MailForm(NamedTuple):
    """How rich a block is."""

    counters: bool  # those that change and that the clause does not speak of
    lines: bool  # of the source
    ahead: bool  # what comes next in each step


_FORMS: Final = (
    MailForm(True, True, True), MailForm(True, False, True), MailForm(False, True, True),
    MailForm(False, False, True), MailForm(False, False, False),
)  # fmt: skip
"""The richest first."""


def mail(c: Counterexample, reproducer: str) -> list[str]:
    """Return the lines of a block. reproducer: the command that shows the schedule again."""
    since = sequential_steps(c)
    top = [*_head(c), "", *_setup(c, since)]
    searched = block(c.reach, _SEARCHED, "see percpu-spec review", "  ")
    bottom = ["", *searched, *command(reproducer)]
    if not c.steps:
        return plain([*top, *bottom])
    lines: list[str] = []
    for form in _FORMS:
        shown = relevance(c, since, spoken_only=not form.counters)
        already = tuple(c.broken_before(since))
        before = [*_state("State before:", c, since, shown, already=already), ""]
        after = ["", *_state("State after:", c, len(c.steps), shown, counted=False)]
        others = "" if form.counters else " Other counters are left out."
        after += block(legend(c, shown, since) + others, 2)
        room = LINES - sum(map(len, (top, before, after, bottom)))
        steps = _brief(fold_rows(rows(c, since, shown, lines=form.lines, ahead=form.ahead)))
        table_lines = _table_lines(steps, c.cpus_since(since))
        if len(table_lines) > room and form == _FORMS[-1]:
            after, bottom = after[1:], bottom[1:]  # blank lines, rather than steps
            if len(table_lines) > room + 2:
                table_lines = _without_middle(steps, c.cpus_since(since), room + 2)
        lines = [*top, *before, *table_lines, *after, *bottom]
        if len(lines) <= LINES:
            break
    return plain(lines)


def _head(c: Counterexample) -> list[str]:
    explain, reproducer = f"percpu-spec explain {c.clause}", "see the reproducer"
    also = ", ".join(clause for clause in c.broken if clause != c.clause)
    parts = (
        ("Kernel: ", c.source_of_clause, 2, explain),
        ("Broken: ", c.message, 3, reproducer),
        ("Also broken on the way: ", also, 2, reproducer),
        ("Known: ", c.mechanism, 3, explain),
        ("", c.others, 3, explain),
        ("The kernel stops: ", c.stopped, 2, reproducer),
    )
    lines = block(f"{subject_of(c.subject)} breaks {c.clause}: {c.title}", 3, explain, "  ")
    lines += block(first_sentence(c.sentence), _SENTENCE, explain)
    for label, words, most, more in parts:
        lines += block(f"{label}{words}", most, more, "  ") if words else []
    return lines


def _setup(c: Counterexample, since: int) -> list[str]:
    operations = [one.words for one in group_operations(c, since)]
    if not operations:
        return [_sized(c)]
    lines = wrap(f"Before: {'; '.join(operations)}", "  ")
    if len(lines) > _SETUP:
        count = len(c.setup) + sum(step.begins for step in c.steps[:since])
        lines = [*lines[: _SETUP - 1], f"  ... {count} operations in all: see the reproducer"]
    return [*lines, _sized(c)]


def _sized(c: Counterexample) -> str:
    sizes = c.geometry.replace(",", ", ")
    return block(f"Sizes: {sizes}", 1, "see the reproducer")[0]


def _state(
    heading: str, c: Counterexample, at: int, shown: Relevance,
    *, counted: bool = True, already: tuple[str, ...] = (),
) -> list[str]:  # fmt: skip
    whole = state(heading, c.state_at(at), c, shown, WIDTH, counted=counted, already=already)
    lines = [line for _, line in whole]
    if len(lines) <= _STATE:
        return lines
    left = len(lines) - _STATE + 1
    return [*lines[: _STATE - 1], f"  {left} more lines of this state: see the reproducer"]


def _brief(steps: list[TableRow]) -> list[TableRow]:
    """Return rows that name the clauses they break and leave what is wrong to the head."""
    return [
        replace(row, broken=(f"{', '.join(words.split()[0] for words in row.broken)} broken",))
        if row.broken
        else row
        for row in steps
    ]


def _table_lines(steps: Sequence[TableRow], cpus: tuple[str, ...]) -> list[str]:
    return [line for _, line in table(list(steps), cpus, WIDTH)]


def _without_middle(steps: list[TableRow], cpus: tuple[str, ...], room: int) -> list[str]:
    """Return as many of the first and last rows as there is room for, the others counted."""
    for left_out in range(1, len(steps)):
        shown = len(steps) - left_out
        first = shown // 3
        last = steps[len(steps) - (shown - first) :]
        middle = f"    ... {counted(left_out, 'row')} of steps left out: see the reproducer"
        upper, lower = _table_lines(steps[:first], cpus), _table_lines(last, cpus)[1:]
        if len(upper) + 1 + len(lower) <= room:
            return [*upper, middle, *lower]
    lower = _table_lines(steps[-1:], cpus)
    more = len(lower) - room + 1
    return lower if more <= 1 else [*lower[: room - 1], f"    ... {more} lines left out"]

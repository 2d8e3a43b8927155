"""The boots of one log: where each begins, which kernel and which layout it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from percpu_proofs.logs.advice import MachineFacts
from percpu_proofs.logs.prefixes import Message
from percpu_proofs.logs.stacks import release_in
from percpu_proofs.recorded.boot.layout import Layout, layout
from percpu_proofs.recorded.boot.log import is_layout
from percpu_proofs.run.inputs import TraceError

_BOOT: Final = "Linux version "
_TIME: Final = re.compile(r"\[\s*(\d{1,9})\.\d{3,9}\]")
_BACK: Final = 1  # seconds by which times fall back without a boot: CPUs and consoles mix lines
_FIRST_LINE: Final = re.compile(r"percpu: (?:Embedded|\d+\s+\d+K)\b.*|pcpu-alloc: s\d.*", re.I)


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot: its messages are start to stop of the log's. error: why it has no layout, if told.

    guess: what it was known by, if not by the message that a boot begins with; empty: by that, or
    it is the log's first.
    """

    line: int
    start: int
    stop: int
    release: str | None
    layout: Layout | None
    error: TraceError | None = None
    guess: str = ""

    @property
    def machine(self) -> MachineFacts:
        """What the boot tells of its machine."""
        shape = self.layout
        if shape is None:
            return MachineFacts(release=self.release)
        return MachineFacts(
            shape.page, shape.unit, shape.units, shape.cpus, shape.reserved, shape.backing,
            self.release, shape.as_json()["geometry"],
        )  # fmt: skip


def read_boots(
    path: Path,
    lines: Sequence[tuple[int, str]],
    found: Sequence[Message],
    told: Mapping[str, str] | None,
) -> list[Boot]:
    """Return the boots of a log in order, at least one; `told` as for `layout`.

    What stands before the first one that tells its kernel belongs to it, unless it tells another
    kernel or a layout, or its times are later.
    """
    boots = []
    edges = dict(_edges(lines, found))
    for start, stop in pairwise([0, *edges, len(lines)]):
        shape, error = None, None
        try:
            shape = layout(path, lines[start:stop], told)
        except TraceError as problem:
            error = problem
        release = next((r for m in found[start:stop] if (r := release_in(m.text))), None)
        line = found[start].line if start < len(found) else 1
        boots.append(Boot(line, start, stop, release, shape, error, edges.get(start, "")))
    return boots


def boot_notes(
    lines: Sequence[tuple[int, str]], found: Sequence[Message], boots: Sequence[Boot]
) -> Iterator[str]:
    """Yield where boots were guessed, and that they cannot be told apart."""
    for boot in boots:
        if boot.guess:
            yield f"line {boot.line}: taken for another boot, as {boot.guess}"
    timed = any(_TIME.search(line) for _, line in lines)
    if len(boots) == 1 and not timed and not any(_BOOT in message.text for message in found):
        yield (
            "no line tells the seconds since boot, and none begins one ('Linux version'): taken "
            "for one boot, but it may be of several"
        )


def _edges(
    lines: Sequence[tuple[int, str]], found: Sequence[Message]
) -> Iterator[tuple[int, str]]:
    """Yield where another boot begins, and what that is guessed by, if it is."""
    tells = False  # whether this one has told its kernel
    layouts: dict[str, str] = {}
    known: str | None = None
    last = 0
    for n, message in enumerate(found):
        text = message.text
        time = _TIME.search(lines[n][1])
        now = int(time[1]) if time else last
        release = release_in(text)
        shape = _FIRST_LINE.search(text)
        sizes = " ".join(shape[0].split()) if shape else ""
        which = sizes[:12].lower()
        begins, guess = now + _BACK < last, f"times fall back from {last} to {now} s"
        if shape and is_layout(text) and layouts.get(which, sizes) != sizes:
            begins, guess = True, "another layout is told"
        if _BOOT in text:
            begins |= tells or bool(layouts) or known not in (None, release)
            guess = ""
        if begins and n:
            yield n, guess
            tells, layouts, known = False, {}, None
            now = now if time else 0
        tells |= _BOOT in text
        known = known or release
        if shape:
            layouts[which] = sizes
        last = now

"""Reads a trace as text: the kernel's own `trace` file, and what `trace-cmd report` prints.

Both write `task-pid [cpu] flags time: event: fields`; they differ in the head, in padding, and in
how a hexadecimal number is written. Events of other systems are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from percpu_proofs.traces.events import Event, Mark, problem
from percpu_proofs.traces.fields import FORMS, Kind, shape, text_pattern

LINE = re.compile(
    r"\s*(?P<task>.*\S)\s*-(?P<pid>\d{1,10})"
    r"(?:\s+\(\s*[-\d]+\))?"  # thread group, with record-tgid
    r"\s+\[(?P<cpu>\d{1,10})\]"
    r"(?:\s+(?P<flags>[^\s:]{4,6}))?"
    r"\s+(?P<time>\d{1,20}(?:\.\d{1,9})?):"
    r"\s+(?P<event>[^\s:]+):\s*(?P<fields>.*)"
)
_LOST = re.compile(r"CPU:\s*\d+ \[(?:LOST (?:\d+ )?EVENTS|(?:\d+ )?EVENTS DROPPED)\]")
_ENTRIES = re.compile(r"#\s*entries-in-buffer/entries-written:\s*(\d{1,20})/(\d{1,20})")
_HEAD = re.compile(r"version = \d+|cpus=\d+|CPU \d+ is empty|##### CPU \d+ buffer started")
_MARKS = ("tracing_mark_write", "print", "bprint")


def _address(text: str) -> int:
    return 0 if text == "(nil)" else int(text, 16)


_READ: dict[Kind, Callable[[str], Any]] = {
    "number": int,
    "natural": int,
    "flag": lambda text: text == "1",
    "address": _address,
    "words": str,
}


class _Parser:
    """One kind of event: how to make its record from the text behind its name."""

    def __init__(self, index: int) -> None:
        form = FORMS[index]
        self.record = form.record
        self.pattern = text_pattern(form)
        self.expected = shape(form)
        groups = self.pattern.groupindex
        kinds = {field.json: field.kind for field in form.fields}
        self.order = tuple((groups[name], _READ[kinds[name]]) for name in form.order)

    def parse(self, t: int, cpu: int, pid: int, fields: str) -> Event | None:
        """Return the event, or None if the text does not fit."""
        match = self.pattern.fullmatch(fields)
        if match is None:
            return None
        got = match.group
        values: list[Any] = []
        for group, read in self.order:
            text = got(group)
            values.append(None if text is None else read(text))
        return self.record(t, cpu, *values, pid)


_PARSERS = {form.name: _Parser(index) for index, form in enumerate(FORMS)}


def looks_like_text(line: str) -> bool:
    """Return whether a first line could begin a trace in text."""
    return line.startswith("#") or bool(
        _HEAD.match(line) or _LOST.match(line) or LINE.fullmatch(line)
    )


def read_text(path: Path, lines: Iterable[tuple[int, str]]) -> tuple[list[Event], list[int]]:
    """Return the percpu events and the line each stands on.

    Time stamps with a fraction become whole numbers in units of their last digit. Raises TraceError
    for a malformed line, for lost events, and when the head counts more events than there are.
    """
    events: list[Event] = []
    numbers: list[int] = []
    entries: tuple[int, int] | None = None  # promised, on which line
    seen = 0
    last = 0
    for number, line in lines:
        if line.startswith("#") or not line.strip():
            counts = _ENTRIES.match(line)
            if counts:
                entries = int(counts[1]), number
                if counts[1] != counts[2]:
                    raise problem(path, number, "no lost events: entries equal to written", line)
            continue
        match = LINE.fullmatch(line)
        if match is None:
            if _LOST.match(line):
                raise problem(path, number, "no lost events", line)
            if _HEAD.match(line) and not seen:
                continue
            raise problem(path, number, "task-pid [cpu] flags time: event: fields", line)
        seen += 1
        _, pid, cpu, _, time, name, fields = match.groups()
        t = int(time.replace(".", ""))
        if t < last:
            raise problem(path, number, f"a time of at least {last}: events in order", time)
        last = t
        event = _event(name, fields, t, int(cpu), int(pid))
        if isinstance(event, str):
            raise problem(path, number, event, line)
        if event is not None:
            events.append(event)
            numbers.append(number)
    if entries is not None and entries[0] != seen:
        raise problem(
            path, entries[1], f"as many lines as entries in the buffer, {seen}", str(entries[0])
        )
    return events, numbers


def _event(name: str, fields: str, t: int, cpu: int, pid: int) -> Event | str | None:
    """Return the event, None for one of another system, or what was expected."""
    name = name.removeprefix("percpu:").removeprefix("kp:")
    parser = _PARSERS.get(name)
    if parser is not None:
        return parser.parse(t, cpu, pid, fields.strip()) or parser.expected
    if name in _MARKS:
        return Mark(t, cpu, fields.removeprefix("tracing_mark_write:").strip(), pid)
    if name.startswith("percpu_"):
        return "one of " + ", ".join(n for n in _PARSERS if n.startswith("percpu_"))
    return None

"""Reads the events of a trace: `trace.jsonl`, and text as tools print it.

jsonl has one event a line, in order, numbered by `seq` from 0. Text is that of tracefs, `trace-cmd
report`, `perf script`, or what bpftrace printed: these differ in the head of a line and in how they
write numbers (dialects.py). Events of other systems are passed over. Where a recorder lost events
an event Lost stands. Where an allocation's event names no call site, the call stack behind it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from percpu_proofs.recorded.source import problem
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.dialects import (
    NOWHERE,
    EventLine,
    LineReader,
    is_callers,
    is_head,
    loss_in,
    pairs,
    stack_frame,
)

EventsOfLines = tuple[list[ev.TraceEvent], list[int]]
"""Events, and the line each stands on."""
_ENTRIES = re.compile(r"#\s*entries-in-buffer/entries-written:\s*([0-9]{1,20})/([0-9]{1,20})")
_QUOTED = re.compile(r"(?:> ?)+")
_MARKS = ("tracing_mark_write", "print", "bprint")
_FAILED = "[FAILED TO PARSE]"  # libtraceevent, which then prints all fields as they are


_OPS: dict[str, tuple[Callable[..., ev.TraceEvent], list[ev.Field]]] = {
    form.op: (form.record, form.in_record) for form in ev.FORMS
}


class _FieldError(ValueError):
    """A field that does not hold what it should; the message says what was expected."""


def _json_address(text: str) -> int:
    try:
        address = int(text, 16)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 64:
        raise _FieldError("a hexadecimal address")
    return address


def _is_text(given: Any) -> bool:
    return isinstance(given, str)


_READ_JSON: dict[ev.Kind, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    "number": (lambda given: type(given) is int, "a whole number", int),
    "natural": (lambda given: type(given) is int and given >= 0, "a whole number, 0 or more", int),
    "flag": (lambda given: given in (0, 1) and not isinstance(given, float), "0 or 1", bool),
    "address": (_is_text, "a hexadecimal address in quotes", _json_address),
    "words": (_is_text, "text in quotes", str),
}
"""What values of a kind are, in words too, and what is made of them."""


def _value(kind: ev.Kind, value: Any) -> Any:
    fits, expected, make = _READ_JSON[kind]
    if not fits(value):
        raise _FieldError(expected)
    return make(value)


def read_jsonl(path: Path, lines: Iterable[tuple[int, str]]) -> EventsOfLines:
    """Return the events and the line each stands on.

    Raises TraceError for a line that is no event, a `seq` that leaves a gap (lost lines), a clock
    that runs backwards.
    """
    events: list[ev.TraceEvent] = []
    numbers: list[int] = []
    last = -1
    decode = json.JSONDecoder().decode
    for number, line in lines:
        try:
            entry = decode(line)
        except (ValueError, RecursionError):  # the latter: nested without end
            raise problem(path, number, "one JSON object", line) from None
        if not isinstance(entry, dict):
            raise problem(path, number, "one JSON object", line)
        seq = entry.get("seq", len(events))
        if seq != len(events):
            raise problem(path, number, f"seq {len(events)} (events are lost)", str(seq))
        try:
            event = _json_event(entry, begun=last >= 0)
        except _FieldError as error:
            raise problem(path, number, str(error), line) from None
        if event.t is not None and event.t < last:
            raise problem(path, number, f"t of at least {last}: events in order", str(event.t))
        last = last if event.t is None else event.t
        events.append(event)
        numbers.append(number)
    return events, numbers


def is_bpftrace_json(line: str) -> bool:
    """Return whether a line is one that `bpftrace -f json` prints."""
    return line.startswith('{"type":')


def bpftrace_lines(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines that a bpftrace program printed, out of those of `bpftrace -f json`.

    Raises TraceError for a line that is none of these.
    """
    for number, line in lines:
        try:
            entry: dict[str, Any] = json.loads(line) if line.strip() else {"type": "", "data": {}}
            kind, data = entry["type"], entry["data"]
            if kind == "printf":
                yield from ((number, text) for text in str(data).splitlines())
            elif kind == "lost_events":
                yield number, f"Lost {int(data['events'])} events"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise problem(path, number, "a line of bpftrace -f json", line) from None


def _json_event(entry: dict[str, Any], *, begun: bool) -> ev.TraceEvent:
    """Return an event. begun: events with t stand before it, so that it has one too."""
    op, t, cpu = (entry.get(name) for name in ("op", "t", "cpu"))
    if t is None and (begun or not entry.get("pre", 0)):
        raise _FieldError("t (only lines with pre come without)")
    if (t is not None and type(t) is not int) or (cpu is not None and type(cpu) is not int):
        raise _FieldError("whole numbers for t and cpu")
    if op == "mark":
        return ev.Mark(t, cpu, _value("words", entry.get("text")))
    if op not in _OPS:
        raise _FieldError("op: one of " + ", ".join([*_OPS, "mark"]))
    record, fields = _OPS[op]
    values: list[Any] = []
    for field in fields:
        name = field.json
        if name in entry:
            try:
                value = _value(field.kind, entry[name])
            except _FieldError as error:
                raise _FieldError(f"{name}: {error}") from None
            # kernels before 5.19 print no such field; their jsonl holds nothing there
            values.append(None if field.optional and not value else value)
        elif field.optional:
            values.append(entry.get("gfp_raw") if name == "gfp_flags" else None)
        else:
            raise _FieldError(f"a field {name} in op {op}")
    return record(t, cpu, *values)


def _address(text: str) -> int:
    if text.startswith("("):
        return ev.UNKNOWN if "ptrval" in text else 0
    return int(text, 16)


_READ_TEXT: dict[ev.Kind, Callable[[str], Any]] = {
    "number": int,
    "natural": int,
    "flag": lambda text: text in ("1", "true"),
    "address": _address,
    "words": str,
}


class _Parser:
    """One kind of event: how to make its record from the text behind its name."""

    def __init__(self, form: ev.EventForm) -> None:
        self.form = form
        self.record: Callable[..., ev.TraceEvent] = form.record
        self.pattern = ev.text_pattern(form)
        self.expected = ev.form_words(form)
        groups = self.pattern.groupindex
        self.order = tuple((groups[one.json], _READ_TEXT[one.kind]) for one in form.in_record)

    def parse(self, t: int, cpu: int | None, pid: int | None, fields: str) -> ev.TraceEvent | None:
        """Return the event, or None if the text does not fit."""
        match = self.pattern.fullmatch(fields)
        if match is None:
            values = self._in_any_order(pairs(fields.removeprefix(_FAILED)))
            return None if values is None else self.record(t, cpu, *values, pid=pid)
        texts = ((match[group], read) for group, read in self.order)
        values = [None if text is None else read(text) for text, read in texts]
        return self.record(t, cpu, *values, pid=pid)

    def _in_any_order(self, told: dict[str, str]) -> list[Any] | None:
        """Return the values for the record; None if one is missing or written wrongly."""
        values: list[Any] = []
        for field in self.form.in_record:
            text = told.get(field.text)
            if not text and field.optional:
                values.append(None)
            elif text is None or not ev.is_written(field.kind, text):
                return None
            elif field.json == "gfp_flags" and re.fullmatch(r"[0-9a-f]+", text):
                values.append(hex(int(text)) if text.isdigit() else f"0x{text}")
            else:
                values.append(_READ_TEXT[field.kind](text))
        return values


_PARSERS = {form.name: _Parser(form) for form in ev.FORMS}


def read_lines(path: Path, lines: Iterable[tuple[int, str]]) -> EventsOfLines:
    """Return the percpu events, in the order of their times, and the line each stands on.

    Time stamps with a fraction become whole numbers in units of their last digit; events without
    one are numbered. Raises TraceError for a malformed line, a CPU whose clock runs backwards, and
    when the head counts other numbers of events than there are.
    """
    reader = _TraceReader(path)
    for number, line in lines:
        reader.take(number, line)
    return reader.end()


class _TraceReader:
    """What is known of a trace as far as it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads = LineReader()
        self.events: list[ev.TraceEvent] = []
        self.numbers: list[int] = []
        self.entries: tuple[int, int] | None = None  # promised, on which line
        self.seen = 0  # events, those of other systems included
        self.clock: dict[int | None, int] = {}  # of each CPU
        self.late = False  # an event of one CPU stands behind a later one of another
        self.newest = 0
        self.last: dict[int | None, int] = {}  # by CPU: its last event, if that is a percpu event
        self.stack = -1  # the event that lines of a stack belong to

    def take(self, number: int, text: str) -> None:
        """Read one line."""
        text = text.rstrip()
        if text.startswith("# ") or text in ("", "#"):
            self.comment(number, text)
            return
        line = self.heads.read(text)
        if line is None and (quoted := _QUOTED.match(text)):
            text = text[quoted.end() :]
            line = self.heads.read(text)
        if line is not None and not line.event.startswith("PERF_RECORD_LOST"):
            self.event(number, text, line)
        else:
            self.other(number, text, line)

    def comment(self, number: int, text: str) -> None:
        counts = _ENTRIES.match(text)
        if counts:
            self.entries = int(counts[1]), number
            if missing := int(counts[2]) - int(counts[1]):
                self.add(number, ev.Lost(0, None, missing))

    def event(self, number: int, text: str, line: EventLine) -> None:
        if not line.event:  # tracefs prints a stack as an entry of its own
            self.seen += 1
            self.stack = self.last.get(line.cpu, -1)
            return
        if line.event == "kernel_stack":
            self.stack = self.last.get(line.cpu, -1)
            return
        self.seen += 1
        t = self.time(number, line)
        event = _event(line, t)
        if isinstance(event, str):
            raise problem(self.path, number, event, text)
        self.stack = self.last[line.cpu] = -1
        if event is not None:
            self.stack = self.last[line.cpu] = len(self.events)
            self.add(number, event)

    def time(self, number: int, line: EventLine) -> int:
        if line.time is None:
            return self.seen
        t = int(line.time.replace(".", ""))
        before = self.clock.get(line.cpu, 0)
        if t < before:
            expected = f"a time of at least {before}: events in order"
            raise problem(self.path, number, expected, line.time)
        self.clock[line.cpu] = t
        self.late |= t < self.newest
        self.newest = max(self.newest, t)
        return t

    def other(self, number: int, text: str, line: EventLine | None) -> None:
        """Take a line that is no event of the kernel's."""
        missing = loss_in(text, self.newest)
        if line is not None:
            count = re.search(r"[0-9]+", line.fields)
            missing = ev.Lost(self.newest, line.cpu, int(count[0]) if count else None)
        if missing is not None:
            self.add(number, missing)
            return
        if NOWHERE.search(text):
            expected = "no lost events, or their places: perf script --show-lost-events"
            raise problem(self.path, number, expected, text)
        place = stack_frame(text)
        if place is not None:
            self.called(place)
        elif not (is_head(text) or (self.seen == 0 and text.startswith("#"))):
            expected = "task-pid [cpu] flags time: event: fields"
            raise problem(self.path, number, expected, text)

    def called(self, place: str) -> None:
        """Take one place of a call stack: the first outside the allocator is the caller's."""
        event = self.events[self.stack] if self.stack >= 0 else None
        if isinstance(event, ev.Alloc) and event.call_site is None and is_callers(place):
            self.events[self.stack] = replace(event, call_site=place)

    def add(self, number: int, event: ev.TraceEvent) -> None:
        self.events.append(event)
        self.numbers.append(number)

    def end(self) -> EventsOfLines:
        if self.entries is not None and self.entries[0] != self.seen:
            count, number = self.entries
            expected = f"as many lines as entries in the buffer, {count}"
            raise problem(self.path, number, expected, str(self.seen))
        if not self.late:
            return self.events, self.numbers
        # buffers of CPUs printed as they came (trace_pipe, bpftrace)
        order = sorted(range(len(self.events)), key=lambda i: self.events[i].t or 0)
        return [self.events[i] for i in order], [self.numbers[i] for i in order]


def _event(line: EventLine, t: int) -> ev.TraceEvent | str | None:
    """Return the event, None for one of another system, or what was expected."""
    parser = _PARSERS.get(line.event)
    if parser is not None:
        return parser.parse(t, line.cpu, line.pid, line.fields.strip()) or parser.expected
    if line.event in _MARKS:
        text = line.fields.removeprefix("tracing_mark_write:").strip()
        return ev.Mark(t, line.cpu, text, pid=line.pid)
    if line.event.startswith("percpu_"):
        return "one of " + ", ".join(n for n in _PARSERS if n.startswith("percpu_"))
    return None

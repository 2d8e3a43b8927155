"""Reads `trace.jsonl`: one event a line, in order, numbered by `seq` from 0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from percpu_proofs.recorded.source import problem
from percpu_proofs.recorded.traces.events import FORMS, Field, Kind, Mark, TraceEvent

_OPS: dict[str, tuple[Callable[..., TraceEvent], list[Field]]] = {
    form.op: (form.record, form.in_record) for form in FORMS
}


class _FieldError(ValueError):
    """A field that does not hold what it should; the message says what was expected."""


def _address(text: str) -> int:
    try:
        address = int(text, 16)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 64:
        raise _FieldError("a hexadecimal address")
    return address


_READ: dict[Kind, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    "number": (lambda given: type(given) is int, "a whole number", int),
    "natural": (lambda given: type(given) is int and given >= 0, "a whole number, 0 or more", int),
    "flag": (lambda given: given in (0, 1) and not isinstance(given, float), "0 or 1", bool),
    "address": (lambda given: isinstance(given, str), "a hexadecimal address in quotes", _address),
    "words": (lambda given: isinstance(given, str), "text in quotes", str),
}
"""What values of a kind are, in words too, and what is made of them."""


def _value(kind: Kind, value: Any) -> Any:
    fits, expected, make = _READ[kind]
    if not fits(value):
        raise _FieldError(expected)
    return make(value)


def read_jsonl(path: Path, lines: Iterable[tuple[int, str]]) -> tuple[list[TraceEvent], list[int]]:
    """Return the events and the line each stands on.

    Raises TraceError for a line that is no event, a `seq` that leaves a gap (lost lines), a clock
    that runs backwards.
    """
    events: list[TraceEvent] = []
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
            event = _event(entry)
        except _FieldError as error:
            raise problem(path, number, str(error), line) from None
        if event.t is None:
            if last >= 0:
                raise problem(path, number, "t (only lines with pre come without)", line)
        elif event.t < last:
            raise problem(path, number, f"t of at least {last}: events in order", str(event.t))
        else:
            last = event.t
        events.append(event)
        numbers.append(number)
    return events, numbers


def is_bpftrace_json(line: str) -> bool:
    """Return whether a line is one that `bpftrace -f json` prints."""
    return line.startswith('{"type":')


def unpacked(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
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


def _event(entry: dict[str, Any]) -> TraceEvent:
    op = entry.get("op")
    t = entry.get("t")
    pre = entry.get("pre", 0)
    if t is None and not pre:
        raise _FieldError("t (only lines with pre come without)")
    cpu = entry.get("cpu")
    if (t is not None and type(t) is not int) or (cpu is not None and type(cpu) is not int):
        raise _FieldError("whole numbers for t and cpu")
    if op == "mark":
        return Mark(t, cpu, _value("words", entry.get("text")))
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

"""How each tool begins a line of a trace, tells of lost events, and prints a call stack.

tracefs and `trace-cmd report` write `task-pid [cpu] flags time: event: fields`, `perf script`
`comm pid [cpu] time: system:event: fields`. What a bpftrace program prints is its author's choice:
read is any line that names a percpu event and then `name=value` pairs, nsecs (or time), cpu and pid
among them if it has them.
Source: print_trace_line and test_cpu_buff_start (kernel), tep_print_event (libtraceevent),
perf_sample__fprintf_start (perf), Output::lost_events (bpftrace).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from percpu_proofs.recorded.traces.events import Lost
from percpu_proofs.recorded.traces.functions import is_inside, plain_name

EVENTS: Final = (
    "percpu_(?:alloc_percpu(?:_fail)?|free_percpu|create_chunk|destroy_chunk)"  # of the kernel
)
_TRACEFS: Final = re.compile(
    r"\s*(?P<task>.*\S)\s*-(?P<pid>[0-9]{1,10})"
    r"(?:\s+\(\s*[-0-9]+\))?"  # thread group, with record-tgid
    r"\s+\[(?P<cpu>[0-9]{1,10})\]"
    r"(?:\s+(?P<flags>[^\s:]{4,6}))?"
    r"\s+(?P<time>[0-9]{1,20}(?:\.[0-9]{1,9})?):"
    r"\s+(?:(?P<event>[^\s:]+):|(?=<(?:user )?stack trace))\s*(?P<fields>.*)"
)
_PERF: Final = re.compile(
    r"\s*(?P<task>.*\S)\s+(?P<pid>-?[0-9]{1,10})(?:/-?[0-9]{1,10}\s*)?"
    r"(?:\s+\[(?P<cpu>[0-9]{1,10})\])?"
    r"\s+(?P<time>[0-9]{1,20}\.[0-9]{1,9}):"
    r"(?:\s+[0-9]{1,20})?"  # the period
    r"\s+(?P<event>(?:[\w-]+:)?[\w-]+)(?::|(?<=LOST)|(?<=LOST_SAMPLES))\s*(?P<fields>.*)"
)
_PROGRAM: Final = re.compile(
    rf"(?P<task>.*?)(?:\b(?:tracepoint:)?percpu:)?\b(?P<event>{EVENTS})\b[:,]?\s*(?P<fields>.*)"
)
_LATENCY: Final = re.compile(  # trace-cmd report -l
    r"\s*(?P<task>.*\S)\s*-(?P<pid>[0-9]{1,10})"
    r"\s+(?P<cpu>[0-9]{1,10})(?P<flags>[^\s:0-9][^\s:]{3,5})"
    r"\s+(?P<time>[0-9]{1,20}\.[0-9]{1,9}):"
    r"\s+(?P<event>[^\s:]+):\s*(?P<fields>.*)"
)
_DIALECTS: Final = (_TRACEFS, _PERF, _LATENCY, _PROGRAM)
_PAIR: Final = re.compile(r"(\w+)[=:]\s*(.*?)(?=[\s,]+\w+[=:]|[\s,]*$)")
_CLOCKS: Final = ("nsecs", "time", "t", "ns")
_LOST: Final = (
    re.compile(
        r"CPU:\s*(?P<cpu>[0-9]+) "
        r"\[(?:LOST (?:(?P<n>[0-9]+) )?EVENTS|(?:(?P<m>[0-9]+) )?EVENTS DROPPED)\]"
    ),
    re.compile(r"#{5} CPU (?P<cpu>[0-9]+) buffer started #{4,}"),
    re.compile(r"(?:WARNING: )?Lost (?P<n>[0-9]+) events?\.?", re.I),
    re.compile(r"\[?\s*(?:\.{3,}|…|\[\.\.\.\]|-*8<-*|snip\w*|cut)\s*\]?", re.I),  # left out by hand
)
NOWHERE: Final = re.compile(r"Processed [0-9]+ events and lost [0-9]+ chunks", re.I)
"""perf's word about events that are missing somewhere."""
_HEAD: Final = re.compile(
    r"version = [0-9]+|cpus=[0-9]+|CPU [0-9]+ is empty|trace-cmd version .*"
    r"|Attach(?:ing|ed) (?:to )?[0-9]+ probes?\b.*|@\w*(?:\[.*\])?: .*|\^C"
)
_FRAME: Final = re.compile(
    r"(?:\s+|\s*=>\s*)(?:<?[0-9a-f]{1,16}>?\s+)?"
    r"(?P<name>[A-Za-z_][\w.$]*)(?P<at>\+(?:0x[0-9a-f]+|[0-9]+)(?:/0x[0-9a-f]+)?)?"
    r"(?P<module>\s+\[[^\]]+\])?(?:\s+[(<][^)]*[)>])?\s*"
)
_UNNAMED: Final = re.compile(
    r"(?:\s+|\s*=>\s*)<?(?:0x)?[0-9a-f]{4,16}>?(?:\s+(?:\[unknown\]|0x[0-9a-f]+))?"
    r"(?:\s+\(.*\))?\s*"
    r"|\s+[0-9a-f]{1,16}\s+\S.*\s\(.*\)\s*"  # perf: of a program, in its own language
)
_RECORDER: Final = re.compile(
    r"trace_event_raw_event_percpu_\w+"
    r"|(?:perf_trace|trace|__traceiter|__probestub|__bpf_trace)_percpu_\w+|trace_event_buffer_\w+"
    r"|perf_trace_run_bpf_submit|bpf_trace_run[0-9]+|trace_call_bpf\w*|bpf_prog_[0-9a-f]{16}\w*"
)


class EventLine(NamedTuple):
    """One event as any tool prints it; None where the tool does not say."""

    time: str | None
    cpu: int | None
    pid: int | None
    event: str  # without its system; nothing where a stack follows
    fields: str


class LineReader:
    """Tells what a line is, trying first what the line before was."""

    def __init__(self) -> None:
        self._known = _TRACEFS

    def read(self, text: str) -> EventLine | None:
        """Return the event that a line holds."""
        for pattern in (self._known, *_DIALECTS):
            if match := pattern.fullmatch(text):
                self._known = pattern
                return _program(match) if pattern is _PROGRAM else _line(match)
        return None


def _line(match: re.Match[str]) -> EventLine:
    cpu, event = match["cpu"], match["event"] or ""
    name = event.rpartition(":")[2]
    return EventLine(match["time"], None if cpu is None else int(cpu), int(match["pid"]), name,
                match["fields"])  # fmt: skip


def _program(match: re.Match[str]) -> EventLine:
    values = pairs(f"{match['task']} {match['fields']}").items()
    numbers = {name: text for name, text in values if text.isascii() and text.isdigit()}
    time, cpu, pid = (next((numbers[n] for n in names if n in numbers), None)
                      for names in (_CLOCKS, ("cpu",), ("tid", "pid")))  # fmt: skip
    return EventLine(time, None if cpu is None else int(cpu), None if pid is None else int(pid),
                match["event"], match["fields"])  # fmt: skip


def pairs(text: str) -> dict[str, str]:
    """Return the values of `name=value` by name; a value may hold spaces.

    >>> pairs("call_site=x+0x1/0x2 [mod] off=8")
    {'call_site': 'x+0x1/0x2 [mod]', 'off': '8'}
    """
    return dict(_PAIR.findall(text))


def loss_in(text: str, t: int | None) -> Lost | None:
    """Return what a line says of missing events.

    >>> loss_in("CPU:2 [LOST 123 EVENTS]", 7)
    Lost(t=7, cpu=2, pid=None, missing=123)
    """
    for pattern in _LOST:
        if match := pattern.fullmatch(text.strip()):
            found = match.groupdict()
            count = found.get("n") or found.get("m")
            cpu = found.get("cpu")
            return Lost(t, None if cpu is None else int(cpu), int(count) if count else None)
    return None


def is_head(text: str) -> bool:
    """Return whether a line is what a tool says before or after its events."""
    return _HEAD.match(text) is not None


_LONGEST = 1 << 16


def looks_like_text(text: str) -> bool:
    """Return whether a line could begin a trace in text; no tool prints one of 64 KiB."""
    if len(text) >= _LONGEST:
        return False
    return text.startswith("#") or is_head(text) or loss_in(text, 0) is not None or (
        LineReader().read(text) is not None
    )  # fmt: skip


def stack_frame(text: str) -> str | None:
    """Return the place that a line of a call stack names, nothing if it names none by a symbol.

    None if the line is none of a stack.

    >>> stack_frame(" => alloc_desc+0x50/0x250 (ffffffff8112)")
    'alloc_desc+0x50/0x250'
    >>> stack_frame("  ffffffff8112 x ([kernel])")
    'x'
    """
    match = _FRAME.fullmatch(text)
    if match is None:
        return "" if _UNNAMED.fullmatch(text) else None
    return match["name"] + (match["at"] or "") + (match["module"] or "").replace("  ", " ")


def is_callers(place: str) -> bool:
    """Return whether a place of a stack lies outside the allocator and what records it.

    >>> is_callers("pcpu_alloc+0x3d8"), is_callers("bpf_prog_alloc+0x33")
    (False, True)
    """
    name = plain_name(place)
    return bool(name) and not is_inside(name) and _RECORDER.fullmatch(name) is None

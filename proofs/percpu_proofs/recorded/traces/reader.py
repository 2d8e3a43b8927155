"""Finds out how a trace is written and reads it; gathers the files of a recorded run.

Told too are the parts of a trace that are whole, where the recorder lost events, and whether its
probes are complete: no entry lacks its return, and no event its probe. pcpu_lock is held from the
entry of pcpu_alloc_area to its return, and from pcpu_free_area to the print of the free, so that
these pairs follow one another on the whole machine, not on a CPU alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from percpu_proofs.recorded.boot.layout import has_layout, read_layout
from percpu_proofs.recorded.source import lines_of, problem
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.dialects import looks_like_text
from percpu_proofs.recorded.traces.jsonl_and_text import (
    bpftrace_lines,
    is_bpftrace_json,
    read_jsonl,
    read_lines,
)
from percpu_proofs.run.inputs import TraceError, read_json
from percpu_spec.geometry import Geometry

_TOOLS = ("trace", "trace-cmd", "report", "perf", "perf-script", "bpftrace")
_ENDS = (".txt.gz", ".txt", ".gz", "")
_TRACES = ("trace.jsonl.gz", "trace.jsonl", *(tool + end for tool in _TOOLS for end in _ENDS))
_BOOTS = ("dmesg.txt.gz", "dmesg.txt", "dmesg.gz", "dmesg")
_PRETRACE = ("pretrace_gdb.jsonl.gz", "pretrace_gdb.jsonl")
_AHEAD = 8  # trace events that must match the earlier log where the two are joined


@dataclass(frozen=True, slots=True)
class Trace:
    """The events of one trace, each with the line it stands on (0: in another file)."""

    path: Path
    events: Sequence[ev.TraceEvent]
    lines: Sequence[int]

    def part(self, start: int, end: int | None = None) -> Trace:
        """Return the events [start, end), by default to the last."""
        return Trace(self.path, self.events[start:end], self.lines[start:end])

    def line_at(self, index: int) -> int:
        """Return the line of event `index`; of the last one for what lies behind them all."""
        return self.lines[min(index, len(self.lines) - 1)]

    def problem(self, index: int, expected: str, got: str = "") -> TraceError:
        """Return the error for event `index`."""
        return problem(self.path, self.lines[index] or None, expected, got)


@dataclass(frozen=True, slots=True)
class TraceRun:
    """A recorded run: its events, the machine's layout, and the state files by phase."""

    name: str
    trace: Trace
    sizes: Geometry | None  # None: no boot messages tell them
    boot: Path | None  # the boot messages
    states: dict[str, Path]
    given: str | None = None  # the phase of a state that was given beside the run
    unplaced: tuple[str, ...] = ()  # phases of states that fit at no moment of the trace

    @property
    def geometry(self) -> Geometry:
        """The machine's layout. Raises TraceError if no boot messages tell it."""
        if self.sizes is None:
            raise TraceError(
                f"{self.trace.path.parent}: expected the boot messages with the percpu layout, "
                "one of " + ", ".join(_BOOTS)
            )
        return self.sizes


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a recorded run: a trace stands in it."""
    return path.is_dir() and _first(path, _TRACES) is not None


def read_trace(path: Path) -> Trace:
    """Return the events of a trace, plain or gzip: jsonl, or text as any tool prints it.

    The format is known by the first line that is no comment. Raises TraceError for anything not
    read whole.
    """
    lines = lines_of(path)
    head: list[tuple[int, str]] = []
    for line in lines:
        head.append(line)
        if line[1].strip() and not line[1].startswith("#"):
            break
    if not head:
        raise problem(path, 1, "a trace, found an empty file")
    number, first = head[-1]
    if is_bpftrace_json(first):
        events, numbers = read_lines(path, bpftrace_lines(path, chain(head, lines)))
    elif first.lstrip().startswith("{"):
        events, numbers = read_jsonl(path, chain(head[-1:], lines))
    elif looks_like_text(first):
        events, numbers = read_lines(path, chain(head, lines))
    else:
        expected = "jsonl, or a trace in text (tracefs, trace-cmd report, perf script, bpftrace)"
        raise problem(path, number, expected, first)
    if not events:
        raise problem(path, None, "at least one percpu event")
    return Trace(path, events, numbers)


def read_run(
    path: Path, sizes: Mapping[str, str] | None = None, state: Path | None = None
) -> TraceRun:
    """Return the run in folder `path`, or of the trace file `path` with what stands beside it.

    `sizes` by name are for what the boot messages there leave open; `state` is a state taken
    at any moment of the trace, as a rule its beginning.
    Where the trace's own statistics tell of lost events it has an event Lost.

    Raises TraceError if the trace is missing, or where boot messages and states have no layout.
    """
    folder, trace_path = (path, _first(path, _TRACES)) if path.is_dir() else (path.parent, path)
    if trace_path is None or not trace_path.exists():
        raise TraceError(f"{path}: expected a trace, one of " + ", ".join(_TRACES))
    boot = _first(folder, _BOOTS)
    trace = _with_losses(folder / "buffer_stats.txt", read_trace(trace_path))
    if trace.events[0].t is not None:
        trace = _with_pretrace(folder, trace)
    _check_counts(folder / "manifest.json", trace)
    for start, end in between_losses(trace.events):
        _check_probes(trace.part(start, end))
    states = {
        file.name.split(".")[0]: file
        for file in sorted((folder / "state").glob("*.txt*"))
        if not file.name.startswith("phase.")
    }
    given = None
    if state is not None:
        given = state.name.split(".")[0]
        states[given] = state
    name = path.name if path.is_dir() else f"{folder.name}/{path.name}"
    layout = None
    if boot is not None and (not states or has_layout(boot)):
        layout = read_layout(boot, sizes).geometry
    return TraceRun(name, trace, layout, boot, states, given)


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def _with_losses(path: Path, trace: Trace) -> Trace:
    """Return a trace with the events that the tracer's own counts say it lost.

    Overwritten events (overrun) lie before all others; dropped ones behind. Raises TraceError for
    those lost amid the others (commit overrun), which nothing places.
    """
    counts: Counter[str] = Counter()
    for number, line in lines_of(path) if path.exists() else ():
        name, sep, value = line.partition(":")
        if sep and value.isascii() and value.strip().isdigit():
            counts[name] += int(value)
        if counts["commit overrun"]:
            raise problem(path, number, "no lost events", line)
    told = any(isinstance(event, ev.Lost) for event in trace.events)
    events, lines = list(trace.events), list(trace.lines)
    if counts["overrun"] and not told:
        events.insert(0, ev.Lost(events[0].t, None, counts["overrun"]))
        lines.insert(0, lines[0])
    if counts["dropped events"] and not told:
        events.append(ev.Lost(events[-1].t, None, counts["dropped events"]))
        lines.append(lines[-1])
    return Trace(trace.path, with_first_chunk(events), lines)


def _check_counts(path: Path, trace: Trace) -> None:
    """Raise if a manifest counts other numbers of events than the trace has."""
    if not path.exists():
        return
    try:
        counts = dict(read_json(path.read_text(encoding="utf-8")).get("counts", {}))
    except (ValueError, TypeError, AttributeError):
        raise problem(path, None, "one JSON object, with counts by event") from None
    found_of: Counter[object] = Counter(
        type(event) for event in trace.events if event.t is not None
    )
    for form in ev.FORMS:
        op, found = form.op, found_of[form.record]
        if counts.get(op, found) != found:
            raise problem(
                trace.path, None, f"{counts[op]} events {op}, as {path.name} says", str(found)
            )


def _with_pretrace(folder: Path, trace: Trace) -> Trace:
    """Put the allocations made before tracing began in front, if they were logged.

    The log is of another boot of the same machine and runs on into the time of the trace: it is
    joined where the trace's first allocations follow.
    """
    log = _first(folder, _PRETRACE)
    opening = [e for e in trace.events[: 4 * _AHEAD] if isinstance(e, ev.Alloc)][:_AHEAD]
    if log is None or not opening:
        return trace
    start = opening[0].ptr - opening[0].off  # the first chunk's base as a percpu pointer
    earlier = list(_logged_allocations(log))
    wanted = [(e.size, e.align, e.ptr) for e in opening]
    for cut in range(len(earlier) - len(wanted) + 1):
        if [(e.size, e.align, e.ptr) for e in earlier[cut : cut + len(wanted)]] == wanted:
            break
    else:
        raise problem(log, None, "the first allocations of the trace somewhere in this log")
    before: list[ev.TraceEvent] = [
        replace(event, base=opening[0].base, off=event.ptr - start) for event in earlier[:cut]
    ]
    return Trace(trace.path, [*before, *trace.events], [*[0] * cut, *trace.lines])


def _logged_allocations(path: Path) -> Iterator[ev.Alloc]:
    """Yield the allocations logged, among frees too; which chunk each lies in is not told."""
    for number, line in lines_of(path):
        try:
            entry = read_json(line)
            if entry["op"] == "reached":
                continue
            size, align, ptr = entry.get("size", 0), entry.get("align", 0), int(entry["ptr"], 16)
            call_site, gfp = (entry.get("bt") or [""])[0], entry.get("gfp", "")
            if entry["op"] == "alloc":
                reserved = bool(entry.get("reserved", 0))
                yield ev.Alloc(
                    None, None, reserved, False, size, align, ev.UNKNOWN, 0, ptr,
                    call_site=call_site, gfp=gfp,
                )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            raise problem(path, number, "op, size, align and ptr of an allocation", line) from None


def between_losses(events: Sequence[ev.TraceEvent]) -> list[tuple[int, int]]:
    """Return the stretches [start, end) in which no event is missing.

    A recorder tells of a loss where the CPU's next event stands: what it lost may lie anywhere
    behind that CPU's last event before, and if no CPU is named behind the last event of any. An
    event of a chunk that cannot be told ends a stretch too.

    >>> one, two = ev.Mark(0, 0, ""), ev.Mark(0, 1, "")
    >>> between_losses([one, two, two, ev.Lost(0, 0), one])
    [(0, 1), (4, 5)]
    """
    found: list[tuple[int, int]] = []
    last: dict[int | None, int] = {}
    start = 0
    for index, event in enumerate(events):
        if not isinstance(event, ev.Lost):
            # a mark without CPU is one that a state was given
            if event.cpu is not None or not isinstance(event, ev.Mark):
                last[event.cpu] = index
            if getattr(event, "base", 0) == ev.UNKNOWN:
                found.append((start, index))
                start = index + 1
            continue
        whole = min(last.values(), default=-1) if event.cpu is None else last.get(event.cpu, -1)
        found.append((start, index))
        found = [(first, min(end, whole + 1)) for first, end in found]
        start = index + 1
    found.append((start, len(events)))
    return [(first, end) for first, end in found if first < end]


def with_first_chunk(events: Sequence[ev.TraceEvent]) -> list[ev.TraceEvent]:
    """Return events in which those of a chunk printed as (ptrval) are the first chunk's.

    That is so until a chunk is created; later ones stay as they are, and those of the reserved
    chunk. A chunk printed so as it is created gets a name of its own.
    """
    found: list[ev.TraceEvent] = []
    created = 0
    for event in events:
        if isinstance(event, ev.CreateChunkEvent):
            created += 1
            if event.base == ev.UNKNOWN:
                event = replace(event, base=ev.FIRST + created)
        elif isinstance(event, ev.Alloc) and event.reserved:
            pass
        elif isinstance(event, (ev.Alloc, ev.Free, ev.DestroyChunkEvent)) and not created:
            event = replace(event, base=ev.FIRST) if event.base == ev.UNKNOWN else event
        found.append(event)
    return found


PLACED = "kp_on"
"""The phase that the guest announces once all probes are in place."""


def _check_probes(trace: Trace) -> None:
    """Raise TraceError at the first event that lacks a probe; traces without probes pass.

    Asked for is k_area_ret for each k_area, k_farea for each free and k_area for each allocation:
    from the mark kp_on on, where there is one, else from the first event of each kind on; of
    allocations from the next mark on, as one may have taken its area before the probe was placed.
    A k_area that ends the trace may stand alone.
    """
    events = trace.events
    if not any(isinstance(event, ev.AllocArea | ev.AreaReturn | ev.AreaFree) for event in events):
        return

    def lost(index: int, expected: str) -> TraceError:
        return trace.problem(index, f"{expected} (probe events are lost)")

    seen: set[type[ev.TraceEvent]] = set()  # kinds that are asked for
    placed = False  # allocations must have had their probes
    entered: tuple[int, ev.AllocArea] | None = None
    freed: ev.AreaFree | None = None
    taken: set[tuple[int, int]] = set()  # chunk and offset of areas not printed yet
    for index, event in enumerate(events):
        if entered is not None and ev.AreaReturn in seen and _is_later(event, entered[1]):
            raise lost(entered[0], "k_area_ret after this k_area")
        match event:
            case ev.Mark():
                placed |= ev.AreaReturn in seen
                if PLACED in event.text:
                    seen |= {ev.AreaReturn, ev.AreaFree}
            case ev.AllocArea():
                entered = index, event
            case ev.AreaReturn():
                seen.add(ev.AreaReturn)
                if entered is None:
                    raise lost(index, "k_area before this k_area_ret")
                if event.off >= 0:
                    taken.add((entered[1].base, event.off))
                entered = None
            case ev.AreaFree():
                seen.add(ev.AreaFree)
                taken.discard((event.base, event.off))
                freed = event
            case ev.Free():
                if ev.AreaFree in seen and (
                    freed is None or (freed.base, freed.off) != (event.base, event.off)
                ):
                    raise lost(index, "k_farea before this free")
                freed = None
            case ev.Alloc():
                place = event.base, event.off
                if placed and place not in taken:
                    raise lost(index, "k_area and k_area_ret before this alloc")
                taken.discard(place)
            case _:
                pass


def _is_later(event: ev.TraceEvent, area: ev.AllocArea) -> bool:
    """Return whether pcpu_lock must have been released between a k_area and an event."""
    if isinstance(event, ev.AllocArea | ev.AreaFree | ev.Free):
        return True
    return isinstance(event, ev.Alloc | ev.Fail | ev.Mark) and event.cpu == area.cpu

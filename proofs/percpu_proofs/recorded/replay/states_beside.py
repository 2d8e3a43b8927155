"""States beside a trace that no mark of it places in time: where each was taken, and of which boot.

Every allocation and free between a state's moment and the next event of the same area shows in it.
A state that is whole fits only where all of them do. One of another boot says nothing of the trace:
what differs then is no fault of the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from percpu_proofs.recorded.replay.marks import phase_begun, release_beside, state_at
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.states.saved_state import is_state
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.recorded.states.stats_text import is_stats
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import Trace, TraceRun, between_losses
from percpu_proofs.run.inputs import InputError, TraceError, read_text
from percpu_spec.counts import counted

_EARLY = re.compile(r"(?:before|start|begin)[\d_.-]*")
_LATE = re.compile(r"(?:after|end|stop)[\d_.-]*")


def with_marks(run: TraceRun) -> TraceRun:
    """Return a run with marks where the states were taken that have none.

    These are a state given beside the run, and those named before or after (or start, end). A late
    one is placed at the last moment that fits, any other at the first; one that fits nowhere is
    left out if it is late, as a full buffer ends a trace early. Raises TraceError for any other
    state that fits at no moment.
    """
    marked = {phase_begun(event) for event in run.trace.events}
    for phase in run.states:
        late = _LATE.fullmatch(phase) is not None
        if phase in marked or not (late or phase == run.given or _EARLY.fullmatch(phase)):
            continue
        try:
            run = replace(run, trace=_marked(run, phase, late))
        except TraceError:
            if not late or phase == run.given:
                raise
            run = replace(run, unplaced=(*run.unplaced, phase))
    return run


def _marked(run: TraceRun, phase: str, late: bool) -> Trace:
    events = list(run.trace.events)
    stretches = between_losses(events)
    if late and (not stretches or stretches[-1][1] < len(events)):
        return _with_mark(run.trace, phase, len(events))  # behind losses that nothing places
    best: tuple[int, int] | None = None  # areas that differ, and the event
    known = False  # chunks of the trace are in the state
    for start, end in reversed(stretches) if late else stretches:
        stretch = events[start:end]
        snapshot = state_at(run, phase, stretch, len(stretch) if late else 0)
        named = {event.base for event in stretch if isinstance(event, ev.Alloc | ev.Free)}
        known |= not named.isdisjoint(chunk.base_addr for chunk in snapshot.chunks())
        wrong = misfits(snapshot, stretch)
        if 0 in wrong:
            at = len(wrong) - 1 - wrong[::-1].index(0) if late else wrong.index(0)
            return _with_mark(run.trace, phase, start + at)
        least = min(wrong)
        best = min(best or (least, start), (least, start + wrong.index(least)))
    if phase == run.given and not known:
        raise TraceError(
            f"{run.states[phase]}: expected a state of this trace's boot: none of its chunks is "
            f"one in which the trace ({run.trace.path}) allocates or frees"
        )
    count, near = best or (0, 0)
    raise TraceError(
        f"{run.states[phase]}: expected a state taken while the trace ran: at best, before line "
        f"{run.trace.line_at(near)}, {count} areas or chunks are not what the events say: "
                "this state may not belong to this trace"
    )


def _with_mark(trace: Trace, phase: str, at: int) -> Trace:
    near = min(at, len(trace.events) - 1)
    t, line = trace.events[near].t, trace.lines[near]
    marks = [ev.Mark(t, None, f"snap:{phase}:{part}") for part in ("begin", "end")]
    events = [*trace.events[:at], *marks, *trace.events[at:]]
    return Trace(trace.path, events, [*trace.lines[:at], line, line, *trace.lines[at:]])


def misfits(snapshot: Snapshot, events: Sequence[ev.TraceEvent]) -> list[int]:
    """Return for each moment, before each event and behind the last, how much does not fit.

    That is the number of areas, and of chunks, which events show to be there and the state does
    not, or the other way.
    """
    chunks = {chunk.base_addr: chunk for chunk in snapshot.chunks()}
    there: dict[tuple[int, int], bool] = {}  # at the moment, as events show
    for event in events:
        if (place := _place(event)) is not None:
            there.setdefault((place[0], -1), not isinstance(event, ev.CreateChunkEvent))
            there.setdefault(place, not _comes(event))

    def in_state(place: tuple[int, int]) -> bool:
        chunk = chunks.get(place[0])
        return chunk is not None and (place[1] < 0 or place[1] in chunk.areas)

    wrong = {place for place, is_there in there.items() if is_there != in_state(place)}
    found = [len(wrong)]
    for event in events:
        place = _place(event)
        if place is not None:
            (wrong.discard if _comes(event) == in_state(place) else wrong.add)(place)
        found.append(len(wrong))
    return found


def _place(event: ev.TraceEvent) -> tuple[int, int] | None:
    """Return the area of an event, or the chunk that comes or goes, with -1."""
    if isinstance(event, ev.Alloc | ev.Free):
        return event.base, event.off
    if isinstance(event, ev.CreateChunkEvent | ev.DestroyChunkEvent):
        return event.base, -1
    return None


def _comes(event: ev.TraceEvent) -> bool:
    return isinstance(event, ev.Alloc | ev.CreateChunkEvent)


FEW = 10
"""Allocations that a state of another boot may place as the kernel did, by chance."""
_SAVED = "a saved state (state live --save FILE, or state CORE --save FILE)"


def check_given(run: TraceRun) -> None:
    """Raise InputError if the state given beside a run is none, or of another kernel than its."""
    if run.given is None:
        return
    path = run.states[run.given]
    text = read_text(path)
    if not text.strip():
        raise InputError(path, None, _SAVED, "an empty file")
    if is_stats(text):
        raise InputError(path, None, f"{_SAVED}: percpu_stats has no maps", "percpu_stats")
    if not is_state(text):
        expected = f"{_SAVED}, which begins with 'kernel RELEASE'"
        raise InputError(path, 1, expected, text.split("\n", 1)[0][:100])
    release = release_beside(path)
    for beside in (run.boot, *run.states.values()):
        booted = release_beside(beside) if beside is not None else ""
        if release and booted and release != booted:
            expected = f"a state of this trace's boot, which is of {booted} ({beside})"
            raise InputError(path, None, expected, release)
    size = re.search(r"^pcpu_unit_size=([0-9]+)$", text, re.MULTILINE)
    if run.sizes is not None and size is not None and int(size[1]) != run.sizes.unit:
        expected = f"a state of this trace's boot, whose units are of {run.sizes.unit} bytes"
        raise InputError(path, text.count("\n", 0, size.start()) + 1, expected, size[1])


def check_vouched(run: TraceRun, report: TraceReport) -> None:
    """Raise TraceError if a replay from the given state failed at its start, and nothing vouches.

    At its start: before FEW allocations were placed, which a state of another boot may allow too.
    What vouches is a chunk whose address stands in both, or areas that the trace frees and the
    state shows in use. A trace may have neither, as one that begins with a new chunk. Where a state
    is vouched for, or recorded with the trace, the report says that its moment is in doubt.
    """
    phase = report.start.removeprefix("the recorded state ")
    if not report.mismatches or phase not in run.states or len(report.stretches) > 1:
        return
    events = run.trace.events
    at = next(i for i, event in enumerate(events) if phase_begun(event) == phase)
    line = report.mismatches[0].line
    placed = sum(isinstance(e, ev.Alloc) for e in events[at : run.trace.lines.index(line, at)])
    if placed >= FEW:
        return
    path = run.states[phase]
    fits = "fits" if placed == 1 else "fit"
    fit = f"{counted(placed, 'allocation')} {fits} it" if placed else "nothing fits it"
    state = state_at(run, phase, events, at)
    if phase == run.given and not _vouched(state, events[at:]):
        raise TraceError(
            f"{path}: expected a state of this trace's boot: no chunk and no area in use is in "
            f"both, and what comes first, in line {line}, does not follow from it ({fit}): this "
            "state may not belong to this trace"
        )
    report.doubt = (
        f"{path.name} may not belong to this moment of the trace: {fit} before line {line}. "
        "Allocations between the two are missing if it was saved before recording began: record "
        "first, then save, as the recorder does"
    )


def _vouched(state: Snapshot, events: Sequence[ev.TraceEvent]) -> bool:
    chunks = {chunk.base_addr: chunk for chunk in state.chunks()}
    allocated: set[tuple[int, int]] = set()
    known = unknown = 0  # areas freed that were there before, by whether the state shows them
    for event in events:
        if not isinstance(event, ev.Alloc | ev.Free) or event.base not in chunks:
            continue
        if ev.is_plain(event.base):
            return True
        place = event.base, event.off
        if isinstance(event, ev.Alloc):
            allocated.add(place)
        elif place in allocated:
            allocated.remove(place)
        elif event.off in chunks[event.base].areas:
            known += 1
        else:
            unknown += 1
    return known > unknown

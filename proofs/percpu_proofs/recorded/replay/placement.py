"""States that no mark of the trace places in time: where in the trace each was taken.

Every allocation and free between a state's moment and the next event of the same area shows in it.
A state that is whole fits only where all of them do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from percpu_proofs.recorded.replay.marks import phase_begun, state_at
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.losses import between_losses
from percpu_proofs.recorded.traces.reader import Trace, TraceRun
from percpu_proofs.run.inputs import TraceError

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
    events, lines = list(run.trace.events), list(run.trace.lines)
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
        wrong = differing(snapshot, stretch)
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
        f"{lines[min(near, len(lines) - 1)]}, {count} areas or chunks are not what the events say: "
                "this state may not belong to this trace"
    )


def _with_mark(trace: Trace, phase: str, at: int) -> Trace:
    near = min(at, len(trace.events) - 1)
    t, line = trace.events[near].t, trace.lines[near]
    marks = [ev.Mark(t, None, f"snap:{phase}:{part}") for part in ("begin", "end")]
    events = [*trace.events[:at], *marks, *trace.events[at:]]
    return Trace(trace.path, events, [*trace.lines[:at], line, line, *trace.lines[at:]])


def differing(snapshot: Snapshot, events: Sequence[ev.TraceEvent]) -> list[int]:
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

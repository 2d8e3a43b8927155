"""Which parts of a trace are whole, where the recorder lost events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from percpu_proofs.recorded.traces import events as ev


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

"""Which parts of a trace are whole, where the recorder lost events, and its probes complete.

Probes are if no entry lacks its return, and no event its probe. pcpu_lock is held from the entry of
pcpu_alloc_area to its return, and from pcpu_free_area to the print of the free, so that these pairs
follow one another on the whole machine, not on a CPU alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from percpu_proofs.recorded.source import problem
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.run.inputs import TraceError


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


def check_probes(path: Path, events: Sequence[ev.TraceEvent], lines: Sequence[int]) -> None:
    """Raise TraceError at the first event that lacks a probe; traces without probes pass.

    Asked for is k_area_ret for each k_area, k_farea for each free and k_area for each allocation:
    from the mark kp_on on, where there is one, else from the first event of each kind on; of
    allocations from the next mark on, as one may have taken its area before the probe was placed.
    A k_area that ends the trace may stand alone.
    """
    if not any(isinstance(event, ev.AllocArea | ev.AreaReturn | ev.AreaFree) for event in events):
        return
    seen: set[type[ev.TraceEvent]] = set()  # kinds that are asked for
    placed = False  # allocations must have had their probes
    entered: tuple[int, ev.AllocArea] | None = None
    freed: ev.AreaFree | None = None
    taken: set[tuple[int, int]] = set()  # chunk and offset of areas not printed yet
    for index, event in enumerate(events):
        if entered is not None and ev.AreaReturn in seen and _is_later(event, entered[1]):
            raise _lost(path, lines[entered[0]], "k_area_ret after this k_area")
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
                    raise _lost(path, lines[index], "k_area before this k_area_ret")
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
                    raise _lost(path, lines[index], "k_farea before this free")
                freed = None
            case ev.Alloc():
                place = event.base, event.off
                if placed and place not in taken:
                    raise _lost(path, lines[index], "k_area and k_area_ret before this alloc")
                taken.discard(place)
            case _:
                pass


def _is_later(event: ev.TraceEvent, area: ev.AllocArea) -> bool:
    """Return whether pcpu_lock must have been released between a k_area and an event."""
    if isinstance(event, ev.AllocArea | ev.AreaFree | ev.Free):
        return True
    return isinstance(event, ev.Alloc | ev.Fail | ev.Mark) and event.cpu == area.cpu


def _lost(path: Path, line: int, expected: str) -> TraceError:
    return problem(path, line or None, f"{expected} (probe events are lost)")

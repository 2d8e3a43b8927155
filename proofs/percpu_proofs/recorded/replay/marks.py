"""The states recorded in a trace: their moments, kernel and chunks, and the model beside them.

A state's chunks get the addresses that the trace has for them. In text made by a kernel %p has
hashed them: only which are equal can be told. A state read out of memory has the true ones. What
tells the chunks is which offsets were in use in each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from percpu_proofs.recorded.replay.replay import Replay
from percpu_proofs.recorded.replay.report import SHOWN, SnapshotReport
from percpu_proofs.recorded.source import lines_of
from percpu_proofs.recorded.states.saved_state import read_state
from percpu_proofs.recorded.states.snapshot import WHAT, ChunkSnapshot, Snapshot, state_differences
from percpu_proofs.recorded.states.text import read_snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import Trace, TraceRun
from percpu_proofs.run.inputs import TraceError

Uses = dict[int, dict[int, bool]]
"""By chunk of a trace: offsets that events show in use, or not, at one moment."""
_RELEASE = re.compile(r"(?:Linux version|^kernel) (\d+)\.(\d+)(\S*)")
_BEGIN = re.compile(r"snap:([^:]+):begin")


def with_trace_addresses(
    snapshot: Snapshot, events: Sequence[ev.TraceEvent], index: int
) -> Snapshot:
    """Return a state of the moment before event `index` with the trace's addresses in it.

    Chunks whose addresses stand in both stay as they are; so do those that no event names. An
    address that is no hash and stands in the trace alone is that of no chunk of the state.
    """
    named = {event.base for event in events if isinstance(event, ev.Alloc | ev.Free)}
    chunks = {chunk.base_addr: chunk for chunk in snapshot.chunks()}
    made = {event.base for event in events if isinstance(event, ev.CreateChunkEvent)}
    if not named - chunks.keys() - made and (named & chunks.keys() or not named):
        return snapshot
    unknown = (pair for pair in uses(events, index).items() if not ev.is_plain(pair[0]))
    used = {base: of for base, of in unknown if base not in chunks}
    names: dict[int, int] = {}
    if ev.FIRST in used:
        names[snapshot.first_chunk.base_addr] = ev.FIRST
    for event in events:
        if isinstance(event, ev.Alloc) and event.reserved and snapshot.reserved_chunk is not None:
            if not ev.is_plain(event.base):
                names[snapshot.reserved_chunk.base_addr] = event.base  # it alone serves these
            break
    used = {base: of for base, of in used.items() if base not in names.values()}
    left = chunks.keys() - named - names.keys()
    names |= _match_chunks(used, {address: chunks[address] for address in left})

    def renamed(chunk: ChunkSnapshot) -> ChunkSnapshot:
        return replace(chunk, base_addr=names.get(chunk.base_addr, chunk.base_addr))

    return snapshot.with_chunks(renamed)


def uses(events: Sequence[ev.TraceEvent], index: int) -> Uses:
    """Return what events tell of chunks that exist at a moment, before it or after."""
    found: Uses = {}
    behind = islice(events, index, None)
    _read_uses(found, behind, ev.Free, ev.CreateChunkEvent, ev.DestroyChunkEvent)
    before = (events[i] for i in range(index - 1, -1, -1))
    _read_uses(found, before, ev.Alloc, ev.DestroyChunkEvent, ev.CreateChunkEvent)
    return {base: used for base, used in found.items() if used and base != ev.UNKNOWN}


def _read_uses(
    found: Uses,
    events: Iterable[ev.TraceEvent],
    live: type[ev.TraceEvent],
    absent: type[ev.TraceEvent],
    over: type[ev.TraceEvent],
) -> None:
    """Enter what events tell, read away from the moment: `live` first means in use then.

    `absent` of a chunk means that it is not there, unless events told of it; `over` that they
    tell nothing further.
    """
    ended: set[int] = set()
    for event in events:
        if (
            not isinstance(event, ev.Alloc | ev.Free | ev.CreateChunkEvent | ev.DestroyChunkEvent)
            or event.base in ended
        ):
            continue
        if isinstance(event, ev.Alloc | ev.Free):
            found.setdefault(event.base, {}).setdefault(event.off, isinstance(event, live))
        elif isinstance(event, over):
            ended.add(event.base)
            found.setdefault(event.base, {})
        elif isinstance(event, absent):
            ended.add(event.base)


def _match_chunks(used: Uses, chunks: dict[int, ChunkSnapshot]) -> dict[int, int]:
    """Return the trace's name of each chunk of a state that it knows, the surest first."""
    pairs: list[tuple[int, int, int, int, int]] = []
    for base, of_base in used.items():
        live = {off for off, in_use in of_base.items() if in_use}
        free = of_base.keys() - live
        for address, chunk in chunks.items():
            areas = chunk.areas.keys()
            wrong, shared = len(live - areas) + len(free & areas), len(live & areas)
            inside = max(of_base, default=0) < ev.GRANULE * len(chunk.alloc_map)
            if inside and wrong <= shared:
                untold = len(areas) - shared + chunk.immutable  # such were not made in the trace
                pairs.append((wrong, -shared, untold, base, address))
    names: dict[int, int] = {}
    taken: set[int] = set()
    for *_, base, address in sorted(pairs):
        if base not in taken and address not in names:
            names[address] = base
            taken.add(base)
    return names


def kernel_release(run: TraceRun) -> str:
    """Return the release of the recorded kernel, as its boot messages or state files name it.

    Nothing if the run has neither. Raises TraceError if none of them names it.
    """
    for path in (run.boot, *run.states.values()):
        if path is not None and (release := release_beside(path)):
            return release
    if run.boot is None and not run.states:
        return ""
    raise TraceError(f"{run.boot}: expected a line 'Linux version ...' of the boot")


def release_beside(path: Path) -> str:
    """Return the release that boot messages or a state name, or nothing."""
    found = (_RELEASE.search(line) for _, line in lines_of(path))
    return next((f"{match[1]}.{match[2]}{match[3]}" for match in found if match), "")


def with_sizes(run: TraceRun) -> TraceRun:
    """Return a run whose layout a recorded state tells, where no boot messages do."""
    if run.sizes is not None or not run.states:
        return run
    phase = run.given or next(iter(run.states))
    return replace(run, sizes=read_state(run.states[phase]).snapshot.geometry)


def state_at(run: TraceRun, phase: str, events: Sequence[ev.TraceEvent], index: int) -> Snapshot:
    """Return the state of a phase, taken before event `index`, with the trace's addresses."""
    return with_trace_addresses(read_snapshot(run.states[phase], run.geometry), events, index)


def types_of_chunks(run: TraceRun) -> dict[int, int]:
    """Return the type of every chunk that a recorded state shows, by its address."""
    found: dict[int, int] = {}
    events = run.trace.events
    moments = {phase_begun(event): index for index, event in enumerate(events)}
    for phase in run.states:
        snapshot = state_at(run, phase, events, moments.get(phase, 0))
        found.update((chunk.base_addr, snapshot.chunk_type(chunk)) for chunk in snapshot.chunks())
    return found


def phase_begun(event: ev.TraceEvent) -> str:
    """Return the phase whose state begins to be read at an event, or nothing."""
    match = _BEGIN.fullmatch(event.text) if isinstance(event, ev.Mark) else None
    return match[1] if match else ""


def is_torn(trace: Trace, index: int) -> bool:
    """Return whether percpu events happened while the state of mark `index` was read."""
    return index + 1 < len(trace.events) and not isinstance(trace.events[index + 1], ev.Mark)


def next_state(run: TraceRun, trace: Trace, index: int) -> tuple[int, Snapshot] | None:
    """Return the next quiet recorded state from event `index` on, and the event after its mark."""
    for later in range(index, len(trace.events)):
        phase = phase_begun(trace.events[later])
        if phase in run.states and not is_torn(trace, later):
            state = state_at(run, phase, trace.events, later)
            if is_at_rest(state):
                return later + 1, state
    return None


def is_at_rest(state: Snapshot) -> bool:
    """Return whether a state shows no operation under way: no lock held, no balance work running.

    A state that does not tell is taken to be at rest.
    """
    told = state.globals
    free = not int(told.get("pcpu_lock", "0"), 16) and told.get("mutex_owner", "free") == "free"
    return free and "running" not in told.get("work", "idle").split(",")


def compare_state(run: TraceRun, phase: str, replay: Replay, index: int) -> SnapshotReport:
    """Compare the model with the state recorded at mark `index`."""
    kernel = state_at(run, phase, replay.events, index)
    found = list(state_differences(replay.model, kernel))
    counts = Counter(difference.what for difference in found)
    probed = replay.plan.probed_from < len(replay.events)
    return SnapshotReport(
        phase=phase,
        torn=is_torn(replay.plan.trace, index) or not is_at_rest(kernel),
        compared=True,
        differences=[difference._asdict() for difference in found[:SHOWN]],
        counts={what: counts[what] for what in WHAT if counts[what]},
        undetermined=() if probed else ("populated", "counters", "globals"),
    )

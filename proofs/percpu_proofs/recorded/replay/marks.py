"""What stands beside the events of a run: the kernel's release, and its state at marked moments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from percpu_proofs.recorded.replay.addresses import addressed
from percpu_proofs.recorded.replay.replay import Replay
from percpu_proofs.recorded.replay.report import SHOWN, SnapshotReport
from percpu_proofs.recorded.source import lines_of
from percpu_proofs.recorded.states.comparison import StateDifference, counted, differences
from percpu_proofs.recorded.states.saved_state import read_state
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.recorded.states.text import read_snapshot
from percpu_proofs.recorded.traces.events import Mark, TraceEvent
from percpu_proofs.recorded.traces.reader import Trace, TraceRun
from percpu_proofs.run.inputs import TraceError

_RELEASE = re.compile(r"(?:Linux version|^kernel) (\d+)\.(\d+)(\S*)")
_BEGIN = re.compile(r"snap:([^:]+):begin")


def kernel_release(run: TraceRun) -> str:
    """Return the release of the recorded kernel, as its boot messages or state files name it.

    Nothing if the run has neither. Raises TraceError if none of them names it.
    """
    for path in (run.boot, *run.states.values()):
        if path is not None and (release := release_in(path)):
            return release
    if run.boot is None and not run.states:
        return ""
    raise TraceError(f"{run.boot}: expected a line 'Linux version ...' of the boot")


def release_in(path: Path) -> str:
    """Return the release that boot messages or a state name, or nothing."""
    found = (_RELEASE.search(line) for _, line in lines_of(path))
    return next((f"{match[1]}.{match[2]}{match[3]}" for match in found if match), "")


def with_sizes(run: TraceRun) -> TraceRun:
    """Return a run whose layout a recorded state tells, where no boot messages do."""
    if run.sizes is not None or not run.states:
        return run
    phase = run.given or next(iter(run.states))
    return replace(run, sizes=read_state(run.states[phase]).snapshot.geometry)


def state_at(run: TraceRun, phase: str, events: Sequence[TraceEvent], index: int) -> Snapshot:
    """Return the state of a phase, taken before event `index`, with the trace's addresses."""
    return addressed(read_snapshot(run.states[phase], run.geometry), events, index)


def types_of_chunks(run: TraceRun) -> dict[int, int]:
    """Return the type of every chunk that a recorded state shows, by its address."""
    found: dict[int, int] = {}
    events = run.trace.events
    moments = {phase_begun(event): index for index, event in enumerate(events)}
    for phase in run.states:
        snapshot = state_at(run, phase, events, moments.get(phase, 0))
        lists = snapshot.nr_slots // snapshot.chunk_types
        for chunk in snapshot.chunks():
            found[chunk.base_addr] = max(chunk.slot, 0) // lists
    return found


def phase_begun(event: TraceEvent) -> str:
    """Return the phase whose state begins to be read at an event, or nothing."""
    match = _BEGIN.fullmatch(event.text) if isinstance(event, Mark) else None
    return match[1] if match else ""


def torn(trace: Trace, index: int) -> bool:
    """Return whether percpu events happened while the state of mark `index` was read."""
    return index + 1 < len(trace.events) and not isinstance(trace.events[index + 1], Mark)


def next_state(run: TraceRun, trace: Trace, index: int) -> tuple[int, Snapshot] | None:
    """Return the next quiet recorded state from event `index` on, and the event after its mark."""
    for later in range(index, len(trace.events)):
        phase = phase_begun(trace.events[later])
        if phase in run.states and not torn(trace, later):
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


def compared(run: TraceRun, phase: str, replay: Replay, index: int) -> SnapshotReport:
    """Compare the model with the state recorded at mark `index`."""
    kernel = state_at(run, phase, replay.events, index)
    found = list(differences(replay.model, kernel))
    probed = replay.plan.probed_from < len(replay.events)
    return SnapshotReport(
        phase=phase,
        torn=torn(replay.plan.trace, index) or not is_at_rest(kernel),
        compared=True,
        differences=[_shown(difference) for difference in found[:SHOWN]],
        counts={what: n for what, n in counted(found).items() if n},
        undetermined=() if probed else ("populated", "counters", "globals"),
    )


def _shown(difference: StateDifference) -> dict[str, str]:
    return {
        "what": difference.what,
        "chunk": f"{difference.chunk:x}" if difference.chunk else "",
        "detail": difference.detail,
    }

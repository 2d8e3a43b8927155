"""A state given beside a trace: that it is one, and one of the boot in which the trace was taken.

A state of another boot says nothing of the trace: what differs then is no fault of the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from percpu_proofs.recorded.replay.addresses import uses
from percpu_proofs.recorded.replay.marks import phase_begun, release_in, state_at
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.states.saved_state import is_state
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.recorded.states.stats_text import is_stats
from percpu_proofs.recorded.traces.events import Alloc, TraceEvent, is_plain
from percpu_proofs.recorded.traces.reader import TraceRun
from percpu_proofs.run.inputs import InputError, TraceError, read_text
from percpu_spec.counts import counted

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
    release = release_in(path)
    for beside in (run.boot, *run.states.values()):
        booted = release_in(beside) if beside is not None else ""
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
    placed = sum(isinstance(e, Alloc) for e in events[at : run.trace.lines.index(line, at)])
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


def _vouched(state: Snapshot, events: Sequence[TraceEvent]) -> bool:
    chunks = {chunk.base_addr: chunk for chunk in state.chunks()}
    used = {base: of for base, of in uses(events, 0).items() if base in chunks}
    freed = [(chunks[base], off) for base in used for off, in_use in used[base].items() if in_use]
    known = sum(off in chunk.areas for chunk, off in freed)
    return any(map(is_plain, used)) or known > len(freed) - known

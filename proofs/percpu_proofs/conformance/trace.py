"""`conform trace`: is the model the kernel, on a recorded run?"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from percpu_reference.variants import DEFAULT, VARIANTS, Allocator

from percpu_proofs.conformance.actors import Allocation
from percpu_proofs.conformance.compare import Difference, counted, differences
from percpu_proofs.conformance.replay import Replay
from percpu_proofs.conformance.report import (
    SHOWN,
    Mismatch,
    SnapshotReport,
    Timing,
    TraceReport,
    Undetermined,
)
from percpu_proofs.conformance.requests import Place, Plan, Request, make_plan
from percpu_proofs.conformance.restore import empty, restored
from percpu_proofs.conformance.search import Inferred, Search
from percpu_proofs.conformance.timing import Contradiction
from percpu_proofs.conformance.watched import watched
from percpu_proofs.traces.events import (
    Alloc,
    Area,
    CreateChunk,
    Depopulated,
    Free,
    Mark,
    Populated,
    TraceError,
)
from percpu_proofs.traces.reader import Run, Trace, read_run
from percpu_proofs.traces.snapshot import Snapshot, read_snapshot
from percpu_proofs.traces.source import lines_of

Progress = Callable[[int, int], None]

_RELEASE = re.compile(r"(?:Linux version|^kernel) (\d+)\.(\d+)(\S*)")
_SNAP = re.compile(r"snap:([^:]+):(begin|end)")
_DEPOPULATES = (5, 14)  # the first kernel with partial depopulation and one chunk type
_TAKEN = (Alloc, Area, Free, Populated, Depopulated)  # what changes the state
_INPUTS = (
    "the order in which areas were taken and freed",
    "size, alignment, flags and reservation of each request",
    "addresses of new chunks",
    "populations and creations that failed",
)


def conform_trace(
    path: Path | str, *, variant: str = DEFAULT, progress: Progress | None = None
) -> TraceReport:
    """Replay a recorded run and compare every outcome with the kernel's.

    `path` is the folder of a run, or a trace in it. `progress` is called with events done and
    events in all. Raises TraceError for input that cannot be read whole.
    """
    began = time.perf_counter()
    run = read_run(Path(path))
    report = _Comparison(run, variant, progress).report()
    report.seconds = time.perf_counter() - began
    return report


class _Comparison:
    """One run under comparison: results by the event they belong to."""

    def __init__(self, run: Run, variant: str, progress: Progress | None) -> None:
        if variant not in VARIANTS:
            raise TraceError(f"variant {variant}: expected one of " + ", ".join(VARIANTS))
        self.run = run
        self.variant = watched(VARIANTS[variant])
        self.progress = progress
        self.kernel = _kernel(run)
        self.out = TraceReport(run.name, self.kernel, variant, "", _INPUTS)
        self.served: dict[int, tuple[bool, int]] = {}  # placed as expected; start hints equal
        self.states: dict[str, SnapshotReport] = {}
        self.unasked: dict[int, bool] = {}  # by the event at which balance work entered

    def report(self) -> TraceReport:
        """Return what the comparison finds."""
        out = self.out
        events = self.run.trace.events
        out.allocations = sum(isinstance(e, Alloc) for e in events)
        major, minor = map(int, self.kernel.split(".")[:2])
        if (major, minor) < _DEPOPULATES:
            out.waiting = (
                f"recorded on Linux {major}.{minor}, whose allocator has two chunk types and no "
                "partial depopulation; it waits for the variant linux_5_12"
            )
            return out
        model, trace, live = self._begin()
        plan = make_plan(trace, live)
        out.frees = sum(isinstance(e, Free) for e in trace.events)
        compared = sum(isinstance(e, Alloc) for e in trace.events)
        everything = sum(isinstance(e, Free) for e in events) + out.allocations
        out.skipped = everything - out.frees - compared
        out.allocations = compared
        search = Search(plan, self._observe, self.progress)
        index = 0
        while True:
            found = search.run(model, index)
            if found is None:
                break
            self._unexplained(plan, found)
            again = self._next_state(plan, found.index)
            if again is None:
                break
            index, snapshot = again
            model = restored(self.variant, snapshot)
        if self.progress is not None:
            self.progress(len(trace.events), len(trace.events))
        self._conclude(plan, search)
        return out

    # where to begin

    def _begin(self) -> tuple[Allocator, Trace, set[Place]]:
        """Return the first state, the events that follow it, and the areas live in it."""
        run, trace = self.run, self.run.trace
        first = next((e for e in trace.events if isinstance(e, Alloc | CreateChunk)), None)
        if isinstance(first, Alloc) and (first.t is None or (first.off == 0 and not run.states)):
            self.out.start = "an empty first chunk"
            return empty(self.variant, run.geometry, first.base), trace, set()
        for index, event in enumerate(trace.events):
            phase = _begins(event)
            if phase in run.states and not _torn(trace, index):
                snapshot = read_snapshot(run.states[phase], run.geometry)
                self.out.start = f"the recorded state {phase}"
                rest = Trace(trace.path, trace.events[index + 1 :], trace.lines[index + 1 :])
                live = {Place(c.base_addr, off) for c in snapshot.chunks() for off in c.areas}
                return restored(self.variant, snapshot), rest, live
        raise TraceError(
            f"{trace.path}: expected the allocations made before tracing began (lines with pre, or "
            "pretrace_gdb.jsonl beside the trace), or a state recorded during it, to begin from"
        )

    def _next_state(self, plan: Plan, index: int) -> tuple[int, Snapshot] | None:
        """Return the next quiet recorded state after an event, and the event to go on with."""
        for later in range(index, len(plan.trace.events)):
            phase = _begins(plan.trace.events[later])
            if phase in self.run.states and not _torn(plan.trace, later):
                snapshot = read_snapshot(self.run.states[phase], self.run.geometry)
                return later + 1, snapshot
        return None

    # what happens

    def _observe(self, replay: Replay) -> None:
        def served(request: Request, done: Allocation) -> None:
            self.served[request.index] = (
                done.outcome == request.expected,
                sum(a == b for a, b in zip(done.attempts, request.attempts, strict=False)),
            )

        def mark(index: int, text: str) -> None:
            match = _SNAP.fullmatch(text)
            if match and match[2] == "begin" and match[1] in self.run.states:
                torn = _torn(replay.plan.trace, index)
                self.states[match[1]] = self._compared(match[1], torn, replay)

        def entered(index: int, asked: bool) -> None:
            self.unasked[index] = not asked

        replay.on_served = served
        replay.on_mark = mark
        replay.on_entered = entered

    def _compared(self, phase: str, torn: bool, replay: Replay) -> SnapshotReport:
        snapshot = read_snapshot(self.run.states[phase], self.run.geometry)
        found = list(differences(replay.model, snapshot))
        probed = replay.plan.probed_from < len(replay.events)
        return SnapshotReport(
            phase=phase,
            torn=torn,
            compared=True,
            differences=[_shown(d) for d in found[:SHOWN]],
            counts={what: n for what, n in counted(found).items() if n},
            undetermined=() if probed else ("populated", "counters", "globals"),
        )

    def _unexplained(self, plan: Plan, found: Contradiction) -> None:
        event = plan.trace.events[min(found.index, len(plan.trace.events) - 1)]
        line = plan.trace.lines[min(found.index, len(plan.trace.lines) - 1)]
        self.out.mismatches.append(Mismatch(line, event.t, found.kind, found.detail))

    # the report

    def _conclude(self, plan: Plan, search: Search) -> None:
        out = self.out
        requests = plan.requests
        for request in requests:
            placed, hints = self.served.get(request.index, (False, 0))
            if request.expected is None:
                out.failures += 1
                out.failures_matched += placed
            else:
                out.placed += placed
            out.start_hints += len(request.attempts)
            out.start_hints_matched += hints
        out.unasked_work = sum(self.unasked.values())
        for event in plan.trace.events:
            phase = _begins(event)
            if phase in self.run.states:
                missing = SnapshotReport(phase, torn=False, compared=False)
                out.snapshots.append(self.states.get(phase, missing))
        out.replays = search.replays
        out.timings = [_timing(plan, i) for i in search.inferred.values()]
        out.undetermined = _undetermined(plan, search)


def _kernel(run: Run) -> str:
    """Return the release of the recorded kernel, as its boot messages or state files name it."""
    for path in (run.boot, *run.states.values()):
        for _, line in lines_of(path):
            if match := _RELEASE.search(line):
                return f"{match[1]}.{match[2]}{match[3]}"
    raise TraceError(f"{run.boot}: expected a line 'Linux version ...' of the boot")


def _begins(event: object) -> str:
    """Return the phase whose state begins to be read at an event, or nothing."""
    match = _SNAP.fullmatch(event.text) if isinstance(event, Mark) else None
    return match[1] if match and match[2] == "begin" else ""


def _torn(trace: Trace, index: int) -> bool:
    """Return whether percpu events happened while the state of mark `index` was read."""
    return index + 1 < len(trace.events) and not isinstance(trace.events[index + 1], Mark)


def _shown(difference: Difference) -> dict[str, str]:
    return {
        "what": difference.what,
        "chunk": f"{difference.chunk:x}" if difference.chunk else "",
        "detail": difference.detail,
    }


_MOMENTS = {
    "work": "balance work begins",
    "gap": "balance work takes pcpu_lock again",
    "area": "an allocation takes its area",
    "search": "an allocation finds no room and creates a chunk",
}


def _timing(plan: Plan, inferred: Inferred) -> Timing:
    lines = plan.trace.lines
    moment = inferred.moment
    at = moment.at if moment.kind in ("work", "gap") else inferred.before
    return Timing(
        what=_MOMENTS[moment.kind],
        earliest_line=lines[min(max(at, 0), len(lines) - 1)],
        before_line=lines[min(inferred.before, len(lines) - 1)],
        because=inferred.because,
    )


def _undetermined(plan: Plan, search: Search) -> list[Undetermined]:
    """Return what the trace leaves open, with what was assumed."""
    probed = [c for c in search.taken.values() if c.before >= plan.probed_from]
    silent = [c for c in search.taken.values() if c.before < plan.probed_from]
    found = [
        Undetermined(
            "moments of the balance work between two of its events, with other work in between",
            sum(c.before > c.since for c in probed),
            "taken just before the later one",
        ),
        Undetermined(
            "runs of the balance work whose moment and pages no event shows",
            sum(c.moment.kind == "work" for c in silent),
            "taken at once after being asked for, but as inferred where that cannot be",
        ),
        Undetermined(
            "requests whose place among those of other CPUs no event shows",
            sum(_unordered(plan, request) for request in plan.requests),
            "taken where they are printed, but as inferred where that cannot be",
        ),
    ]
    return [one for one in found if one.count]


def _unordered(plan: Plan, request: Request) -> bool:
    """Return whether operations of other CPUs lie between a request's print and its CPU's last."""
    events = plan.trace.events
    cpu = events[request.index].cpu
    if request.area >= 0 or cpu is None:
        return False
    between = (events[i] for i in range(plan.before[request.index] + 1, request.index))
    return any(isinstance(event, _TAKEN) and event.cpu not in (cpu, None) for event in between)

"""`conform trace`: is the model the kernel, on a recorded run?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType

from percpu_contracts.contract import Level
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.recorded.replay.actors import Call, model_at_boot, model_in_state
from percpu_proofs.recorded.replay.event_checks import (
    EventChecks,
    add_up,
    charge_mismatches,
    count_failures,
    nearest,
    timings,
    unchecked_charges,
    undetermined,
)
from percpu_proofs.recorded.replay.holders import Holders
from percpu_proofs.recorded.replay.marks import (
    compare_state,
    kernel_release,
    next_state,
    phase_begun,
    types_of_chunks,
    with_sizes,
)
from percpu_proofs.recorded.replay.replay import Replay
from percpu_proofs.recorded.replay.report import (
    EventMismatch,
    Loss,
    PartReport,
    ReplayStretch,
    SnapshotReport,
    TraceReport,
    Undetermined,
)
from percpu_proofs.recorded.replay.requests import AreaAddress, TracePlan, TraceRequest, make_plan
from percpu_proofs.recorded.replay.search import OrderSearch
from percpu_proofs.recorded.replay.states_beside import check_given, check_vouched, with_marks
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import Trace, TraceRun, between_losses, read_run
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.runner import Progress, Sample, merge_verdicts, verdicts
from percpu_proofs.run.state_record import checksum
from percpu_reference.variants import DEFAULT, Allocator, of_release, variant_class
from percpu_spec.gfp import allow_blocking

Look = Callable[[int, int, Allocator], None]
"""Is given behind how many events of how many (holders.py) an allocator stands, and it."""

_INPUTS = (
    "the order in which areas were taken and freed",
    "size, alignment, flags and reservation of each request",
    "addresses of new chunks",
    "when balance work ran, as far as events show it",
    "populations and creations that failed",
)
TAIL = 100  # events before a loss that operations may have overtaken whose events are lost
_TYPE_INPUT = "the type of chunk that each request asked for, from the chunk that it got"


def conform_trace(
    path: Path | str,
    *,
    variant: str | type[Allocator] | None = None,
    contracts: Level = "off",
    sizes: Mapping[str, str] | None = None,
    state: Path | None = None,
    at: int | None = None,
    look: Look | None = None,
    progress: Progress | None = None,
) -> TraceReport:
    """Replay a recorded run and compare every outcome with the kernel's.

    `path` is the folder of a run, or a trace in it; `sizes` by name are for what the boot messages
    there leave open; `state` a state taken while the trace ran. Without variant it is that of the
    recorded kernel. With contracts the run found is replayed once more under them. `at`: who holds
    memory is told as of so many events.
    `look` is called with what the replay stands at behind these events (all, without `at`), and
    before that behind one event less; not at all where no replay gets there. `progress` is called
    with events done and events in all.

    A replay begins at boot or in a state, and after lost events in the next state. Of events that
    none comes before, those are checked alone (event_checks.py). Raises InputError for an `at` to
    look at that is behind the trace's end, TraceError for input that cannot be read whole and for a
    given state of another boot (states_beside.py), UnknownVariantError for an unknown variant.
    """
    began = time.perf_counter()
    run = read_run(Path(path), sizes, state)
    check_given(run)
    run = with_marks(with_sizes(run))
    release = kernel_release(run)
    variant = variant or (of_release(release) if release else None) or DEFAULT
    allocator = variant if isinstance(variant, type) else variant_class(variant)
    name = variant if isinstance(variant, str) else variant.__name__
    if allocator.chunk_types > 1 and run.sizes is not None:  # charging tells the types apart
        run = replace(run, sizes=replace(run.sizes, memcg=True))
    report = TraceReport(run.name, release or "not told", name, "", _INPUTS, contracts)
    _Comparison(run, allocator, report, progress, at, look).compare()
    check_vouched(run, report)
    report.seconds = time.perf_counter() - began
    return report


@dataclass
class _Comparison:
    """One run under comparison: results by the event they belong to."""

    run: TraceRun
    variant: type[Allocator]
    out: TraceReport
    progress: Progress | None
    at: int | None
    look: Look | None
    states: dict[str, SnapshotReport] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)  # populated pages of a unit, by event
    alone: list[range] = field(default_factory=list)  # events that no state comes before
    types: dict[int, int] = field(default_factory=dict)  # of chunks, by address

    def __post_init__(self) -> None:
        self.holders = Holders(self.run, self.at)
        self._begin_anew(0)

    def _begin_anew(self, offset: int) -> None:
        """Forget what belongs to one stretch, before the one that begins at event `offset`."""
        self.offset = offset
        self.first_state: Snapshot | None = None  # that the replay begins in, if not at boot
        self.first_base = 0  # address of the first chunk
        self.until = len(self.run.trace.events)  # the first event that could not be explained
        self.served: dict[int, tuple[bool, int]] = {}  # placed as expected; start hints equal
        self.unasked: dict[int, bool] = {}  # by the event at which balance work entered

    def compare(self) -> None:
        """Fill the report."""
        out, trace = self.out, self.run.trace
        out.allocations = _count(trace, ev.Alloc)
        out.failed = count_failures(trace)
        same_kind = of_release(out.kernel) if self.run.boot or self.run.states else None
        types = variant_class(same_kind).chunk_types if same_kind else 0
        if self.run.sizes is not None and types != self.variant.chunk_types:
            out.waiting = (
                f"Linux {out.kernel} keeps other types of chunks than {out.variant} does; "
                f"compare it with {same_kind or 'a variant of its own'}"
            )
            return
        if self.variant.chunk_types > 1 and self.run.sizes is not None:
            out.inputs += (_TYPE_INPUT,)
            self.types = types_of_chunks(self.run)
        out.allocations = 0
        out.lost = [
            Loss(trace.lines[i], event.cpu, event.missing)
            for i, event in enumerate(trace.events)
            if isinstance(event, ev.Lost)
        ]
        begin = 0
        for start, end in between_losses(trace.events):
            self.alone.append(range(begin, start))
            begin = self._stretch(start, end)
        self.alone.append(range(begin, len(trace.events)))
        self._check_alone()
        out.mismatches += charge_mismatches(self.run)
        out.undetermined += unchecked_charges(self.run)
        out.skipped = _count(trace, ev.Alloc | ev.Free) - out.frees - out.allocations
        units = self.run.sizes.units if self.run.sizes is not None else 0
        out.memory = [Sample(at, n, n * units) for at, n in sorted(self.memory.items())]
        if self.run.unplaced:
            what = f"the moment of states {', '.join(self.run.unplaced)}"
            out.undetermined.append(Undetermined(what, len(self.run.unplaced), "not compared"))
        out.who = self.holders.report()
        if self.progress is not None:
            self.progress(len(trace.events), len(trace.events))

    def _stretch(self, start: int, end: int) -> int:
        """Compare the events [start, end), of which none is missing, from the first state on.

        Return where that ended: before a loss earlier, at an event that lost ones may explain.
        """
        whole = self.run.trace
        self._begin_anew(start)
        begun = self._begin(whole.part(start, end))
        if begun is None:
            self.alone.append(range(start, end))
            return end
        begins_from, trace, live = begun
        self.offset = end - len(trace.events)
        plan = make_plan(trace, live, self.types)
        search = OrderSearch(plan, self._observe, self._done)
        lossy = max(len(trace.events) - TAIL, 1) if end < len(whole.events) else None
        cut = self._search(plan, search, lossy)
        if cut is not None:
            return self._stretch(start, self.offset + cut)
        self.alone.append(range(start, self.offset))
        out = self.out
        out.start = out.start or begins_from
        first, last = (trace.lines[0], trace.lines[-1]) if trace.lines else (0, 0)
        out.stretches.append(ReplayStretch(first, last, begins_from, len(trace.events)))
        self.holders.begins(self.offset, self.first_state)
        out.frees += _count(trace, ev.Free)
        out.allocations += _count(trace, ev.Alloc)
        self._conclude(plan, search)
        if self.look is not None:
            self._look(plan, search, self.look)
        if out.contracts != "off":
            self._check(plan, search)
        return end

    def _check_alone(self) -> None:
        """Check what no replay reaches, as far as the events tell of each other."""
        out = self.out
        skipped = [index for part in self.alone for index in part]
        if not out.stretches:
            which = "at rest " if self.run.states else ""
            out.start = f"no state: none {which}was recorded before these events, and they are not "
            out.start += "of boot"
        if not skipped or (not out.lost and out.stretches and skipped[-1] < self.offset):
            return  # events before the first state, which it vouches for
        out.partly = PartReport()
        out.mismatches += EventChecks(self.run.trace, self.run.sizes, out.partly).check(skipped)

    # where to begin

    def _begin(self, trace: Trace) -> tuple[str, Trace, set[AreaAddress]] | None:
        """Return a first state that is known, the events that follow it, and the areas live in it.

        None if there is none.
        """
        run = self.run
        opening = (e for e in trace.events if isinstance(e, ev.Alloc | ev.CreateChunkEvent))
        first = next(opening, None)
        if self.offset == 0 and run.sizes is not None and isinstance(first, ev.Alloc) and (
            first.t is None or (first.off == 0 and not run.states)
        ):  # fmt: skip
            self.first_base = first.base
            return "an empty first chunk", trace, set()
        found = next_state(run, trace, 0)
        if found is None:
            return None
        index, state = found
        self.first_state = state
        live = {AreaAddress(c.base_addr, off) for c in state.chunks() for off in c.areas}
        return f"the recorded state {state.phase}", trace.part(index), live

    def _first_model(self, contracts: Level) -> Allocator:
        if self.first_state is not None:
            return model_in_state(self.variant, self.first_state, contracts)
        return model_at_boot(self.variant, self.run.geometry, self.first_base, contracts)

    # what happens

    def _search(self, plan: TracePlan, search: OrderSearch, lossy: int | None) -> int | None:
        """Replay to the end; after an event that finds no explanation, from the next state on.

        Return the first such event from `lossy` on, if there is one, and none before.
        """
        model, index = self._first_model("off"), 0
        while True:
            found = search.run(model, index)
            if found is None:
                return None
            if lossy is not None and found.index >= lossy and not self.out.mismatches:
                return found.index
            at = min(found.index, len(plan.trace.events) - 1)
            self.until = min(self.until, at)
            self._mismatch(plan, at, found.kind, found.detail, search)
            again = next_state(self.run, plan.trace, found.index)
            if again is None:
                return None
            index, snapshot = again
            model = model_in_state(self.variant, snapshot)

    def _observe(self, replay: Replay) -> None:
        def served(request: TraceRequest, done: Call) -> None:
            self.served[request.index] = (
                done.outcome == request.expected,
                sum(a == b for a, b in zip(done.attempts, request.attempts, strict=False)),
            )

        def mark(index: int, text: str) -> None:
            phase = phase_begun(replay.events[index])
            if phase in self.run.states:
                self.states[phase] = compare_state(self.run, phase, replay, index)

        def entered(index: int, asked: bool) -> None:
            self.unasked[index] = not asked

        replay.on_served = served
        replay.on_mark = mark
        replay.on_entered = entered

    def _done(self, replay: Replay) -> None:
        """Note the memory in use, and tell how far the replay is."""
        self.memory[self.offset + replay.index] = replay.model.nr_populated
        if self.progress is not None and self.out.contracts == "off":
            self.progress(self.offset + replay.index, len(self.run.trace.events))

    def _look(self, plan: TracePlan, search: OrderSearch, look: Look) -> None:
        """Replay the run that was found up to the wanted event, and show what stands there."""
        events = self.run.trace.events
        numbers = [i for i, e in enumerate(events) if not isinstance(e, ev.Mark | ev.Lost)]
        at = len(numbers) if self.at is None else self.at
        if at > len(numbers):
            raise InputError("--at", None, f"at most {len(numbers)}, the trace's events", str(at))
        last = numbers[at - 1] if at else -1
        if not self.offset <= last + 1 <= self.offset + self.until:
            return
        replay = Replay(self._first_model("off"), plan, 0, search.order)
        while self.offset + replay.index <= last:
            if self.offset + replay.index == last:
                look(at - 1, len(numbers), replay.model)
            replay.step()
        look(at, len(numbers), replay.model)

    def _check(self, plan: TracePlan, search: OrderSearch) -> None:
        """Replay the run that was found under contracts; it is the same, event for event."""
        model = self._first_model(self.out.contracts)
        monitor = model.monitor
        assert monitor is not None
        replay = Replay(model, plan, 0, search.order)
        total = len(plan.trace.events)
        step = max(total // 100, 1)
        try:
            while replay.index < min(self.until, total):
                replay.step()
                if self.progress is not None and replay.index % step == 0:
                    self.progress(replay.index, total)
            # whatever the level, the last state is judged whole
            monitor.judge(model, quiescent=model.quiescent and not monitor.history.concurrent)
        except ClauseViolation as error:
            self.out.stopped_by = error.clause
        self.out.checked += replay.index
        found = verdicts(monitor, lambda number: plan.trace.lines[number - 1])
        self.out.clauses = merge_verdicts(self.out.clauses, found)

    # the report

    def _conclude(self, plan: TracePlan, search: OrderSearch) -> None:
        out = self.out
        for request in plan.requests:
            placed, hints = self.served.get(request.index, (False, 0))
            if request.expected is None:
                out.failures += 1
                out.failures_matched += placed
            else:
                out.placed += placed
            if allow_blocking(request.gfp) == request.atomic:
                detail = f"atomic={int(request.atomic)} in the kernel, by its flags not"
                self._mismatch(plan, request.index, "flags", detail)
            out.start_hints += len(request.attempts)
            out.start_hints_matched += hints
        out.unasked_work += sum(self.unasked.values())
        for event in plan.trace.events:
            phase = phase_begun(event)
            if phase in self.run.states:
                missing = SnapshotReport(phase, torn=False, compared=False)
                out.snapshots.append(self.states.get(phase, missing))
        out.replays += search.replays
        out.timings += timings(plan, search)
        out.undetermined = add_up(out.undetermined, undetermined(plan, search))
        if search.final is not None:
            out.final_checksum = checksum(search.final.model)

    def _mismatch(
        self, plan: TracePlan, index: int, kind: str, detail: str, search: OrderSearch | None = None
    ) -> None:
        line, t = plan.trace.lines[index], plan.trace.events[index].t
        found = EventMismatch(line, t, kind, detail)
        if search is not None:
            found.tried, found.nearest = len(search.attempts), nearest(plan, search)
        self.out.mismatches.append(found)


def _count(trace: Trace, kinds: type | UnionType) -> int:
    return sum(isinstance(event, kinds) for event in trace.events)

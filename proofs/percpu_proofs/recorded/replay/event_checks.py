"""Checks of events alone, without a state; what failed in a trace; what a trace leaves open.

Events that no replay reaches are checked alone. A replay assumes the moments that no event shows;
which were assumed or inferred is told here too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from percpu_proofs.recorded.replay.moves import UNSET, MomentMove
from percpu_proofs.recorded.replay.report import (
    EventMismatch,
    PartReport,
    Timing,
    TriedOrder,
    Undetermined,
)
from percpu_proofs.recorded.replay.requests import TracePlan, TraceRequest
from percpu_proofs.recorded.replay.search import OrderSearch
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import Trace, TraceRun, between_losses
from percpu_proofs.run import failures
from percpu_proofs.run.failures import FailureCount, Failures, FirstFailure
from percpu_spec.counts import counted
from percpu_spec.geometry import Geometry

NEAREST = 3  # orders shown for an event that none explains
_TAKEN = (ev.Alloc, ev.AllocArea, ev.Free, ev.Populated, ev.Depopulated)  # what changes the state
_MOMENTS = {
    "work": "balance work begins, or takes pcpu_lock again",
    "call": "an allocation searches, or marks its failure",
    "again": "an allocation searches in vain, before a chunk comes up",
    "creator": "another allocation creates the chunk",
}
_IMAGE = 1 << 31  # where percpu symbols begin at 0 (x86-64), these are pointers into the image
BEFORE = "there before these events"
UNSEEN = "its creation is missing"
CREATED = "created in the trace: vmalloc memory, not the kernel's linear map"
FIRST = "the first chunk: pointers into it are offsets in the unit of boot"
RESERVED = "the reserved chunk"
_VECTORS = (0, 4, 8)  # bytes to a granule of a pointer to an object's owner, 0 without cgroups
UNTOLD = f"{failures.CREATE}, or {failures.POPULATE} (the event does not tell which)"
_CHUNKS = 3  # told of that had one address after another


def nearest(plan: TracePlan, search: OrderSearch) -> list[TriedOrder]:
    """Return the orders that came nearest to explaining the last contradiction."""
    trace = plan.trace
    return [
        TriedOrder(
            [_move_words(move, trace) for move in moves],
            trace.line_at(found.index), found.kind, found.detail,
        )
        for moves, found in search.nearest(NEAREST)
    ]  # fmt: skip


def _move_words(move: MomentMove, trace: Trace) -> str:
    what = _MOMENTS[move.moment.kind]
    if move.before == UNSET:
        return f"{what} as assumed at first"
    if move.moment.kind == "creator":
        return what
    return f"{what} before line {trace.line_at(move.before)}"


def timings(plan: TracePlan, search: OrderSearch) -> Iterator[Timing]:
    """Yield the moments that were inferred, with the lines they stand for."""
    for moment, (before, because) in search.inferred.items():
        assumed, found = map(plan.trace.line_at, (moment.at, before))
        yield Timing(_MOMENTS[moment.kind], assumed, found, because)


def undetermined(plan: TracePlan, search: OrderSearch) -> list[Undetermined]:
    """Return what the trace leaves open, with what was assumed."""
    work = [c for c in search.choices.values() if c.moment.kind == "work"]
    probed = [c for c in work if c.before >= plan.probed_from]
    silent = [c for c in work if c.before < plan.probed_from]
    found = [
        Undetermined(
            "moments of the balance work between two of its events, with other work in between",
            sum(c.before > c.since for c in probed),
            "taken just before the later one",
        ),
        Undetermined(
            "runs of the balance work whose moment and pages no event shows",
            len({c.moment.at for c in silent}),
            "taken at once after being asked for, but as inferred where that cannot be",
        ),
        Undetermined(
            "requests whose place among those of other CPUs no event shows",
            sum(_unordered(plan, request) for request in plan.requests),
            "taken where they are printed, but as inferred where that cannot be",
        ),
    ]
    return [one for one in found if one.count]


def add_up(one: list[Undetermined], other: list[Undetermined]) -> list[Undetermined]:
    """Return what two stretches of a trace leave open, the same things counted together."""
    counts = Counter[tuple[str, str]]()
    for each in (*one, *other):
        counts[each.what, each.assumed] += each.count
    return [Undetermined(what, count, assumed) for (what, assumed), count in counts.items()]


def _unordered(plan: TracePlan, request: TraceRequest) -> bool:
    """Return whether operations of other CPUs lie between a request's print and its CPU's last."""
    events = plan.trace.events
    cpu = events[request.index].cpu
    if request.area >= 0 or cpu is None:
        return False
    between = (events[i] for i in range(plan.before[request.index] + 1, request.index))
    return any(isinstance(event, _TAKEN) and event.cpu not in (cpu, None) for event in between)


class _Life(Enum):
    """What is known of a chunk's life. CREATED: all its areas were allocated in the events."""

    UNTOLD = 0
    CREATED = 1
    DESTROYED = 2


@dataclass(slots=True)
class _Chunk:
    """What is known of a chunk: areas in use by offset, and offsets known to be freed.

    A loss takes nothing of what is reported of it: where it comes from, and its allocations.
    """

    origin: str = BEFORE
    life: _Life = _Life.UNTOLD
    allocations: int = 0
    lowest: int = 0  # offset of them
    ended: bool = False  # destroyed, be it before a loss
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # off: (bytes, pointer)
    offsets: list[int] = field(default_factory=list)  # of areas in use, in order
    freed: set[int] = field(default_factory=set)

    def over(self, off: int, size: int) -> int | None:
        """Return the offset of an area in use that some of these bytes lie in, if there is one."""
        place = bisect_left(self.offsets, off)
        near = self.offsets[max(place - 1, 0) : place + 1]
        return next((o for o in near if o < off + size and off < o + self.sizes[o][0]), None)

    def forget(self, life: _Life) -> None:
        """Forget the areas, and whatever else was known of its life."""
        self.life = life
        for known in (self.sizes, self.offsets, self.freed):
            known.clear()

    def __str__(self) -> str:
        lowest = "the lowest " if self.allocations > 1 else ""
        made = counted(self.allocations, "allocation")
        return f"{self.origin}; {made}, {lowest}at offset {self.lowest}"


class EventChecks:
    """Checks events that follow one another, nothing of them missing, without a state."""

    def __init__(self, trace: Trace, geometry: Geometry | None, out: PartReport) -> None:
        self.trace = trace
        self.unit = geometry.unit if geometry is not None else None
        self.out = out
        self.problems: list[EventMismatch] = []
        # by address: the chunks that had it, in order
        self.chunks: defaultdict[int, list[_Chunk]] = defaultdict(lambda: [_Chunk()])

    def check(self, indexes: Iterable[int]) -> list[EventMismatch]:
        """Return what contradicts the events before it.

        Where events may be missing, as around a loss and behind those that are compared otherwise,
        all is unknown again.
        """
        whole = {
            index: start
            for start, end in between_losses(self.trace.events) for index in range(start, end)
        }  # fmt: skip
        before = -1
        for index in indexes:
            event = self.trace.events[index]
            if index != before + 1 or index not in whole or whole[index] != whole.get(before):
                for chunks in self.chunks.values():
                    chunks[-1].forget(_Life.UNTOLD)
            before = index
            self.out.events += not isinstance(event, ev.Lost)
            match event:
                case ev.Alloc():
                    self._allocated(index, event)
                case ev.Free():
                    self._freed(index, event)
                case ev.Fail():
                    self.out.failures += 1
                case ev.CreateChunkEvent() if event.base != ev.UNKNOWN:
                    self._created(index, event.base)
                case ev.DestroyChunkEvent() if event.base != ev.UNKNOWN:
                    self._destroyed(index, event.base)
                case _:
                    pass
        for base, chunks in self.chunks.items():
            if used := [one for one in chunks if one.allocations]:
                self.out.chunks[f"{base:x}"] = _in_order(used)
        return self.problems

    def _wrong(self, index: int, kind: str, detail: str) -> None:
        t = self.trace.events[index].t
        self.problems.append(EventMismatch(self.trace.lines[index], t, kind, detail))

    def _created(self, index: int, base: int) -> None:
        chunk = self.chunks[base][-1]
        if chunk.sizes:
            detail = f"chunk {base:x} created with {counted(len(chunk.sizes), 'area')} in it"
            self._wrong(index, "chunk", detail)
        elif chunk.life is _Life.CREATED:
            self._wrong(index, "chunk", f"chunk {base:x} created, and is there since its creation")
        self.chunks[base].append(_Chunk(CREATED, _Life.CREATED))

    def _destroyed(self, index: int, base: int) -> None:
        chunk = self.chunks[base][-1]
        if chunk.life is _Life.DESTROYED:
            self._wrong(index, "chunk", f"chunk {base:x} destroyed, and is gone already")
        elif chunk.sizes:
            detail = f"chunk {base:x} destroyed with {counted(len(chunk.sizes), 'area')} in it"
            self._wrong(index, "chunk", detail)
        elif chunk.origin in (FIRST, RESERVED) and not chunk.ended:
            what = chunk.origin.partition(":")[0]
            detail = f"chunk {base:x} destroyed: it is {what}, which stays (RCL-2, RCL-5)"
            self._wrong(index, "chunk", detail)
        chunk.ended = True
        chunk.forget(_Life.DESTROYED)

    def _there(self, index: int, base: int, done: str) -> _Chunk:
        """Return the chunk of an area, after a report if it is gone: then another is there."""
        chunk = self.chunks[base][-1]
        if chunk.life is _Life.DESTROYED:
            detail = f"{done} in chunk {base:x}, which is destroyed and not created again"
            self._wrong(index, "chunk", detail)
        if chunk.ended:
            self.chunks[base].append(_Chunk(UNSEEN))
        return self.chunks[base][-1]

    def _allocated(self, index: int, event: ev.Alloc) -> None:
        self.out.allocations += 1
        off, size = event.off, event.size
        if off % max(event.align, ev.GRANULE):
            self._wrong(index, "alignment", f"offset {off} is no multiple of {event.align}")
        if size <= 0 or size % ev.GRANULE or (self.unit and off + size > self.unit):
            bound = f" in a unit of {self.unit}" if self.unit else ""
            self._wrong(index, "bounds", f"{size} bytes at offset {off}{bound}")
        if event.base == ev.UNKNOWN:
            return
        self.out.hashed |= 0 < event.base < ev.HASHES
        chunk = self._there(index, event.base, "an allocation")
        of_boot = event.base >= ev.HASHES and event.ptr < (self.unit or _IMAGE)
        if of_boot and chunk.origin != CREATED:
            chunk.origin = RESERVED if event.reserved else FIRST
        chunk.lowest = min(chunk.lowest, off) if chunk.allocations else off
        chunk.allocations += 1
        over = chunk.over(off, size)
        if over is not None:
            detail = f"{event.base:x}+{off}, {size} bytes: in use since an allocation at +{over}"
            self._wrong(index, "double placement", detail)
        if off not in chunk.sizes:
            chunk.offsets.insert(bisect_left(chunk.offsets, off), off)
        chunk.sizes[off] = size, event.ptr
        if size < ev.GRANULE * len(chunk.freed):
            chunk.freed.difference_update(range(off, off + size, ev.GRANULE))
        else:
            chunk.freed = {o for o in chunk.freed if not off <= o < off + size}

    def _freed(self, index: int, event: ev.Free) -> None:
        self.out.frees += 1
        if event.base == ev.UNKNOWN:
            return
        chunk, off = self._there(index, event.base, "a free"), event.off
        place = f"{event.base:x}+{off}"
        known = chunk.sizes.pop(off, None)
        if known is not None:
            self.out.frees_known += 1
            del chunk.offsets[bisect_left(chunk.offsets, off)]
            if event.ptr != known[1]:
                detail = f"{place} has pointer {event.ptr:x}, allocated {known[1]:x}"
                self._wrong(index, "pointer", detail)
        elif off in chunk.freed:
            self._wrong(index, "free", f"{place}: free already, or events are lost")
        elif (over := chunk.over(off, 1)) is not None:
            self._wrong(index, "free", f"{place}: inside an area in use, allocated at +{over}")
        elif chunk.life is _Life.CREATED:
            detail = f"{place}: never allocated in this chunk, whose creation was seen"
            self._wrong(index, "free", detail)
        chunk.freed.add(off)


def _in_order(chunks: list[_Chunk]) -> str:
    """Return what is told of the chunks that had an address, one after the other."""
    shown = [str(one) for one in chunks[-_CHUNKS:]]
    more = len(chunks) - len(shown)
    first = [f"{counted(more, 'earlier chunk')} of this address"] if more else []
    return "; then ".join([*first, *shown])


def charge_mismatches(run: TraceRun) -> Iterator[EventMismatch]:
    """Yield the allocations whose bytes_alloc does not follow from their size and the CPUs.

    Source: pcpu_obj_full_size (mm/percpu-internal.h), trace_percpu_alloc_percpu (from 5.19 on).
    """
    if run.sizes is None:
        return
    cpus = run.sizes.cpus
    for line, event in zip(run.trace.lines, run.trace.events, strict=True):
        if not isinstance(event, ev.Alloc) or event.bytes_alloc is None:
            continue
        plain, granules = event.size * cpus, -(-event.size // ev.GRANULE)
        if event.bytes_alloc not in [plain + granules * pointer for pointer in _VECTORS]:
            detail = (
                f"{event.bytes_alloc} bytes for {event.size} on {cpus} CPUs: expected {plain}, or "
                f"{plain + granules * _VECTORS[-1]} with the vector of owners"
            )
            yield EventMismatch(line, event.t, "bytes_alloc", detail)


def unchecked_charges(run: TraceRun) -> list[Undetermined]:
    """Return what is left open where no layout tells the number of CPUs."""
    told = sum(isinstance(e, ev.Alloc) and e.bytes_alloc is not None for e in run.trace.events)
    if run.sizes is not None or not told:
        return []
    what = "bytes_alloc of allocations, as no layout tells how many CPUs there are"
    return [Undetermined(what, told, "not checked")]


def count_failures(trace: Trace) -> Failures:
    """Return what failed in a trace, whether or not it could be replayed."""
    counts = FailureCount()
    for number, event in enumerate(trace.events):
        if not isinstance(event, ev.Alloc | ev.Fail):
            continue
        flags = "A" * event.atomic + "R" * event.reserved or "-"
        counts.requests[event.size, event.align, flags] += 1
        if isinstance(event, ev.Alloc):
            continue
        reason = (
            failures.RESERVED if event.reserved else failures.ATOMIC if event.atomic else UNTOLD
        )
        counts.failures[event.size, event.align, flags, reason] += 1
        text = f"size={event.size} align={event.align} atomic={int(event.atomic)}"
        first = FirstFailure(number + 1, trace.lines[number], text, reason)
        counts.first = counts.first or first
    return counts.result()

"""What a trace says that callers asked for: allocations with their lock order, and no more.

An allocation is printed after the fact, together with its outcome. The outcome is kept apart from
the request (`expected`), for comparison only; the model never sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.events import GRANULE, model_flags
from percpu_proofs.recorded.traces.reader import PLACED, Trace
from percpu_spec.gfp import ACCOUNT


class MapSearch(NamedTuple):
    """One search of a chunk's map: chunk address, bits, alignment and start hint in bits."""

    base: int
    bits: int
    align: int
    start: int

    def __str__(self) -> str:
        return f"chunk {self.base:x}, {self.bits} bits aligned {self.align} from bit {self.start}"


class AreaAddress(NamedTuple):
    """Where an area lies: chunk address and byte offset."""

    base: int
    off: int


def area_words(place: AreaAddress | None) -> str:
    """Return a place in words.

    >>> area_words(AreaAddress(0xFF00, 8)), area_words(None)
    ('ff00+8', 'failure')
    """
    return "failure" if place is None else f"{place.base:x}+{place.off}"


def search_words(ours: Sequence[MapSearch], theirs: Sequence[MapSearch]) -> str:
    """Return the first search in which two rows differ, in words.

    >>> search_words([MapSearch(0xFF00, 2, 1, 8)], [])
    'search 1: chunk ff00, 2 bits aligned 1 from bit 8, kernel none'
    """
    pairs = enumerate(zip_longest(ours, theirs, fillvalue="none"), 1)
    number, (a, b) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return f"search {number}: {a}, kernel {b}"


@dataclass(slots=True)
class TraceRequest:
    """An allocation as asked for, sizes in bytes, and what the kernel made of it."""

    index: int = -1  # the event that prints it; -1 if the trace ends before
    size: int = 0
    align: int = 0
    reserved: bool = False
    atomic: bool = False
    gfp: int = 0
    expected: AreaAddress | None = None  # None: it failed
    attempts: tuple[MapSearch, ...] = ()  # the kernel's searches, where they were probed
    area: int = -1  # the event of the first of them, -1 if there is none
    creates: int = -1  # the event of the chunk that it made, as probes show, -1 if none
    population_fails: bool = False

    @property
    def key(self) -> int:
        """An event that is this request's alone."""
        return self.area if self.area >= 0 else self.index


PROBED = tuple(form.record for form in ev.FORMS if form.op.startswith("k_"))
"""Events that a kernel prints only where probes are set."""

LOOSE = 1000  # events by which an operation may have been overtaken
_BY_HOLDER = (*(kind for kind in PROBED if kind is not ev.BalanceEntry), ev.Free)
"""Events between which pcpu_lock was released, if they follow the listing of a new chunk: others
take it, or who has the mutex goes on without it."""


@dataclass(slots=True)
class TracePlan:
    """The operations of a trace by the events that tell of them."""

    trace: Trace
    visible_from: dict[type[ev.TraceEvent], int]  # the event, of the kinds that probes print
    probed_from: int  # first event of the probes; as many as events if there are none
    printed: dict[int, TraceRequest] = field(default_factory=dict)  # by printing event
    searches: dict[int, TraceRequest] = field(default_factory=dict)  # by each of their `area`
    # by the event of the chunk made; None: the work
    creators: dict[int, TraceRequest | None] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)  # events `farea` of failed populations
    before: list[int] = field(default_factory=list)  # the event before on the same CPU or task
    unasked: set[int] = field(default_factory=set)  # entries of the work that no order asks for

    @property
    def requests(self) -> list[TraceRequest]:
        """All requests whose outcome was printed, in the order of printing."""
        return list(self.printed.values())

    def shows(self, kind: type[ev.TraceEvent], index: int) -> bool:
        """Return whether the trace has every event of a kind from event `index` on."""
        if kind in PROBED:
            return index >= self.visible_from.get(kind, len(self.trace.events))
        return True

    def earliest(self, index: int) -> int:
        """Return an event before which the operation printed by event `index` has not begun.

        Its CPU, and interrupts of its own task, may have done anything else since it has.
        """
        return max(index - LOOSE, 0)

    def latest(self, index: int) -> int:
        """Return an event before which the operation printed by event `index` is over."""
        return min(index + LOOSE, len(self.trace.events))

    def after_search(self, request: TraceRequest, index: int) -> tuple[int, int]:
        """Return events, from `index` on, between which the search that found an area ends.

        They are the return from it and what the CPU, which still holds pcpu_lock, prints next.
        """
        events = self.trace.events
        if request.area < 0:  # nothing shows it
            return index, index
        cpu, end = events[request.area].cpu, len(events)
        of_cpu = (i for i in range(index, end) if events[i].cpu == cpu)
        for returned in of_cpu:
            event = events[returned]
            if isinstance(event, ev.AreaReturn) and event.off >= 0:
                return returned + 1, next(of_cpu, end)
        return end, end

    def blocking(self, index: int) -> Iterator[TraceRequest]:
        """Yield the requests printed after an event that may sleep and show no search."""
        for later in range(index + 1, len(self.trace.events)):
            request = self.printed.get(later)
            if request is not None and request.area < 0 and not request.atomic:
                yield request

    def next_at(self, place: AreaAddress, index: int) -> TraceRequest | None:
        """Return the next request after an event that the kernel gave a place to."""
        for later in range(index + 1, min(index + 20000, len(self.trace.events))):
            request = self.printed.get(later)
            if request is not None and request.expected == place:
                return request
        return None

    def before_next_chunk(self, index: int) -> int:
        """Return the event after the last sleeping request before a chunk comes or goes."""
        last = index
        for later in range(index, len(self.trace.events)):
            if isinstance(self.trace.events[later], ev.CreateChunkEvent | ev.DestroyChunkEvent):
                break
            request = self.printed.get(later)
            if request is not None and not request.atomic:
                last = later
        return last + 1


def make_plan(
    trace: Trace, live: set[AreaAddress], types: Mapping[int, int] | None = None
) -> TracePlan:
    """Link the events of each allocation, and check that every free names a live area.

    `live` are the areas handed out before the first event; `types` the types of chunks by address,
    where the kernel has several: a request is taken for one that asked for the type it got.

    Raises TraceError for a free of what is not allocated, and for probes that do not pair up.
    """
    events = trace.events
    visible: dict[type[ev.TraceEvent], int] = {}
    placed = len(events)  # where the guest says that all probes are in place
    for index, event in enumerate(events):
        if isinstance(event, PROBED):
            inside = isinstance(event, ev.Relocate) and isinstance(
                events[index - 1], ev.AllocArea | ev.AreaFree
            )
            visible.setdefault(type(event), index - inside)
        elif isinstance(event, ev.Mark) and PLACED in event.text:
            placed = min(placed, index)
    first = min(visible.values(), default=len(events))
    if placed == len(events):
        placed = first
    visible = {kind: min(index, placed) for kind, index in visible.items()}
    plan = TracePlan(trace, visible, first)
    _Linker(plan, events, set(live), types or {}).run()
    return plan


@dataclass(slots=True)
class _Linker:
    """State of one pass over the events."""

    plan: TracePlan
    events: Sequence[ev.TraceEvent]
    live: set[AreaAddress]
    types: Mapping[int, int]
    entered: dict[int | None, tuple[int, ev.AllocArea]] = field(default_factory=dict)  # by CPU
    attempts: dict[int | None, list[tuple[int, MapSearch]]] = field(default_factory=dict)
    created: dict[int, int] = field(default_factory=dict)  # by base: events of chunks not listed
    listed: tuple[int, int | None] = (-1, None)  # chunk listed last under the lock, and the CPU
    made: dict[int | None, int] = field(default_factory=dict)  # by CPU: made for the coming area
    freed: tuple[int, AreaAddress] = (-1, AreaAddress(0, 0))  # the last event `farea`
    taken: dict[AreaAddress, TraceRequest] = field(default_factory=dict)  # areas not printed yet
    unpopulated: list[TraceRequest] = field(default_factory=list)  # freed before they were printed
    last: dict[tuple[str, int | None], int] = field(default_factory=dict)

    def run(self) -> None:
        for index, event in enumerate(self.events):
            key = ("pid", event.pid) if event.pid is not None else ("cpu", event.cpu)
            self.plan.before.append(self.last.get(key, -1))
            self.last[key] = index
            listed, self.listed = self.listed, (-1, None)
            match event:
                case ev.AllocArea():
                    if listed[1] == event.cpu:
                        self.made[event.cpu] = listed[0]
                    self.entered[event.cpu] = index, event
                case ev.CreateChunkEvent():
                    if self.plan.shows(ev.Relocate, index):
                        self.created[event.base] = index
                case ev.Relocate():
                    if event.oslot == -1 and event.base in self.created:
                        self.listed = self.created.pop(event.base), event.cpu
                        self.plan.creators[self.listed[0]] = None  # but for an area that follows
                case ev.AreaReturn():
                    self.end_search(index, event)
                case ev.Alloc():
                    self.link_alloc(index, event)
                case ev.Fail():
                    self.link_fail(index, event)
                case ev.AreaFree():
                    self.withdraw(index, event)
                case ev.Free():
                    self.link_free(index, event)
                case _:
                    pass
            if not isinstance(event, _BY_HOLDER):
                self.listed = listed  # no sign that the lock was released

    def end_search(self, index: int, event: ev.AreaReturn) -> None:
        """Close one search; a successful one opens an area that waits for its print."""
        begun = self.entered.pop(event.cpu, None)
        if begun is None:
            raise self.plan.trace.problem(index, "an entry of pcpu_alloc_area before its return")
        at, area = begun
        searches = self.attempts.setdefault(event.cpu, [])
        wanted = MapSearch(area.base, area.bits, area.align, area.start)
        if searches and (searches[-1][1].bits, searches[-1][1].align) != (area.bits, area.align):
            searches.clear()
        searches.append((at, wanted))
        if event.off >= 0:
            place = AreaAddress(area.base, event.off)
            request = self.taken[place] = TraceRequest(
                size=area.bits * GRANULE,
                align=area.align * GRANULE,
                expected=place,
                creates=self.made.pop(event.cpu, -1),
            )
            self.attach_searches(request, event.cpu)

    def attach_searches(self, request: TraceRequest, cpu: int | None) -> None:
        """Give a request the searches that its CPU made for it."""
        searches = self.attempts.pop(cpu)
        request.attempts = tuple(search for _, search in searches)
        request.area = searches[0][0]
        self.plan.searches.update((index, request) for index, _ in searches)

    def link_alloc(self, index: int, event: ev.Alloc) -> None:
        place = AreaAddress(event.base, event.off)
        if place in self.live:
            got = f"base={event.base:x} off={event.off}"
            raise self.plan.trace.problem(index, "an area that is not live yet", got)
        self.live.add(place)
        request = self.taken.pop(place, None) or TraceRequest(expected=place)
        self.complete(request, index, event)

    def link_free(self, index: int, event: ev.Free) -> None:
        place = AreaAddress(event.base, event.off)
        if self.freed[1] == place:
            self.plan.withdrawn.discard(self.freed[0])
        if place not in self.live:
            got = f"base={event.base:x} off={event.off}"
            raise self.plan.trace.problem(index, "the offset of a live area", got)
        self.live.remove(place)

    def link_fail(self, index: int, event: ev.Fail) -> None:
        unpopulated = self.unpopulated and not event.atomic
        request = self.unpopulated.pop(0) if unpopulated else TraceRequest()
        self.complete(request, index, event)
        request.expected = None
        if self.attempts.get(event.cpu) and not request.attempts:
            self.attach_searches(request, event.cpu)

    def complete(self, request: TraceRequest, index: int, event: ev.Alloc | ev.Fail) -> None:
        request.index = index
        request.size, request.align = event.size, event.align
        request.reserved, request.atomic = event.reserved, event.atomic
        request.gfp = model_flags(getattr(event, "gfp", None), event.atomic)
        if event.atomic:
            request.creates = -1  # it found the lock free behind the work, which made the chunk
        elif request.creates >= 0:
            self.plan.creators[request.creates] = request
        if isinstance(event, ev.Alloc) and self.types.get(event.base):
            request.gfp |= ACCOUNT
        self.plan.printed[index] = request

    def withdraw(self, index: int, event: ev.AreaFree) -> None:
        """Note an area given back before it was printed: its population failed."""
        place = AreaAddress(event.base, event.off)
        self.freed = index, place
        self.plan.withdrawn.add(index)  # until its print tells that a caller freed it
        request = self.taken.pop(place, None)
        if request is not None:
            request.population_fails = True
            self.unpopulated.append(request)

"""Drives the model through a recorded run, event by event.

The model decides every placement by itself. Taken from the trace are: the order in which locks were
taken, as far as events show it; sizes, alignments and flags; the addresses of new chunks; which
populations and creations failed; and when the balance work ran, as far as events show it. What they
leave open is a Moment, see work.py and search.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from percpu_proofs.conformance.actors import MAKE, POPULATE, Allocation, fits, kind_of, shown
from percpu_proofs.conformance.requests import Place, Plan, Request, shown_place, shown_searches
from percpu_proofs.conformance.timing import Choice, Contradiction, Moment
from percpu_proofs.conformance.watched import Watched
from percpu_proofs.conformance.work import WorkReplay
from percpu_proofs.traces import events as ev
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

_AHEAD = 30  # earlier beginnings of a search that are tried


class Replay(WorkReplay):
    """One attempt at a run, from an event on, under assumed timings."""

    def __init__(self, model: Allocator, plan: Plan, index: int, delays: dict[Moment, int]) -> None:
        """Start with `model` in the state before event `index`, nothing in progress."""
        super().__init__(model, plan, index, delays)
        self.holder: Allocation | None = None  # the allocation that stands in a gap
        self.finished: set[int] = set()  # printing events of requests that are served already
        self.due: dict[int, list[Moment]] = {}  # what begins earlier than its event, by time
        for moment, before in delays.items():
            if moment.kind in ("area", "search"):
                self.due.setdefault(before, []).append(moment)
        self.on_served: Callable[[Request, Allocation], None] = lambda request, done: None
        self.on_mark: Callable[[int, str], None] = lambda index, text: None
        self.by_base: dict[int, Chunk] = {}
        self.monitor = model.monitor
        model.place_chunk = lambda: self.base
        self._handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.Alloc: self._printed,
            ev.Fail: self._printed,
            ev.Free: self._free,
            ev.Area: self._area,
            ev.AreaFree: self._withdrawn,
            ev.CreateChunk: self._create,
            ev.DestroyChunk: self.destroyed,
            ev.PopulateCall: self._populate_call,
            ev.Populated: self._populated,
            ev.Depopulated: self.depopulated,
            ev.Balance: self.entered,
            ev.BalanceFree: self.freeing,
            ev.BalanceReturn: self.left,
            ev.Relocate: self.relisted,
            ev.Mark: lambda event: self.on_mark(self.index, event.text),
        }

    @property
    def idle(self) -> bool:
        """Whether nothing is in progress: the state can be copied."""
        return not self._in_progress() and not self.finished

    def step(self) -> None:
        """Take the next event. Raises Contradiction if the model cannot have produced it."""
        index = self.index
        if self.monitor is not None:
            self.monitor.operation = index + 1
            if not self._in_progress():
                self.monitor.history.concurrent = False
        for moment in self.due.get(index, ()):
            self._early(moment)
        event = self.events[index]
        handler = self._handlers.get(type(event))
        if handler is not None:
            self.taking = 1
            handler(event)
            self.taking = 0
        self.index = index + 1
        if self.work.steps is not None or self.model.work_pending or self.work.asked >= 0:
            self.settle()
        if self.finished and not self.may_ask:
            model = self.model
            floats = map(model.float_of, range(model.chunk_types))
            self.may_ask = min(floats) < model.empty_low

    def _in_progress(self) -> bool:
        """Return whether an operation stands in a gap, the balance work before its start too."""
        return self.work.steps is not None or self.work.entered >= 0 or self.holder is not None

    def _mingle(self) -> None:
        """Tell the contracts that an operation begins while another is in progress."""
        if self.monitor is not None and self._in_progress():
            self.monitor.history.concurrent = True

    def _early(self, moment: Moment) -> None:
        """Begin a request before the event that tells of it."""
        if moment.kind == "area":
            self._serve(self.plan.printed[moment.at])
            return
        request = self.plan.next_blocking(moment.at)
        if request is None or self.holder is not None:
            self.wrong("create_chunk", "no request to begin earlier")
        allocation = self._begin(request)
        if allocation.gap is None or kind_of(allocation.gap) != MAKE:
            self.wrong("create_chunk", f"allocation: {shown(allocation.gap)}")

    # requests

    def _area(self, event: ev.Area) -> None:
        request = self.plan.begun.get(self.index)
        if request is not None:
            self._serve(request)

    def _printed(self, event: ev.Alloc | ev.Fail) -> None:
        index = self.index
        request = self.plan.printed[index]
        if index in self.finished:
            self.finished.discard(index)
        elif self.holder is not None and self.holder.request is request and request.area >= 0:
            self.wrong("population", f"allocation stands at {shown(self.holder.gap)}")
        else:
            self._serve(request)
            self.finished.discard(index)

    def _serve(self, request: Request) -> None:
        """Run a request as far as it goes: to its end, or to a gap that an event will end.

        The event that ends a population is the request's print, where no probe tells.
        """
        allocation = self.holder
        if allocation is not None and allocation.request is request:
            self._advance(allocation)  # its chunk has been created
        else:
            allocation = self._begin(request)
        if allocation.gap is not None and kind_of(allocation.gap) == MAKE:
            if request.expected is not None:
                self.wrong("allocation", f"stands at {shown(allocation.gap)}")
            self.model.env.vm_fault.next = 1  # no chunk was created, and the request failed
            self._advance(allocation)

    def _begin(self, request: Request) -> Allocation:
        """Start a request; it runs to its end or to its first gap."""
        if not request.atomic:
            self._take_mutex()
        self._mingle()
        allocation = Allocation(
            request,
            self.model.alloc_percpu(request.size, request.align, request.reserved, request.gfp),
        )
        self._advance(allocation)
        return allocation

    def _advance(self, allocation: Allocation) -> None:
        """Run an allocation on, past what no event ends."""
        request = allocation.request
        cast(Watched, self.model).attempts = allocation.attempts
        allocation.seen = False
        try:
            while True:
                gap = next(allocation.steps)
                kind = kind_of(gap)
                if kind == MAKE:
                    break
                if kind == POPULATE:
                    if request.area >= 0 or self.index < request.index:
                        break
                    if request.expected is None:
                        self.model.env.page_fault.next = 1
        except StopIteration as stop:
            allocation.gap = None
            allocation.done = True
            if self.holder is allocation:
                self.holder = None
            if self.monitor is not None:
                cast(Watched, self.model).allocated(request.size, stop.value)
            if stop.value is not None:
                chunk, off = stop.value
                allocation.outcome = Place(chunk.base_addr, off)
            if request.index >= 0:
                self.finished.add(request.index)
            self._compare(allocation)
        else:
            allocation.gap = gap
            self.holder = allocation

    def _compare(self, allocation: Allocation) -> None:
        request = allocation.request
        if allocation.outcome != request.expected:
            self.wrong(
                "placement",
                f"{shown_place(allocation.outcome)}, kernel {shown_place(request.expected)}",
                self._overtaken(allocation.outcome),
            )
        if request.attempts and tuple(allocation.attempts) != request.attempts:
            self.wrong("start hint", shown_searches(allocation.attempts, request.attempts))
        self.on_served(request, allocation)

    def _overtaken(self, place: Place | None) -> tuple[Choice, ...]:
        """Return as remedy: the request that the kernel gave this place to came first."""
        other = None if place is None else self.plan.next_at(place, self.index)
        if other is None or other.area >= 0:
            return ()
        index = self.index
        moment = Moment("area", other.index)
        return tuple(Choice(moment, before) for before in range(index, max(index - 4, -1), -1))

    def _take_mutex(self) -> None:
        """Let the balance work finish if nothing keeps it, so that the mutex is free."""
        self.settle()
        if self.work.steps is not None:
            self.wake()
        if not self.model.alloc_mutex:
            return
        by_work = self.work.steps is not None
        keeper = self.work.gap if by_work or self.holder is None else self.holder.gap
        remedies: tuple[Choice, ...] = ()
        if by_work and not self.probed():
            remedies = (Choice(self.work.moment, self.plan.before_next_chunk(self.index)),)
        self.wrong("mutex", f"held by work that stands at {shown(keeper)}", remedies)

    def _withdrawn(self, event: ev.AreaFree) -> None:
        """Let a population fail whose area is freed again; a caller's free has its own event."""
        holder = self.holder
        if holder is not None and holder.request.population_fails and self._awaits_pages(holder):
            self.model.env.page_fault.next = 1
            self._advance(holder)

    def _awaits_pages(self, allocation: Allocation) -> bool:
        return allocation.gap is not None and kind_of(allocation.gap) == POPULATE

    def _free(self, event: ev.Free) -> None:
        chunk = self.by_base.get(event.base)
        if chunk is None:
            self.by_base = {chunk.base_addr: chunk for chunk in self.model.chunks()}
            chunk = self.by_base.get(event.base)
            if chunk is None:
                self.wrong("free", f"no chunk at {event.base:x}")
        self._mingle()
        self.model.free((chunk, event.off))

    # chunks and pages that a request or the balance work asked for

    def _create(self, event: ev.CreateChunk) -> None:
        self.base = event.base
        self.by_base.pop(event.base, None)
        if self._by_work(event):
            self.wake()
            gap = self.work.gap
            if gap is None or kind_of(gap) != MAKE:
                self.wrong("create_chunk", f"balance work: {shown(gap)}", self.later_work())
            self.event_seen()
            return
        holder = self.holder
        if holder is None:
            request = self.plan.next_blocking(self.index)
            if request is None:
                self.wrong("create_chunk", "nothing asks for one", self.later_work())
            try:
                holder = self._begin(request)
            except Contradiction as other:
                raise self._no_creator(other.detail) from None
        if holder.gap is None or kind_of(holder.gap) != MAKE:
            raise self._no_creator(f"allocation: {shown(holder.gap)}")
        holder.seen = True

    def _by_work(self, event: ev.CreateChunk) -> bool:
        """Return whether the balance work made a chunk, and not an allocation."""
        gap = self.work.gap
        if gap is not None and kind_of(gap) == MAKE:
            return True
        if self.work.entered < 0:
            return False
        for later in range(self.index + 1, len(self.events)):
            following = self.events[later]
            if following.cpu == event.cpu and not isinstance(following, ev.Relocate):
                return not isinstance(following, ev.Area)
        return True

    def _no_creator(self, detail: str) -> Contradiction:
        """Return the error for a new chunk that no request needs, unless it looked earlier."""
        index = self.index
        earliest = self.plan.before[index] + 1
        earlier = sorted({earliest, *range(max(earliest, index - _AHEAD), index)})
        remedies = [Choice(Moment("search", index), before) for before in earlier]
        return Contradiction(index, "create_chunk", detail, (*self.later_work(), *remedies))

    def _populate_call(self, event: ev.PopulateCall) -> None:
        if self.holder is None:
            self.wake()

    def _populated(self, event: ev.Populated) -> None:
        holder = self.holder
        if holder is None or holder.gap is None or kind_of(holder.gap) != POPULATE:
            self.work_populated(event)
            return
        if not fits(holder.gap, event.base, event.start, event.end):
            self.wrong("population", f"allocation: {shown(holder.gap)}")
        self._advance(holder)

"""Drives the model through a recorded run, event by event.

The model decides every placement by itself. Taken from the trace are: the order in which locks were
taken, as far as events show it; sizes, alignments and flags; the addresses of new chunks; which
populations and creations failed; and when the balance work ran, as far as events show it. What they
leave open is a Moment, see work.py and search.py. Where relocations are recorded, the model must
make the same ones in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from percpu_proofs.recorded.replay.actors import Call, Moment, Order, gap_words
from percpu_proofs.recorded.replay.calls import CallReplay
from percpu_proofs.recorded.replay.requests import AreaAddress, TracePlan, TraceRequest
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import FAILED, FREE_LIST, Kind
from percpu_reference.variants import Allocator


class Replay(CallReplay):
    """One attempt at a run, from an event on, in an assumed order."""

    def __init__(self, model: Allocator, plan: TracePlan, index: int, order: Order) -> None:
        super().__init__(model, plan, index, order)
        self.low: set[int] = set()  # those of them that may have found the float low since
        self.freeing: AreaAddress | None = None  # an area that is free already, to be printed
        self.put_off = -1  # the event before which moments wait that were to lie before another
        self.on_mark: Callable[[int, str], None] = lambda index, text: None
        self.by_base: dict[int, Chunk] = {}
        self._handlers: dict[type[ev.TraceEvent], Callable[[Any], None]] = {
            ev.Alloc: self._printed,
            ev.Fail: self._printed,
            ev.Free: self._free,
            ev.AllocArea: self._area,
            ev.AreaFree: self._area_free,
            ev.CreateChunkEvent: self._create,
            ev.DestroyChunkEvent: self.destroy,
            ev.PopulateCall: self._populate_call,
            ev.Populated: self._populated,
            ev.Depopulated: self._locked(self.end_release),
            ev.BalanceEntry: self.enter_work,
            ev.BalanceFree: self._locked(self.free_chunks),
            ev.BalanceReturn: self.leave_work,
            ev.Relocate: self._relocate,
            ev.Mark: lambda event: self.on_mark(self.index, event.text),
        }

    @property
    def idle(self) -> bool:
        """Whether nothing is in progress: the state can be copied."""
        begun = not self.work.done and self.work.steps is not None
        waits = begun or bool(self.calls) or self.freeing is not None
        waits |= self.put_off == self.index  # which no order says
        return not waits and not self.log.relocations

    def step(self) -> None:
        """Take the next event. Raises Contradiction if the model cannot have produced it."""
        index = self.index
        if self.monitor is not None:
            self.monitor.operation = index + 1
            if not self._in_progress():
                self.monitor.history.concurrent = False
        if index in self.due:
            self._take_due(index)
        event = self.events[index]
        handler = self._handlers.get(type(event))
        if handler is not None:
            self.taking = 1
            handler(event)
            self.taking = 0
        self.index = index + 1
        if not self.probed:
            self.settle()
        elif self.finished:
            self._test_float()
        if not self.plan.shows(ev.Relocate, index):
            self.log.relocations.clear()

    def _test_float(self) -> None:
        """Note who may find the float low: up to 6.12 an allocation tests it without a lock, some
        time before its print.
        """
        model = self.model
        if model.TESTS_FLOAT_LOCKED or self.low >= self.finished:
            return
        if min(map(model.float_of, range(model.chunk_types))) < model.empty_low:
            for index in self.finished - self.low:
                self.ask(self.index, index)
            self.low |= self.finished

    def _locked(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return the handler of an event under pcpu_lock, which must find all relocations made."""

        def locked(event: Any) -> None:
            self._relocated()
            handler(event)

        return locked

    def _relocated(self) -> None:
        relocations = self.log.relocations
        if relocations and self.plan.shows(ev.Relocate, self.index):
            base, oslot = relocations[0]
            self.reject("relocation", f"chunk {base:x} from slot {oslot}, by the kernel not")

    def _take_due(self, index: int) -> None:
        """Take the steps that are to lie before this event; not amid those of one lock holder."""
        due = self.due.pop(index)
        if self.probed and self.log.relocations:
            self.due.setdefault(index + 1, []).extend(due)
            self.put_off = index + 1
            return
        for moment in due:
            if moment.kind == "work":
                work = self.work
                while work.at == moment.at and not work.done and work.nth <= moment.nth:
                    silent = self.silent(work)
                    if not (silent or self.may_fail(work)) or not self.possible(work):
                        self.reject("order", f"balance work: {gap_words(work.gap)}")
                    self.choose_here(work, len(self.events))
                    if silent:
                        self.advance(work)
                    else:
                        self.fail(work)
            elif moment.kind in ("call", "again"):
                self._begin_early(moment)

    def _begin_early(self, moment: Moment) -> None:
        """Begin a request, or let it go on, before the event that tells of it."""
        request = self._request_of(moment)
        if request is None:
            self.reject("order", "no request to begin earlier")
        call = self.calls.get(request.key)
        if call is not None:
            if call.nth == moment.nth:
                marks = call.gap is FAILED
                self.choose_here(call, self.plan.latest(request.index) if marks else moment.at)
                self._run(call, due=True)
            return
        if request.index in self.finished:
            return
        call = Call("call", moment.at, request=request, since=self.index)
        self.choose_here(call, moment.at)
        self._begin(call)
        if moment.kind == "again" and call.gap is not FREE_LIST:
            self.reject("order", f"a search in vain: {gap_words(call.gap)}")

    def _request_of(self, moment: Moment) -> TraceRequest | None:
        event = self.events[moment.at]
        if moment.kind == "again":
            return self.plan.searches[moment.at]
        if isinstance(event, ev.CreateChunkEvent):
            return self._creator(moment.at)
        return self.plan.printed.get(moment.at)

    # requests

    def _area(self, event: ev.AllocArea) -> None:
        request = self.plan.searches.get(self.index)
        if request is None:
            return
        call = self.calls.get(request.key)
        if call is None:
            listed = self._makes(request) and request.creates < self.index  # it searched then
            if request.area == self.index and not listed:
                self._relocated()
                self._begin(Call("call", self.index, request=request))
        elif call.gap is FREE_LIST:
            self._relocated()
            self._run(call, due=True)

    def _printed(self, event: ev.Alloc | ev.Fail) -> None:
        index = self.index
        request = self.plan.printed[index]
        if index in self.finished:
            self.finished.discard(index)
            self.low.discard(index)
            return
        call = self.calls.get(request.key)
        if call is None:
            call = Call("call", index, request=request, changes=-1)
            call.since = self.plan.earliest(index)
            if self.changed[-1] > self.plan.before[index] + 1:
                self.choose(call, index)
            self._begin(call)
        elif call.stands(Kind.FLAGS):
            self._run(call)  # unless its mark comes later
        elif self.silent(call):
            self.choose(call, index)
            self._run(call, due=True)
        if call.stands(Kind.CREATE) and request.expected is None:
            self.model.env.vm_fault.next = 1
            self._run(call, due=True)
        if index not in self.finished and not call.stands(Kind.FLAGS):
            self.reject("allocation", f"stands at {gap_words(call.gap)}")
        self.finished.discard(index)
        self.low.discard(index)

    def _area_free(self, event: ev.AreaFree) -> None:
        """Take a free under the lock, or let a population fail whose area is freed again."""
        self._relocated()
        if self.index not in self.plan.withdrawn:
            self.freeing = AreaAddress(event.base, event.off)
            self._give_back(event)
            return
        for call in self.calls.values():
            if call.request.population_fails and call.stands(Kind.FILL):
                self.model.env.page_fault.next = 1
                self._run(call, due=True)
                return
        self.reject("population", "none is under way that could fail")

    def _free(self, event: ev.Free) -> None:
        if self.freeing == (event.base, event.off):
            self.freeing = None
        else:
            self._give_back(event)

    def _give_back(self, event: ev.Free | ev.AreaFree) -> None:
        chunk = self.by_base.get(event.base)
        if chunk is None:
            self.by_base = {chunk.base_addr: chunk for chunk in self.model.chunks()}
            chunk = self.by_base.get(event.base)
            if chunk is None:
                self.reject("free", f"no chunk at {event.base:x}")
        self._mingle()
        self.log.asked = False
        self.model.free((chunk, event.off))
        now = self.note_change()
        if self.log.asked:
            self.log.asked = False
            printed = self.index
            while printed < len(self.events) - 1 and not isinstance(self.events[printed], ev.Free):
                printed += 1
            self.ask(now, self.plan.latest(printed) + 1)

    # chunks and pages that a request or the balance work asked for

    def _create(self, event: ev.CreateChunkEvent) -> None:
        index = self.index
        self.base = event.base
        self.by_base.pop(event.base, None)
        request = self._creator(index)
        if request is None:
            self.work_creates(event)
            return
        call = self.calls.get(request.key)
        if call is None:
            call = Call("call", index, request=request, since=self.unheld, changes=-1)
            if self.changed[-1] > call.since:
                self.choose(call, index)
            self._begin(call)
        if not call.stands(Kind.CREATE) or call.seen:
            self.reject("create_chunk", f"allocation: {gap_words(call.gap)}")
        call.seen = True
        call.since = index + 1

    def _relocate(self, event: ev.Relocate) -> None:
        relocations = self.log.relocations
        if not relocations:
            for call in self.calls.values():
                if event.oslot == -1 and call.seen and event.base == self.base:
                    self._run(call, due=True)
                    break
            else:
                self.work_relocates(event)
        base, oslot = relocations.pop(0)
        if (base, oslot) != (event.base, event.oslot):
            theirs = f"kernel {event.base:x} from {event.oslot}"
            self.reject("relocation", f"chunk {base:x} from slot {oslot}, {theirs}")

    def _populate_call(self, event: ev.PopulateCall) -> None:
        call = self._filling(event)
        if call is None:
            self.begin_population(event)
        else:
            call.seen = True

    def _populated(self, event: ev.Populated) -> None:
        self._relocated()
        call = self._filling(event)
        if call is None:
            self.end_population(event)
        else:
            self._run(call, due=True)

    def _filling(self, event: ev.PagesEvent) -> Call | None:
        """Return the request that stands before a population, the event's; it holds the mutex."""
        call = next((one for one in self.calls.values() if one.stands(Kind.FILL)), None)
        if call is not None and not call.holds(event.base, event.start, event.end):
            self.reject("population", f"allocation: {gap_words(call.gap)}")
        return call

"""The requests of a replay: when each begins, how far it runs, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from percpu_proofs.recorded.replay.actors import Call, Moment, MomentChoice, Order, gap_words
from percpu_proofs.recorded.replay.requests import (
    AreaAddress,
    TracePlan,
    TraceRequest,
    area_words,
    search_words,
)
from percpu_proofs.recorded.replay.work import WorkReplay
from percpu_reference.gaps import DONE, FAILED, FREE_LIST, Gap, Kind
from percpu_reference.variants import Allocator

_CREATORS = 4  # requests that may have made a chunk, where nothing tells


class CallReplay(WorkReplay):
    """The part of a replay that concerns requests."""

    def __init__(self, model: Allocator, plan: TracePlan, index: int, order: Order) -> None:
        super().__init__(model, plan, index, order)
        self.monitor = model.monitor
        self.calls: dict[int, Call] = {}  # the requests that stand in a gap, by key
        self.finished: set[int] = set()  # printing events of requests that are served already
        self.on_served: Callable[[TraceRequest, Call], None] = lambda request, done: None

    def _in_progress(self) -> bool:
        """Return whether an operation stands in a gap, the balance work before its start too."""
        return not self.work.done or bool(self.calls)

    def _mingle(self) -> None:
        """Tell the contracts that an operation begins while another is in progress."""
        if self.monitor is not None and self._in_progress():
            self.monitor.history.concurrent = True

    def _begin(self, call: Call) -> None:
        """Start a request; it runs to its end or to a gap that an event will end."""
        request = call.request
        if not request.atomic:
            self._take_mutex(call)
        self._mingle()
        call.steps = self.model.alloc_percpu(
            request.size, request.align, request.reserved, request.gfp
        )
        self._run(call)
        if self._makes(request) and (not call.stands(Kind.CREATE)):
            self.reject("create_chunk", f"allocation: {gap_words(call.gap)}")

    def _run(self, call: Call, *, due: bool = False) -> None:
        """Run a request on, past what no event ends; `due`: its next step is to be taken."""
        request = call.request
        log = self.log
        log.attempts = call.attempts
        self.calls[request.key] = call
        while due or self._passes(call):
            due = log.asked = False
            gap = call.gap
            result = self.advance(call)
            if log.asked:
                self._asks(request, gap)
            made = tuple(call.attempts)
            if request.attempts and request.attempts[: len(made)] != made:
                self.reject("start hint", search_words(made, request.attempts))
            if call.done:
                self._finish(call, result)
                return

    def _passes(self, call: Call) -> bool:
        """Return whether a request goes on at once from where it stands."""
        gap, request = call.gap, call.request
        if gap is None:
            return call.steps is not None and not call.done
        if gap is FREE_LIST:
            return request.area < 0 or self._makes(request) or request.expected is None
        if gap.kind is Kind.FLAGS:
            if gap is DONE:
                return True
            if self.index < request.index:
                return False  # a failure is printed first
            if not request.atomic:
                return True
            moment = call.moment
            if self.order.get(moment, 0) > self.index + self.taking:
                return False
            if not (self.model.atomic_alloc_failed and self.work.done):
                self.choose(call, self.plan.latest(request.index))
            return True
        if gap.kind is Kind.FILL and self.silent(call):
            if request.expected is None:
                self.model.env.page_fault.next = 1
            return True
        return False

    def _asks(self, request: TraceRequest, gap: Gap | None) -> None:
        """Note the request for work that a request made in the step that left a gap."""
        now = self.index + self.taking
        if gap is DONE:
            until = request.index
        elif gap is FAILED:
            until = self.plan.latest(request.index)
        else:  # it has found an area and still holds pcpu_lock
            now, until = self.plan.after_search(request, now)
        self.ask(now, max(until, now) + 1)

    def _finish(self, call: Call, result: Any) -> None:
        request = call.request
        del self.calls[request.key]
        if self.monitor is not None:
            self.log.allocated(request.size, result)
        if result is not None:
            chunk, off = result
            call.outcome = AreaAddress(chunk.base_addr, off)
        now = self.index + self.taking
        if request.index >= now or request.index == self.index:
            self.finished.add(request.index)
        if call.outcome != request.expected:
            detail = f"{area_words(call.outcome)}, kernel {area_words(request.expected)}"
            self.reject("placement", detail, self._overtaken(call.outcome))
        if request.attempts and tuple(call.attempts) != request.attempts:
            self.reject("start hint", search_words(call.attempts, request.attempts))
        self.on_served(request, call)

    def _overtaken(self, place: AreaAddress | None) -> tuple[tuple[Moment, int], ...]:
        """Return as remedy: the request that the kernel gave this place to came first."""
        other = None if place is None else self.plan.next_at(place, self.index)
        if other is None or other.area >= 0:
            return ()
        index = self.index
        moment = Moment("call", other.index)
        return tuple((moment, before) for before in range(index, max(index - 4, -1), -1))

    def _take_mutex(self, call: Call) -> None:
        """Let the balance work go on as far as nothing keeps it, so that the mutex is free."""
        work = self.work
        while self.model.alloc_mutex and not work.done and work.steps is not None:
            if not self.go_on(work):
                break
        if not self.model.alloc_mutex:
            return
        holder = next((c for c in self.calls.values() if not c.request.atomic), None)
        remedies: list[tuple[Moment, int]] = []
        if holder is None and not self.probed:
            moment = Moment("work", work.at)
            remedies.append((moment, self.plan.before_next_chunk(self.index)))
        gap = work.gap if holder is None else holder.gap
        self.reject("mutex", f"held by work that stands at {gap_words(gap)}", tuple(remedies))

    def _makes(self, request: TraceRequest) -> bool:
        """Return whether a request makes a chunk, as far as probes show."""
        creates = request.creates
        return creates >= 0 and not self.order.get(Moment("creator", creates), 0)

    def _creator(self, index: int) -> TraceRequest | None:
        """Return the request that makes the chunk of an event, None if the balance work does."""
        plan = self.plan
        if index in plan.creators:
            request = plan.creators[index]
            if request is None or self.work.done:
                return request
            # the work may have listed it and ended, with nothing printed before the request began
            moment = Moment("creator", index)
            number = self.order.get(moment, 0)
            self.choices.append(MomentChoice(moment, number, 0, 1))
            return None if number else request
        if self.work.stands(Kind.GROW):
            return None
        for call in self.calls.values():
            if call.stands(Kind.CREATE):
                return call.request
        candidates = list(islice(plan.blocking(index), _CREATORS))
        if not candidates:
            if not self.work.done:
                return None
            self.reject("create_chunk", "nothing asks for one")
        moment = Moment("creator", index)
        number = min(self.order.get(moment, 0), len(candidates) - 1)
        self.choices.append(MomentChoice(moment, number, 0, len(candidates) - 1))
        return candidates[number]

"""The balance work of a replay: when it begins, and when it goes on after a lock drop.

Where events of the work are recorded (probes), a gap ends at its event, and what no event ends
lasts until the next event of the work: it prints that one with pcpu_lock held or right after, so
this is the moment, unless the lock is released once more before. Without probes it begins and goes
on at once; only the coming and going of chunks is recorded then. `delays` overrides both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, cast

from percpu_proofs.conformance.actors import (
    DESTROY,
    MAKE,
    POPULATE,
    RELEASE,
    SILENT,
    Work,
    fits,
    kind_of,
    shown,
)
from percpu_proofs.conformance.requests import Plan
from percpu_proofs.conformance.timing import Choice, Contradiction, Moment
from percpu_proofs.conformance.watched import Watched
from percpu_proofs.traces import events as ev
from percpu_reference.gaps import MUTEX
from percpu_reference.variants import Allocator


class WorkReplay:
    """The part of a replay that concerns the balance work."""

    def __init__(self, model: Allocator, plan: Plan, index: int, delays: dict[Moment, int]) -> None:
        """Start with `model` in the state before event `index`, nothing in progress."""
        self.model = model
        self.plan = plan
        self.events = plan.trace.events
        self.index = index  # the event being taken, or the next one
        self.taking = 0  # 1 while an event is being taken
        self.delays = delays
        self.work = Work()
        self.choices: list[Choice] = []
        self.base = 0  # address of the next chunk
        # an allocation tests the float without a lock, any time between its area and its print
        self.may_ask = False
        self.on_entered: Callable[[int, bool], None] = lambda index, asked: None

    def wrong(self, kind: str, detail: str, remedies: tuple[Choice, ...] = ()) -> NoReturn:
        """Raise Contradiction for the event at hand."""
        raise Contradiction(self.index, kind, detail, remedies)

    def probed(self) -> bool:
        """Return whether the probes were in place at this event."""
        return self.index >= self.plan.probed_from

    def settle(self) -> None:
        """Let the balance work begin or go on where no event keeps it back."""
        work = self.work
        while True:
            if work.steps is None:
                if work.asked < 0:
                    if not self.model.work_pending or self.probed():
                        return
                    work.asked = self.index
                moment = Moment("work", work.asked)
                if self.model.alloc_mutex or not self._allowed(moment, work.asked):
                    return
                self._begin_work()
            elif self._open():
                if not self._allowed(Moment("gap", work.begun, work.nth), work.since):
                    return
                self._run_work()
            else:
                return

    def wake(self) -> None:
        """Run the balance work to where an event is bound to find it."""
        work = self.work
        if work.steps is None and work.asked >= 0 and work.entered >= 0:
            if self.model.alloc_mutex:
                self.wrong("balance work", "the mutex is held")
            self.choices.append(Choice(Moment("work", work.asked), self.index, work.asked))
            self._begin_work()
        while work.steps is not None and self._open():
            moment = Moment("gap", work.begun, work.nth)
            self.choices.append(Choice(moment, self.index, work.since))
            self._run_work()

    def _allowed(self, moment: Moment, since: int) -> bool:
        """Return whether a moment has come without an event that shows it."""
        latest = len(self.events) if self.probed() else 0
        if self.delays.get(moment, latest) > self.index:
            return False
        self.choices.append(Choice(moment, self.index, since))
        return True

    def _open(self) -> bool:
        """Whether the balance work stands in a gap that no coming event is bound to end."""
        gap = self.work.gap
        if gap is None:
            return False
        if gap is MUTEX:
            return not self.model.alloc_mutex
        kind = kind_of(gap)
        if kind in (MAKE, DESTROY):
            return self.work.seen
        return kind == SILENT or not self.probed()

    def _begin_work(self) -> None:
        work = self.work
        # the kernel forgets the request as the work enters, the model as it takes the mutex
        asked_again = self.model.work_pending and work.entered >= 0
        work.moment = Moment("work", work.asked)
        work.steps = self.model.balance_workfn()
        work.begun, work.nth, work.asked = self.index, 0, -1
        self._run_work()
        self.model.work_pending |= asked_again

    def _run_work(self) -> None:
        """Run the balance work to its next gap or its end."""
        work = self.work
        assert work.steps is not None
        work.seen = False
        work.nth += 1
        work.since = self.index + self.taking
        try:
            work.gap = next(work.steps)
        except StopIteration:
            work.stop()
            monitor = self.model.monitor
            if monitor is not None and not monitor.history.concurrent:
                cast(Watched, self.model).balanced()

    def event_seen(self) -> None:
        """Note that the event which ends the gap has come; pcpu_lock is taken some time later."""
        self.work.seen = True
        self.work.since = self.index + 1

    def later_work(self) -> tuple[Choice, ...]:
        """Return as remedies: the last runs of the balance work, begun just before this event."""
        past = [c.moment for c in self.choices[-4:] if c.moment.kind == "work"]
        return tuple(Choice(moment, self.index) for moment in reversed(past))

    # events of the balance work

    def work_populated(self, event: ev.Populated) -> None:
        """Take the event that ends a population by the balance work."""
        self.wake()
        self._expect("population", POPULATE, event.base, event.start, event.end)
        self._run_work()

    def depopulated(self, event: ev.Depopulated) -> None:
        """Take the event that ends a release of pages."""
        self.wake()
        self._expect("release", RELEASE, event.base, event.start, event.end)
        self._run_work()

    def destroyed(self, event: ev.DestroyChunk) -> None:
        """Take the event of a chunk's destruction."""
        self.wake()
        gap = self.work.gap
        start, end = (gap.start, gap.end) if gap is not None else (0, 0)
        self._expect("destroy_chunk", DESTROY, event.base, start, end)
        self.event_seen()

    def _expect(self, what: str, kind: str, base: int, start: int, end: int) -> None:
        gap = self.work.gap
        if gap is None or kind_of(gap) != kind or not fits(gap, base, start, end):
            self.wrong(what, f"balance work: {shown(gap)}", self.later_work())

    def entered(self, event: ev.Balance) -> None:
        """Take the entry of the balance work, which then waits for the mutex."""
        if self.work.steps is not None:
            self.wrong("balance work", f"entered twice: {shown(self.work.gap)}")
        self.on_entered(self.index, self.model.work_pending or self.may_ask)
        self.may_ask = False
        self.model.work_pending = False
        self.work.entered = self.index
        self.work.asked = -1 if self.plan.bfree_probed else self.index + 1

    def freeing(self, event: ev.BalanceFree) -> None:
        """Take the entry of pcpu_balance_free: the work's first act, or its last part."""
        if not event.empty_only:
            if self.model.alloc_mutex:
                self.wrong("balance work", "the mutex is held")
            self._begin_work()
            return
        self.wake()
        self._failed_population()

    def left(self, event: ev.BalanceReturn) -> None:
        """Take the return of the balance work."""
        self.wake()
        self._failed_population()
        if self.work.steps is not None:
            self.wrong("balance work", f"stands at {shown(self.work.gap)} at its end")
        self.work.entered = -1

    def _failed_population(self) -> None:
        """Let a population or creation fail that the work went on without."""
        gap = self.work.gap
        if gap is not None and kind_of(gap) == POPULATE:
            if not self.plan.population_called(self.index):
                self.wrong("population", f"balance work: {shown(gap)}", self.later_work())
            self.model.env.page_fault.next = 1
            self._run_work()
        elif gap is not None and kind_of(gap) == MAKE and not self.work.seen:
            self.model.env.vm_fault.next = 1
            self._run_work()

    def relisted(self, event: ev.Relocate) -> None:
        """Go on where a chunk is listed anew: one just created, or reintegrated by reclaim."""
        work = self.work
        if event.oslot != -1 or work.gap is None:
            return
        kind = kind_of(work.gap)
        if kind == MAKE and work.seen and self.base == event.base:
            self._run_work()
        elif kind == SILENT and fits(work.gap, event.base, work.gap.start, work.gap.end):
            before = self.events[self.plan.before[self.index]]
            if not isinstance(before, ev.AreaReturn):  # else it is by an allocation
                self._run_work()

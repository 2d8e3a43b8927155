"""The balance work of a replay.

Where events of the work are recorded (probes), it is driven from one to the next. Without probes it
begins and goes on at once; only the coming and going of chunks is recorded then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from percpu_proofs.recorded.replay.actors import ReplayActor, Work, shown
from percpu_proofs.recorded.replay.requests import TracePlan
from percpu_proofs.recorded.replay.stage import Stage
from percpu_proofs.recorded.replay.stepper import SearchLog
from percpu_proofs.recorded.replay.timing import Moment, MomentChoice, Order
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.gaps import Kind
from percpu_reference.variants import Allocator

UNASKED = "a request for work"
"""The kind of a contradiction that is passed over where no other order is found."""


class Asking(NamedTuple):
    """A request for balance work: made before one of events [since, until)."""

    since: int
    until: int


class WorkReplay(Stage):
    """The part of a replay that concerns the balance work."""

    def __init__(self, model: Allocator, plan: TracePlan, index: int, order: Order) -> None:
        super().__init__(model, plan, index, order)
        self.work = Work("work", -1, done=True)
        self.asking: list[Asking] = []  # requests that a run of the work may still answer
        self.answered = 0  # the event from which on requests are not answered yet
        self.ended = 0  # the event after which the last run was over
        self.on_entered: Callable[[int, bool], None] = lambda index, asked: None

    def settle(self) -> None:
        """Let the balance work begin or go on where nothing is recorded of it."""
        work = self.work
        if work.done and self.model.work_pending and not self.probed:
            work = self.work = Work("work", self.index, since=self.index, changes=-1)
        while not work.done and not self.probed and self.silent(work):
            if self.order.get(Moment("work", work.at, work.nth), 0) > self.index:
                return
            if not self.allowed(work):
                return
            self.choose(work, len(self.events))
            self.advance(work)

    def allowed(self, work: Work) -> bool:
        """Return whether the work can take its next step."""
        return not self.model.alloc_mutex if work.steps is None else self.possible(work)

    def advance(self, actor: ReplayActor) -> Any:
        """Let an actor take its next step; a run of the work begins with its first."""
        if actor.steps is None and isinstance(actor, Work):
            # the kernel forgets the request as the work enters, the model as it takes the mutex
            asked_again = self.model.work_pending and actor.entered
            actor.steps = self.model.balance_workfn()
            self.watched.last_pass = False
            result = super().advance(actor)
            self.model.work_pending |= asked_again
        else:
            result = super().advance(actor)
        if actor.done and isinstance(actor, Work):
            monitor = self.model.monitor
            if monitor is not None and not monitor.history.concurrent:
                cast(SearchLog, self.model).balanced()
        return result

    def possible(self, actor: ReplayActor) -> bool:
        """Return whether the mutex lets an actor go on."""
        if actor.steps is None:
            return not self.model.alloc_mutex
        return super().possible(actor)

    def pass_failure(self, actor: ReplayActor) -> bool:
        """Let a population or creation fail that the work went on without."""
        if not self.may_fail(actor):
            return False
        self.choose(actor, self.index)
        self.fail(actor)
        return True

    def may_fail(self, actor: ReplayActor) -> bool:
        """Return whether what an actor does may fail, with no event that tells."""
        gap = actor.gap
        if not isinstance(actor, Work) or gap is None:
            return False
        if gap.kind is Kind.POPULATE:
            return actor.seen or not self.plan.shows(ev.PopulateCall, self.index)
        return gap.kind is Kind.GROW and not actor.seen

    def fail(self, actor: ReplayActor) -> None:
        """Let what an actor does fail."""
        env = self.model.env
        assert actor.gap is not None
        fault = env.page_fault if actor.gap.kind is Kind.POPULATE else env.vm_fault
        fault.next = 1
        self.advance(actor)

    # events of the balance work

    def entered(self, event: ev.BalanceEntry) -> None:
        """Take the entry of the balance work, which then waits for the mutex."""
        if not self.work.done:
            self.wrong("balance work", f"entered twice: {shown(self.work.gap)}")
        asked = self._answer()
        if not asked and self.index not in self.plan.unasked:
            self.wrong(UNASKED, "the work enters, and nothing has asked for it")
        self.on_entered(self.index, asked)
        self.model.work_pending = False
        now = self.index + 1
        self.work = Work("work", self.index, since=now, changes=self.changes, entered=True)

    def ask(self, since: int, until: int) -> None:
        """Note that balance work was asked for before one of events [since, until)."""
        self.asking.append(Asking(since, until))

    def _answer(self) -> bool:
        """Return whether a run that enters answers a request that no run before did.

        The kernel forgets a request as a run is about to begin, after the one before has ended; so
        each run answers the earliest request that it can.
        """
        waiting = [one for one in self.asking if one.until > self.answered]
        if not waiting:
            self.asking = waiting
            return self.model.work_pending and not self.plan.shows(ev.BalanceEntry, self.answered)
        first = min(waiting)
        waiting.remove(first)
        self.answered = max(self.answered, first.since, self.ended)
        self.asking = [one for one in waiting if one.until > self.answered]
        return True

    def freed_chunks(self, event: ev.BalanceFree) -> None:
        """Take the entry of pcpu_balance_free: the work's first act, or its last part."""
        work = self.work
        if event.empty_only:
            self.drive(work, lambda: self.watched.last_pass, "balance work")
        elif work.done or work.steps is not None or self.model.alloc_mutex:
            self.wrong("balance work", f"the mutex is held: {shown(work.gap)}")
        else:
            self.advance(work)

    def left(self, event: ev.BalanceReturn) -> None:
        """Take the return of the balance work."""
        work = self.work
        self.drive(work, lambda: work.done, "balance work")
        self.ended = self.index + 1

    def asked_pages(self, event: ev.PopulateCall) -> None:
        """Take the beginning of a population by the balance work."""
        work = self.work
        where = event.base, event.start, event.end
        self.drive(
            work,
            lambda: self._stands(Kind.POPULATE) and not work.seen and work.holds(*where),
            "population",
        )
        self._announce(work)

    def work_populated(self, event: ev.Populated) -> None:
        """Take the event that ends a population by the balance work."""
        work = self.work
        where = event.base, event.start, event.end
        self.drive(work, lambda: self._stands(Kind.POPULATE) and work.holds(*where), "population")
        self.advance(work)

    def depopulated(self, event: ev.Depopulated) -> None:
        """Take the event that ends a release of pages."""
        work = self.work
        where = event.base, event.start, event.end
        kinds = Kind.RELEASE, Kind.DRAIN
        self.drive(work, lambda: self._stands(*kinds) and work.holds(*where), "release")
        self.advance(work)

    def destroyed(self, event: ev.DestroyChunkEvent) -> None:
        """Take the event of a chunk's destruction; pcpu_lock is taken some time later."""
        work = self.work
        where = event.base, 0, 0
        self.drive(work, lambda: self._stands(Kind.DESTROY) and work.holds(*where), "destroy_chunk")
        self._announce(work)

    def work_creates(self, event: ev.CreateChunkEvent) -> None:
        """Take the event of a chunk that the balance work created and is to list."""
        work = self.work
        self.drive(work, lambda: self._stands(Kind.GROW) and not work.seen, "create_chunk")
        # what the work does here may have failed, and the chunk be what it asks for next
        moment = Moment(work.kind, work.at, work.nth)
        since = min(work.since, self.index)
        self.choices.append(MomentChoice(moment, self.index + 1, since, self.index))
        self._announce(work)

    def work_relocates(self, event: ev.Relocate) -> None:
        """Let the work take the step in which it lists a chunk anew, created or reintegrated."""
        work = self.work
        relocations = self.watched.relocations

        def listed() -> bool:
            if work.gap is not None and work.gap.kind is Kind.GROW and work.seen:
                self.advance(work)
            return bool(relocations)

        self.drive(work, listed, "relocation")

    def _announce(self, work: Work) -> None:
        work.seen = True
        work.since = self.index + 1
        work.changes = self.changes

    def _stands(self, *kinds: Kind) -> bool:
        gap = self.work.gap
        return (
            gap is not None
            and gap.kind in kinds
            and not (gap.kind is Kind.DESTROY and self.work.seen)
        )

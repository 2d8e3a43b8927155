"""The balance work of a replay.

Where events of the work are recorded (probes), it is driven from one to the next. Without probes it
begins and goes on at once; only the coming and going of chunks is recorded then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, cast

from percpu_proofs.recorded.replay.actors import (
    CREATING,
    SHOWN_BY,
    Contradiction,
    Moment,
    MomentChoice,
    Order,
    ReplayActor,
    SearchLog,
    Work,
    gap_words,
)
from percpu_proofs.recorded.replay.requests import TracePlan
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.gaps import MUTEX, Kind
from percpu_reference.variants import Allocator

UNASKED = "a request for work"
"""The kind of a contradiction that is passed over where no other order is found."""


class WorkRequest(NamedTuple):
    """A request for balance work: made before one of events [since, until)."""

    since: int
    until: int


class WorkReplay:
    """One attempt at a run, from an event on, in an assumed order: what concerns the balance work.

    An actor is driven to each of its events when that comes. The steps that no event shows lie
    somewhere before: as a rule just before the event that must find them done, and those that
    nothing keeps back at once. `order` says otherwise.
    """

    def __init__(self, model: Allocator, plan: TracePlan, index: int, order: Order) -> None:
        """Start with `model` in the state before event `index`, nothing in progress."""
        self.model = model
        self.log = cast(SearchLog, model)
        self.log.relocations = []
        self.plan = plan
        self.events = plan.trace.events
        self.index = index  # the event being taken, or the next one
        self.taking = 0  # 1 while an event is being taken
        self.order = order
        self.due: dict[int, list[Moment]] = {}
        for moment, before in order.items():
            self.due.setdefault(before, []).append(moment)
        self.choices: list[MomentChoice] = []
        self.passed: list[tuple[int, Moment]] = []  # all steps that no event shows, as taken
        self.changes = 0  # steps that changed the state
        self.changed = [index]  # events behind which the state was another
        self.unheld = index  # the event before which the mutex was last released
        self.base = 0  # address of the next chunk
        model.place_chunk = lambda: self.base
        self.work = Work("work", -1, done=True)
        self.asking: list[WorkRequest] = []  # requests that a run of the work may still answer
        self.answered = 0  # the event from which on requests are not answered yet
        self.ended = 0  # the event after which the last run was over
        self.on_entered: Callable[[int, bool], None] = lambda index, asked: None

    def reject(
        self, kind: str, detail: str, remedies: tuple[tuple[Moment, int], ...] = ()
    ) -> NoReturn:
        """Raise Contradiction for the event at hand."""
        raise Contradiction(self.index, kind, detail, remedies)

    @property
    def probed(self) -> bool:
        """Whether the probes were in place at this event."""
        return self.index >= self.plan.probed_from

    def _take_step(self, actor: ReplayActor) -> Any:
        """Let an actor that has begun take its next step; return its result if it was the last."""
        steps = actor.steps
        assert steps is not None
        held = self.model.alloc_mutex
        actor.nth += 1
        actor.seen = False
        result = None
        try:
            actor.gap = next(steps)
        except StopIteration as stop:
            actor.gap = None
            actor.done = True
            result = stop.value
        actor.since = self.note_change()
        actor.changes = self.changes
        if held and not self.model.alloc_mutex:
            self.unheld = actor.since
        return result

    def note_change(self) -> int:
        """Note that the state is another behind the event at hand; return the event after that."""
        now = self.index + self.taking
        self.changes += 1
        if self.changed[-1] != now:
            self.changed.append(now)
        return now

    def silent(self, actor: ReplayActor) -> bool:
        """Return whether no event shows the step that an actor is to take next."""
        gap = actor.gap
        if gap is None:
            return not actor.done
        kind = gap.kind
        by = SHOWN_BY.get(kind)
        if by is None or (actor.seen and kind is Kind.DESTROY):
            return True
        if actor.seen and kind in CREATING:
            return not self.plan.shows(ev.Relocate, self.index)
        return not self.plan.shows(by, self.index)

    def drive(self, actor: ReplayActor, there: Callable[[], bool], what: str) -> None:
        """Let an actor go on, past what no event shows, until it stands where one must find it."""
        while not there():
            if actor.done or not self.go_on(actor):
                self.reject(what, f"{actor.kind}: {gap_words(actor.gap)}")

    def go_on(self, actor: ReplayActor) -> bool:
        """Let an actor take a step that no event shows, or fail in what it went on without.

        Return whether it could do one of them.
        """
        passes = self.silent(actor) and self.possible(actor)
        if not passes and not self.may_fail(actor):
            return False
        self.choose(actor, self.index)
        (self.advance if passes else self.fail)(actor)
        return True

    def choose(self, actor: ReplayActor, until: int) -> None:
        """Note that an actor's next step is taken here, where it could lie up to `until`.

        Of steps that follow one another at one event each could lie where the first could.
        """
        moment = actor.moment
        self.passed.append((self.index, moment))
        since = actor.since
        if self.changes == actor.changes and until <= self.index:
            last = self.choices[-1] if self.choices else None
            earlier = moment._replace(nth=moment.nth - 1)
            if last is None or (last.moment, last.before) != (earlier, self.index):
                return
            since = last.since
        before = self.index + self.taking if until > self.index else self.index
        self.choices.append(MomentChoice(moment, before, since, until))

    def choose_here(self, actor: ReplayActor, until: int) -> None:
        """Note that an actor's next step is taken here because the order says so."""
        moment = actor.moment
        self.passed.append((self.index, moment))
        self.choices.append(MomentChoice(moment, self.index, min(actor.since, self.index), until))

    def settle(self) -> None:
        """Let the balance work begin or go on where nothing is recorded of it."""
        work = self.work
        if work.done and self.model.work_pending and not self.probed:
            work = self.work = Work("work", self.index, since=self.index, changes=-1)
        while not work.done and not self.probed and self.silent(work):
            if self.order.get(work.moment, 0) > self.index or not self.possible(work):
                return
            self.choose(work, len(self.events))
            self.advance(work)

    def advance(self, actor: ReplayActor) -> Any:
        """Let an actor take its next step; return its result if that was its last.

        A run of the work begins with its first.
        """
        if actor.steps is None and isinstance(actor, Work):
            # the kernel forgets the request as the work enters, the model as it takes the mutex
            asked_again = self.model.work_pending and actor.entered
            actor.steps = self.model.balance_workfn()
            self.log.last_pass = False
            result = self._take_step(actor)
            self.model.work_pending |= asked_again
        else:
            result = self._take_step(actor)
        if actor.done and isinstance(actor, Work):
            monitor = self.model.monitor
            if monitor is not None and not monitor.history.concurrent:
                self.log.balanced()
        return result

    def possible(self, actor: ReplayActor) -> bool:
        """Return whether the mutex lets an actor go on."""
        return not self.model.alloc_mutex or (actor.steps is not None and actor.gap is not MUTEX)

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

    def enter_work(self, event: ev.BalanceEntry) -> None:
        """Take the entry of the balance work, which then waits for the mutex."""
        if not self.work.done:
            self.reject("balance work", f"entered twice: {gap_words(self.work.gap)}")
        asked = self._answer()
        if not asked and self.index not in self.plan.unasked:
            self.reject(UNASKED, "the work enters, and nothing has asked for it")
        self.on_entered(self.index, asked)
        self.model.work_pending = False
        now = self.index + 1
        self.work = Work("work", self.index, since=now, changes=self.changes, entered=True)

    def ask(self, since: int, until: int) -> None:
        """Note that balance work was asked for before one of events [since, until)."""
        self.asking.append(WorkRequest(since, until))

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

    def free_chunks(self, event: ev.BalanceFree) -> None:
        """Take the entry of pcpu_balance_free: the work's first act, or its last part."""
        work = self.work
        if event.empty_only:
            self.drive(work, lambda: self.log.last_pass, "balance work")
        elif work.done or work.steps is not None or self.model.alloc_mutex:
            self.reject("balance work", f"the mutex is held: {gap_words(work.gap)}")
        else:
            self.advance(work)

    def leave_work(self, event: ev.BalanceReturn) -> None:
        """Take the return of the balance work."""
        work = self.work
        self.drive(work, lambda: work.done, "balance work")
        self.ended = self.index + 1

    def begin_population(self, event: ev.PopulateCall) -> None:
        """Take the beginning of a population by the balance work."""
        self._drive_to(event, "population", Kind.POPULATE, told=False)
        self._announce()

    def end_population(self, event: ev.Populated) -> None:
        """Take the event that ends a population by the balance work."""
        self._drive_to(event, "population", Kind.POPULATE)
        self.advance(self.work)

    def end_release(self, event: ev.Depopulated) -> None:
        """Take the event that ends a release of pages."""
        self._drive_to(event, "release", Kind.RELEASE, Kind.DRAIN)
        self.advance(self.work)

    def destroy(self, event: ev.DestroyChunkEvent) -> None:
        """Take the event of a chunk's destruction; pcpu_lock is taken some time later."""
        work = self.work
        self.drive(
            work,
            lambda: work.stands(Kind.DESTROY) and not work.seen and work.holds(event.base),
            "destroy_chunk",
        )
        self._announce()

    def work_creates(self, event: ev.CreateChunkEvent) -> None:
        """Take the event of a chunk that the balance work created and is to list."""
        work = self.work
        self.drive(work, lambda: work.stands(Kind.GROW) and not work.seen, "create_chunk")
        # what the work does here may have failed, and the chunk be what it asks for next
        since = min(work.since, self.index)
        self.choices.append(MomentChoice(work.moment, self.index + 1, since, self.index))
        self._announce()

    def work_relocates(self, event: ev.Relocate) -> None:
        """Let the work take the step in which it lists a chunk anew, created or reintegrated."""
        work = self.work
        relocations = self.log.relocations

        def listed() -> bool:
            if work.stands(Kind.GROW) and work.seen:
                self.advance(work)
            return bool(relocations)

        self.drive(work, listed, "relocation")

    def _drive_to(
        self, event: ev.PagesEvent, what: str, *kinds: Kind, told: bool | None = None
    ) -> None:
        """Let the work go on to a gap of a kind with an event's pages.

        told: whether another event has told of them before; None: it may have.
        """
        work = self.work

        def there() -> bool:
            holds = work.stands(*kinds) and work.holds(event.base, event.start, event.end)
            return holds and told in (None, work.seen)

        self.drive(work, there, what)

    def _announce(self) -> None:
        """Note that an event has told of what the work does."""
        work = self.work
        work.seen = True
        work.since = self.index + 1
        work.changes = self.changes

"""What the parts of a replay share: the model, where it is in the trace, and how an actor goes on.

An actor is driven to each of its events when that comes. The steps that no event shows lie
somewhere before: as a rule just before the event that must find them done, and those that nothing
keeps back at once. `order` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, cast

from percpu_proofs.recorded.replay.actors import CREATING, SHOWN_BY, ReplayActor, shown
from percpu_proofs.recorded.replay.requests import TracePlan
from percpu_proofs.recorded.replay.stepper import SearchLog
from percpu_proofs.recorded.replay.timing import Contradiction, Moment, MomentChoice, Order
from percpu_proofs.recorded.traces import events as ev
from percpu_reference.gaps import MUTEX, Kind
from percpu_reference.variants import Allocator


class Stage:
    """One attempt at a run, from an event on, in an assumed order."""

    def __init__(self, model: Allocator, plan: TracePlan, index: int, order: Order) -> None:
        """Start with `model` in the state before event `index`, nothing in progress."""
        self.model = model
        self.watched = cast(SearchLog, model)
        self.watched.relocations = []
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

    def wrong(
        self, kind: str, detail: str, remedies: tuple[tuple[Moment, int], ...] = ()
    ) -> NoReturn:
        """Raise Contradiction for the event at hand."""
        raise Contradiction(self.index, kind, detail, remedies)

    @property
    def probed(self) -> bool:
        """Whether the probes were in place at this event."""
        return self.index >= self.plan.probed_from

    def advance(self, actor: ReplayActor) -> Any:
        """Let an actor take its next step; return its result if that was its last."""
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
        now = self.index + self.taking
        actor.since = now
        self.changes += 1
        actor.changes = self.changes
        if self.changed[-1] != now:
            self.changed.append(now)
        if held and not self.model.alloc_mutex:
            self.unheld = now
        return result

    def silent(self, actor: ReplayActor) -> bool:
        """Return whether no event shows the step that an actor is to take next."""
        gap = actor.gap
        if gap is None:
            return not actor.done
        kind = gap.kind
        by = SHOWN_BY.get(kind)
        if by is None:
            return True
        if actor.seen and kind is Kind.DESTROY:
            return True
        if actor.seen and kind in CREATING:
            return not self.plan.shows(ev.Relocate, self.index)
        return not self.plan.shows(by, self.index)

    def possible(self, actor: ReplayActor) -> bool:
        """Return whether the mutex lets an actor go on."""
        return actor.gap is not MUTEX or not self.model.alloc_mutex

    def drive(self, actor: ReplayActor, there: Callable[[], bool], what: str) -> None:
        """Let an actor go on, past what no event shows, until it stands where one must find it."""
        while not there():
            if actor.done or not (self.pass_silent(actor) or self.pass_failure(actor)):
                self.wrong(what, f"{actor.kind}: {shown(actor.gap)}")

    def pass_silent(self, actor: ReplayActor) -> bool:
        """Let an actor take a step that no event shows, if it stands before one."""
        if not self.silent(actor) or not self.possible(actor):
            return False
        self.choose(actor, self.index)
        self.advance(actor)
        return True

    def pass_failure(self, actor: ReplayActor) -> bool:
        """Let what an actor does fail, as it goes on and no event told that it was done."""
        return False

    def choose(self, actor: ReplayActor, until: int) -> None:
        """Note that an actor's next step is taken here, where it could lie up to `until`.

        Of steps that follow one another at one event each could lie where the first could.
        """
        moment = Moment(actor.kind, actor.at, actor.nth)
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
        moment = Moment(actor.kind, actor.at, actor.nth)
        self.passed.append((self.index, moment))
        self.choices.append(MomentChoice(moment, self.index, min(actor.since, self.index), until))

"""Finds timings under which the model produces a recorded run.

A trace leaves some moments open (timing.py). The replay takes each as early or late as its rule
says. When an event then cannot be produced, states kept on the way are replayed with other timings,
the likeliest first, until one gets past it. Whatever is found is a legal run of the model: between
the same events, under the same locks. What was assumed is kept for the report.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from percpu_proofs.conformance.replay import Replay
from percpu_proofs.conformance.requests import Plan
from percpu_proofs.conformance.timing import Choice, Contradiction, Moment
from percpu_reference.variants import Allocator

SPACING = 1000  # events between kept states
KEPT = 12  # states kept
BUDGET = 500  # replays tried for one contradiction
PRINTED_LATER = 30  # events after a contradiction whose requests may have come before it
DEPTH = 4  # moments changed for one contradiction, at most
WIDTH = 64  # remedies followed up for a first change, a quarter of that for each further one
NEAR = 6  # events by which a moment is moved, as a rule
FAR = 100  # and by which one of the last few is
RECENT = 4  # moments that are moved far
OVERTAKEN = 300  # and by which a sleeping one that is contradicted itself may have been

Delays = dict[Moment, int]


@dataclass(slots=True)
class Kept:
    """A state with nothing in progress, before event `index`."""

    index: int
    model: Allocator
    asked: int


@dataclass(frozen=True, slots=True)
class Inferred:
    """A moment that another event made known: it lay before event `before`, not where assumed."""

    moment: Moment
    before: int
    because: str


class Search:
    """A replay with its kept states."""

    def __init__(
        self,
        plan: Plan,
        start: Callable[[Replay], None],
        done: Callable[[Replay], None],
    ) -> None:
        """`start` is called on every replay before it runs, to attach what observes it.

        `done` is called on the way, at the start and at the end.
        """
        self.plan = plan
        self.start = start
        self.done = done
        self.final: Replay | None = None  # the replay that reached the end
        self.kept: deque[Kept] = deque(maxlen=KEPT)
        self.delays: Delays = {}
        self.inferred: dict[Moment, Inferred] = {}
        self.taken: dict[Moment, Choice] = {}  # the moments of the run that no event showed
        self.replays = 0  # further replays that were needed
        self.tried = 0  # of them for the last contradiction
        self.reported = -1

    def run(self, model: Allocator, index: int = 0) -> Contradiction | None:
        """Replay from event `index` to the end; return what could not be explained, if anything."""
        self.kept.clear()
        self.keep(Kept(index, model, -1))
        replay = self.resume(self.kept[-1], self.delays)
        self.done(replay)
        while True:
            try:
                self.advance(replay, len(self.plan.trace.events))
                self._note(replay)
                self.done(replay)
                self.final = replay
                return None
            except Contradiction as contradiction:
                self._note(replay)
                other = self.resolve(replay, contradiction)
                if other is None:
                    return contradiction
                replay = other

    def _note(self, replay: Replay) -> None:
        self.taken.update((choice.moment, choice) for choice in replay.choices)

    def keep(self, state: Kept) -> None:
        """Keep a state; the oldest one goes."""
        self.kept.append(state)

    def resume(self, state: Kept, delays: Delays) -> Replay:
        """Return a replay that begins in a kept state, which stays as it is."""
        model, _ = state.model.clone()
        replay = Replay(model, self.plan, state.index, delays)
        replay.work.asked = state.asked
        self.start(replay)
        return replay

    def advance(self, replay: Replay, end: int, keep: bool = True) -> None:
        """Step to event `end`; raises Contradiction."""
        step = replay.step
        last = self.kept[-1].index if keep else end
        while replay.index < end:
            step()
            if replay.index - last >= SPACING and replay.idle:
                last = replay.index
                self.keep(Kept(last, replay.model.clone()[0], replay.work.asked))
                if last > self.reported:
                    self.reported = last
                    self.done(replay)

    def resolve(self, replay: Replay, found: Contradiction) -> Replay | None:
        """Return a replay that got past the contradiction, or None."""
        queue = deque(self._others(self.delays, replay, found))
        tried: set[frozenset[tuple[Moment, int]]] = set()
        self.tried = 0
        while queue and self.tried < BUDGET:
            delays = queue.popleft()
            key = frozenset(delays.items())
            if key in tried:
                continue
            tried.add(key)
            state = self._before(delays)
            if state is None:
                continue
            self.tried += 1
            self.replays += 1
            other = self.resume(state, delays)
            try:
                self.advance(other, found.index + 1, keep=False)
            except Contradiction as again:
                deeper = len(delays) - len(self.delays)
                if deeper < DEPTH and (again.index, again.detail) != (found.index, found.detail):
                    more = [delays | {c.moment: c.before} for c in again.remedies]
                    queue.extend(more[: WIDTH >> 2 * deeper])
                continue
            self._adopt(delays, found, state)
            return other
        return None

    def _adopt(self, delays: Delays, found: Contradiction, state: Kept) -> None:
        because = f"{found.kind}: {found.detail}"
        for moment, before in delays.items():
            if self.delays.get(moment) != before:
                self.inferred[moment] = Inferred(moment, before, because)
        self.delays = delays
        self.taken = {m: c for m, c in self.taken.items() if c.before <= state.index}
        while self.kept[-1] is not state:
            self.kept.pop()

    def _before(self, delays: Delays) -> Kept | None:
        """Return the last kept state that precedes every changed moment."""
        changed = [
            min(moment.at, before)
            for moment, before in delays.items()
            if self.delays.get(moment) != before
        ]
        first = min(changed, default=0)
        return next((s for s in reversed(self.kept) if s.index <= first), None)

    def _others(self, delays: Delays, replay: Replay, found: Contradiction) -> Iterator[Delays]:
        """Yield other timings, likeliest first.

        The remedies that the contradiction names; then, in turns, each late choice by itself, and
        each request that may have come earlier than it was printed.
        """
        for choice in found.remedies:
            yield delays | {choice.moment: choice.before}
        turns = [self._moved(replay, found.index), self._pending_areas(found.index)]
        for pair in zip_longest(*turns):
            for changed in pair:
                if changed is not None:
                    yield delays | changed

    def _moved(self, replay: Replay, index: int) -> Iterator[Delays]:
        """Yield other moments for the choices of a replay, the last ones first."""
        for choice in reversed(replay.choices):
            if choice.before != index:
                yield {choice.moment: index}
        for age, choice in enumerate(reversed(replay.choices)):
            for before in _alternatives(choice, index, FAR if age < RECENT else NEAR):
                yield {choice.moment: before}

    def _pending_areas(self, index: int) -> Iterator[Delays]:
        """Yield earlier moments for the unprobed requests printed at or soon after an event.

        Between taking its area and its print a sleeping request can be overtaken by anything that
        needs no mutex, on its own CPU too; only the print before by the same task bounds it.
        """
        plan = self.plan
        for later in range(index, min(index + PRINTED_LATER, len(plan.before))):
            request = plan.printed.get(later)
            if request is None or request.area >= 0:
                continue
            reach = NEAR if later > index or request.atomic else OVERTAKEN
            earliest = max(plan.before[later] + 1 if plan.by_task else 0, index - reach)
            for before in range(min(index, later) - 1, earliest - 1, -1):
                yield {Moment("area", later): before}


def _alternatives(choice: Choice, index: int, reach: int) -> list[int]:
    """Return other events before which a moment may have lain, the nearest to `index` first."""
    moment, taken, since = choice
    last = min(index + 1, taken + reach)
    first = max(moment.at, since, taken - reach)
    return [before for before in range(last, first - 1, -1) if before != taken]

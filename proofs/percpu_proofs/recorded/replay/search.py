"""Finds an order of steps under which the model produces a recorded run.

A trace leaves some moments open (actors.py). The replay places each where its rule guesses. When an
event then cannot be produced, one moment is placed elsewhere, wherever locks and events allow it,
then another one besides, the likeliest first, until an order gets past the event; positions
between which no step changed the state count as one. Each attempt begins at a checkpoint shortly
before the moment moved, so that it costs what lies in between, however long the run. What
is found is a legal run of the model: between the same events, under the same locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, nsmallest
from itertools import chain, count
from typing import Any, NamedTuple

from percpu_proofs.recorded.replay.actors import Contradiction, Moment, MomentChoice, Order
from percpu_proofs.recorded.replay.moves import (
    NO_BOUND,
    UNSET,
    WIDTH,
    MomentMove,
    cost_of,
    moves_for,
)
from percpu_proofs.recorded.replay.replay import Replay
from percpu_proofs.recorded.replay.requests import TracePlan
from percpu_proofs.recorded.replay.work import UNASKED
from percpu_reference.variants import Allocator

SPACING = 1000  # events between checkpoints
CHECKPOINTS = 16  # at most
BUDGET = 500_000  # events replayed for one contradiction
AGAIN = 4  # the part of it that is left for each further one, once one was not resolved
QUEUE = 3000  # orders that wait to be tried; the budget is not enough for more
START = 100  # and what it counts for to begin an attempt
CLOSE = (512, 128, 32, 8)  # events before a contradiction at which it gets checkpoints
EASY = 8  # attempts before such states are made
UNDONE = 3  # orders found for contradictions before that may have been the wrong ones
UNDO = 8  # what it costs, in places, to do without one of them
TWICE = 24  # what it costs, in places, to move the same operation's steps once more
_BOOKS = ("work", "finished", "low", "asking", "answered", "ended", "unheld")
"""What a replay knows beside the model, with nothing in progress."""


@dataclass(slots=True)
class Checkpoint:
    """A state with nothing in progress, before event `index`."""

    index: int
    model: Allocator
    books: dict[str, Any]  # of the replay, by name


class Attempt(NamedTuple):
    """An order that did not get past an event, and where it ended instead."""

    moves: tuple[MomentMove, ...]
    found: Contradiction


class AdoptedOrder(NamedTuple):
    """What got past a contradiction: the earliest event changed, and the order until then."""

    first: int
    before: Order


@dataclass(slots=True, eq=False)
class OrderSearch:
    """A replay with its checkpoints.

    start: called on every replay before it runs, to attach what observes it. done: called on the
    way, at the start and at the end. inferred: the event before which a moment lay that was assumed
    elsewhere, and the contradiction that this led to.
    """

    plan: TracePlan
    start: Callable[[Replay], None]
    done: Callable[[Replay], None]
    final: Replay | None = None  # the replay that reached the end
    checkpoints: list[Checkpoint] = field(default_factory=list)
    order: Order = field(default_factory=dict)
    adopted: list[AdoptedOrder] = field(default_factory=list)
    inferred: dict[Moment, tuple[int, str]] = field(default_factory=dict)
    choices: dict[Moment, MomentChoice] = field(default_factory=dict)  # that no event showed
    replays: int = 0  # further replays that were needed
    attempts: list[Attempt] = field(default_factory=list)  # those for the last contradiction
    reported: int = -1
    failed: bool = False  # a contradiction was not resolved

    def run(self, model: Allocator, index: int = 0) -> Contradiction | None:
        """Replay from event `index` to the end; return what could not be explained, if anything."""
        self.checkpoints.clear()
        self.save(Replay(model, self.plan, index, self.order))
        replay = self.resume(self.checkpoints[-1], self.order)
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
                    if contradiction.kind != UNASKED:
                        return contradiction
                    self.plan.unasked.add(contradiction.index)  # the report tells of it
                    other = self.resume(self.checkpoints[-1], self.order)
                replay = other

    def _note(self, replay: Replay) -> None:
        self.choices.update((choice.moment, choice) for choice in replay.choices)

    def save(self, replay: Replay) -> None:
        """Make a checkpoint; of too many the one goes that is closest to others, for its age."""
        books = {name: copy(getattr(replay, name)) for name in _BOOKS}
        self.checkpoints.append(Checkpoint(replay.index, replay.model.clone()[0], books))
        if len(self.checkpoints) > CHECKPOINTS:
            now, indexes = replay.index + 1, [one.index for one in self.checkpoints]
            ages = [
                ((indexes[number + 1] - indexes[number - 1]) / (now - indexes[number]), number)
                for number in range(1, len(indexes) - 1)
            ]
            del self.checkpoints[min(ages)[1]]

    def resume(self, state: Checkpoint, order: Order) -> Replay:
        """Return a replay that begins at a checkpoint, which stays as it is."""
        model, _ = state.model.clone()
        replay = Replay(model, self.plan, state.index, order)
        for name, value in state.books.items():
            setattr(replay, name, copy(value))
        self.start(replay)
        return replay

    def advance(self, replay: Replay, end: int, save: bool = True) -> None:
        """Step to event `end`; raises Contradiction."""
        step = replay.step
        last = self.checkpoints[-1].index if save else end
        while replay.index < end:
            step()
            if replay.index - last >= SPACING and replay.idle:
                last = replay.index
                self.save(replay)
                if last > self.reported:
                    self.reported = last
                    self.done(replay)

    # other orders

    def resolve(self, replay: Replay, found: Contradiction) -> Replay | None:
        """Return a replay that got past the contradiction, or None."""
        self.attempts = []
        serial = count()  # of orders that cost the same the one found first is tried first
        first_moves = chain(moves_for(self.choices, replay, found), self._undone(found.index))
        queue = [(rank, next(serial), moves) for rank, moves in first_moves]
        heapify(queue)
        tried = {frozenset(self.order.items())}
        spent = 0
        most = NO_BOUND  # what a further order may cost
        while queue and spent < (BUDGET // AGAIN if self.failed else BUDGET):
            cost, _, moves = heappop(queue)
            order = self._moved(moves)
            key = frozenset(order.items())
            if key in tried:
                continue
            tried.add(key)
            if len(self.attempts) == EASY:
                spent += self._save_close(found.index)
            first = min(move.first for move in moves)
            state = next((s for s in reversed(self.checkpoints) if s.index <= first), None)
            if state is None:
                continue
            self.replays += 1
            other = self.resume(state, order)
            try:
                self.advance(other, found.index + 1, save=False)
            except Contradiction as again:
                spent += other.index - state.index + START
                self.attempts.append(Attempt(moves, again))
                moved = {move.moment for move in moves if move.before != UNSET}
                width = WIDTH >> 2 * len(moved)
                own = {moment[:2] for moment in moved}
                for rank, more in moves_for(self.choices, other, again, width, most - cost):
                    if not moved.isdisjoint(move.moment for move in more):
                        continue
                    # an operation that passes others by takes two: up to them, and behind them
                    same = len(own) == 1 and own == {move.moment[:2] for move in more}
                    further = TWICE if same else cost_of(again, found)
                    total = cost + rank + (further if moved else 0)
                    if total < most:
                        heappush(queue, (total, next(serial), (*moves, *more)))
                if len(queue) > 2 * QUEUE:
                    queue = nsmallest(QUEUE, queue)
                    most = queue[-1][0]
                continue
            self._adopt(moves, found, state)
            return other
        self.failed = True
        return None

    def nearest(self, most: int) -> list[Attempt]:
        """Return the orders tried for the last contradiction that came furthest."""
        return sorted(self.attempts, key=lambda a: (-a.found.index, len(a.moves)))[:most]

    def _moved(self, moves: tuple[MomentMove, ...]) -> Order:
        order = dict(self.order)
        for moment, before, _ in moves:
            order.pop(moment, None)  # the last one placed before an event comes last there
            if before != UNSET:
                order[moment] = before
        return order

    def _undone(self, index: int) -> Iterator[tuple[int, tuple[MomentMove, ...]]]:
        """Yield the orders before those that got past the last contradictions before an event."""
        first = len(self.plan.trace.events)
        for number, adopted in enumerate(self.adopted[: -UNDONE - 1 : -1], 1):
            first, before = min(first, adopted.first), adopted.before
            moments = [m for m in {**self.order, **before} if self.order.get(m) != before.get(m)]
            if moments and index - first <= SPACING:
                moves = tuple(MomentMove(m, before.get(m, UNSET), first) for m in moments)
                yield UNDO * number, moves

    def _save_close(self, index: int) -> int:
        """Make checkpoints shortly before an event; return how many events were replayed for it."""
        start = self.checkpoints[-1]
        replay = self.resume(start, self.order)
        for distance in CLOSE:
            target = index - distance
            if target <= replay.index:
                continue
            try:
                while replay.index < index and (replay.index < target or not replay.idle):
                    replay.step()
            except Contradiction:
                break
            if replay.index < index:
                self.save(replay)
        return replay.index - start.index

    def _adopt(
        self, moves: tuple[MomentMove, ...], found: Contradiction, state: Checkpoint
    ) -> None:
        because = f"{found.kind}: {found.detail}"
        for moment, before, _ in moves:
            self.inferred.pop(moment, None)
            if before != UNSET:
                self.inferred[moment] = before, because
        self.adopted.append(AdoptedOrder(min(move.first for move in moves), self.order))
        self.order = self._moved(moves)
        self.choices = {m: c for m, c in self.choices.items() if c.before <= state.index}
        while self.checkpoints[-1] is not state:
            self.checkpoints.pop()

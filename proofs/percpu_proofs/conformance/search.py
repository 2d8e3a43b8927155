"""Finds an order of steps under which the model produces a recorded run.

A trace leaves some moments open (timing.py). The replay places each where its rule guesses. When an
event then cannot be produced, one moment is placed elsewhere, wherever locks and events allow it,
then another one besides, the likeliest first, until an order gets past the event; positions
between which no step changed the state count as one. Each attempt begins at a state that was kept
shortly before the moment moved, so that it costs what lies in between, however long the run. What
is found is a legal run of the model: between the same events, under the same locks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, nsmallest
from itertools import chain, islice, zip_longest
from typing import NamedTuple

from percpu_proofs.conformance.actors import Work
from percpu_proofs.conformance.replay import Replay
from percpu_proofs.conformance.requests import Plan
from percpu_proofs.conformance.timing import Choice, Contradiction, Moment, Order
from percpu_proofs.conformance.work import Asking
from percpu_proofs.traces import events as ev
from percpu_reference.variants import Allocator

SPACING = 1000  # events between kept states
KEPT = 16  # states kept
BUDGET = 500_000  # events replayed for one contradiction
AGAIN = 4  # the part of it that is left for each further one, once one was not resolved
QUEUE = 3000  # orders that wait to be tried; the budget is not enough for more
START = 100  # and what it counts for to begin an attempt
LATER = 30  # events after a contradiction whose requests may have begun before it
WIDTH = 200  # the last moments that are moved
NEAR = 4  # nearest places that come before the others
POSITIONS = 24  # places tried for one moment
OWN = 400  # and for one of the request that cannot be explained, or of the last operations
LAST = 4  # how many these are; once a moment has moved, one
FAR = 16  # events that cost as much as the next place
FURTHER = 8  # what one more moment costs, in places
EARLIER = 24  # and what it costs if the one before made an earlier event impossible
USELESS = 40  # or changed nothing
AMONG = 8  # steps of others before one event behind which a moment is tried
BEHIND = 2  # what that costs, in places
NO_BOUND = 1 << 30
CLOSE = (512, 128, 32, 8)  # events before a contradiction at which states are kept for it
EASY = 8  # attempts before such states are made


@dataclass(slots=True)
class Kept:
    """A state with nothing in progress, before event `index`."""

    index: int
    model: Allocator
    work: Work
    finished: set[int]
    low: set[int]
    asking: list[Asking]
    answered: int
    ended: int
    unheld: int


@dataclass(frozen=True, slots=True)
class Inferred:
    """A moment that another event made known: it lay before event `before`, not where assumed."""

    moment: Moment
    before: int
    because: str


class Move(NamedTuple):
    """A moment placed elsewhere; `first` is the earliest event that this changes anything for."""

    moment: Moment
    before: int
    first: int


class Attempt(NamedTuple):
    """An order that did not get past an event, and where it ended instead."""

    moves: tuple[Move, ...]
    found: Contradiction


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
        self.kept: list[Kept] = []
        self.order: Order = {}
        self.inferred: dict[Moment, Inferred] = {}
        self.taken: dict[Moment, Choice] = {}  # the moments of the run that no event showed
        self.replays = 0  # further replays that were needed
        self.attempts: list[Attempt] = []  # those for the last contradiction
        self.reported = -1
        self.failed = False  # a contradiction was not resolved

    def run(self, model: Allocator, index: int = 0) -> Contradiction | None:
        """Replay from event `index` to the end; return what could not be explained, if anything."""
        self.kept.clear()
        self.keep(Replay(model, self.plan, index, self.order))
        replay = self.resume(self.kept[-1], self.order)
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

    def keep(self, replay: Replay) -> None:
        """Keep a state; of too many the one goes that is closest to its neighbours, for its age."""
        self.kept.append(
            Kept(
                replay.index,
                replay.model.clone()[0],
                replace(replay.work),
                set(replay.finished),
                set(replay.low),
                list(replay.asking),
                replay.answered,
                replay.ended,
                replay.unheld,
            )
        )
        if len(self.kept) > KEPT:
            now = replay.index + 1
            ages = [
                ((after.index - before.index) / (now - one.index), number)
                for number, (before, one, after) in enumerate(
                    zip(self.kept, self.kept[1:], self.kept[2:], strict=False), 1
                )
            ]
            del self.kept[min(ages)[1]]

    def resume(self, state: Kept, order: Order) -> Replay:
        """Return a replay that begins in a kept state, which stays as it is."""
        model, _ = state.model.clone()
        replay = Replay(model, self.plan, state.index, order)
        replay.work = replace(state.work)
        replay.finished = set(state.finished)
        replay.low = set(state.low)
        replay.asking = list(state.asking)
        replay.answered, replay.ended = state.answered, state.ended
        replay.unheld = state.unheld
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
                self.keep(replay)
                if last > self.reported:
                    self.reported = last
                    self.done(replay)

    # other orders

    def resolve(self, replay: Replay, found: Contradiction) -> Replay | None:
        """Return a replay that got past the contradiction, or None."""
        self.attempts = []
        queue: list[tuple[int, int, tuple[Move, ...]]] = []
        serial = 0
        for rank, first_moves in self._moves(replay, found):
            queue.append((rank, serial, first_moves))
            serial += 1
        heapify(queue)
        tried: set[frozenset[tuple[Moment, int]]] = set()
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
                spent += self._keep_close(found.index)
            first = min(move.first for move in moves)
            state = next((s for s in reversed(self.kept) if s.index <= first), None)
            if state is None:
                continue
            self.replays += 1
            other = self.resume(state, order)
            try:
                self.advance(other, found.index + 1, keep=False)
            except Contradiction as again:
                spent += other.index - state.index + START
                self.attempts.append(Attempt(moves, again))
                cost += _cost(again, found)
                moved = {move.moment for move in moves}
                width = WIDTH >> 2 * len(moves)
                for rank, more in self._moves(other, again, width, most - cost):
                    if moved.isdisjoint(move.moment for move in more):
                        heappush(queue, (cost + rank, serial, (*moves, *more)))
                        serial += 1
                if len(queue) > 2 * QUEUE:
                    queue = nsmallest(QUEUE, queue)
                    most = queue[-1][0]
                continue
            self._adopt(moves, found, state)
            return other
        self.failed = True
        return None

    def nearest(self, count: int) -> list[Attempt]:
        """Return the orders tried for the last contradiction that came furthest."""
        return sorted(self.attempts, key=lambda a: (-a.found.index, len(a.moves)))[:count]

    def _moved(self, moves: tuple[Move, ...]) -> Order:
        order = dict(self.order)
        for moment, before, _ in moves:
            order.pop(moment, None)  # the last one placed before an event comes last there
            order[moment] = before
        return order

    def _keep_close(self, index: int) -> int:
        """Keep states shortly before an event; return how many events were replayed for it."""
        start = self.kept[-1]
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
                self.keep(replay)
        return replay.index - start.index

    def _adopt(self, moves: tuple[Move, ...], found: Contradiction, state: Kept) -> None:
        because = f"{found.kind}: {found.detail}"
        for moment, before, _ in moves:
            self.inferred[moment] = Inferred(moment, before, because)
        self.order = self._moved(moves)
        self.taken = {m: c for m, c in self.taken.items() if c.before <= state.index}
        while self.kept[-1] is not state:
            self.kept.pop()

    def _moves(
        self, replay: Replay, found: Contradiction, width: int = WIDTH, most: int = NO_BOUND
    ) -> Iterator[tuple[int, tuple[Move, ...]]]:
        """Yield other places for moments, each with its rank, below `most`.

        Where steps of another operation were taken before the same event, the moment may lie
        behind any of them too: then these are placed there first.
        """
        steps: dict[int, list[Moment]] = {}
        for before, moment in replay.passed:
            steps.setdefault(before, []).append(moment)
        for rank, move in self._single(replay, found, width, most):
            if rank >= most:
                continue
            yield rank, (move,)
            if rank + BEHIND >= most:
                continue
            others = [m for m in steps.get(move.before, ()) if m[:2] != move.moment[:2]]
            for number, other in enumerate(others[-AMONG:]):
                behind = Move(other, move.before, min(move.before, other.at))
                yield rank + BEHIND + number, (behind, move)

    def _single(
        self, replay: Replay, found: Contradiction, width: int, bound: int
    ) -> Iterator[tuple[int, Move]]:
        """Yield other places for single moments, each with its rank.

        What the contradiction names; then, the last moments and the nearest places first, each
        moment taken by then, and each request of later events that may have begun by then.
        """
        index = found.index
        past = {**self.taken, **{choice.moment: choice for choice in replay.choices}}
        for moment, before in found.remedies:
            old = past[moment].before if moment in past else moment.at
            yield 0, Move(moment, before, min(before, old, moment.at))
        yield from self._pending(replay, index, bound)
        ages: dict[tuple[str, int], int] = {}  # of operations, the last one first
        for choice in sorted(past.values(), key=_place)[: -width - 1 : -1]:
            age = ages.setdefault(choice.moment[:2], len(ages))
            if age + choice.moment.nth >= bound:
                continue
            most = OWN if age < (LAST if width == WIDTH else 1) else POSITIONS
            for number, move in enumerate(_others(choice, replay, index, most)):
                distance = max(index - _place(choice._replace(before=move.before)), 0) // FAR
                yield age + choice.moment.nth + 2 * number + distance, move

    def _pending(self, replay: Replay, index: int, bound: int) -> list[tuple[int, Move]]:
        """Return earlier beginnings of the requests whose events come at or after an event.

        Each with its rank. Those of the event's own request come first.
        """
        plan, events = self.plan, self.plan.trace.events
        found: list[tuple[int, Move]] = []
        for actor in (replay.work, *replay.calls.values()):
            if replay.silent(actor) or replay.may_fail(actor):
                moment = Moment(actor.kind, actor.at, actor.nth)
                places = islice(_before(replay, actor.since, index), POSITIONS)
                for number, before in enumerate(places):
                    if number >= bound:
                        break
                    found.append((1 + number, Move(moment, before, min(before, actor.at))))
        for later in range(index, min(index + LATER, len(events))):
            if isinstance(events[later], ev.CreateChunk):
                request = plan.creators.get(later)
                if request is None and later in plan.creators:
                    continue
                moment, since = Moment("call", later), replay.unheld
            elif (request := plan.printed.get(later)) is not None and request.area < 0:
                moment, since = Moment("call", later), plan.earliest(later)
            elif (request := plan.searches.get(later)) is not None:
                if request.area != later or request.atomic or request.creates >= 0:
                    continue
                moment, since = Moment("again", later), replay.unheld
            else:
                continue
            most = OWN if later == index else POSITIONS
            places = islice(_before(replay, since, min(index, later) - 1), most)
            for number, before in enumerate(places):
                rank = 2 + number.bit_length() if later == index else number + later - index
                rank += FURTHER if moment.kind == "again" else 0
                if rank >= bound:
                    break
                found.append((rank, Move(moment, before, before)))
        return found


def _cost(again: Contradiction, found: Contradiction) -> int:
    """Return what it costs to move one more moment, after one that led to another contradiction."""
    if again.index < found.index:
        return EARLIER
    return USELESS if again.detail == found.detail else FURTHER


def _place(choice: Choice) -> int:
    return choice.moment.at if choice.moment.kind == "creator" else choice.before


def _spread(count: int) -> Iterator[int]:
    """Yield 0 to count - 1: the first few in front, then the last one, halves, quarters and so on.

    >>> list(_spread(9))
    [0, 1, 2, 3, 8, 5, 6, 4, 7]
    """
    yield from range(min(NEAR, count))
    if count > NEAR:
        yield count - 1
    parts = deque([(NEAR - 1, count - 1)])
    while parts:
        first, last = parts.popleft()
        middle = (first + last) // 2
        if first < middle < last:
            yield middle
            parts += (middle, last), (first, middle)


def _before(replay: Replay, since: int, last: int) -> Iterator[int]:
    """Yield the events in [since, last] behind which the state was another, the last one first."""
    changed = replay.changed
    low, high = bisect_left(changed, since), bisect_right(changed, last)
    for number in _spread(high - low):
        yield changed[high - 1 - number]
    if changed[0] < since <= last and (low == high or changed[low] != since):
        yield since


def _others(choice: Choice, replay: Replay, index: int, most: int) -> Iterator[Move]:
    """Yield other places for a moment, the nearest first, but the latest one among the first."""
    moment, taken, since, until = choice
    if moment.kind == "creator":
        yield from (Move(moment, n, moment.at) for n in range(since, until + 1) if n != taken)
        return
    changed = replay.changed
    last = min(until, index + 1)
    low, high = bisect_right(changed, taken), bisect_right(changed, last)
    later = (changed[low + number] for number in _spread(high - low))
    both = zip_longest(_before(replay, since, taken - 1), later)
    latest = [place for place in (min(until, index), last) if place > taken]
    for place in dict.fromkeys(chain(latest, islice(chain.from_iterable(both), most))):
        if place is not None:
            yield Move(moment, place, min(place, taken, moment.at))

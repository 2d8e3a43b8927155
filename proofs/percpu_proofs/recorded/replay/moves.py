"""Which moments may lie elsewhere, where an event cannot be explained, the likeliest first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain, islice, zip_longest
from typing import NamedTuple

from percpu_proofs.recorded.replay.actors import Contradiction, Moment, MomentChoice
from percpu_proofs.recorded.replay.replay import Replay
from percpu_proofs.recorded.traces import events as ev

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
PASSING = 16  # what it costs that a chunk leaves a list and comes back behind the work
NO_BOUND = 1 << 30
UNSET = -1  # where a moment lies that its rule places again


class MomentMove(NamedTuple):
    """A moment placed elsewhere; `first` is the earliest event that this changes anything for."""

    moment: Moment
    before: int
    first: int


def moves_for(
    taken: Mapping[Moment, MomentChoice],
    replay: Replay,
    found: Contradiction,
    width: int = WIDTH,
    most: int = NO_BOUND,
) -> Iterator[tuple[int, tuple[MomentMove, ...]]]:
    """Yield other places for moments, each with its rank, below `most`.

    Where steps of another operation were taken before the same event, the moment may lie
    behind any of them too: then these are placed there first.
    """
    for rank, moves in enumerate(_passing_by(replay, found.index), PASSING):
        if rank < most:
            yield rank, moves
    steps: dict[int, list[Moment]] = {}
    for before, moment in replay.passed:
        steps.setdefault(before, []).append(moment)
    for rank, move in _single(taken, replay, found, width, most):
        if rank >= most:
            continue
        yield rank, (move,)
        if rank + BEHIND >= most:
            continue
        others = [m for m in steps.get(move.before, ()) if m[:2] != move.moment[:2]]
        for number, other in enumerate(others[-AMONG:]):
            behind = MomentMove(other, move.before, min(move.before, other.at))
            yield rank + BEHIND + number, (behind, move)


def _passing_by(replay: Replay, index: int) -> Iterator[tuple[MomentMove, ...]]:
    """Yield orders in which the work does not find the chunk that it stands at, the last first.

    Each time that the chunk changes lists, the work may have looked in those it had not come to
    before, and in the one that it left behind.
    """
    work, events = replay.work, replay.events
    chunk = None if work.gap is None else work.gap.chunk
    if chunk is None or work.nth < 2:
        return
    up_to, behind = (Moment(work.kind, work.at, work.nth - n) for n in (2, 1))
    for place in range(index - 1, max(work.at, index - OWN), -1):
        event = events[place]
        if isinstance(event, ev.Relocate) and event.base == chunk.base_addr:
            first = min(place - 1, work.at)
            yield MomentMove(up_to, place - 1, first), MomentMove(behind, place + 1, first)


def _single(
    taken: Mapping[Moment, MomentChoice],
    replay: Replay,
    found: Contradiction,
    width: int,
    bound: int,
) -> Iterator[tuple[int, MomentMove]]:
    """Yield other places for single moments, each with its rank.

    What the contradiction names; then, the last moments and the nearest places first, each
    moment taken by then, and each request of later events that may have begun by then.
    """
    index = found.index
    past = {**taken, **{choice.moment: choice for choice in replay.choices}}
    for moment, before in found.remedies:
        old = past[moment].before if moment in past else moment.at
        yield 0, MomentMove(moment, before, min(before, old, moment.at))
    yield from _pending(replay, index, bound)
    ages: dict[tuple[str, int], int] = {}  # of operations, the last one first
    for choice in sorted(past.values(), key=_place)[: -width - 1 : -1]:
        age = ages.setdefault(choice.moment[:2], len(ages))
        if age + choice.moment.nth >= bound:
            continue
        most = OWN if age < (LAST if width == WIDTH else 1) else POSITIONS
        for number, move in enumerate(_others(choice, replay, index, most)):
            distance = max(index - _place(choice._replace(before=move.before)), 0) // FAR
            yield age + choice.moment.nth + 2 * number + distance, move


def _pending(replay: Replay, index: int, bound: int) -> list[tuple[int, MomentMove]]:
    """Return earlier beginnings of the requests whose events come at or after an event.

    Each with its rank. Those of the event's own request come first.
    """
    plan, events = replay.plan, replay.events
    found: list[tuple[int, MomentMove]] = []
    for actor in (replay.work, *replay.calls.values()):
        if replay.silent(actor) or replay.may_fail(actor):
            moment = actor.moment
            places = islice(_before(replay, actor.since, index), POSITIONS)
            for number, before in enumerate(places):
                if number >= bound:
                    break
                found.append((1 + number, MomentMove(moment, before, min(before, actor.at))))
    for later in range(index, min(index + LATER, len(events))):
        if isinstance(events[later], ev.CreateChunkEvent):
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
            found.append((rank, MomentMove(moment, before, before)))
    return found


def cost_of(again: Contradiction, found: Contradiction) -> int:
    """Return what it costs to move one more moment, after one that led to another contradiction."""
    if again.index < found.index:
        return EARLIER
    return USELESS if again.detail == found.detail else FURTHER


def _place(choice: MomentChoice) -> int:
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


def _others(choice: MomentChoice, replay: Replay, index: int, most: int) -> Iterator[MomentMove]:
    """Yield other places for a moment, the nearest first, but the latest one among the first."""
    moment, taken, since, until = choice
    if moment.kind == "creator":
        yield from (MomentMove(moment, n, moment.at) for n in range(since, until + 1) if n != taken)
        return
    changed = replay.changed
    last = min(until, index + 1)
    low, high = bisect_right(changed, taken), bisect_right(changed, last)
    later = (changed[low + number] for number in _spread(high - low))
    both = zip_longest(_before(replay, since, taken - 1), later)
    latest = [place for place in (min(until, index), last) if place > taken]
    for place in dict.fromkeys(chain(latest, islice(chain.from_iterable(both), most))):
        if place is not None:
            yield MomentMove(moment, place, min(place, taken, moment.at))

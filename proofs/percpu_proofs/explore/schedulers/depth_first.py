"""Schedules one by one, depth first: all, or only one order of steps that commute.

Everything that pcpu_lock and pcpu_alloc_mutex protect counts as one thing: whether two steps that
change it commute is not looked into, so every order of such steps is run. What the kernel does
without the locks commutes: requests for work and marks of a failure with one another, but not with
the work, which takes them back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from percpu_proofs.explore.search import Mode, Search
from percpu_proofs.explore.system import Schedule, Start, actor_of
from percpu_proofs.explore.world import World
from percpu_reference.gaps import ASK, DONE, FAILED

READS, WRITES = 1, 2  # what the locks protect
ASKS, ANSWERS = 4, 8  # the request for work: made, and taken back
MARKS, UNMARKS = 16, 32  # the mark of a failed atomic request, likewise

WORK = READS | WRITES | ASKS | ANSWERS | MARKS | UNMARKS
"""The balance work, and whatever is not known to touch less."""

_CONFLICTS = {
    READS: WRITES,
    WRITES: READS | WRITES,
    ASKS: ANSWERS,
    ANSWERS: ASKS | ANSWERS,
    MARKS: UNMARKS,
    UNMARKS: MARKS | UNMARKS,
}


def conflicts(footprint: int) -> int:
    """Return all that a step with this footprint does not commute with."""
    total = 0
    for part, against in _CONFLICTS.items():
        if footprint & part:
            total |= against
    return total


CONFLICTS = [conflicts(footprint) for footprint in range(2 * UNMARKS)]


def footprint(world: World, actor: int) -> int:
    """Return what an actor's next step may touch, wherever it leads."""
    if actor >= len(world.runners):
        return WORK
    runner = world.runners[actor]
    gap = runner.gap
    if runner.operation[0] == "b":
        return WORK
    if gap is ASK:
        return ASKS
    if gap is DONE:
        return READS | ASKS
    if gap is FAILED:
        return MARKS | ASKS | (WRITES if world.holder == actor else 0)
    return READS | WRITES | ASKS


def commute(one: int, other: int) -> bool:
    """Return whether steps with these footprints may change places."""
    return not CONFLICTS[one] & other


def touched(world: World, actor: int, before: StepContext) -> int:
    """Return what a step has touched, by the state that it found and the one that it left.

    Reading leaves no trace, so what may have been read counts. Gaps that hold a chunk are judged
    with the state, so coming to one, or leaving it, counts as a change.
    """
    after = StepContext(world, actor)
    found = before.footprint & (READS | MARKS | UNMARKS)
    if before.holds or after.holds or before.protected != after.protected:
        found |= WRITES
    if before.requests != after.requests:
        found |= ASKS
    if before.marked != after.marked:
        found |= MARKS if after.marked else UNMARKS
    if before.begins_work:
        found |= ANSWERS
    return found


class StepContext:
    """What is to be known of a world before a step of an actor, to tell what the step touched."""

    __slots__ = ("begins_work", "footprint", "holds", "marked", "protected", "requests")

    def __init__(self, world: World, actor: int) -> None:
        begun = actor < len(world.runners)
        gap = world.runners[actor].gap if begun else None
        self.footprint = footprint(world, actor)
        self.holds = gap is not None and gap.chunk is not None
        self.protected = world.protected()
        self.requests = world.allocator.env.balance_requests
        self.marked = world.allocator.atomic_alloc_failed
        self.begins_work = not begun or (
            world.runners[actor].operation[0] == "b" and world.runners[actor].steps is None
        )


class All(Search):
    """Every schedule.

    prefix: only those that begin with it; its steps are not judged. cut: go no deeper than so many
    steps, and keep the schedules that would go on in the result.
    """

    mode: Mode = "all"

    def __init__(
        self, start: Start, *, prefix: Schedule = (), cut: int | None = None, **bounds: Any
    ) -> None:
        super().__init__(start, **bounds)
        self.prefix = prefix
        self.cut = cut

    def search(self) -> None:
        """Search from the end of the prefix on."""
        self.cursor.come_to(self.prefix)
        self._search(self.prefix, frozenset())

    def _search(self, schedule: Schedule, asleep: frozenset[int]) -> None:
        """Search on from the present world, a schedule's end; asleep: steps not to be tried."""
        result = self.result
        result.depth = max(result.depth, len(schedule))
        enabled = self.world.enabled()
        if not enabled:
            self.at_end(schedule)
            return
        if len(schedule) == self.cut:
            result.uncovered.append(schedule)
            return
        prints = self.prints(enabled)
        for step in enabled:
            if step in asleep:
                continue
            longer = (*schedule, step)
            self.step(longer)
            awake = frozenset(s for s in asleep if s in prints and commute(prints[s], prints[step]))
            self._search(longer, awake)
            if prints:
                asleep |= {step}

    def prints(self, enabled: list[int]) -> dict[int, int]:
        """Return the footprint of each step that may be swapped with others; none may."""
        return {}


class Commuting(All):
    """Every schedule but those that differ only in the order of steps that commute (sleep sets).

    Every state is still met.
    """

    mode: Mode = "commuting"

    def prints(self, enabled: list[int]) -> dict[int, int]:
        """Return the footprint of each step."""
        return {step: footprint(self.world, actor_of(step)) for step in enabled}


@dataclass(slots=True)
class Event:
    """A step of the present schedule, and the state before it.

    clock: for each actor, how many events from the first on its last one before this step is, of
    those that must come before this step.
    """

    enabled: dict[int, list[int]]  # actor: its steps
    backtrack: set[int]  # actors to be tried here
    done: set[int] = field(default_factory=set)
    actor: int = -1
    touched: int = 0
    clock: dict[int, int] = field(default_factory=dict)


class Reduction(Search):
    """Dynamic partial-order reduction (Flanagan and Godefroid 2005), with sleep sets.

    Another actor is tried only where that can make a difference, which leaves out states. There is
    every order of steps that do not commute, hence every state of all that the locks protect, each
    at the end of some step, and every state in which nobody can go on. Always-clauses speak of what
    the locks protect, and clauses about rest of ends, so the findings are those of a search through
    all schedules. So are the kinds of gaps in which something is met; how often is not.
    """

    mode: Mode = "dpor"
    _path: list[Event]

    def search(self) -> None:
        """Search from the start on."""
        self._path = []
        self._reduce((), {})

    def _reduce(self, schedule: Schedule, asleep: dict[int, int]) -> None:
        """Search on from the present world; asleep: actors not to be tried, with footprints."""
        world, path = self.world, self._path
        self.result.depth = max(self.result.depth, len(schedule))
        prints = {actor: footprint(world, actor) for actor in _under_way(world)}
        for actor, touches in prints.items():
            self._race(actor, touches)
        enabled: dict[int, list[int]] = {}
        for step in world.enabled():
            enabled.setdefault(actor_of(step), []).append(step)
        if not enabled:
            self.at_end(schedule)
            return
        first = next((actor for actor in enabled if actor not in asleep), None)
        if first is None:
            return
        here = Event(enabled, {first})
        path.append(here)
        while here.backtrack - here.done:
            actor = min(here.backtrack - here.done)
            here.done.add(actor)
            if actor in asleep:
                continue
            footprints = 0
            for step in enabled[actor]:
                longer = (*schedule, step)
                self.cursor.come_to(schedule)
                before = StepContext(world, actor)
                self.step(longer)
                here.actor, here.touched = actor, touched(world, actor, before)
                here.clock = self._clock(actor, here.touched)
                footprints |= here.touched
                awake = {a: p for a, p in asleep.items() if commute(p, here.touched)}
                self._reduce(longer, awake)
            asleep = {**asleep, actor: footprints}
        path.pop()

    def _race(self, actor: int, touches: int) -> None:
        """Have an actor tried before the last event that its next step may not be swapped with."""
        path = self._path
        against = CONFLICTS[touches]
        known = next((e.clock for e in reversed(path) if e.actor == actor), {})
        for number in range(len(path) - 1, -1, -1):
            event = path[number]
            if event.actor == actor or not event.touched & against:
                continue
            if known.get(event.actor, 0) <= number:  # else it has to come before anyway
                event.backtrack |= {actor} if actor in event.enabled else set(event.enabled)
                return

    def _clock(self, actor: int, touches: int) -> dict[int, int]:
        """Return the clock of a step that is about to end the path."""
        against = CONFLICTS[touches]
        clock: dict[int, int] = {}
        for event in self._path[:-1]:
            if event.actor == actor or event.touched & against:
                for other, count in event.clock.items():
                    clock[other] = max(clock.get(other, 0), count)
        clock[actor] = len(self._path)
        return clock


def _under_way(world: World) -> list[int]:
    """Return the actors that have steps left, able or not, the next run of the work included."""
    actors = [index for index, runner in enumerate(world.runners) if not runner.done]
    return [*actors, len(world.runners)] if world.works else actors

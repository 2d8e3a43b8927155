"""Dynamic partial-order reduction: one schedule for all that differ in the order of steps that
commute (Flanagan and Godefroid 2005), with sleep sets.

It leaves out states. What is kept: every order of steps that do not commute, hence every state of
all that the locks protect, each at the end of some step, and every state in which nobody can go
on. Always-clauses speak of what the locks protect, and clauses about rest of ends, so the findings
are those of a search through all schedules. Kinds of gaps in which something is met are kept too;
how often is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from percpu_proofs.explore.footprint import CONFLICTS, StepContext, commute, footprint, touched
from percpu_proofs.explore.search import Mode, Search
from percpu_proofs.explore.system import Schedule, actor_of
from percpu_proofs.explore.world import World


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
    """A search that tries another actor only where that can make a difference."""

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


"""Schedules drawn at random, for starts that are too large to be searched whole.

`uniform` picks each step's actor by chance. `pct` gives actors random priorities and runs the
highest that can go on, but at `depth - 1` random steps it drops to the lowest: a bug that needs so
many ordering constraints is hit with a probability that does not shrink with the actors' lengths.
"""

from __future__ import annotations

import random
import time
from typing import Literal

from percpu_proofs.explore.search import Explored
from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import Start, World

Strategy = Literal["uniform", "pct"]


def sample(
    start: Start,
    schedules: int,
    *,
    seed: int,
    strategy: Strategy = "uniform",
    depth: int = 3,
    first: int = 0,
) -> Explored:
    """Run so many schedules, or as many as there is time for until Ctrl-C, and judge each step.

    Those numbered from `first` on are run. A schedule depends on the seed and its number, by PCT
    also on the longest one since `first`.
    """
    began = time.perf_counter()
    result = Explored("drawn", complete=False)
    watch = Watch(result)
    world = World(start)
    longest = 1
    try:
        for number in range(first, first + schedules):
            chance = random.Random(f"{seed}/{number}")
            if number > first:
                world.reset()
            pick = _Pct(chance, depth, longest) if strategy == "pct" else _Uniform(chance)
            schedule: tuple[int, ...] = ()
            while enabled := world.enabled():
                actor = pick.actor(enabled, len(schedule))
                schedule = (*schedule, actor)
                watch.step(world, actor, schedule)
                result.steps += 1
            watch.at_end(world, schedule)
            result.schedules += 1
            longest = max(longest, len(schedule))
    except KeyboardInterrupt:
        result.interrupted = True
    result.depth = longest
    result.seconds = time.perf_counter() - began
    return result


class _Uniform:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def actor(self, enabled: list[int], step: int) -> int:
        return self._chance.choice(enabled)


class _Pct:
    def __init__(self, chance: random.Random, depth: int, longest: int) -> None:
        self._chance = chance
        self._priorities: dict[int, float] = {}
        self._drops = {chance.randrange(longest): -n for n in range(1, depth)}

    def actor(self, enabled: list[int], step: int) -> int:
        for actor in enabled:  # actors may come up later: runs of work that was asked for
            self._priorities.setdefault(actor, self._chance.random())
        best = max(enabled, key=self._priorities.__getitem__)
        if step in self._drops:
            self._priorities[best] = self._drops[step]
        return max(enabled, key=self._priorities.__getitem__)

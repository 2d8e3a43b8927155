"""Schedules drawn at random, for starts that are too large to be searched whole."""

from __future__ import annotations

import time
from typing import Literal

from percpu_proofs.explore.schedulers.pct import Pct
from percpu_proofs.explore.schedulers.uniform import Uniform
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.start import Start
from percpu_proofs.explore.step_judge import StepJudge
from percpu_proofs.explore.system import Schedule, scheduled
from percpu_proofs.explore.world import World
from percpu_proofs.run.choices import drawn

Strategy = Literal["uniform", "pct"]


def sample(
    start: Start,
    schedules: int,
    *,
    seed: int,
    strategy: Strategy = "uniform",
    depth: int = 3,
    first: int = 0,
) -> Exploration:
    """Run so many schedules, or as many as there is time for until Ctrl-C, and judge each step.

    Those numbered from `first` on are run. A schedule depends on the seed and its number, by PCT
    also on the longest one since `first`.
    """
    began = time.perf_counter()
    result = Exploration("drawn", complete=False)
    judge = StepJudge(result)
    world = World(start)
    longest = 1
    try:
        for number in range(first, first + schedules):
            choices = drawn(f"{seed}/{number}")
            world.load(world.begin)
            pick = Pct(choices, depth, longest) if strategy == "pct" else Uniform(choices)
            schedule: Schedule = ()
            for step in scheduled(world, pick):
                schedule = (*schedule, step)
                judge.step(world, step, schedule)
                result.steps += 1
            judge.at_end(world, schedule)
            result.schedules += 1
            longest = max(longest, len(schedule))
    except KeyboardInterrupt:
        result.interrupted = True
    result.depth = longest
    result.seconds = time.perf_counter() - began
    return result

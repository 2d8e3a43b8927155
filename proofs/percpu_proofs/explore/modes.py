"""The ways to search the schedules of a start: all, drawn ones, and in parts that processes share.

Parts of the tree of schedules have nothing in common but the way to them, so their counts add up
to those of one search. That is not so with states matched or swaps left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, Literal

from percpu_proofs.explore.judges import StepJudge
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.schedulers.depth_first import All, Commuting, Reduction
from percpu_proofs.explore.schedulers.matching import Matching
from percpu_proofs.explore.schedulers.random_order import Pct, Uniform
from percpu_proofs.explore.search import Exploration, Mode, Search
from percpu_proofs.explore.system import Schedule, Start, scheduled
from percpu_proofs.explore.world import World
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.processes import spread
from percpu_proofs.run.runner import Progress

MODES: dict[Mode, type[Search]] = {cls.mode: cls for cls in (All, Commuting, Reduction, Matching)}


def search(start: Start, mode: Mode = "matching", **bounds: Any) -> Exploration:
    """Search all schedules of a start in a mode; see the mode's class for the bounds."""
    return MODES[mode](start, **bounds).run()


_COMPARED: Final = ("schedules", "steps", "states", "complete")


@dataclass(frozen=True, slots=True)
class ModeComparison:
    """What each mode covered and found, brute force first."""

    results: tuple[Exploration, ...]

    @property
    def differences(self) -> list[str]:
        """What modes that were complete disagree about, a line each."""
        return list(self._differ())

    def _differ(self) -> Iterator[str]:
        whole = [r for r in self.results if r.complete]
        for one, other in pairwise(whole):
            for what, a, b in (
                ("clauses broken", one.findings.keys(), other.findings.keys()),
                ("clauses asked", one.witnessed.keys(), other.witnessed.keys()),
                ("gaps met", one.situations.keys(), other.situations.keys()),
            ):
                if a != b:
                    yield f"{what}: {one.mode} {sorted(a)}, {other.mode} {sorted(b)}"
        by_mode = {r.mode: r for r in whole}
        if "all" in by_mode and "matching" in by_mode:
            every, matched = by_mode["all"], by_mode["matching"]
            if (every.schedules, every.steps) != (matched.schedules, matched.covered):
                yield (
                    f"all ran {every.schedules} schedules of {every.steps} steps, matching counted "
                    f"{matched.schedules} of {matched.covered}"
                )

    def as_json(self) -> dict[str, Any]:
        """Return plain values only."""
        return {
            "modes": {
                r.mode: {name: getattr(r, name) for name in _COMPARED}
                | {"broken": sorted(r.findings), "seconds": round(r.seconds, 3)}
                for r in self.results
            },
            "differences": self.differences,
        }


def cross_check(start: Start, max_steps: int) -> ModeComparison:
    """Search a start in every mode, each with at most so many steps."""
    return ModeComparison(tuple(search(start, mode, max_steps=max_steps) for mode in MODES))


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


_PARTS = 32  # at least, so that no process waits long for the last
_DEEPEST = 16  # steps of the tree that are searched to cut it into parts
_SHARE = 1000  # schedules drawn in one part, whatever the number of processes

Way = Callable[[Start], Exploration]


@dataclass(frozen=True, slots=True)
class Spread:
    """Where parts run: `jobs` processes, or the cluster of a dask scheduler."""

    jobs: int
    dask: str | None = None
    on_done: Progress = lambda done, total: None

    def every_schedule(
        self,
        scenario: Scenario,
        variant: str,
        *,
        max_steps: int | None = None,
        refine: bool = False,
    ) -> Exploration:
        """Search all schedules of a scenario, or until each part has made its share of max_steps.

        After Ctrl-C parts count as far as they came.
        """
        began = time.perf_counter()
        start = scenario.start(variant)
        if self.jobs == 1 and self.dask is None:
            return search(start, "all", max_steps=max_steps, refine=refine)
        for cut in range(1, _DEEPEST):
            whole = search(start, "all", refine=refine, cut=cut)
            parts = whole.uncovered
            if len(parts) >= _PARTS or not parts or whole.interrupted:
                break
        if whole.interrupted:
            return whole
        share = None if max_steps is None else max(1, max_steps // max(1, len(parts)))
        every = partial(search, mode="all", max_steps=share, refine=refine)
        self._add(whole, scenario, variant, [partial(every, prefix=at) for at in parts])
        whole.seconds = time.perf_counter() - began
        return whole

    def drawn(self, scenario: Scenario, variant: str, schedules: int, **how: Any) -> Exploration:
        """Draw so many schedules, as `sample` does; the same whatever the number of processes."""
        began = time.perf_counter()
        whole = Exploration("drawn", complete=False)
        parts: list[Way] = [
            partial(sample, schedules=min(_SHARE, schedules - at), first=at, **how)
            for at in range(0, schedules, _SHARE)
        ]
        if len(parts) == 1:
            return parts[0](scenario.start(variant))
        self._add(whole, scenario, variant, parts)
        whole.seconds = time.perf_counter() - began
        return whole

    def _add(
        self, whole: Exploration, scenario: Scenario, variant: str, ways: Sequence[Way]
    ) -> None:
        """Go ways from the start of a scenario, and add up what they find."""
        parts = [(scenario, variant, way) for way in ways]
        done, interrupted = spread(
            parts, _go, jobs=self.jobs, dask=self.dask, on_done=self.on_done, partial=True
        )
        for part in done:
            whole.add(part)
        whole.complete = whole.complete and not interrupted
        whole.interrupted = whole.interrupted or interrupted


def _go(part: tuple[Scenario, str, Way]) -> Exploration:
    scenario, variant, way = part
    return way(scenario.start(variant))

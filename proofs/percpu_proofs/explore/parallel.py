"""A search through all schedules, or through drawn ones, in parts that processes share.

Parts of the tree of schedules have nothing in common but the way to them, so their counts add up
to those of one search. That is not so with states matched or swaps left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from percpu_proofs.blame import blamed
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.sampling import Strategy, sample
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.search import Explored
from percpu_proofs.explore.system import Schedule
from percpu_proofs.spread import spread

_PARTS = 32  # at least, so that no process waits long for the last
_DEEPEST = 16  # steps of the tree that are searched to cut it into parts
_SHARE = 1000  # schedules drawn in one part, whatever the number of processes

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Branch:
    """The schedules of a scenario that begin with a prefix."""

    scenario: Scenario
    variant: str
    prefix: Schedule
    max_steps: int | None
    refine: bool

    def __call__(self) -> Explored:
        """Search them all."""
        start = self.scenario.start(self.variant)
        return search(
            start, "all", prefix=self.prefix, max_steps=self.max_steps, refine=self.refine
        )


@dataclass(frozen=True, slots=True)
class Draws:
    """Schedules of a scenario drawn at random: those numbered from `first` on."""

    scenario: Scenario
    variant: str
    schedules: int
    first: int
    seed: int
    strategy: Strategy
    depth: int

    def __call__(self) -> Explored:
        """Draw and judge them."""
        return sample(
            self.scenario.start(self.variant),
            self.schedules,
            first=self.first,
            seed=self.seed,
            strategy=self.strategy,
            depth=self.depth,
        )


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
    ) -> Explored:
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
        self._add(whole, [Branch(scenario, variant, at, share, refine) for at in parts])
        whole.seconds = time.perf_counter() - began
        return whole

    def drawn(
        self,
        scenario: Scenario,
        variant: str,
        schedules: int,
        *,
        seed: int,
        strategy: Strategy,
        depth: int,
    ) -> Explored:
        """Draw so many schedules; the same ones whatever the number of processes."""
        began = time.perf_counter()
        if schedules <= _SHARE:
            return Draws(scenario, variant, schedules, 0, seed, strategy, depth)()
        whole = Explored("drawn", complete=False)
        parts = [
            Draws(scenario, variant, min(_SHARE, schedules - at), at, seed, strategy, depth)
            for at in range(0, schedules, _SHARE)
        ]
        self._add(whole, parts)
        whole.seconds = time.perf_counter() - began
        return whole

    def _add(self, whole: Explored, parts: Sequence[Branch | Draws]) -> None:
        """Run parts and add them up."""
        done, interrupted = spread(
            parts, _run, jobs=self.jobs, dask=self.dask, on_done=self.on_done, partial=True
        )
        for part in done:
            whole.add(part)
        whole.complete = whole.complete and not interrupted
        whole.interrupted = whole.interrupted or interrupted


def _run(part: Branch | Draws) -> Explored:
    with blamed(part.variant, part.scenario.name):
        return part()

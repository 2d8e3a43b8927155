"""A search through all schedules, or through drawn ones, in parts that processes share.

Parts of the tree of schedules have nothing in common but the way to them, so their counts add up
to those of one search. That is not so with states matched or swaps left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.sampling import sample
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.start import Start
from percpu_proofs.run.processes import spread

_PARTS = 32  # at least, so that no process waits long for the last
_DEEPEST = 16  # steps of the tree that are searched to cut it into parts
_SHARE = 1000  # schedules drawn in one part, whatever the number of processes

Progress = Callable[[int, int], None]
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

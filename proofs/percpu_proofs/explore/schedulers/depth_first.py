"""Schedules one by one, depth first; or less those that only swap steps that commute."""

from __future__ import annotations

from typing import Any

from percpu_proofs.explore.footprint import commute, footprint
from percpu_proofs.explore.search import Mark, Mode, Search
from percpu_proofs.explore.system import Schedule, actor_of
from percpu_proofs.explore.world import Start


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
        mark, follower = self.start_mark(), self.follower
        for step in self.prefix:
            self.world.step(step)
            if follower is not None:
                follower.after(self.world, actor_of(step))
        if follower is not None:
            follower.steps = 0  # those of the prefix are not counted
        self._search(self.prefix, mark, frozenset())

    def _search(self, schedule: Schedule, mark: Mark, asleep: frozenset[int]) -> None:
        """Search on from the present world; asleep: steps not to be tried."""
        world, result = self.world, self.result
        result.depth = max(result.depth, len(schedule))
        enabled = world.enabled()
        if not enabled:
            self.watch.at_end(world, schedule)
            result.schedules += 1
            return
        if len(schedule) == self.cut:
            result.uncovered.append(schedule)
            return
        prints = self.prints(enabled)
        if len(enabled) > 1:
            mark = self.mark(schedule, mark)
        moved = False
        for step in enabled:
            if step in asleep:
                continue
            if moved:  # the first step used this world up
                self.again(schedule, mark)
            moved = True
            self.step(step, (*schedule, step))
            awake = frozenset(
                s for s in asleep if s in prints and commute(prints[s], prints[step])
            )
            self._search((*schedule, step), mark, awake)
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

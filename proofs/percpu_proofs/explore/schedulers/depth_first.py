"""Schedules one by one, depth first; or less those that only swap steps that commute."""

from __future__ import annotations

from typing import Any

from percpu_proofs.explore.footprint import commute, footprint
from percpu_proofs.explore.search import Mode, Search
from percpu_proofs.explore.start import Start
from percpu_proofs.explore.system import Schedule, actor_of


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

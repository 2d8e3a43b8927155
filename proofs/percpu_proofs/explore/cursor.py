"""A world that is brought to the end of any schedule, and a machine that follows it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from percpu_proofs.explore.start import Start
from percpu_proofs.explore.system import actor_of
from percpu_proofs.explore.world import World
from percpu_proofs.refine.allocator import checker_of

_FAR: Final = 2  # steps from a saved world on that are rather taken again than saved as well


class Cursor:
    """Where a search stands. refine: the abstract machine of the variant follows, if it has one.

    world: one to be used again, of the same variant in the same geometry.

    Generators cannot be copied. So a world is reached again by the schedule, from the last one on
    the way there that had no operation under way and was saved.
    """

    def __init__(self, start: Start, *, refine: bool = False, world: World | None = None) -> None:
        self.world = world or World(start)
        if world is not None:
            world.restart(start)
        self.checker = checker_of(self.world.allocator, self.world.history) if refine else None
        self._taken: list[int] = []  # the steps to where the world is
        self._used_up = False  # it is elsewhere
        self._saved = [(0, self.world.begin)]  # worlds at rest, each after so many steps
        self._marks: list[Any] = [self.checker and self.checker.mark()]  # after each step

    def come_to(self, schedule: Sequence[int]) -> None:
        """Bring the world to the end of a schedule."""
        world, taken, checker = self.world, self._taken, self.checker
        same = 0
        for ours, theirs in zip(taken, schedule, strict=False):
            if ours != theirs:
                break
            same += 1
        if same < len(taken) or self._used_up:
            self._used_up = False
            while self._saved[-1][0] > same:
                self._saved.pop()
            length, saved = self._saved[-1]
            world.load(saved)
            for number in range(length, same):
                world.step(schedule[number])
                self._save(number + 1)
            del taken[same:], self._marks[same + 1 :]
            if checker is not None:
                checker.back_to(self._marks[same])
        for step in schedule[same:]:
            runner = world.step(step)
            if checker is not None:
                compared = checker.stretches
                checker.judge(actor_of(step), runner.gap, world.history)
                checker.stretches = compared  # what is done again is not counted
            self.took(step)
            self._save(len(taken))

    def took(self, step: int) -> None:
        """Note that the world has taken a step, and the machine followed."""
        self._taken.append(step)
        self._marks.append(self.checker and self.checker.mark())

    def use_up(self) -> None:
        """Note that the world is about to leave where it is."""
        self._used_up = True

    def _save(self, length: int) -> None:
        if length > self._saved[-1][0] + _FAR and self.world.at_rest:
            self._saved.append((length, self.world.save()))

"""Following a world with the abstract machine: is each step an action of it, or none?"""

from __future__ import annotations

from typing import Any

from percpu_proofs.explore.world import World
from percpu_proofs.refine import RefinementChecker, StepMismatch
from percpu_spec.protocol.machine import Machine


class RefinementJudge:
    """Follows one world, which begins at its start; behind a step that is no action it is lost."""

    def __init__(self, machine: Machine, world: World) -> None:
        self._checker = RefinementChecker(machine, world.allocator, world.history)
        self._lost = False
        self.steps = 0  # that were compared

    def after(self, world: World, actor: int) -> str | None:
        """Judge a step that an actor has taken; return what is wrong with it."""
        if self._lost:
            return None
        checker = self._checker
        checker.history = world.history
        self.steps += 1
        try:
            checker.after(actor, world.runners[actor].gap)
        except StepMismatch as wrong:
            self._lost = True
            return str(wrong)
        return None

    def mark(self) -> Any:
        """Return where it stands, to come back to when the world does."""
        return None if self._lost else self._checker.mark()

    def back_to(self, mark: Any) -> None:
        """Go back to a mark."""
        self._lost = mark is None
        if mark is not None:
            self._checker.back_to(mark)

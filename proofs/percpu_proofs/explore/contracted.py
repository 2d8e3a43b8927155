"""A world whose allocator is under contracts at full; every violation is let pass and entered."""

from __future__ import annotations

from percpu_contracts.guard import Guard
from percpu_contracts.monitor import Monitor
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.world import Runner, Saved, Start, World
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import clauses

ENDLESS = "BAL-3"
"""The clause whose violation ends a run: without that the operation would not end."""

_PASSED = frozenset(clauses()) - {ENDLESS}


def passing_monitor(
    allocator: Allocator, whole_state: WholeState, guard: Guard | None = None
) -> Monitor:
    """Return a monitor that lets pass every violation but that of ENDLESS; counts start at 0.

    guard: that of the allocator, which knows its objects; a new one unless given.
    """
    inapplicable = set(type(allocator).NOT_APPLICABLE)
    if allocator.geometry.backing == "vm":
        inapplicable.add("POP-5")
    monitor = Monitor(_PASSED, inapplicable)
    whole_state.evaluations = whole_state.quiescent_evaluations = 0
    monitor.whole_state = whole_state
    if guard is not None:
        monitor.guard = guard
        guard.report = monitor.misused
    return monitor


class ContractedWorld(World):
    """A world with a monitor, whose history is the world's; for starts under contracts at full."""

    __slots__ = ("_whole_state",)

    def __init__(self, start: Start) -> None:
        self._whole_state = WholeState(type(start.allocator).NOT_APPLICABLE)
        super().__init__(start)

    def _take_over(self, saved: Saved) -> None:
        super()._take_over(saved)
        self.monitor = passing_monitor(self.allocator, self._whole_state, self.monitor.guard)
        self.monitor.history = self.history
        self.allocator.monitor = self.monitor

    def watched_step(self, step: int) -> Runner:
        """Let an actor take one step; what it breaks is in the monitor.

        Raises ClauseViolation if it breaks ENDLESS.
        """
        guard = self.monitor.guard
        guard.actor, guard.holder = max(step, ~step), self.holder
        return self.step(step)

"""A world whose allocator is under contracts at full; every violation is let pass and entered."""

from __future__ import annotations

from percpu_contracts.monitor import Monitor
from percpu_proofs.explore.start import Runner, WorldCopy
from percpu_proofs.explore.system import actor_of
from percpu_proofs.explore.world import World
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import clauses

ENDLESS = "BAL-3"
"""The clause whose violation ends a run: without that the operation would not end."""

_PASSED = frozenset(clauses()) - {ENDLESS}


def passing_monitor(allocator: Allocator) -> Monitor:
    """Return a monitor that lets pass every violation but that of ENDLESS."""
    inapplicable = set(type(allocator).NOT_APPLICABLE)
    if allocator.geometry.backing == "vm":
        inapplicable.add("POP-5")
    return Monitor(_PASSED, inapplicable)


class ContractedWorld(World):
    """A world with a monitor, whose history is the world's; for starts under contracts at full."""

    def new_monitor(self) -> Monitor:
        """Return a monitor for the world's allocator."""
        return passing_monitor(self.allocator)

    def _take_over(self, saved: WorldCopy) -> None:
        super()._take_over(saved)
        self.monitor.begin(self.history)

    def guarded_step(self, step: int) -> Runner:
        """Let an actor take one step; what it breaks is in the monitor.

        Raises ClauseViolation if it breaks ENDLESS.
        """
        guard = self.monitor.guard
        guard.actor, guard.holder = actor_of(step), self.holder
        return self.step(step)

"""A refuted lemma's counterexample on the allocator itself, from its initial state.

The hunt through short operation lists, at a geometry that a kernel accepts, gives a list after
which the clause is broken. It counts if every clause about hints held before its last operation, as
the lemma assumes, and if that operation ran the lemma's function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.alphabets import PLANS
from percpu_proofs.explore.hunt import Caught
from percpu_proofs.explore.world import Start, World
from percpu_proofs.oplist import text_of
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

BUDGET = 60.0  # seconds for a hunt


class NotReachedError(LookupError):
    """No list of operations from the initial state shows the counterexample."""


@cache
def _hunted(number: int) -> dict[str, Caught]:
    return PLANS[number].hunt("linux_6_12", BUDGET).run().caught


def _ran(function: str, ran: list[str]) -> type[Allocator]:
    """Return linux_6_12 that notes when a function is run."""

    def noted(self: Any, *given: Any) -> Any:
        ran.append(function)
        return getattr(Linux612, function)(self, *given)

    return type("Linux612", (Linux612,), {"__slots__": (), function: noted})


def reached(clause: str, function: str) -> Callable[[], str]:
    """Return what finds operations that break a clause by a function, from a valid state.

    It raises NotReachedError.
    """

    def find() -> str:
        for number, plan in enumerate(PLANS):
            caught = _hunted(number).get(clause) if plan.hints else None
            if caught is None:
                continue
            ran: list[str] = []
            operations = (*caught.setup, *caught.actors)
            allocator = build(_ran(function, ran), Geometry().with_changes(plan.geometry))
            world = World(Start(allocator, {}, operations, works=0))
            for actor in range(len(operations)):
                if actor == len(operations) - 1:
                    before = [c for c, _ in WholeState().broken(world.allocator)]
                    ran.clear()
                while not world.runners[actor].done:
                    world.step(actor)
            after = dict(WholeState().broken(world.allocator))
            if not [c for c in before if c.startswith("HINT")] and ran and clause in after:
                listed = "; ".join(map(text_of, operations))
                return f"{listed}: {after[clause]}"
        raise NotReachedError(f"{clause}: no short list of operations breaks it by {function}")

    return find

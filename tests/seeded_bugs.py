"""Hunting seeded bugs (percpu_proofs.bugs) with the contracts, in every scene."""

from __future__ import annotations

from typing import NamedTuple

from workloads import Scene, play, scenes

from percpu_contracts.attach import checked
from percpu_contracts.contract import Level
from percpu_contracts.monitor import Monitor
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.bugs import KM, Row, plant, repaired
from percpu_reference.backing import KmBacking
from percpu_reference.variants import Allocator, with_backing

__all__ = ["KM", "Caught", "Row", "cast_for", "hunt", "plant", "repaired"]


class Caught(NamedTuple):
    """How a seeded bug was caught."""

    clause: str
    scene: str
    operation: int
    message: str


def cast_for(scene: Scene, bugged: type[Allocator]) -> type[Allocator] | None:
    """Return the class that plays a scene, None if the bug has no part in it."""
    if not issubclass(bugged, KmBacking):
        return with_backing(bugged, scene.geometry.backing)
    return bugged if scene.geometry.backing == "km" else None


def hunt(
    bugged: type[Allocator], level: Level = "full", among: tuple[Scene, ...] | None = None
) -> Caught | None:
    """Return how the contracts catch a bug in the scenes (all unless given), None if they do not.

    Only a violation counts that the variant does not declare. Anything else that is raised passes
    through: a Python error, or a caller's error, catches nothing.
    """
    for scene in scenes() if among is None else among:
        cls = cast_for(scene, bugged)
        if cls is None:
            continue
        monitor = Monitor(cls.EXPECTED, cls.NOT_APPLICABLE)
        try:
            play(checked(cls, level), scene, monitor)
        except ClauseViolation as found:
            return Caught(found.clause, scene.name, found.operation, found.message)
    return None

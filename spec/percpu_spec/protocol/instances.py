"""Small instances of the machine: a world, and what parameters range over in it."""

from __future__ import annotations

from typing import Any, NamedTuple

from percpu_spec.protocol.concrete import PlainWorld, plain_start
from percpu_spec.protocol.machine import Domain
from percpu_spec.protocol.pages import Pages
from percpu_spec.protocol.state import State


class Firing(NamedTuple):
    """One action of a run, with its parameters."""

    action: str
    given: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.action}({', '.join(map(str, self.given))})"


class Instance(NamedTuple):
    """A world and what parameters range over in it."""

    name: str
    world: PlainWorld
    domain: Domain
    used: dict[int, Pages]  # pages used from boot

    def start(self) -> State:
        """Return the state at boot."""
        return plain_start(self.world, self.used)


INSTANCES = {
    "three pages": Instance(
        "first chunk of 1 page, one chunk of 3 pages, 1 actor, HIGH 0",
        PlainWorld(high=0, unit_pages=3, divisor=3, sizes={0: 1}),
        Domain(actors=(0,), chunks=(0, 1), pages=3),
        {},
    ),
    "two actors": Instance(
        "first chunk of 2 pages, one chunk of 2 pages, 2 actors, HIGH 1",
        PlainWorld(high=1, unit_pages=2, divisor=2),
        Domain(actors=(0, 1), chunks=(0, 1), pages=2),
        {},
    ),
    "two chunks": Instance(
        "first chunk of 1 page, two chunks of 2 pages, 1 actor, HIGH 0",
        PlainWorld(high=0, unit_pages=2, divisor=2, sizes={0: 1}),
        Domain(actors=(0,), chunks=(0, 1, 2), pages=2),
        {},
    ),
    "reserved": Instance(
        "reserved and first chunk of 1 page, one chunk of 2 pages, 1 actor, HIGH 0",
        PlainWorld(high=0, unit_pages=2, divisor=2, reserved=-1, sizes={0: 1, -1: 1}),
        Domain(actors=(0,), chunks=(-1, 0, 1), pages=2),
        {},
    ),
}
"""In the first every action fires, populating two holes of one area among them."""

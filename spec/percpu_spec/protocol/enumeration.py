"""Breadth-first runs of a machine on small instances, its invariant checked in every state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

from percpu_spec.protocol.concrete import PlainWorld, plain_start
from percpu_spec.protocol.machine import Domain, Machine
from percpu_spec.protocol.pages import Pages
from percpu_spec.protocol.state import State


class Step(NamedTuple):
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


@dataclass(slots=True)
class Failure:
    """A clause broken after some steps, shortest first."""

    clause: str
    at: dict[str, Any]
    steps: list[Step]


@dataclass(slots=True)
class Enumeration:
    """What a run found: distinct states, how often each action fired, the first failure."""

    machine: str
    instance: str
    states: int = 0
    depth: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    never: list[str] = field(default_factory=list)
    failure: Failure | None = None
    complete: bool = True
    seconds: float = 0.0


def enumerate_states(
    machine: Machine, instance: Instance, *, most_states: int = 1_000_000
) -> Enumeration:
    """Visit every reachable state; stop at the first broken clause."""
    began = perf_counter()
    found = Enumeration(machine.name, instance.name)
    start = instance.start()
    came: dict[State, tuple[State, Step] | None] = {start: None}
    layer = [start]
    while layer and found.failure is None:
        following: list[State] = []
        for s in layer:
            found.failure = _judge(machine, instance, s, came)
            if found.failure is not None:
                break
            for name, given, after in machine.successors(s, instance.domain):
                found.fired[name] += 1
                wrong = machine.kept(name, s, after)
                if wrong is not None:
                    steps = [*_path(s, came), Step(name, given)]
                    found.failure = Failure(wrong, {}, steps)
                    break
                if after not in came:
                    came[after] = s, Step(name, given)
                    following.append(after)
            if found.failure is not None:
                break
        if len(came) > most_states:
            found.complete = False
            break
        layer = following
        found.depth += bool(layer)
    found.states = len(came)
    found.never = [name for name in machine.actions if not found.fired[name]]
    found.seconds = perf_counter() - began
    return found


def _judge(
    machine: Machine, instance: Instance, s: State, came: dict[State, tuple[State, Step] | None]
) -> Failure | None:
    for clause, at in machine.broken(s, instance.domain):
        return Failure(clause, at, _path(s, came))
    return None


def _path(s: State, came: dict[State, tuple[State, Step] | None]) -> list[Step]:
    steps: list[Step] = []
    entry = came[s]
    while entry is not None:
        before, step = entry
        steps.append(step)
        entry = came[before]
    return steps[::-1]


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

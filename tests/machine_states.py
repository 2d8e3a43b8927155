"""Breadth-first runs of a machine on small instances, its invariant checked in every state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from percpu_spec.protocol.instances import Firing, Instance
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.state import State


@dataclass(slots=True)
class Failure:
    """A clause broken after some steps, shortest first."""

    clause: str
    at: dict[str, Any]
    steps: list[Firing]


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
    came: dict[State, tuple[State, Firing] | None] = {start: None}
    layer = [start]
    while layer and found.failure is None:
        following: list[State] = []
        for s in layer:
            found.failure = _judge(machine, instance, s, came)
            if found.failure is not None:
                break
            for name, given, after in machine.successors(s, instance.domain):
                found.fired[name] += 1
                wrong = machine.step_breach(name, s, after)
                if wrong is not None:
                    steps = [*_path(s, came), Firing(name, given)]
                    found.failure = Failure(wrong, {}, steps)
                    break
                if after not in came:
                    came[after] = s, Firing(name, given)
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
    machine: Machine, instance: Instance, s: State, came: dict[State, tuple[State, Firing] | None]
) -> Failure | None:
    for clause, at in machine.broken(s, instance.domain):
        return Failure(clause, at, _path(s, came))
    return None


def _path(s: State, came: dict[State, tuple[State, Firing] | None]) -> list[Firing]:
    steps: list[Firing] = []
    entry = came[s]
    while entry is not None:
        before, step = entry
        steps.append(step)
        entry = came[before]
    return steps[::-1]

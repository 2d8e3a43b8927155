"""Counterexamples as plain values, for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from percpu_proofs.counterexample.record import Counterexample, CpuStep
from percpu_proofs.show.rows import StateRows


def as_json(c: Counterexample) -> dict[str, Any]:
    """Return a counterexample with plain values only."""
    return {
        "variant": c.subject,
        "clause": c.clause,
        "sentence": c.sentence,
        "kernel": c.source_of_clause,
        "mechanism": c.mechanism,
        "message": c.message,
        "geometry": c.geometry,
        "bound": c.bound or c.origin,
        "broken": sorted(c.broken),
        "setup": [one.operation for one in c.setup],
        "actors": [one.operation for one in c.at_once],
        "before": _state(c.before),
        "steps": list(_steps(c)),
        "token": c.token,
    }


def _steps(c: Counterexample) -> Iterator[dict[str, Any]]:
    numbers: dict[str, int] = {}  # the actor that last took a step in each column
    for step in c.steps:
        numbers[step.cpu] = step.actor
        yield _step(step, numbers)


def _step(step: CpuStep, numbers: dict[str, int]) -> dict[str, Any]:
    return {
        "step": step.number,
        "actor": step.actor,
        "cpu": step.cpu,
        "words": step.words,
        "operation": step.operation,
        "memory_refused": bool(step.refused),
        "from": step.left_gap,
        "to": step.gap,
        "function": step.function,
        "line": step.where,
        "stands": step.stands,
        "next": step.next,
        "result": step.result,
        "lock_taken": step.locked,
        "mutex_holder": numbers.get(step.state.mutex),
        "mutex": bool(step.state.mutex),
        "floats": list(step.state.floats),
        "broken": dict(step.broken),
    } | _state(step.state)


def _state(state: StateRows) -> dict[str, Any]:
    return {
        "counters": dict(state.counters),
        "memory": [f"{row.place:13} {row.name}: {row.pages}" for row in state.chunks],
    }

"""Counterexamples as plain values, for programs."""

from __future__ import annotations

from typing import Any

from percpu_proofs.counterexample.record import Counterexample, Step


def as_json(c: Counterexample) -> dict[str, Any]:
    """Return a counterexample with plain values only."""
    numbers = {step.cpu: step.actor for step in c.steps}
    return {
        "variant": c.subject,
        "clause": c.clause,
        "sentence": c.sentence,
        "kernel": c.source_of_clause,
        "mechanism": c.mechanism,
        "message": c.message,
        "geometry": c.geometry,
        "bound": c.bound,
        "broken": sorted(c.broken),
        "setup": [one.operation for one in c.setup],
        "actors": [one.operation for one in c.at_once],
        "steps": [_step(step, numbers) for step in c.steps],
    }


def _step(step: Step, numbers: dict[str, int]) -> dict[str, Any]:
    counters = dict(step.state.counters)
    floats = [v for name, v in counters.items() if name.startswith("pcpu_nr_empty_pop_pages")]
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
        "floats": floats,
        "counters": counters,
        "memory": [f"{row.place:13} {row.name}: {row.pages}" for row in step.state.chunks],
        "broken": dict(step.broken),
    }

"""What a single action must keep: clauses about the state before it and the state after."""

from __future__ import annotations

from collections.abc import Callable

from percpu_spec.protocol.clauses import holder
from percpu_spec.protocol.operators import Min, Or, Truth
from percpu_spec.protocol.state import State


def float_stays_high(before: State, after: State) -> Truth:
    """RCL-1: a step of reclaim does not take the float below HIGH, nor lower one below it."""
    return after.floating >= Min(before.floating, before.world.high)


def isolation_stays_high(before: State, after: State) -> Truth:
    """RCL-1: an isolation leaves the float at HIGH, or as the free left it."""
    return Or(after.floating >= before.world.high, after.floating >= before.floating)


def population_raises_float(before: State, after: State) -> Truth:
    """BAL-1: pages that the balance work populated raise the float by as many at least.

    A chunk that rejoins brings what it has.
    """
    here = holder(before)
    return after.floating >= before.floating + (here.end - here.start)


STEPS: dict[str, tuple[str, Callable[[State, State], Truth]]] = {
    "release_begin": ("RCL-1", float_stays_high),
    "release_end": ("RCL-1", float_stays_high),
    "flush_begin": ("RCL-1", float_stays_high),
    "flush_end": ("RCL-1", float_stays_high),
    "sideline": ("RCL-1", float_stays_high),
    "reintegrate": ("RCL-1", float_stays_high),
    "free_isolating": ("RCL-1", isolation_stays_high),
    "fill_fail_isolating": ("RCL-1", isolation_stays_high),
}

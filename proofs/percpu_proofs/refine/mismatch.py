"""A step that is no action of the machine, in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from percpu_spec.protocol.state import State


class MachineDifference(NamedTuple):
    """The first component in which two states differ."""

    component: str
    machine: Any
    allocator: Any

    def __str__(self) -> str:
        return f"{self.component}: machine {self.machine}, allocator {self.allocator}"


class StepMismatch(AssertionError):
    """A stretch between two gaps that the machine cannot make.

    gaps: names of the gap it came from and the one it came to, "" at the ends of an operation.
    plan: the actions tried, in order; the last one is the one refused, if one was. blocked: its
    conditions that do not hold. difference: where the states part if all were enabled.
    """

    def __init__(
        self,
        actor: Any,
        gaps: tuple[str, str],
        plan: list[str],
        blocked: list[str],
        difference: MachineDifference | None,
    ) -> None:
        self.actor = actor
        self.gaps = gaps
        self.plan = plan
        self.blocked = blocked
        self.difference = difference
        super().__init__(str(self))

    def __str__(self) -> str:
        came, went = (f"«{name}»" if name else "-" for name in self.gaps)
        tried = "; ".join(self.plan) or "no action"
        text = f"actor {self.actor}, {came} to {went}, is no step of the machine: tried {tried}"
        if self.blocked:
            return f"{text}: not so: {', '.join(self.blocked)}"
        return f"{text}: {self.difference}"


def first_difference(machine: State, allocator: State) -> MachineDifference | None:
    """Return where two states first differ, chunks before actors."""
    for kind in ("chunks", "actors"):
        one, other = getattr(machine, kind), getattr(allocator, kind)
        for key in sorted({*one, *other}):
            a, b = one[key], other[key]
            for name, x, y in zip(a._fields, a, b, strict=True):
                if x != y:
                    return MachineDifference(f"{kind[:-1]} {key} {name}", _shown(x), _shown(y))
    if machine.mutex != allocator.mutex:
        return MachineDifference("holder of pcpu_alloc_mutex", machine.mutex, allocator.mutex)
    if machine.floating != allocator.floating:
        return MachineDifference("float", machine.floating, allocator.floating)
    return None


def _shown(value: Any) -> Any:
    return getattr(value, "name", value)

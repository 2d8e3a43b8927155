"""How far an allocator is at rest, and so what may be asked of its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from percpu_contracts.registry import When, state_clauses


class Stability(Enum):
    """How far a state is at rest. Where nothing was told, the state may still show that it is not.
    """

    AT_REST = "at rest"
    BUSY = "busy"
    TORN = "torn"
    NOT_TOLD = "not told"


@dataclass(frozen=True, slots=True)
class Quiescence:
    """Who held the locks and what was under way as a state was read; None: not told.

    lock: the raw value of pcpu_lock, 0 where it is free. owner: of pcpu_alloc_mutex, name[pid],
    empty where it is free. waiters: somebody waits for that mutex. pending, running: the balance
    work. stacks: where CPUs and the mutex owner stand, innermost function first.
    """

    lock: int | None = None
    owner: str | None = None
    waiters: bool | None = None
    pending: bool | None = None
    running: bool | None = None
    stacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def stability(self) -> Stability:
        """How far at rest the state is, by what was told alone."""
        if self.lock:
            return Stability.TORN
        if self.owner or self.waiters or self.pending or self.running:
            return Stability.BUSY
        told = (self.lock, self.owner, self.waiters, self.pending)
        return Stability.NOT_TOLD if None in told else Stability.AT_REST

    @property
    def words(self) -> str:
        """The two locks and the work, in words."""
        lock = {None: "not told", 0: "free"}.get(self.lock, f"HELD ({self.lock or 0:#x})")
        mutex = {None: "not told", "": "free"}.get(self.owner, f"held by {self.owner}")
        waited = ", waited for" if self.waiters else ""
        return f"pcpu_lock {lock}, pcpu_alloc_mutex {mutex}{waited}, balance work {self._work}"

    @property
    def _work(self) -> str:
        if self.pending is None:
            return "not told"
        states = [
            name for name, so in (("pending", self.pending), ("running", self.running)) if so
        ]
        if states:
            return " and ".join(states)
        return "not pending" if self.running is None else "neither pending nor running"


_POPULATION = ("POP-1", "POP-2")
"""They wait while an allocation may stand between its area and its pages."""


def waiting(quiescence: Quiescence, signs: str = "") -> dict[str, str]:
    """Return the clauses that wait for a later moment, each with the reason.

    signs: what else shows that the state is not at rest, in words. POP-3 waits in part: what it
    says of single chunks is asked all the same.
    """
    quiescent = state_clauses(When.QUIESCENT)
    if quiescence.owner:
        reason = f"pcpu_alloc_mutex is held by {quiescence.owner}"
        return dict.fromkeys((*_POPULATION, "POP-3", *quiescent), reason)
    if quiescence.pending or quiescence.running:
        how = "running" if quiescence.running else "pending"
        return dict.fromkeys(quiescent, f"the balance work is {how}")
    if quiescence.waiters:
        return dict.fromkeys(quiescent, "somebody waits for pcpu_alloc_mutex")
    return dict.fromkeys(quiescent, signs) if signs else {}

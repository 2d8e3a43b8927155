"""The induction's claims about whole machines: their start, and what their invariant implies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove import protocol as induction
from percpu_proofs.prove.claim import Engine, Result, State
from percpu_proofs.prove.protocol.claims import ANY_NUMBER, clauses_kept, result_of
from percpu_proofs.prove.protocol.induction import (
    InductionQuery,
    Proof,
    prove_implications,
    prove_initial,
)
from percpu_spec import protocol
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import LINUX_6_12, REFERENCE, RFC_1_REVIEWED


@dataclass(frozen=True)
class WholeClaim:
    """A claim about a machine as a whole: its start, or what its invariant implies."""

    id: str
    machine: Machine
    prove: Callable[[Machine, float], list[InductionQuery]]
    twin: Callable[[Machine, float], list[InductionQuery]]
    broken: Machine  # one that the proof must not hold of
    engine: Engine = "induction"
    expected: State = "confirmed"
    bound: str = ANY_NUMBER

    @property
    def clause(self) -> str:
        """The clauses of the design that the machine is to keep."""
        return clauses_kept(self.machine)

    @property
    def variant(self) -> str:
        """The variant whose machine it is."""
        return self.machine.name

    @property
    def functions(self) -> tuple[str, ...]:
        """What the proof is about."""
        return ("percpu_spec.protocol.state.start_state", "percpu_spec.protocol.design.DESIGN")

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        return (protocol, induction)

    @property
    def bugs(self) -> tuple[str, ...]:
        """One machine of which it does not hold."""
        return (self.broken.name,)

    def check(self, timeout: float) -> Result:
        """Prove it."""
        began = time.process_time()
        found = self.prove(self.machine, timeout)
        return result_of(found, time.process_time() - began)

    def check_twin(self, timeout: float) -> Result:
        """Refute what is false of the machine."""
        began = time.process_time()
        found = self.twin(self.machine, timeout)
        return result_of(found, time.process_time() - began)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove it of the broken machine."""
        began = time.process_time()
        found = self.prove(self.broken, timeout)
        return result_of(found, time.process_time() - began)


def _impossible(machine: Machine, seconds: float) -> list[InductionQuery]:
    """Return the proof that no state keeps the invariant: false, or the assumptions clash."""
    proof = Proof(machine, seconds)
    proof.assume()
    return [proof.ask("invariant", "no state has it", False)]


def _initial_twin(machine: Machine, seconds: float) -> list[InductionQuery]:
    nothing = machine.changed(machine.name, clauses={"NONE": lambda s: s.mutex != s.world.nobody})
    return [o for o in prove_initial(nothing, seconds) if o.clause == "NONE"]


def _without_clause(machine: Machine, clause: str) -> Machine:
    left = {name: f for name, f in machine.clauses.items() if name != clause}
    return Machine(f"{machine.name} without {clause}", machine.actions, left, machine.steps)


def whole_claims() -> tuple[WholeClaim, ...]:
    """Return the claims about machines as wholes."""
    found: list[WholeClaim] = []
    for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED):
        name = machine.name.replace("_", "-")
        found += [
            WholeClaim(
                f"{name}-boot",
                machine,
                prove_initial,
                _initial_twin,
                machine.changed(
                    "a held mutex", clauses={"HELD": lambda s: s.mutex != s.world.nobody}
                ),
            ),
            WholeClaim(
                f"{name}-invariant-implies",
                machine,
                prove_implications,
                _impossible,
                _without_clause(machine, "POP-2"),
            ),
        ]
    return tuple(found)

"""The induction's claims about whole machines: their start, and what their invariant implies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove import protocol as induction
from percpu_proofs.prove.claim import Claim, Result
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

Prover = Callable[[Machine, float], list[InductionQuery]]


@dataclass(frozen=True)
class WholeClaim(Claim):
    """A claim about a machine as a whole: its start, or what its invariant implies."""

    machine: Machine
    prove: Prover
    twin: Prover
    broken: Machine  # one that the proof must not hold of
    engine = "induction"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        return (protocol, induction)

    def check(self, timeout: float) -> Result:
        """Prove it."""
        return self._judge(self.prove, self.machine, timeout)

    def check_twin(self, timeout: float) -> Result:
        """Refute what is false of the machine."""
        return self._judge(self.twin, self.machine, timeout)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove it of the broken machine."""
        return self._judge(self.prove, self.broken, timeout)

    def _judge(self, prove: Prover, machine: Machine, timeout: float) -> Result:
        began = time.process_time()
        found = prove(machine, timeout)
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


def _claim(
    machine: Machine, what: str, prove: Prover, twin: Prover, broken: Machine
) -> WholeClaim:
    return WholeClaim(
        f"{machine.name.replace('_', '-')}-{what}",
        clauses_kept(machine),
        ("percpu_spec.protocol.state.start_state", "percpu_spec.protocol.design.DESIGN"),
        ANY_NUMBER,
        machine,
        prove,
        twin,
        broken,
        variant=machine.name,
        bugs=(broken.name,),
    )


def whole_claims() -> tuple[WholeClaim, ...]:
    """Return the claims about machines as wholes."""
    found: list[WholeClaim] = []
    for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED):
        held = machine.changed(
            "a held mutex", clauses={"HELD": lambda s: s.mutex != s.world.nobody}
        )
        less = _without_clause(machine, "POP-2")
        found += [
            _claim(machine, "boot", prove_initial, _initial_twin, held),
            _claim(machine, "invariant-implies", prove_implications, _impossible, less),
        ]
    return tuple(found)

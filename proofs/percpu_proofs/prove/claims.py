"""Obligations as claims: each by symbols at its small size, and by plain enumeration at its large.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove import contracts_off, symbolic
from percpu_proofs.prove.claim import Engine, Result, State
from percpu_proofs.prove.dependencies import sources_of
from percpu_proofs.prove.enumeration import enumerate_cases
from percpu_proofs.prove.obligation import Obligation, Size
from percpu_proofs.prove.sampling import sample_cases
from percpu_proofs.seeded import BUGS
from percpu_reference.variants import Allocator

SAMPLES = 30
"""Cases that Hypothesis draws to see that it agrees."""


@dataclass(frozen=True, slots=True)
class _OfObligation:
    obligation: Obligation
    bugs: tuple[str, ...]

    @property
    def clause(self) -> str:
        """The clause that the obligation is about."""
        return self.obligation.clause

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions under proof."""
        return self.obligation.functions

    @property
    def variant(self) -> str:
        """The variant it is claimed of."""
        return self.obligation.variant

    @property
    def expected(self) -> State:
        """Confirmed; or refuted, for what the variant is known to break."""
        return "refuted" if self.obligation.refuted else "confirmed"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        seeded = (str(BUGS[bug]) for bug in self.bugs)
        return (inspect.getmodule(type(self)), *sources_of(self.obligation), *seeded)

    @property
    def says(self) -> str:
        """What is claimed, in a sentence."""
        return self.obligation.says


def by_symbols(
    obligation: Obligation,
    timeout: float,
    *,
    cls: type[Allocator] | None = None,
    twin: bool = False,
) -> Result:
    """Check an obligation by CrossHair (symbolic.check), with icontract off meanwhile."""
    with contracts_off():
        return symbolic.check(obligation, timeout, cls=cls, twin=twin)


class SymbolicClaim(_OfObligation):
    """An obligation that CrossHair discharges; the other engines must not disagree."""

    __slots__ = ()

    engine: Engine = "crosshair"

    @property
    def id(self) -> str:
        """The obligation's name."""
        return self.obligation.id

    @property
    def bound(self) -> str:
        """How far it reaches by symbols."""
        return self.obligation.bound(self.obligation.small)

    def check(self, timeout: float) -> Result:
        """Check by symbols; what the plain and the random engine refute is not confirmed."""
        found = by_symbols(self.obligation, timeout)
        others = [sample_cases(self.obligation, self.shared, SAMPLES)]
        if not self.obligation.symbols[1]:
            others.append(enumerate_cases(self.obligation, self.shared, timeout))
        for other in others:
            known = {found.state, other.state} - {"not confirmed"}
            if len(known) > 1:
                message = f"engines disagree: symbols {found.state}, cases {other.state}: "
                return Result(
                    "not confirmed", found.seconds, found.paths, message + other.message
                )
        return found

    @property
    def shared(self) -> Size:
        """The size at which every engine can be asked."""
        obligation = self.obligation
        return obligation.large if obligation.symbols[1] else obligation.small

    def check_twin(self, timeout: float) -> Result:
        """Check that some case says something."""
        return by_symbols(self.obligation, timeout, twin=True)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Check with one bug seeded."""
        return by_symbols(self.obligation, timeout, cls=BUGS[bug].planted(self.variant))


class EnumeratedClaim(_OfObligation):
    """An obligation asked in every case of a larger size."""

    __slots__ = ()

    engine: Engine = "enumeration"

    @property
    def id(self) -> str:
        """The obligation's name, marked."""
        return f"{self.obligation.id}-enumerated"

    @property
    def bound(self) -> str:
        """How far every case was tried."""
        return self.obligation.bound(self.obligation.large)

    def check(self, timeout: float) -> Result:
        """Try every case."""
        return enumerate_cases(self.obligation, self.obligation.large, timeout)

    def check_twin(self, timeout: float) -> Result:
        """Look for a case that says something."""
        return enumerate_cases(self.obligation, self.obligation.large, timeout, twin=True)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Try every case with one bug seeded; those of the smaller size first, often enough."""
        cls = BUGS[bug].planted(self.variant)
        obligation = self.obligation
        if not obligation.symbols[1]:
            found = enumerate_cases(obligation, obligation.small, timeout, cls=cls)
            if found.state == "refuted":
                return found
        return enumerate_cases(obligation, obligation.large, timeout, cls=cls)

"""A claim: one statement about functions of the allocator that an engine can check.

Whatever the engine, a claim says what is claimed, in which bound, of which functions; it has a twin
that must be refuted, so that it cannot hold by saying nothing; and bugs, each seeded into the
functions under proof, that must be refuted too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

State = Literal["confirmed", "refuted", "not confirmed"]
Engine = Literal["crosshair", "enumeration", "z3", "induction"]


@dataclass(frozen=True, slots=True)
class Result:
    """What an engine says of a claim; anything but a proof or a counterexample is not confirmed."""

    state: State
    seconds: float
    paths: int = 0  # execution paths, cases or solver queries
    message: str = ""  # the counterexample, or why it is not confirmed


class Claim(Protocol):
    """One line of the ledger."""

    @property
    def id(self) -> str:
        """A short name, unique in the ledger, in lower case with dashes."""

    @property
    def clause(self) -> str:
        """The clause that the claim is about."""

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions under proof, `module.Class.function`, as in `percpu_reference.slots`."""

    @property
    def engine(self) -> Engine:
        """What discharges it."""

    @property
    def variant(self) -> str:
        """The variant it is claimed of."""

    @property
    def bound(self) -> str:
        """How far it reaches, in words that a kernel reviewer understands."""

    @property
    def expected(self) -> State:
        """Confirmed; or refuted, for what the variant is known to break."""

    @property
    def sources(self) -> tuple[Any, ...]:
        """Modules, classes and functions whose source the result depends on."""

    @property
    def bugs(self) -> tuple[str, ...]:
        """Names of the seeded bugs."""

    def check(self, timeout: float) -> Result:
        """Check the claim, within timeout seconds."""

    def check_twin(self, timeout: float) -> Result:
        """Check the twin, which is false; None of its engine's traps may confirm it."""

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Check the claim with one bug seeded."""

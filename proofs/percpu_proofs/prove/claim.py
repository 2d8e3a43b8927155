"""A claim: one statement about functions of the allocator that an engine can check.

Whatever the engine, a claim says what is claimed, in which bound, of which functions; it has a twin
that must be refuted, so that it cannot hold by saying nothing; and bugs, each seeded into the
functions under proof, that must be refuted too.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

State = Literal["confirmed", "refuted", "not confirmed"]
Engine = Literal["crosshair", "enumeration", "z3", "induction"]


@dataclass(frozen=True, slots=True)
class Result:
    """What an engine says of a claim; anything but a proof or a counterexample is not confirmed."""

    state: State
    seconds: float
    paths: int = 0  # execution paths, cases or solver queries
    message: str = ""  # the counterexample, or why it is not confirmed


class ProofAttempt:
    """A check under way: its results say how much CPU time it took, and on how many paths."""

    def __init__(self) -> None:
        self.paths = 0
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        """CPU time since it began."""
        return time.process_time() - self._began

    def result(self, state: State, message: str = "") -> Result:
        """Return its result, if it ends now."""
        return Result(state, self.seconds, self.paths, message)


@dataclass(frozen=True)
class Claim(ABC):
    """One line of the ledger.

    id: a short name, unique in the ledger, in lower case with dashes. clause: the clause that it is
    about, or several with commas. functions: those under proof, `module.Class.function`, as in
    `slots.Slots.chunk_move`, or from the package on. bound: how far it reaches, in words that a
    kernel reviewer understands. expected: refuted for what the variant is known to break. bugs:
    names of the seeded bugs.
    """

    id: str
    clause: str
    functions: tuple[str, ...]
    bound: str
    variant: str = field(default="linux_6_12", kw_only=True)
    expected: State = field(default="confirmed", kw_only=True)
    bugs: Collection[str] = field(default=(), kw_only=True)

    engine: ClassVar[Engine]

    @property
    @abstractmethod
    def sources(self) -> tuple[Any, ...]:
        """Modules, classes and functions whose source the result depends on."""

    @abstractmethod
    def check(self, timeout: float) -> Result:
        """Check the claim, within timeout seconds."""

    @abstractmethod
    def check_twin(self, timeout: float) -> Result:
        """Check the twin, which is false; None of its engine's traps may confirm it."""

    @abstractmethod
    def check_bug(self, bug: str, timeout: float) -> Result:
        """Check the claim with one bug seeded."""

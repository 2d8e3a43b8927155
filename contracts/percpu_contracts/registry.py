"""The registry of clauses: which predicates state each, about what, and when they are asked.

The words of a clause are in `clauses/*.md` (percpu_spec.catalogue). A predicate returns None where
its clause holds, else one line that says what is wrong. Every judge takes what it asks from here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import percpu_contracts.clauses as clauses_package
from percpu_contracts.contract import ON_FUNCTIONS
from percpu_spec.catalogue import clause, clauses
from percpu_spec.geometry import Geometry
from percpu_spec.views import ChunkView

Predicate = Callable[..., str | None]
_P = TypeVar("_P", bound=Predicate)


class Scope(Enum):
    """What a predicate looks at, and so what it takes."""

    BLOCK = "one block of a chunk"  # (chunk, index, geometry)
    CHUNK = "one chunk"  # (chunk, geometry)
    ALLOCATOR = "the whole allocator"  # (allocator)
    STEP = "one stretch between two lock drops"  # (step, allocator, history)
    LOCK = "each taking and release of a lock, and each access to what it protects"
    OPERATION = "one function from its entry to its return"  # as its contract gives it
    HISTORY = "a whole history"


class When(Enum):
    """When a predicate is asked."""

    ALWAYS = "whenever pcpu_lock is free"
    SETTLED = "while no area of the chunk waits for its pages"
    ISOLATED = "while a chunk is isolated"
    QUIESCENT = "at rest: nothing under way, no work pending"
    RETURN = "when the function returns"
    STEP = "after each step"


@dataclass(frozen=True, slots=True)
class Statement:
    """A predicate with the clause that it states, what it looks at, and when."""

    clause: str
    predicate: Predicate
    scope: Scope
    when: When


STATEMENTS: list[Statement] = []
"""In the order of definition. Complete only behind `statements()`."""


def states(
    clause_id: str, scope: Scope = Scope.OPERATION, when: When = When.RETURN
) -> Callable[[_P], _P]:
    """Register a predicate as stating `clause_id` and return it unchanged.

    Raises UnknownClauseError at import if the catalogue has no such clause.
    """
    clause(clause_id)

    def bind(predicate: _P) -> _P:
        STATEMENTS.append(Statement(clause_id, predicate, scope, when))
        return predicate

    return bind


def in_every_block(holds: Predicate, of_chunk: Predicate | None = None) -> Predicate:
    """Return the predicate about a chunk that asks one about blocks of each of its blocks.

    of_chunk: asked first, of the chunk itself.
    """

    def everywhere(chunk: ChunkView, geometry: Geometry) -> str | None:
        wrong = None if of_chunk is None else of_chunk(chunk, geometry)
        for index in range(chunk.nr_pages):
            if wrong is not None:
                break
            wrong = holds(chunk, index, geometry)
        return wrong

    return everywhere


@cache
def statements() -> tuple[Statement, ...]:
    """Return every statement, all chapters imported."""
    for module in pkgutil.iter_modules(clauses_package.__path__):
        importlib.import_module(f"{clauses_package.__name__}.{module.name}")
    return tuple(STATEMENTS)


def predicates() -> dict[str, list[Predicate]]:
    """Return the predicates that state each clause."""
    found: dict[str, list[Predicate]] = {c: [] for c in clauses()}
    for s in statements():
        found[s.clause].append(s.predicate)
    return found


def asked(scope: Scope, *moments: When, without: Collection[str] = ()) -> list[tuple[str, Any]]:
    """Return (clause, predicate) for what is asked of a scope at one of these moments."""
    return list(_asked(scope, moments, frozenset(without)))


@cache
def _asked(
    scope: Scope, moments: tuple[When, ...], without: frozenset[str]
) -> list[tuple[str, Any]]:
    return [
        (s.clause, s.predicate)
        for s in statements()
        if s.scope is scope and s.when in moments and s.clause not in without
    ]


STATES = (Scope.BLOCK, Scope.CHUNK, Scope.ALLOCATOR)
"""What can be asked of a state alone, whoever recorded it."""


def state_clauses(*moments: When) -> list[str]:
    """Return the clauses that are asked of states at some of these moments."""
    return sorted({s.clause for s in statements() if s.scope in STATES and s.when in moments})


@dataclass(frozen=True, slots=True)
class JudgeCoverage:
    """One who asks clauses: of what, and why not of the rest."""

    name: str
    scopes: Collection[Scope]
    otherwise: str  # why a clause of another scope is not asked

    def asks(self) -> list[str]:
        """Return the clauses that the judge asks, in the catalogue's order."""
        mine = {s.clause for s in statements() if s.scope in self.scopes}
        if Scope.OPERATION in self.scopes:
            mine |= ON_FUNCTIONS.keys()
        return [c for c in clauses() if c in mine]

    def not_asked(self) -> dict[str, str]:
        """Return the clauses that it does not ask, each with the reason."""
        mine = set(self.asks())
        reasons = {}
        for c in clauses():
            if c not in mine:
                scopes = [s.scope for s in statements() if s.clause == c] or [Scope.OPERATION]
                of = " and of ".join(dict.fromkeys(scope.value for scope in scopes))
                reasons[c] = f"speaks of {of}; {self.otherwise}"
        return reasons


CONTRACTS = JudgeCoverage("contracts", frozenset(Scope), "")
STATE = JudgeCoverage("whole state", STATES, "a state shows no operation")
RECORDED = JudgeCoverage("recorded state", STATES, "a recorded state shows no operation")
SEARCH = JudgeCoverage(
    "explorer",
    (*STATES, Scope.STEP, Scope.LOCK, Scope.HISTORY),
    "contracts at full ask it (sequences, fuzz, workload)",
)
COMPILED = JudgeCoverage(
    "compiled kernel", (*STATES, Scope.STEP), "the compiled code has no contracts on its functions"
)

"""What a clause says, and what in this project answers for it."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

from percpu_contracts.contract import marked_names, marks_of
from percpu_contracts.registry import When, predicates, state_clauses
from percpu_reference import VARIANTS, Allocator
from percpu_spec.catalogue import Clause, clause


@dataclass(frozen=True, slots=True)
class Explanation:
    """A clause with the code that checks it."""

    clause: Clause
    predicates: list[dict[str, str]]  # name, module, says
    contracts: list[dict[str, str]]  # function, kind, level, condition
    state: str  # when the clause is asked of whole states; empty if it is not
    expected: dict[str, str]  # variants that are known to break it, and by what
    not_applicable: dict[str, str]  # variants of which it is not asked, and why

    def as_json(self) -> dict[str, Any]:
        """Return the explanation with plain values only."""
        found = asdict(self)
        stated: dict[str, Any] = found.pop("clause")
        return stated | found


def explain(clause_id: str) -> Explanation:
    """Return the explanation of a clause. Raises UnknownClauseError, naming ids that look alike."""
    stated = clause(clause_id.upper())
    stating = [
        {
            "name": predicate.__name__,
            "module": predicate.__module__,
            "says": (inspect.getdoc(predicate) or "").split("\n")[0],
        }
        for predicate in predicates()[stated.id]
    ]
    contracts = [
        {
            "function": name,
            "kind": mark.kind,
            "level": mark.level,
            "condition": f"{mark.condition.__module__}.{mark.condition.__name__}",
        }
        for name in marked_names(Allocator)
        for mark in marks_of(Allocator, name)
        if mark.kind != "old" and stated.id in mark.clause.split()
    ]
    state = ""
    if stated.id in state_clauses(When.ALWAYS, When.SETTLED, When.ISOLATED):
        state = "every state, in every gap and after every operation, at level full"
    elif stated.id in state_clauses(When.QUIESCENT):
        state = "every quiescent state, at level full"
    return Explanation(
        stated,
        stating,
        contracts,
        state,
        {n: v.EXPECTED[stated.id] for n, v in VARIANTS.items() if stated.id in v.EXPECTED},
        {
            n: v.NOT_APPLICABLE[stated.id]
            for n, v in VARIANTS.items()
            if stated.id in v.NOT_APPLICABLE
        },
    )

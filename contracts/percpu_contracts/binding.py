"""Binds predicates to the clauses they evaluate.

A predicate returns None where its clause holds, else one line that says what is wrong. Scopes, by
the leading parameters: block `(chunk, index, geometry)`, chunk `(chunk, geometry)`, allocator
`(allocator)`; anything else is a single operation. A larger scope calls the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from percpu_spec.catalogue import clause

Predicate = Callable[..., str | None]
_P = TypeVar("_P", bound=Predicate)

PREDICATES: dict[str, list[Predicate]] = {}
"""Every predicate by the id of its clause, in the order of definition."""


def states(clause_id: str) -> Callable[[_P], _P]:
    """Register a predicate as stating `clause_id` and return it unchanged.

    Raises UnknownClauseError at import if the catalogue has no such clause.
    """
    clause(clause_id)

    def bind(predicate: _P) -> _P:
        PREDICATES.setdefault(clause_id, []).append(predicate)
        return predicate

    return bind

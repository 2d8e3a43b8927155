"""Logic over values that are either plain or z3 terms.

An action or a clause is written once with these. On plain values they compute at once; given a z3
term they build a z3 term. Comparison and arithmetic need no help: Python's operators do both.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

Truth = Any
"""A bool, or a z3 term of that sort."""

Number = Any
"""An int, or a z3 term of that sort."""


def _z3() -> Any:
    return import_module("z3")


def And(*parts: Truth) -> Truth:
    """Return whether all parts hold."""
    terms = None
    for part in parts:
        if part is True:
            continue
        if part is False:
            return False
        if terms is None:
            terms = [part]
        else:
            terms.append(part)
    return True if terms is None else _z3().And(*terms)


def Or(*parts: Truth) -> Truth:
    """Return whether some part holds."""
    terms = None
    for part in parts:
        if part is False:
            continue
        if part is True:
            return True
        if terms is None:
            terms = [part]
        else:
            terms.append(part)
    return False if terms is None else _z3().Or(*terms)


def Not(part: Truth) -> Truth:
    """Return whether the part does not hold."""
    return not part if isinstance(part, bool) else _z3().Not(part)


def Implies(given: Truth, then: Truth) -> Truth:
    """Return whether `then` holds if `given` does."""
    return Or(Not(given), then)


def Iff(one: Truth, other: Truth) -> Truth:
    """Return whether both hold or neither."""
    if isinstance(one, bool):
        return other if one else Not(other)
    if isinstance(other, bool):
        return one if other else Not(one)
    return one == other


def If(condition: Truth, then: Any, otherwise: Any) -> Any:
    """Return `then` where the condition holds, else `otherwise`; both plain values or terms."""
    if condition is True:
        return then
    if condition is False:
        return otherwise
    return _z3().If(condition, then, otherwise)


def Min(one: Number, other: Number) -> Number:
    """Return the smaller of two numbers."""
    return If(one < other, one, other)


def Max(one: Number, other: Number) -> Number:
    """Return the larger of two numbers."""
    return If(one > other, one, other)


def one_of(value: Any, *values: Any) -> Truth:
    """Return whether the value equals one of the others."""
    return Or(*[value == other for other in values])


def within(lo: Number, value: Number, hi: Number) -> Truth:
    """Return whether lo <= value < hi."""
    return And(lo <= value, value < hi)

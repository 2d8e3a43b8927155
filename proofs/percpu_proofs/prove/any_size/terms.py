"""Numbers and maps of z3 terms, which the allocator's own functions meet in place of values.

They stand for integers and bytearrays. Arithmetic builds terms; a branch asks the path (see paths)
which way to go, so that one run of a function is one of its paths.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from percpu_spec.protocol.operators import And, If, Implies, Not, Or, Truth, within

z3: Any = import_module("z3")

LOW_BIT = z3.Function("low_bit", z3.IntSort(), z3.IntSort())
"""x & -x; nothing is assumed of it, so what is proved holds however alignments compare."""


class PathOfTerms(Protocol):
    """What a term asks the path of; what each means see paths."""

    def decide(self, term: Any) -> bool:
        """Return which way a branch goes."""

    def divide(self, term: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder."""

    def multiple(self, quotient: Any, by: Any) -> Any:
        """Return a quotient times its divisor."""

    def bit_length(self, term: Any) -> Any:
        """Return a term for the number of bits."""

    def search(self, has: Callable[[Any], Truth], bit: bool, lo: Any, hi: Any, last: bool) -> Any:
        """Return a term for the first or last match in [lo, hi), -1 if there is none."""


def raw(value: Any) -> Any:
    """Return the term or plain value that a function's value stands for."""
    return value.term if isinstance(value, PathTerm) else value


class PathTerm:
    """A term in place of a value of the function that runs."""

    __slots__ = ("path", "term")

    def __init__(self, path: PathOfTerms, term: Any) -> None:
        self.path = path
        self.term = term


class Condition(PathTerm):
    """A truth that a function branches on."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self.path.decide(self.term)


def _arithmetic(of_terms: Callable[[Any, Any], Any]) -> Any:
    """Return the method of an operator whose result is a number."""
    return lambda self, other: Number(self.path, of_terms(self.term, raw(other)))


def _comparison(of_terms: Callable[[Any, Any], Any]) -> Any:
    """Return the method of an operator whose result is a truth."""
    return lambda self, other: Condition(self.path, of_terms(self.term, raw(other)))


class Number(PathTerm):
    """An integer of any size."""

    __slots__ = ()

    __add__ = __radd__ = _arithmetic(operator.add)
    __sub__ = _arithmetic(operator.sub)
    __rsub__ = _arithmetic(lambda term, other: other - term)
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)

    def _number(self, term: Any) -> Number:
        return Number(self.path, term)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, bytes):  # b"\1" * n
            return Fill(bool(other[0]))
        return self._number(self.term * raw(other))

    __rmul__ = __mul__

    def __neg__(self) -> Number:
        return self._number(-self.term)

    def __bool__(self) -> bool:
        return self.path.decide(self.term != 0)

    def __rshift__(self, by: Any) -> Any:
        return self._number(self.path.divide(self.term, by.divisor)[0])

    def __lshift__(self, by: Any) -> Any:
        return self._number(self.path.multiple(self.term, by.divisor))

    def __and__(self, other: Any) -> Any:
        if isinstance(other, Mask):
            return self._number(self.path.divide(self.term, other.divisor)[1])
        if raw(other).eq(-self.term):
            return self._number(LOW_BIT(self.term))
        raise TypeError(f"{self.term} & {raw(other)}: only a mask or the lowest bit is known")

    def bit_length(self) -> Number:
        """Return how many bits the number has; what is known of it see paths."""
        return self._number(self.path.bit_length(self.term))


@dataclass(slots=True, eq=False)
class Mask:
    """The block size in the guise of a mask or a shift, of whatever power of two it is."""

    divisor: Any

    def __rlshift__(self, number: int) -> Any:
        return number * self.divisor if number else 0


@dataclass(slots=True)
class Fill:
    """A bytes object of any length, all of whose elements are the same."""

    bit: bool


class Bits:
    """A map with an element per bit or page, of any length."""

    def __init__(self, path: PathOfTerms, length: Any, has: Callable[[Any], Truth]) -> None:
        self.path = path
        self.length = length
        self.has = has

    def find(self, bit: int, start: Any = 0, end: Any = None) -> Number:
        """Return the first index in [start, end) whose element is `bit`, or -1."""
        return self._search(bit, start, end, last=False)

    def rfind(self, bit: int, start: Any = 0, end: Any = None) -> Number:
        """Return the last index in [start, end) whose element is `bit`, or -1."""
        return self._search(bit, start, end, last=True)

    def _search(self, bit: int, start: Any, end: Any, *, last: bool) -> Number:
        lo, hi = raw(start), self.length if end is None else raw(end)
        return Number(self.path, self.path.search(self.has, bool(bit), lo, hi, last))

    def __getitem__(self, index: Any) -> Condition:
        return Condition(self.path, self.has(raw(index)))

    def __setitem__(self, index: slice, value: Fill) -> None:
        lo, hi, old, bit = raw(index.start), raw(index.stop), self.has, value.bit
        self.has = lambda i: If(within(lo, i, hi), bit, old(i))


def is_match(has: Callable[[Any], Truth], bit: bool, i: Any) -> Truth:
    """Return whether an element is `bit`."""
    return has(i) if bit else Not(has(i))


def search_facts(
    has: Callable[[Any], Truth], bit: bool, lo: Any, hi: Any, at: Any, last: bool
) -> tuple[Truth, Callable[[Any], Truth]]:
    """Return what is true of a search's result `at`: as such, and at every index."""
    hit = And(within(lo, at, hi), is_match(has, bit, at))

    def passed(i: Any) -> Truth:
        beyond = i > at if last else i < at
        return Implies(And(within(lo, i, hi), Or(at == -1, beyond)), Not(is_match(has, bit, i)))

    return Or(at == -1, And(at >= 0, hit)), passed

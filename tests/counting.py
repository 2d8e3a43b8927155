"""Why sizes of page sets may be reckoned as they are: each lemma by induction over the pages.

A set has a counting function U with U(0) = 0 and U(n + 1) = U(n) + 1 if n is in the set, else U(n);
its size is U at the number of pages. A lemma is a statement about U at n. It is proved for 0 and
from n to n + 1, of arbitrary sets, ranges and numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove.protocol.worlds import z3
from percpu_spec.protocol.operators import And, If, Implies, Not, Or, Truth, within

_S = z3.Function("S", z3.IntSort(), z3.BoolSort())
_T = z3.Function("T", z3.IntSort(), z3.BoolSort())
_US = z3.Function("U_S", z3.IntSort(), z3.IntSort())
_UT = z3.Function("U_T", z3.IntSort(), z3.IntSort())
_UR = z3.Function("U_R", z3.IntSort(), z3.IntSort())
_lo, _hi, _page = z3.Ints("lo hi page")


def _clamped(n: Any) -> Any:
    """How many pages of [lo, hi) lie below n."""
    return If(n <= _lo, 0, If(n >= _hi, _hi - _lo, n - _lo))


@dataclass(frozen=True)
class CountingLemma:
    """A statement at n, the set R that it is about, and what is assumed of the page n."""

    name: str
    result: Callable[[Any], Truth]  # R, by its members
    assumed: Callable[[Any], Truth]
    holds: Callable[[Any], Truth]


LEMMAS = (
    CountingLemma(
        "adding a range that is new adds its length",
        lambda n: Or(_S(n), within(_lo, n, _hi)),
        lambda n: Not(And(_S(n), within(_lo, n, _hi))),
        lambda n: _UR(n) == _US(n) + _clamped(n),
    ),
    CountingLemma(
        "removing a range that is there takes off its length",
        lambda n: And(_S(n), Not(within(_lo, n, _hi))),
        lambda n: Implies(within(_lo, n, _hi), _S(n)),
        lambda n: _UR(n) == _US(n) - _clamped(n),
    ),
    CountingLemma("a size is not negative", _S, lambda n: True, lambda n: _US(n) >= 0),
    CountingLemma(
        "a set with a member has a size of 1 at least",
        _S,
        lambda n: And(_S(_page), _page >= 0),
        lambda n: And(_US(n) >= 0, Implies(n > _page, _US(n) >= 1)),
    ),
    CountingLemma(
        "a set within another is not larger, and the rest is the difference",
        lambda n: And(_T(n), Not(_S(n))),
        lambda n: Implies(_S(n), _T(n)),
        lambda n: And(_US(n) <= _UT(n), _UR(n) == _UT(n) - _US(n)),
    ),
)


def _counted(count: Any, has: Callable[[Any], Truth], n: Any) -> Truth:
    return And(count(0) == 0, count(n + 1) == count(n) + If(has(n), 1, 0))


def is_proved(lemma: CountingLemma) -> bool:
    """Return whether a lemma holds at 0, and at n + 1 where it holds at n."""
    n = z3.Int("n")
    for assumption, goal in (
        (True, lemma.holds(z3.IntVal(0))),
        (And(n >= 0, lemma.holds(n)), lemma.holds(n + 1)),
    ):
        solver = z3.Solver()
        solver.set("timeout", 10_000)
        solver.add(_lo >= 0, _lo <= _hi, z3.BoolVal(True) if assumption is True else assumption)
        for count, has in ((_US, _S), (_UT, _T), (_UR, lemma.result)):
            solver.add(_counted(count, has, n))
        assumed = lemma.assumed(n)
        if assumed is not True:
            solver.add(assumed)
        solver.add(Not(goal))
        if solver.check() != z3.unsat:
            return False
    return True

"""One path of a function on terms, and what is known on it; all paths, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from percpu_proofs.prove.any_size.terms import LOW_BIT, search_facts, z3
from percpu_spec.protocol.operators import And, Implies, Not, Or, Truth, within

MOST_PATHS = 5000
MOST_STEPS = 30_000_000
"""z3's own count of its work (rlimit) for one query; the largest need 300,000."""


class PathContext:
    """What all paths of a function have in common: a solver, and facts up to the first branch."""

    def __init__(self, seconds: float) -> None:
        self.solver = z3.SimpleSolver()
        self.solver.set("timeout", max(1, int(seconds * 1000)))
        self.solver.set("rlimit", MOST_STEPS)
        self.known: frozenset[tuple[int, int]] | None = None
        self.keep: list[Any] = []  # terms whose ids are in `known`


class Path:
    """Decisions taken so far, and the facts that hold of terms on the way.

    A statement about every index is kept as a function and used at the points in play, which is
    sound because it is assumed. small: sizes are at most this, and points are all the indices, so
    that a model is a state in which the statements hold everywhere.
    """

    def __init__(
        self,
        prefix: tuple[bool, ...],
        seconds: float,
        small: int | None = None,
        shared: PathContext | None = None,
    ) -> None:
        self.shared = shared or PathContext(seconds)
        self.branched = False
        self.prefix = prefix
        self.small = small
        self.decisions: list[bool] = []
        self.alternatives: list[tuple[bool, ...]] = []
        self.everywhere: list[Callable[[Any], Truth]] = []
        self.every_run: list[Callable[[Any, Any], Truth]] = []
        self.points: list[Any] = []
        self.ends: list[tuple[Any, Any]] = []
        self.solver = self.shared.solver
        self._divided: dict[tuple[int, int], tuple[Any, Any, Any]] = {}
        self._bits: list[tuple[Any, Any]] = []
        self._count = 0
        self.model: Any = None  # of what is known so far, if there is one

    def fresh(self, name: str) -> Any:
        """Return a new constant; the same on every path that came the same way."""
        self._count += 1
        return z3.Int(f"{name}!{self._count}")

    def assume(self, truth: Truth) -> None:
        """Assume a truth about terms."""
        if truth is not True and (self.branched or self.shared.known is None):
            self.solver.add(truth)
            self.model = None

    def branch(self) -> None:
        """Leave what all paths have in common."""
        if self.branched:
            return
        shared = self.shared
        if shared.known is None:
            shared.known = frozenset()
            truths, known = self._new_instances(frozenset())
            shared.solver.add(*[t for t in truths if t is not True])
            shared.known = known
            shared.keep = [*self.points, *self.ends]
        self.branched = True
        self.solver.push()

    def done(self) -> None:
        """Leave the path."""
        self.branch()
        self.solver.pop()

    def check(self, *truths: Truth) -> Any:
        """Ask the solver."""
        return self.solver.check(*[z3.BoolVal(t) if isinstance(t, bool) else t for t in truths])

    def decide(self, term: Any) -> bool:
        """Return which way a branch goes on this path; note the other way if it is possible."""
        if isinstance(term, bool):
            return term
        self.branch()
        number = len(self.decisions)
        choice = self.prefix[number] if number < len(self.prefix) else self._first_way(term)
        self.decisions.append(choice)
        self.solver.add(term if choice else Not(term))
        return choice

    def _first_way(self, term: Any) -> bool:
        """Return true if a branch can be, and note the other way if that can be too.

        The last model of the path answers one of the two without a query.
        """
        seen = None if self.model is None else z3.is_true(self.model.eval(term, True))
        if not seen:
            answer = self.check(term)
            if answer == z3.unsat:
                return False
            model = self.solver.model() if answer == z3.sat else None
        else:
            model = self.model
        if seen is False or self.check(Not(term)) != z3.unsat:
            self.alternatives.append((*self.decisions, False))
        self.model = model
        return True

    def search(self, has: Callable[[Any], Truth], bit: bool, lo: Any, hi: Any, last: bool) -> Any:
        """Return a term for the first or last match in [lo, hi), -1 if there is none."""
        at = self.fresh("found")
        known, passed = search_facts(has, bit, lo, hi, at, last)
        self.assume(known)
        self.everywhere.append(passed)
        self.points.append(at)
        return at

    def divide(self, term: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder."""
        key = term.get_id(), by.get_id() if z3.is_expr(by) else by
        if key not in self._divided:
            quotient, remainder = self.fresh("quotient"), self.fresh("remainder")
            self.assume(within(0, remainder, by))
            if self.small is not None:  # without it less is assumed, and no product
                self.assume(term == quotient * by + remainder)
            self.assume(Implies(term >= 0, quotient >= 0))
            for (_, other_by), (of, its, rest) in self._divided.items():
                if other_by == key[1]:  # what lies in one block has one quotient
                    below = of - rest
                    inside = within(below, term, below + by)
                    self.assume(Implies(inside, And(quotient == its, remainder == term - below)))
                    self.assume(Implies(term >= below + by, quotient > its))
                    self.assume(Implies(term < below, quotient < its))
            self._divided[key] = term, quotient, remainder
        return self._divided[key][1:]

    def multiple(self, quotient: Any, by: Any) -> Any:
        """Return a quotient times its divisor: what was divided, less the remainder."""
        for of, its, rest in self._divided.values():
            if its.eq(quotient):
                return of - rest
        return quotient * by

    def bit_length(self, term: Any) -> Any:
        """Return a term for the number of bits of a number that is not negative.

        All that is known of it: 0 has none, 1 has one, more is not less, and double is one more.
        """
        bits = self.fresh("bits")
        self.assume(And(bits >= 0, (term == 0) == (bits == 0), Implies(term == 1, bits == 1)))
        for other, its in self._bits:
            self.assume(Implies(term <= other, bits <= its))
            self.assume(Implies(other <= term, its <= bits))
            self.assume(Implies(And(other > 0, term >= 2 * other), bits > its))
            self.assume(Implies(And(term > 0, other >= 2 * term), its > bits))
        if self.small is not None:  # a counterexample is to be one of numbers as they are
            known = [Implies(term == v, bits == v.bit_length()) for v in range(64)]
            self.assume(And(term < 64, *known))
        self._bits.append((term, bits))
        return bits

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        """Return that some index in [lo, hi) is in the map; only for what is assumed."""
        if self.small is not None:
            return Or(*[And(within(lo, i, hi), has(i)) for i in range(self.small + 1)])
        at = self.fresh("some")
        self.points.append(at)
        return And(within(lo, at, hi), has(at))

    def instances(self) -> list[Truth]:
        """Return what holds of every index and run at the points in play, known ones apart."""
        self.branch()
        assert self.shared.known is not None
        return [t for t in self._new_instances(self.shared.known)[0] if t is not True]

    def _new_instances(
        self, known: frozenset[tuple[int, int]]
    ) -> tuple[list[Truth], frozenset[tuple[int, int]]]:
        """Return the instances that are not known, and which are known then."""
        points, ends = self.points, self.ends
        if self.small is not None:
            self.assume(And(*[LOW_BIT(i) == (i & -i) for i in range(self.small + 1)]))
            points = self.points = [z3.IntVal(i) for i in range(self.small + 1)]
            ends = self.ends = [(x, y) for n, x in enumerate(points) for y in points[n + 1 :]]
        made: list[Truth] = []
        pairs = set(known)
        for number, of_run in enumerate(self.every_run):
            for x, y in ends:
                key = -1 - number, hash((x.get_id(), y.get_id()))
                if key not in pairs:
                    pairs.add(key)
                    made.append(of_run(x, y))  # may add points
        for number, of_point in enumerate(self.everywhere):
            for p in points:
                key = number, p.get_id() if z3.is_expr(p) else -1 - p
                if key not in pairs:
                    pairs.add(key)
                    made.append(of_point(p))
        return made, frozenset(pairs)


def all_paths(
    run: Callable[[Path], None], make: Callable[[tuple[bool, ...]], Path]
) -> Iterator[Path]:
    """Yield every path of a function, after it was run to its end. Raises TooManyPathsError."""
    waiting: list[tuple[bool, ...]] = [()]
    count = 0
    while waiting:
        count += 1
        if count > MOST_PATHS:
            raise TooManyPathsError(f"more than {MOST_PATHS} paths")
        path = make(waiting.pop())
        run(path)
        waiting += path.alternatives
        yield path
        path.done()


class TooManyPathsError(RuntimeError):
    """A function on terms does not end within MOST_PATHS paths."""

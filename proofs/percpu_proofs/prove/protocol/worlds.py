"""Worlds, tables and page sets of z3 terms, on which actions and clauses build formulas.

Chunks and actors are uninterpreted sorts, pages integers: nothing bounds their number. Tables are
functions that an action updates at a key, so what it leaves alone needs no axiom.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from percpu_spec.protocol.operators import And, If, Implies, Not, Or, Truth, within
from percpu_spec.protocol.state import ChunkState, Position, State

z3: Any = import_module("z3")

ChunkSort = z3.DeclareSort("Chunk")
ActorSort = z3.DeclareSort("Actor")


class Session:
    """One proof: the terms at which general statements are used, and what comes up on the way.

    A statement about every page is used at the terms of `pages`, one about every chunk at those of
    `chunks`. That is sound where it is assumed: guards and lemmas are never negated. demands: what
    an effect relies on, to be proved of any page. facts: lemmas about sets made on the way.
    """

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.actors: list[Any] = []
        self.pages: list[Any] = []
        self.demands: list[tuple[str, Callable[[Any], Truth]]] = []
        self.facts: list[Truth] = []
        self.witnesses = [z3.Int(f"witness_{n}") for n in range(4)]
        self._spare = list(self.witnesses)
        self.sizes_differences = False  # whether the size of a difference is asked for

    def witness(self) -> Any:
        """Return a page about which nothing is known yet."""
        return self._spare.pop()


class PageSet:
    """A finite set of pages: a member test, and a size where it is followed."""

    def __init__(self, session: Session, has: Callable[[Any], Truth], size: Any) -> None:
        self.session = session
        self.has = has
        self.size = size

    def finite(self) -> PageSet:
        """Note what is true of the size of every finite set, and return the set."""
        self.session.facts.append(self.size >= 0)
        self.session.facts.extend(Implies(self.has(p), self.size >= 1) for p in self.session.pages)
        return self

    def all_in(self, lo: Any, hi: Any) -> Truth:
        """Return whether every page of [lo, hi) is in the set; to be assumed only."""
        return And(*[Implies(within(lo, p, hi), self.has(p)) for p in self.session.pages])

    def none_in(self, lo: Any, hi: Any) -> Truth:
        """Return whether no page of [lo, hi) is in the set; to be assumed only."""
        return And(*[Implies(within(lo, p, hi), Not(self.has(p))) for p in self.session.pages])

    def add(self, lo: Any, hi: Any) -> PageSet:
        """Return the set with [lo, hi), of which it must have nothing."""
        demands = self.session.demands
        demands.append(("added pages are new", lambda p: Not(And(within(lo, p, hi), self.has(p)))))
        demands.append(("the range is in order", lambda p: lo <= hi))
        more = PageSet(
            self.session, lambda p: Or(self.has(p), within(lo, p, hi)), self.size + (hi - lo)
        )
        return more.finite()

    def remove(self, lo: Any, hi: Any) -> PageSet:
        """Return the set without [lo, hi), all of which it must have."""
        demands = self.session.demands
        demands.append(
            ("removed pages were there", lambda p: Implies(within(lo, p, hi), self.has(p)))
        )
        demands.append(("the range is in order", lambda p: lo <= hi))
        less = PageSet(
            self.session,
            lambda p: And(self.has(p), Not(within(lo, p, hi))),
            self.size - (hi - lo),
        )
        return less.finite()

    def mark(self, lo: Any, hi: Any) -> PageSet:
        """Return the set with [lo, hi); its size is not followed."""
        return PageSet(self.session, lambda p: Or(self.has(p), within(lo, p, hi)), None)

    def clear(self, lo: Any, hi: Any) -> PageSet:
        """Return the set without [lo, hi); its size is not followed."""
        return PageSet(self.session, lambda p: And(self.has(p), Not(within(lo, p, hi))), None)

    def minus(self, other: PageSet) -> PageSet:
        """Return the difference; its size is that of the sizes unless other has a page more."""
        size = None
        if self.session.sizes_differences and None not in (self.size, other.size):
            size = z3.FreshInt("size")
            page = self.session.witness()
            extra = And(other.has(page), Not(self.has(page)))
            self.session.facts.append(Or(size == self.size - other.size, extra))
        return PageSet(self.session, lambda p: And(self.has(p), Not(other.has(p))), size)


def either(condition: Truth, one: Any, other: Any) -> Any:
    """Return one value where the condition holds, else the other: numbers, sets or records."""
    if one is other:
        return one
    if isinstance(one, PageSet):
        size = None
        if one.size is not None and other.size is not None:
            size = If(condition, one.size, other.size)
        return PageSet(one.session, lambda p: If(condition, one.has(p), other.has(p)), size)
    if isinstance(one, tuple):
        pairs = zip(one, other, strict=True)
        return type(one)(*[either(condition, x, y) for x, y in pairs])
    return If(condition, one, other)


class SymbolicTable:
    """A function from keys, changed at some of them. base_total: the sum of all weights at first.

    base_total is None where it is any number.
    """

    def __init__(
        self,
        base: Callable[[Any], Any],
        updates: tuple[tuple[Any, Any], ...] = (),
        base_total: Any = None,
    ) -> None:
        self.base = base
        self.updates = updates
        self.base_total = base_total

    def __getitem__(self, key: Any) -> Any:
        value = self.base(key)
        for changed, new in self.updates:
            value = new if key.eq(changed) else either(key == changed, new, value)
        return value

    def put(self, key: Any, value: Any) -> SymbolicTable:
        """Return the table with another value for a key."""
        return SymbolicTable(self.base, (*self.updates, (key, value)), self.base_total)

    def stages(self) -> list[tuple[Any, SymbolicTable, SymbolicTable]]:
        """Return for each change its key and the table before and after it."""
        return [
            (
                key,
                SymbolicTable(self.base, self.updates[:n], self.base_total),
                SymbolicTable(self.base, self.updates[: n + 1], self.base_total),
            )
            for n, (key, _) in enumerate(self.updates)
        ]


class SymbolicWorld:
    """Constants of an arbitrary run."""

    has_reserved = True

    def __init__(self, session: Session) -> None:
        self.session = session
        self.high = z3.Int("HIGH")
        self.first = z3.Const("first", ChunkSort)
        self.reserved = z3.Const("reserved", ChunkSort)
        self.nowhere = z3.Const("nowhere", ChunkSort)
        self.nobody = z3.Const("nobody", ActorSort)
        self.no_pages = PageSet(session, lambda p: False, 0)
        self._pages = z3.Function("pages", ChunkSort, z3.IntSort())
        self._least = z3.Function("least_empty", ChunkSort, z3.IntSort())
        self._totals: dict[str, Any] = {}

    def table(self, default: Any) -> SymbolicTable:
        """Return a table in which every key has the default; its weights come to 0."""
        return SymbolicTable(lambda key: default, base_total=0)

    def pages(self, c: Any) -> Any:
        """Return how many pages a chunk has."""
        return self._pages(c)

    def least_empty(self, c: Any) -> Any:
        """Return the empty pages from which on a free lets a chunk be reclaimed."""
        return self._least(c)

    def every_chunk(self, s: State, holds: Callable[[ChunkState], Truth]) -> Truth:
        """Return whether a property holds of every chunk; to be assumed only."""
        return And(*[holds(s.chunks[c]) for c in self.session.chunks])

    def total(self, s: State, weight: Callable[[State, Any], Any]) -> Any:
        """Return the sum of the chunks' weights: that at first, and what each change adds."""
        table: SymbolicTable = s.chunks
        total = table.base_total
        if total is None:
            total = self._totals.setdefault(weight.__name__, z3.Int(f"sum_of_{weight.__name__}"))
        for key, before, after in table.stages():
            change = weight(s._replace(chunks=after), key) - weight(s._replace(chunks=before), key)
            total = total + change
        return total

    def assumptions(self, chunks: list[Any]) -> list[Truth]:
        """Return what is true of every world."""
        return [
            self.first != self.reserved,
            self.first != self.nowhere,
            self.reserved != self.nowhere,
            self.high >= 0,
            *[And(self.pages(c) >= 0, self.least_empty(c) >= 0) for c in chunks],
        ]


def cached_by_term(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function of terms with its values kept, for each term as it is written."""
    known: dict[int, tuple[Any, Any]] = {}

    def lookup(term: Any) -> Any:
        key = term.get_id()  # unique as long as the term is kept
        if key not in known:
            known[key] = term, function(term)
        return known[key][1]

    return lookup


class Before:
    """An arbitrary state, as functions from chunks and actors."""

    def __init__(self, session: Session) -> None:
        self.session = session
        boolean, integer = z3.BoolSort(), z3.IntSort()

        def of_chunk(name: str, sort: Any) -> Any:
            return z3.Function(name, ChunkSort, sort)

        def of_actor(name: str, sort: Any) -> Any:
            return z3.Function(name, ActorSort, sort)

        self._place, self._isolated = of_chunk("place", integer), of_chunk("isolated", boolean)
        self._owner, self._empties = of_chunk("owner", ActorSort), of_chunk("empties", integer)
        self._sets = {
            name: (
                z3.Function(name, ChunkSort, integer, boolean),
                of_chunk(f"{name}_size", integer),
            )
            for name in ("used", "populated", "stale")
        }
        self._position = [
            of_actor("phase", integer),
            of_actor("at", ChunkSort),
            *[of_actor(name, integer) for name in ("start", "end", "lo", "hi")],
        ]
        self.witness = of_chunk("witness", integer)
        self.world = SymbolicWorld(session)
        self.state = State(
            self.world,
            SymbolicTable(cached_by_term(self._chunk)),
            SymbolicTable(cached_by_term(lambda a: Position(*[f(a) for f in self._position]))),
            z3.Const("mutex", ActorSort),
            z3.Int("float"),
        )

    def _chunk(self, c: Any) -> ChunkState:
        used, populated, stale = (self._set(name, c) for name in self._sets)
        place, isolated, owner = self._place(c), self._isolated(c), self._owner(c)
        return ChunkState(place, isolated, owner, used, populated, stale, self._empties(c))

    def _set(self, name: str, c: Any) -> PageSet:
        has, size = self._sets[name]
        return PageSet(self.session, cached_by_term(lambda p: has(c, p)), size(c))

    def counts(self) -> list[Truth]:
        """Return what is true of finite sets, at the session's terms (see tests/counting.py)."""
        truths: list[Truth] = []
        for c in self.session.chunks:
            chunk = self.state.chunks[c]
            chunk.used.finite()
            chunk.populated.finite()
            w = self.witness(c)
            truths.append(
                Or(
                    chunk.used.size <= chunk.populated.size,
                    And(chunk.used.has(w), Not(chunk.populated.has(w))),
                )
            )
        return truths

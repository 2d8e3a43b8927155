"""What a lemma is written in: the same lines prove it on terms and run it on plain values.

A lemma is a function of a scene. It names arbitrary numbers and maps, says what is assumed of them,
runs functions of the allocator, and claims what holds then. A `LemmaScene` draws the numbers, so
the claims are seen on the imported function; a `SymbolicScene` makes terms of them, so the same
claims are proved of all of them. Facts are written with `percpu_spec.protocol.operators`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove.any_size.code import (
    TextChange,
    entry_of,
    new_twin,
    run_to_end,
    turn_of,
    twin_of,
)
from percpu_proofs.prove.any_size.paths import Path
from percpu_proofs.prove.any_size.terms import Bits, Condition, Mask, Number, raw, z3
from percpu_proofs.run.choices import Choices, every_case
from percpu_reference.chunk import Block
from percpu_spec.protocol.operators import And, Implies, Or, Truth, within

LARGEST = 6  # of an unbounded number that is drawn


@dataclass(frozen=True, slots=True)
class SceneClaim:
    """One claim; given is what it presupposes."""

    what: str
    given: Truth
    holds: Truth


class UnmetError(Exception):
    """What was drawn is no case of the lemma."""


class PlainBlocks(list[Block]):
    """Blocks of integers."""

    def hint(self, name: str, index: int) -> Any:
        """Return a block's hint."""
        return getattr(self[index], name)


class LemmaScene:
    """A scene of plain values; `raw` numbers are for facts, `code` makes them fit for functions.

    choose: picks one of a list, for a name. claims: what was claimed. outcome: what functions left,
    by name, for comparing formulas with functions. inputs: the arbitrary numbers, truths and maps
    by name.
    """

    def __init__(
        self,
        choose: Callable[[str, Sequence[Any]], Any],
        bug: TextChange | None = None,
        largest: int = LARGEST,
    ) -> None:
        self.choose = choose
        self.bug = bug
        self.largest = largest
        self.claims: list[SceneClaim] = []
        self.outcome: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}

    def _choose(self, name: str, values: Sequence[Any]) -> Any:
        if not values:
            raise UnmetError(name)
        value = self.inputs[name] = self.choose(name, values)
        return value

    def size(self, name: str, least: int = 1) -> Any:
        """Return an arbitrary number of bits or pages."""
        return int(self._choose(name, range(least, self.largest + 1)))

    def number(
        self,
        name: str,
        lo: Any = None,
        hi: Any = None,
        among: Callable[[], Iterable[int]] | None = None,
    ) -> Any:
        """Return an arbitrary number in [lo, hi); plain ones are drawn from `among` if given."""
        first = -self.largest if lo is None else lo
        behind = self.largest + 1 + max(0, first) if hi is None else hi
        values = range(first, behind) if among is None else sorted(set(among()))
        value = int(self._choose(name, values))
        self.assume((lo is None or lo <= value) and (hi is None or value < hi))
        return value

    def flag(self, name: str) -> Truth:
        """Return an arbitrary truth."""
        return bool(self._choose(name, (False, True)))

    def bits(self, name: str, length: Any) -> Callable[[Any], Truth]:
        """Return the membership of an arbitrary map of so many bits or pages."""
        members = [bool(self._choose(f"{name}[{i}]", (False, True))) for i in range(length)]
        self.inputs[name] = members
        return lambda i: 0 <= i < length and members[i]

    def code(self, value: Any) -> Any:
        """Return a raw number, truth or map as functions take it."""
        if isinstance(value, Mask):
            raise TypeError("a plain scene has shifts and masks of its own")
        return value

    def map_of(self, length: Any, has: Callable[[Any], Truth]) -> Any:
        """Return a map that functions can search and change."""
        return bytearray(bool(has(i)) for i in range(length))

    def blocks(self, name: str, count: Any, bits: Any, fields: Sequence[str]) -> Any:
        """Return so many blocks of which a function reads the named hints."""
        made = PlainBlocks(Block(bits) for _ in range(count))
        for index, block in enumerate(made):
            for field in fields:
                setattr(block, field, self._choose(f"{name}.{field}[{index}]", range(bits + 1)))
        return made

    def assume(self, truth: Truth) -> None:
        """Take only cases in which this holds."""
        if not truth:
            raise UnmetError

    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        """Take only cases in which a fact holds of every index in [lo, hi)."""
        self.assume(all(fact(i) for i in range(lo, hi)))

    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        """Take only cases in which a fact holds of every nonempty range within [lo, hi)."""
        self.assume(all(fact(x, y) for x in range(lo, hi) for y in range(x + 1, hi + 1)))

    def point(self, *terms: Any) -> None:
        """Use facts about every index at these; plain ones are judged everywhere."""

    def run(self, x: Any, y: Any) -> None:
        """Use facts about every range at this one; plain ones are judged everywhere."""

    def divide(self, value: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder."""
        return value // by, value % by

    def blocks_of(self, n: Any) -> dict[str, Any]:
        """Return an allocator's attributes for blocks of n bits; plain ones are powers of two."""
        self.assume(n & (n - 1) == 0)
        return {"block_bits": n, "block_shift": n.bit_length() - 1, "block_mask": n - 1}

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        """Return whether some index of [lo, hi) is in a map; only for what is assumed."""
        return any(has(i) for i in range(lo, hi))

    def claim(self, what: str, holds: Truth, given: Truth = True) -> None:
        """State what is to be proved; what it presupposes must come about (see the twin)."""
        self.claims.append(SceneClaim(what, given, holds))

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold."""
        return [claim.what for claim in self.claims if claim.given and not claim.holds]

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        """Return an object with the class's functions and these attributes, raw."""
        bug = self.bug_in(cls)
        return self.instance(cls if bug is None else twin_of(cls, bug), stubs, values)

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any],
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        """Return an allocator of whose base's function only what `instead` assumes is known.

        What it assumes has been proved by another lemma. A plain scene runs the function.
        """
        return self.allocator(cls, stubs, **values)

    def bounded(self, size: Any) -> None:
        """Keep a size that others make up small where counterexamples are looked for."""
        self.assume(size <= self.largest)

    def entry(self, owner: type, name: str, /, **locals_: Any) -> Any:
        """Run what comes before a function's loop, from these locals; return the locals then."""
        given = {key: self.code(value) for key, value in locals_.items()}
        return entry_of(owner, name, 0, tuple(given), self.bug)(**given)[1]

    def turn(self, owner: type, name: str, number: int, /, **locals_: Any) -> Any:
        """Run one turn of a function's loop on these locals: how it ends, and the locals then."""
        given = {key: self.code(value) for key, value in locals_.items()}
        return run_to_end(turn_of(owner, name, number, tuple(given), self.bug)(**given))

    def bug_in(self, cls: type) -> TextChange | None:
        """Return the bug if it is in a function of the class or its bases."""
        return self.bug if self.bug is not None and self.bug.owner in cls.__mro__ else None

    def instance(
        self, cls: type, stubs: Mapping[str, Any] | None, values: Mapping[str, Any]
    ) -> Any:
        """Return an object of a class, some functions replaced, with these attributes alone."""
        made: Any = object.__new__(type(cls.__name__, (cls,), dict(stubs or {})))
        for name, value in values.items():
            setattr(made, name, self.code(value))
        return made


class SymbolicScene(LemmaScene):
    """A scene on one path of terms."""

    def __init__(self, path: Path, bug: TextChange | None = None) -> None:
        super().__init__(lambda name, values: None, bug)
        self.path = path
        self.maps: dict[str, tuple[Any, Any]] = {}

    def size(self, name: str, least: int = 1) -> Any:
        size = self.number(name, least, None)
        self.bounded(size)
        return size

    def number(self, name: str, lo: Any = None, hi: Any = None, among: Any = None) -> Any:
        if name in self.inputs:
            raise ValueError(f"{name}: two arbitrary numbers of one name would be the same")
        term = self.inputs[name] = z3.Int(name)
        self.path.assume(And(True if lo is None else lo <= term, True if hi is None else term < hi))
        self.path.points.append(term)
        return term

    def flag(self, name: str) -> Truth:
        term = self.inputs[name] = z3.Bool(name)
        return term

    def bits(self, name: str, length: Any) -> Callable[[Any], Truth]:
        function = z3.Function(name, z3.IntSort(), z3.BoolSort())
        self.maps[name] = function, length
        return lambda i: function(i)

    def code(self, value: Any) -> Any:
        if isinstance(value, Mask):
            return value
        if z3.is_bool(value):
            return Condition(self.path, value)
        return Number(self.path, value) if z3.is_expr(value) else value

    def map_of(self, length: Any, has: Callable[[Any], Truth]) -> Any:
        return Bits(self.path, length, has)

    def blocks(self, name: str, count: Any, bits: Any, fields: Sequence[str]) -> Any:
        functions = {f: z3.Function(f"{name}_{f}", z3.IntSort(), z3.IntSort()) for f in fields}
        self.maps |= {f"{name}.{field}": (function, count) for field, function in functions.items()}
        return SymbolicBlocks(self.path, count, bits, functions)

    def assume(self, truth: Truth) -> None:
        self.path.assume(truth)

    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        self.path.everywhere.append(lambda i: Implies(within(lo, i, hi), fact(i)))

    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        self.path.every_run.append(lambda x, y: Implies(And(lo <= x, x < y, y <= hi), fact(x, y)))

    def point(self, *terms: Any) -> None:
        self.path.points += terms

    def run(self, x: Any, y: Any) -> None:
        self.path.ends.append(tuple(z3.IntVal(e) if isinstance(e, int) else e for e in (x, y)))

    def divide(self, value: Any, by: Any) -> tuple[Any, Any]:
        return self.path.divide(value, by)

    def blocks_of(self, n: Any) -> dict[str, Any]:
        if self.path.small is not None:
            self.path.assume(Or(*[n == 1 << shift for shift in range(8)]))
        return {"block_bits": n, "block_shift": Mask(n), "block_mask": Mask(n)}

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        return self.path.some(has, lo, hi)

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        return self.instance(twin_of(cls, self.bug_in(cls)), stubs, values)

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any],
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        twin = new_twin(cls, self.bug_in(cls))
        setattr(twin.twins[base[0].__name__], base[1], instead)
        return self.instance(twin, stubs, values)

    def bounded(self, size: Any) -> None:
        if self.path.small is not None:
            self.path.assume(size <= self.path.small)


class SymbolicBlocks:
    """Blocks whose hints are functions of their number; read only."""

    def __init__(self, path: Path, count: Any, bits: Any, functions: Mapping[str, Any]) -> None:
        self.path = path
        self.length = count
        self.bits = bits
        self.functions = functions

    def __getitem__(self, index: Any) -> Any:
        block: Any = Block.__new__(Block)
        block.nr_bits = Number(self.path, self.bits)
        for name, function in self.functions.items():
            setattr(block, name, Number(self.path, function(raw(index))))
        return block

    def hint(self, name: str, index: Any) -> Any:
        """Return a block's hint, raw."""
        return self.functions[name](index)


def plain_scene(
    scenario: Callable[[Any], None],
    choose: Callable[[str, Sequence[Any]], Any],
    bug: TextChange | None = None,
    largest: int = LARGEST,
) -> LemmaScene | None:
    """Return the scene of one case, run to its end, None if what was chosen is no case."""
    scene = LemmaScene(choose, bug, largest)
    try:
        scenario(scene)
    except UnmetError:
        return None
    return scene


def replay(
    scenario: Callable[[Any], None], case: Mapping[str, Any], bug: TextChange | None, largest: int
) -> LemmaScene | None:
    """Return the scene of a case whose inputs are given by name, None if it is none."""

    def choose(name: str, values: Sequence[Any]) -> Any:
        if name not in case:
            raise UnmetError(name)
        return case[name]

    return plain_scene(scenario, choose, bug, largest)


def small_cases(
    scenario: Callable[[Any], None],
    largest: int,
    most: int,
    bug: TextChange | None,
    known: Mapping[str, Any] | None = None,
) -> Iterator[LemmaScene]:
    """Yield the plain scenes of small sizes in order, at most so many tries.

    known: inputs by name that are the same in all of them.
    """
    same = known or {}
    for case in itertools.islice(every_case(), most):

        def choose(name: str, values: Sequence[Any], case: Choices = case) -> Any:
            return same[name] if name in same else case.pick(values)

        scene = plain_scene(scenario, choose, bug, largest)
        if scene is not None:
            yield scene

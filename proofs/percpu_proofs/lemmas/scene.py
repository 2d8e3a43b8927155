"""What a lemma is written in: the same lines prove it on terms and run it on plain values.

A lemma is a function of a scene. It names arbitrary numbers and maps, says what is assumed of them,
runs functions of the allocator, and claims what holds then. `SymbolicScene` makes terms of the
numbers, so the claims are proved of all of them; `PlainScene` draws them, so the same claims are
seen on the imported function. Facts are written with `percpu_spec.protocol.operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from percpu_proofs.lemmas.code import Bug, entry_of, finished, new_twin, turn_of, twin_of
from percpu_proofs.lemmas.paths import Path
from percpu_proofs.lemmas.terms import Bits, Condition, Mask, Number, raw, z3
from percpu_reference.chunk import Block
from percpu_spec.protocol.operators import And, Implies, Not, Or, Truth, within

HINTS = (
    "scan_hint",
    "scan_hint_start",
    "contig_hint",
    "contig_hint_start",
    "left_free",
    "right_free",
    "first_free",
)
LARGEST = 6  # of an unbounded number that is drawn


class Hints:
    """Hints as facts speak of them: terms or integers."""

    def __init__(self, block: Any) -> None:
        for name in (*HINTS, "nr_bits"):
            setattr(self, name, raw(getattr(block, name)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class UnmetError(Exception):
    """What was drawn is no case of the lemma."""


@dataclass(frozen=True, slots=True)
class Said:
    """One claim; given is what it presupposes."""

    what: str
    given: Truth
    holds: Truth


class Scene(Protocol):
    """Terms or plain values; `raw` numbers are for facts, `code` makes them fit for functions."""

    said: list[Said]
    outcome: dict[str, Any]  # what functions left, by name, for the tie

    def size(self, name: str, least: int = 1) -> Any:
        """Return an arbitrary number of bits or pages."""

    def number(
        self, name: str, lo: Any = None, hi: Any = None, among: Callable[[], Iterable[int]] | None = None
    ) -> Any:
        """Return an arbitrary number in [lo, hi); plain ones are drawn from `among` if given."""

    def flag(self, name: str) -> Truth:
        """Return an arbitrary truth."""

    def bits(self, name: str, length: Any) -> Callable[[Any], Truth]:
        """Return the membership of an arbitrary map of so many bits or pages."""

    def code(self, value: Any) -> Any:
        """Return a raw number, truth or map as functions take it."""

    def map_of(self, length: Any, has: Callable[[Any], Truth]) -> Any:
        """Return a map that functions can search and change."""

    def blocks(self, name: str, count: Any, bits: Any, fields: Sequence[str]) -> Any:
        """Return so many blocks of which a function reads the named hints."""

    def assume(self, truth: Truth) -> None:
        """Take only cases in which this holds."""

    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        """Take only cases in which a fact holds of every index in [lo, hi)."""

    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        """Take only cases in which a fact holds of every nonempty range within [lo, hi)."""

    def point(self, *terms: Any) -> None:
        """Use facts about every index at these."""

    def run(self, x: Any, y: Any) -> None:
        """Use facts about every range at this one."""

    def divided(self, value: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder."""

    def blocks_of(self, n: Any) -> dict[str, Any]:
        """Return an allocator's attributes for blocks of n bits; plain ones are powers of two."""

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        """Return whether some index of [lo, hi) is in a map; only for what is assumed."""

    def claim(self, what: str, holds: Truth, given: Truth = True) -> None:
        """State what is to be proved; what it presupposes must come about (see the twin)."""

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        """Return an object with the class's functions and these attributes, raw."""

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any] | None,
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        """Return an allocator of whose base's function only what `instead` assumes is known.

        What it assumes has been proved by another lemma. A plain scene runs the function.
        """

    def bounded(self, size: Any) -> None:
        """Keep a size that others make up small where counterexamples are looked for."""

    def entry(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        """Run what comes before a function's loop, from these locals; return the locals then."""

    def turn(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        """Run one turn of a function's loop on these locals: how it ends, and the locals then."""


class SymbolicScene:
    """A scene on one path of terms."""

    def __init__(self, path: Path, bug: Bug | None = None) -> None:
        self.path = path
        self.bug = bug
        self.said: list[Said] = []
        self.outcome: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self.maps: dict[str, tuple[Any, Any]] = {}

    def size(self, name: str, least: int = 1) -> Any:
        size = self.number(name, least, None)
        if self.path.small is not None:
            self.path.assume(size <= self.path.small)
        return size

    def number(
        self, name: str, lo: Any = None, hi: Any = None, among: Any = None
    ) -> Any:
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
        for field_, function in functions.items():
            self.maps[f"{name}.{field_}"] = function, count
        return _Blocks(self.path, count, bits, functions)

    def assume(self, truth: Truth) -> None:
        self.path.assume(truth)

    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        self.path.everywhere.append(lambda i: Implies(within(lo, i, hi), fact(i)))

    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        self.path.every_run.append(
            lambda x, y: Implies(And(lo <= x, x < y, y <= hi), fact(x, y))
        )

    def point(self, *terms: Any) -> None:
        self.path.points += terms

    def run(self, x: Any, y: Any) -> None:
        self.path.ends.append((x, y))

    def divided(self, value: Any, by: Any) -> tuple[Any, Any]:
        return self.path.divided(value, by)

    def blocks_of(self, n: Any) -> dict[str, Any]:
        if self.path.small is not None:
            self.path.assume(Or(*[n == 1 << shift for shift in range(8)]))
        return {"block_bits": n, "block_shift": Mask(n), "block_mask": Mask(n)}

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        return self.path.some(has, lo, hi)

    def claim(self, what: str, holds: Truth, given: Truth = True) -> None:
        self.said.append(Said(what, given, holds))

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        return _object(twin_of(cls, _if_in(self.bug, cls)), stubs or {}, self, values)

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any] | None,
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        twin = new_twin(cls, _if_in(self.bug, cls))
        setattr(twin.twins[base[0].__name__], base[1], instead)
        return _object(twin, stubs or {}, self, values)

    def bounded(self, size: Any) -> None:
        if self.path.small is not None:
            self.path.assume(size <= self.path.small)

    def entry(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        given = {key: self.code(value) for key, value in locals_.items()}
        return entry_of(owner, name, number, tuple(given), self.bug)(**given)[1]

    def turn(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        given = {key: self.code(value) for key, value in locals_.items()}
        return finished(turn_of(owner, name, number, tuple(given), self.bug)(**given))


class _Blocks:
    """Blocks whose hints are functions of their number; read only."""

    def __init__(self, path: Path, count: Any, bits: Any, functions: Mapping[str, Any]) -> None:
        self.path = path
        self.length = count
        self.bits = bits
        self.functions = functions

    def __getitem__(self, index: Any) -> Any:
        block = Block.__new__(Block)
        block.nr_bits = Number(self.path, self.bits)  # type: ignore[assignment]
        for name, function in self.functions.items():
            setattr(block, name, Number(self.path, function(raw(index))))
        return block

    def hint(self, name: str, index: Any) -> Any:
        """Return a block's hint, raw."""
        return self.functions[name](index)


class PlainBlocks(list[Block]):
    """Blocks of integers."""

    def hint(self, name: str, index: int) -> Any:
        """Return a block's hint."""
        return getattr(self[index], name)


def _if_in(bug: Bug | None, cls: type) -> Bug | None:
    return bug if bug is not None and bug.owner in cls.__mro__ else None


def _object(cls: type, stubs: Mapping[str, Any], scene: Any, values: Mapping[str, Any]) -> Any:
    cls = type(cls.__name__, (cls,), dict(stubs))
    made = cls.__new__(cls)
    for name, value in values.items():
        setattr(made, name, scene.code(value))
    return made


@dataclass
class PlainScene:
    """A scene of plain values. choose: picks one of a list, for a name."""

    choose: Callable[[str, Sequence[Any]], Any]
    bug: Bug | None = None
    largest: int = LARGEST
    said: list[Said] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)

    def _chosen(self, name: str, values: Sequence[Any]) -> Any:
        if not values:
            raise UnmetError(name)
        value = self.inputs[name] = self.choose(name, values)
        return value

    def size(self, name: str, least: int = 1) -> int:
        return int(self._chosen(name, range(least, self.largest + 1)))

    def number(
        self, name: str, lo: Any = None, hi: Any = None, among: Callable[[], Iterable[int]] | None = None
    ) -> int:
        first = -self.largest if lo is None else lo
        behind = self.largest + 1 + max(0, first) if hi is None else hi
        values = range(first, behind) if among is None else sorted(set(among()))
        value = int(self._chosen(name, values))
        self.assume((lo is None or lo <= value) and (hi is None or value < hi))
        return value

    def flag(self, name: str) -> bool:
        return bool(self._chosen(name, (False, True)))

    def bits(self, name: str, length: int) -> Callable[[Any], bool]:
        members = [bool(self._chosen(f"{name}[{i}]", (False, True))) for i in range(length)]
        self.inputs[name] = members
        return lambda i: 0 <= i < length and members[i]

    def code(self, value: Any) -> Any:
        if isinstance(value, Mask):
            raise TypeError("a plain scene has shifts and masks of its own")
        return value

    def map_of(self, length: int, has: Callable[[Any], Truth]) -> bytearray:
        return bytearray(bool(has(i)) for i in range(length))

    def blocks(self, name: str, count: int, bits: int, fields: Sequence[str]) -> PlainBlocks:
        made = PlainBlocks(Block(bits) for _ in range(count))
        for index, block in enumerate(made):
            for field_ in fields:
                value = self._chosen(f"{name}.{field_}[{index}]", range(bits + 1))
                setattr(block, field_, value)
        return made

    def assume(self, truth: Truth) -> None:
        if not truth:
            raise UnmetError

    def everywhere(self, lo: int, hi: int, fact: Callable[[Any], Truth]) -> None:
        self.assume(all(fact(i) for i in range(lo, hi)))

    def every_run(self, lo: int, hi: int, fact: Callable[[Any, Any], Truth]) -> None:
        self.assume(all(fact(x, y) for x in range(lo, hi) for y in range(x + 1, hi + 1)))

    def point(self, *terms: Any) -> None:
        pass  # facts are judged everywhere

    def run(self, x: Any, y: Any) -> None:
        pass

    def divided(self, value: Any, by: Any) -> tuple[Any, Any]:
        return divmod(value, by)

    def blocks_of(self, n: int) -> dict[str, Any]:
        self.assume(n & (n - 1) == 0)
        return {"block_bits": n, "block_shift": n.bit_length() - 1, "block_mask": n - 1}

    def some(self, has: Callable[[Any], Truth], lo: int, hi: int) -> bool:
        return any(has(i) for i in range(lo, hi))

    def claim(self, what: str, holds: Truth, given: Truth = True) -> None:
        self.said.append(Said(what, given, holds))

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        bug = _if_in(self.bug, cls)
        return _object(cls if bug is None else twin_of(cls, bug), stubs or {}, self, values)

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any] | None,
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        return self.allocator(cls, stubs, **values)

    def bounded(self, size: Any) -> None:
        self.assume(size <= self.largest)

    def entry(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        return entry_of(owner, name, number, tuple(locals_), self.bug)(**locals_)[1]

    def turn(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        return finished(turn_of(owner, name, number, tuple(locals_), self.bug)(**locals_))

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold."""
        return [said.what for said in self.said if said.given and not said.holds]


def free_run(scene: Any, used: Callable[[Any], Truth], x: Any, y: Any) -> None:
    """Assume that [x, y) is free."""
    scene.everywhere(x, y, lambda i: Not(used(i)))

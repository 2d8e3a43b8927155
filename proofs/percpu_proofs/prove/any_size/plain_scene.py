"""A scene of plain values: what is claimed is seen on the imported functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from percpu_proofs.prove.any_size.code import TextChange, twin_of
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import Mask
from percpu_proofs.run.choices import Choices, every_case
from percpu_reference.chunk import Block
from percpu_spec.protocol.operators import Truth

LARGEST = 6  # of an unbounded number that is drawn


class UnmetError(Exception):
    """What was drawn is no case of the lemma."""


class PlainBlocks(list[Block]):
    """Blocks of integers."""

    def hint(self, name: str, index: int) -> Any:
        """Return a block's hint."""
        return getattr(self[index], name)


class PlainScene(LemmaScene):
    """A scene of plain values. choose: picks one of a list, for a name."""

    def __init__(
        self,
        choose: Callable[[str, Sequence[Any]], Any],
        bug: TextChange | None = None,
        largest: int = LARGEST,
    ) -> None:
        super().__init__(bug)
        self.choose = choose
        self.largest = largest

    def _chosen(self, name: str, values: Sequence[Any]) -> Any:
        if not values:
            raise UnmetError(name)
        value = self.inputs[name] = self.choose(name, values)
        return value

    def size(self, name: str, least: int = 1) -> int:
        return int(self._chosen(name, range(least, self.largest + 1)))

    def number(
        self,
        name: str,
        lo: Any = None,
        hi: Any = None,
        among: Callable[[], Iterable[int]] | None = None,
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
        return value // by, value % by

    def blocks_of(self, n: int) -> dict[str, Any]:
        self.assume(n & (n - 1) == 0)
        return {"block_bits": n, "block_shift": n.bit_length() - 1, "block_mask": n - 1}

    def some(self, has: Callable[[Any], Truth], lo: int, hi: int) -> bool:
        return any(has(i) for i in range(lo, hi))

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        bug = self.bug_in(cls)
        return self.instance(cls if bug is None else twin_of(cls, bug), stubs, values)

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

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold."""
        return [claim.what for claim in self.claims if claim.given and not claim.holds]


def plain_scene(
    scenario: Callable[[Any], None],
    choose: Callable[[str, Sequence[Any]], Any],
    bug: TextChange | None = None,
    largest: int = LARGEST,
) -> PlainScene | None:
    """Return the scene of one case, run to its end, None if what was chosen is no case."""
    scene = PlainScene(choose, bug, largest)
    try:
        scenario(scene)
    except UnmetError:
        return None
    return scene


def replayed(
    scenario: Callable[[Any], None], case: Mapping[str, Any], bug: TextChange | None, largest: int
) -> PlainScene | None:
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
) -> Iterator[PlainScene]:
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

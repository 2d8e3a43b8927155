"""Where an obligation's inputs come from: symbols, all cases in turn, or a random draw.

An obligation asks for its inputs one by one, when it needs them, so an adversary's move inside a
gap is chosen there and costs nothing where the gap is not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class VacuousError(Exception):
    """What an obligation assumes does not hold in this case, so the case says nothing."""


class Map(list[Any]):
    """A map as a list of booleans, symbolic or not: the twin of the allocator's bytearray."""

    def find(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return the first index in [start, end) whose element is `bit`, or -1."""
        stop = len(self) if end is None else min(end, len(self))
        wanted = bool(bit)
        for i in range(start, stop):
            if self[i] == wanted:
                return i
        return -1

    def rfind(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return the last index in [start, end) whose element is `bit`, or -1."""
        stop = len(self) if end is None else min(end, len(self))
        wanted = bool(bit)
        for i in range(stop - 1, start - 1, -1):
            if self[i] == wanted:
                return i
        return -1

    def count(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return how many elements in [start, end) are `bit`."""
        stop = len(self) if end is None else min(end, len(self))
        wanted = bool(bit)
        found = 0
        for i in range(start, stop):
            if self[i] == wanted:
                found += 1
        return found


class Choices(Protocol):
    """A supply of inputs."""

    def bit(self) -> Any:
        """Return the next bit; a symbol stays one until it is read."""

    def number(self, count: int) -> int:
        """Return the next number below count, always a plain one."""

    def whole(self, count: int) -> Any:
        """Return the next number below count; a symbol stays one."""

    def map(self, values: Sequence[Any]) -> Any:
        """Return a map with these bits, of the kind that fits the supply."""

    def plain(self) -> AbstractContextManager[Any]:
        """Return a context for code that meets no symbol, and need not be watched for any."""


class Symbols:
    """Inputs that are symbols of CrossHair: fixed tuples of bools and of ints."""

    def __init__(
        self,
        bits: Sequence[Any],
        wholes: Sequence[Any] = (),
        plain: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._plain = plain
        self._handed_out = False
        self._bits = iter(bits)
        self._wholes = iter(wholes)

    def bit(self) -> Any:
        """Return the next symbol."""
        self._handed_out = True
        return next(self._bits)

    def number(self, count: int) -> int:
        """Branch on symbols until one number is left."""
        low, high = 0, count
        while high - low > 1:
            middle = (low + high) // 2
            if next(self._bits):
                low = middle
            else:
                high = middle
        return low

    def whole(self, count: int) -> Any:
        """Return the next integer symbol, where it is in range."""
        self._handed_out = True
        value = next(self._wholes)
        if not 0 <= value < count:
            raise VacuousError
        return value

    def map(self, values: Sequence[Any]) -> Any:
        """Return a list of booleans, a bytearray as long as no symbol has been handed out."""
        return Map(values) if self._handed_out else bytearray(values)

    def plain(self) -> AbstractContextManager[Any]:
        """Return a context without CrossHair, unless a symbol may be met."""
        return nullcontext() if self._handed_out else self._plain()


class Fixed:
    """Inputs given as numbers, then zeros; `taken` says what was asked for: [number, count]."""

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        self._given = list(numbers)
        self.taken: list[list[int]] = []
        self.plain = nullcontext

    def number(self, count: int) -> int:
        """Return the next number."""
        at = len(self.taken)
        value = self._given[at] if at < len(self._given) else 0
        self.taken.append([value, count])
        return value

    whole = number

    def bit(self) -> bool:
        """Return the next number as a bit."""
        return bool(self.number(2))

    def map(self, values: Sequence[Any]) -> Any:
        """Return a bytearray, as the allocator's own maps are."""
        return bytearray(values)


class Drawn:
    """Inputs that a random source draws: draw(count) is a number below count."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.number = draw
        self.whole = draw
        self.plain = nullcontext

    def bit(self) -> bool:
        """Return a drawn bit."""
        return bool(self.number(2))

    def map(self, values: Sequence[Any]) -> Any:
        """Return a bytearray, as the allocator's own maps are."""
        return bytearray(values)


def following(taken: list[list[int]]) -> list[int] | None:
    """Return the numbers of the case after this one, None after the last.

    >>> following([[0, 2], [1, 2]])
    [1]
    """
    path = list(taken)
    while path and path[-1][0] + 1 >= path[-1][1]:
        path.pop()
    if not path:
        return None
    return [value for value, _ in path[:-1]] + [path[-1][0] + 1]

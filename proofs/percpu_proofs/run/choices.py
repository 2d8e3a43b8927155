"""The one supply of choices: whatever a case, a schedule or a state is made of is asked of it.

What asks does not know who answers: an enumeration (`every_case`), a random source (`drawn`),
numbers written down before (`ChoiceTape`), or symbols of CrossHair (`Symbols`). It asks when it
needs a number, so a choice that is never reached costs nothing. All choices are numbers below a
count; the numbers that were answered replay the case.

    for case in every_case():
        size = case.pick((1, 2, 4))
        aligned = case.bit() if size > 1 else False
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

Answers = list[tuple[int, int]]
"""Numbers answered, each with the count that it is below, in the order of the questions."""


class VacuousError(Exception):
    """What is assumed does not hold in this case, so the case says nothing."""


def assume(condition: Any) -> None:
    """Leave aside the cases in which a condition does not hold; raises VacuousError there."""
    if not condition:
        raise VacuousError


class Choices(ABC):
    """A supply of choices. Kinds of it answer `number`; the rest is asked by way of it."""

    __slots__ = ()

    @abstractmethod
    def number(self, count: int) -> int:
        """Return the next number in [0, count), a plain one; count is at least 1."""

    def bit(self) -> bool:
        """Return the next bit."""
        return self.number(2) == 1

    def pick(self, among: Sequence[T]) -> T:
        """Return one of a sequence that is not empty."""
        return among[self.number(len(among))]

    def whole(self, count: int) -> Any:
        """Return the next number in [0, count); a symbol stays one, to stand for all of them."""
        return self.number(count)

    def natural(self, least: int = 0) -> Any:
        """Return any number of at least `least`: a symbol stands for all, else one of four."""
        return least + self.number(4)

    def plain(self, *, reading_symbols: bool = True) -> AbstractContextManager[Any]:
        """Return a context for code that meets no symbol, and need not be watched for any.

        reading_symbols: it would meet those that were made before.
        """
        return nullcontext()


class ChoiceTape(Choices):
    """Numbers given beforehand, then those that a source draws; `answers` says what was asked for.

    draw(count) is a number below count: 0 unless a source is given. `Random(seed).randrange` is
    one, a draw of Hypothesis another. `numbers` replays what was answered.
    """

    __slots__ = ("_draw", "_numbers", "answers")

    def __init__(
        self, numbers: Sequence[int] = (), draw: Callable[[int], int] = lambda count: 0
    ) -> None:
        self._numbers = numbers
        self._draw = draw
        self.answers: Answers = []

    def number(self, count: int) -> int:
        """Return the next number given, the last below count if it is too large, or a drawn one."""
        at = len(self.answers)
        left = at < len(self._numbers)
        number = min(self._numbers[at], count - 1) if left else self._draw(count)
        self.answers.append((number, count))
        return number

    @property
    def numbers(self) -> list[int]:
        """The numbers answered: what replays this case."""
        return [number for number, _ in self.answers]


def drawn(seed: int | str) -> ChoiceTape:
    """Return a supply that repeats by its seed, on every Python version."""
    random = Random(seed).random  # the one method that does
    return ChoiceTape(draw=lambda count: int(random() * count))


class Symbols(Choices):
    """Choices of CrossHair: each is a branch of its search, and `whole` an integer symbol.

    fork: branches, and says which way; symbol: makes an integer symbol; plain: a context in which
    CrossHair does not watch. They are given, so that this module needs no CrossHair.
    """

    __slots__ = ("_fork", "_met", "_plain", "_symbol")

    def __init__(
        self,
        fork: Callable[[], bool],
        symbol: Callable[[], Any],
        plain: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._fork = fork
        self._symbol = symbol
        self._plain = plain
        self._met = False  # whether there are symbols that may be met

    def plain(self, *, reading_symbols: bool = True) -> AbstractContextManager[Any]:
        """Return a context in which CrossHair does not watch, unless a symbol may be met."""
        return nullcontext() if self._met and reading_symbols else self._plain()

    def number(self, count: int) -> int:
        """Branch until one number is left."""
        low, behind = 0, count
        while behind - low > 1:
            middle = (low + behind) // 2
            if self._fork():
                low = middle
            else:
                behind = middle
        return low

    def whole(self, count: Any) -> Any:
        """Return an integer symbol in [0, count), where count may be a symbol too."""
        self._met = True
        value = self._symbol()
        assume(0 <= value < count)
        return value

    def natural(self, least: int = 0) -> Any:
        """Return an integer symbol of at least `least`."""
        self._met = True
        value = self._symbol()
        assume(value >= least)
        return value


def every_case() -> Iterator[ChoiceTape]:
    """Yield a supply for every case in turn; each is to be asked before the next is taken.

    >>> [(case.number(2) and case.pick("ab")) for case in every_case()]
    [0, 'a', 'b']
    """
    numbers: list[int] = []
    while True:
        case = ChoiceTape(numbers)
        yield case
        numbers = case.numbers
        while numbers and numbers[-1] + 1 == case.answers[len(numbers) - 1][1]:
            numbers.pop()
        if not numbers:
            return
        numbers[-1] += 1

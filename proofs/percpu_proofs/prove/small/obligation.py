"""An obligation: a question about real functions of the allocator, asked of every small case.

It is a function of a variant's class, a supply of inputs and a size. It builds a state from the
inputs, runs the real function on it, without contracts, and returns what is wrong, None if nothing
is. It raises VacuousError where its assumptions do not hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_proofs.run.choices import Choices
from percpu_reference.variants import Allocator


class Size(NamedTuple):
    """How large a case is: pages of a chunk, map bits of a page, moves of an adversary."""

    pages: int
    bits: int
    moves: int = 0


Judge = Callable[[type[Allocator], Choices, Size], str | None]


@dataclass(frozen=True, slots=True)
class Obligation:
    """A question, of which functions and variant, and how far it is asked.

    Functions are named `module.Class.function`, as in `slots.Slots.chunk_move`. words say the
    bound, with {pages}, {bits} and {moves} of a size. It is asked in every case of the large size,
    and of the small one, where that is not part of it.
    """

    id: str
    clause: str
    functions: tuple[str, ...]
    variant: str
    words: str
    small: Size
    large: Size
    refuted: bool  # known to be broken by this variant
    judge: Judge

    @property
    def says(self) -> str:
        """What is asked, in a sentence."""
        return (inspect.getdoc(self.judge) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that are asked, smaller first."""
        inside = all(less <= more for less, more in zip(self.small, self.large, strict=True))
        return (self.large,) if inside else (self.small, self.large)

    def bound(self, size: Size) -> str:
        """Return the bound in words."""
        return self.words.format(**size._asdict())


def obligation(
    clause: str,
    *functions: str,
    words: str,
    small: Size,
    large: Size,
    variants: tuple[str, ...] = ("linux_6_12",),
    refuted: tuple[str, ...] = (),
) -> Callable[[Judge], Judge]:
    """Enter a judge as an obligation of every variant named, those known to break it included.

    Its id is its name with dashes; for another variant than linux_6_12 the variant's name follows.
    """

    def enter(judge: Judge) -> Judge:
        made: list[Any] = []
        for variant in (*variants, *refuted):
            name = judge.__name__.replace("_", "-")
            if variant != "linux_6_12":
                name += f"-{variant}"
            made.append(
                Obligation(
                    name, clause, functions, variant, words, small, large,
                    variant in refuted, judge,
                )
            )  # fmt: skip
        OBLIGATIONS.extend(made)
        return judge

    return enter


OBLIGATIONS: list[Obligation] = []
"""Every obligation of the modules imported so far, in the order of definition."""

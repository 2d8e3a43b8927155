"""A case of an obligation: its size, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from percpu_reference.gaps import Gap, Steps

_MOST_GAPS = 200  # in one call at the sizes searched; the right ones pass through fewer than 30


class Size(NamedTuple):
    """How large a case is: pages of a chunk, map bits of a page, moves of an adversary."""

    pages: int
    bits: int
    moves: int = 0


class BrokenError(AssertionError):
    """A clause is broken in this case; the message names it and says what is wrong."""


def claim(clause: str, holds: object, otherwise: str) -> None:
    """Claim what a clause asks. Raises BrokenError with what is so otherwise."""
    if not holds:
        raise BrokenError(f"{clause}: {otherwise}")


def ask(clause: str, wrong: str | None) -> None:
    """Take the answer of a clause's predicate, None if it holds. Raises BrokenError."""
    if wrong:
        raise BrokenError(f"{clause}: {wrong}")


def walk(steps: Steps[Any], in_gap: Callable[[Gap], None] = lambda gap: None) -> Any:
    """Run steps to their end, asking in every gap; return their result.

    What waits for a lock that nobody else holds would never end, and no solver would ask the time.
    """
    for _ in range(_MOST_GAPS):
        try:
            gap = next(steps)
        except StopIteration as stop:
            return stop.value
        in_gap(gap)
    raise BrokenError(f"BAL-3: it has not ended after {_MOST_GAPS} gaps")

"""Plain worlds and tables, on which the machine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from percpu_spec.protocol.operators import Number, Truth
from percpu_spec.protocol.pages import NO_PAGES, Pages
from percpu_spec.protocol.state import ChunkState, Phase, Place, Position, State, start_state

NOBODY = -1
NOWHERE = -2

V = TypeVar("V")

ABSENT = ChunkState(Place.NONE, False, NOBODY, NO_PAGES, NO_PAGES, NO_PAGES, 0)
IDLE = Position(Phase.IDLE, NOWHERE, 0, 0, 0, 0)


class TotalMap(dict[Any, V], Generic[V]):
    """A value for every key; keys not entered have the default. Not changed once made."""

    __slots__ = ("default",)

    def __init__(self, entries: Mapping[Any, V], default: V) -> None:
        super().__init__(entries)
        self.default = default

    def __missing__(self, key: Any) -> V:
        return self.default

    def put(self, key: Any, value: V) -> TotalMap[V]:
        """Return the table with another value for a key."""
        new = TotalMap(self, self.default)
        new[key] = value
        return new

    # a dict has none; a table is never changed
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class PlainWorld:
    """Constants of a run, thresholds in pages.

    sizes: pages of chunks that have not `unit_pages`. A chunk qualifies for reclaim from
    pages // divisor empty ones on.
    """

    __slots__ = ("divisor", "first", "high", "no_pages", "nobody", "nowhere", "reserved", "sizes",
                 "unit_pages")  # fmt: skip

    def __init__(
        self,
        *,
        high: int,
        unit_pages: int,
        divisor: int = 4,
        first: int = 0,
        reserved: int = NOWHERE,
        sizes: Mapping[int, int] | None = None,
    ) -> None:
        self.high = high
        self.unit_pages = unit_pages
        self.divisor = divisor
        self.first = first
        self.reserved = reserved
        self.sizes = dict(sizes or {})
        self.nobody = NOBODY
        self.nowhere = NOWHERE
        self.no_pages = NO_PAGES

    @property
    def has_reserved(self) -> bool:
        """Whether there is a reserved chunk."""
        return self.reserved != NOWHERE

    def table(self, default: Any) -> Any:
        """Return a table in which every key has the default."""
        return TotalMap({}, default)

    def pages(self, c: int) -> int:
        """Return how many pages a chunk has."""
        return self.sizes.get(c, self.unit_pages)

    def least_empty(self, c: int) -> int:
        """Return the empty pages from which on a free lets a chunk be reclaimed."""
        return self.pages(c) // self.divisor

    def every_chunk(self, s: State, holds: Callable[[ChunkState], Truth]) -> Truth:
        """Return whether a property holds of every chunk."""
        return all(holds(chunk) for chunk in s.chunks.values())

    def total(self, s: State, weight: Callable[[State, Any], Number]) -> Number:
        """Return the sum of the chunks' weights."""
        return sum(weight(s, c) for c in s.chunks)


def plain_start(world: PlainWorld, used: Mapping[int, Pages] | None = None) -> State:
    """Return the state at boot; used: pages that the first and the reserved chunk hide."""
    hidden = used or {}
    first, reserved = hidden.get(world.first, NO_PAGES), hidden.get(world.reserved, NO_PAGES)
    return start_state(world, first, reserved)

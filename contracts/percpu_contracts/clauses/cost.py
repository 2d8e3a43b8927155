"""The order of an atomic search. Kernel: pcpu_alloc."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from percpu_contracts.registry import states


class SearchVisit(NamedTuple):
    """A chunk as an allocation met it, recorded at that moment.

    `depopulated`: since its last depopulation it has neither served an allocation nor been
    reintegrated.
    """

    depopulated: bool
    fully_free: bool


@states("COST-1")
def depopulated_come_late(examined: Iterable[SearchVisit]) -> str | None:
    """Ordinary chunks are examined first, then depopulated ones, fully free ones last."""
    names = ("an ordinary", "a depopulated", "a fully free")
    last = 0
    for place, chunk in enumerate(examined):
        rank = 2 if chunk.fully_free else 1 if chunk.depopulated else 0
        if rank < last:
            return f"{names[rank]} chunk examined at place {place}, after {names[last]} one"
        last = rank
    return None

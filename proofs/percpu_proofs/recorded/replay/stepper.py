"""The allocator under test, as a replay drives it: step by step, its searches recorded."""

from __future__ import annotations

from typing import Any, Protocol

from percpu_contracts.contract import ensure
from percpu_contracts.functions import fast
from percpu_proofs.recorded.replay.requests import MapSearch
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry


class SearchLog(Protocol):
    """What `with_search_log` adds to an allocator."""

    attempts: list[MapSearch]  # every search of an allocation map (alloc_area)
    relocations: list[tuple[int, int]]  # every relocation: chunk address, slot before
    asked: bool  # balance work has been asked for
    last_pass: bool  # the balance work has come to its second pass over free chunks

    def allocated(self, size: int, area: Area | None) -> Area | None:
        """Ask the contract of `alloc` (level fast) at the end of an allocation's steps."""

    def balanced(self) -> None:
        """Ask the contract of `balance` (level fast) at the end of the balance work's steps."""


def with_search_log(variant: type[Allocator]) -> type[Allocator]:
    """Return the variant with what a SearchLog has."""

    # A class to mix in will not do: its slots and a variant's own are two layouts (linux_5_12,
    # rfc_series); mypy takes no class from a variable for a base.
    class SearchRecorder(variant):  # type: ignore[valid-type, misc]
        """The variant, each search of a map noted."""

        __slots__ = ("asked", "attempts", "last_pass", "relocations")

        def __init__(self, geometry: Geometry, **given: Any) -> None:
            self.attempts: list[MapSearch] = []
            self.relocations: list[tuple[int, int]] = []
            self.asked = self.last_pass = False
            super().__init__(geometry, **given)

        def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
            self.attempts.append(MapSearch(chunk.base_addr, alloc_bits, align, start))
            off: int = super().alloc_area(chunk, alloc_bits, align, start)
            return off

        def chunk_relocate(self, chunk: Chunk, oslot: int) -> None:
            self.relocations.append((chunk.base_addr, oslot))
            super().chunk_relocate(chunk, oslot)

        def schedule_balance_work(self) -> None:
            self.asked = True
            super().schedule_balance_work()

        def balance_free(self, empty_only: bool, chunk_type: int = 0) -> Steps[None]:
            self.last_pass = empty_only
            yield from super().balance_free(empty_only, chunk_type)

        @ensure(fast.ALLOC, fast.alloc_holds, "fast")
        def allocated(self, size: int, area: Area | None) -> Area | None:
            return area

        @ensure(fast.BALANCE, fast.balance_holds, "fast")
        def balanced(self) -> None:
            return

    SearchRecorder.__name__ = variant.__name__
    return SearchRecorder

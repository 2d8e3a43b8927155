"""The allocator under test, as a replay drives it: step by step, its searches recorded."""

from __future__ import annotations

from typing import Any, Protocol

from percpu_contracts.contract import ensure
from percpu_contracts.functions import fast
from percpu_proofs.conformance.requests import Attempt
from percpu_reference.chunk import Area, Chunk
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry


class Watched(Protocol):
    """What `watched` adds to an allocator."""

    attempts: list[Attempt]  # every search of an allocation map (alloc_area)

    def allocated(self, size: int, area: Area | None) -> Area | None:
        """Ask the contract of `alloc` (level fast) at the end of an allocation's steps."""

    def balanced(self) -> None:
        """Ask the contract of `balance` (level fast) at the end of the balance work's steps."""


def watched(variant: type[Allocator]) -> type[Allocator]:
    """Return the variant with what Watched has."""

    # mypy takes no class from a variable for a base
    class Recorder(variant):  # type: ignore[valid-type, misc]
        """The variant, each search of a map noted."""

        __slots__ = ("attempts",)

        def __init__(self, geometry: Geometry, **given: Any) -> None:
            super().__init__(geometry, **given)
            self.attempts: list[Attempt] = []

        def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
            self.attempts.append(Attempt(chunk.base_addr, alloc_bits, align, start))
            off: int = super().alloc_area(chunk, alloc_bits, align, start)
            return off

        @ensure(fast.ALLOC, fast.alloc_holds, "fast")
        def allocated(self, size: int, area: Area | None) -> Area | None:
            return area

        @ensure(fast.BALANCE, fast.balance_holds, "fast")
        def balanced(self) -> None:
            return

    Recorder.__name__ = variant.__name__
    return Recorder

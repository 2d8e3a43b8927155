"""The allocator under test, with its searches of the allocation maps recorded."""

from __future__ import annotations

from typing import Any, Protocol

from percpu_proofs.conformance.requests import Attempt
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry


class Watched(Protocol):
    """What `watched` adds to an allocator."""

    attempts: list[Attempt]


def watched(variant: type[Allocator]) -> type[Allocator]:
    """Return the variant with every search (alloc_area) appended to its list `attempts`."""

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

    Recorder.__name__ = variant.__name__
    return Recorder

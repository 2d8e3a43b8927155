"""The allocator under test, with its searches of the allocation maps recorded."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from percpu_proofs.conformance.requests import Attempt
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator


class Watched(Protocol):
    """What `watched` adds to an allocator."""

    attempts: list[Attempt]


@cache
def watched(variant: type[Allocator]) -> type[Allocator]:
    """Return the variant with every search (alloc_area) appended to its list `attempts`."""

    class Recorder(variant):  # type: ignore[valid-type, misc]
        """The variant, each search of a map noted."""

        __slots__ = ("attempts",)

        def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
            self.attempts.append(Attempt(chunk.base_addr, alloc_bits, align, start))
            off: int = super().alloc_area(chunk, alloc_bits, align, start)
            return off

    Recorder.__name__ = variant.__name__
    return Recorder

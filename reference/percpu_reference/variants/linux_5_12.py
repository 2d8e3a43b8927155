"""linux_5_12: a float for each of two chunk types, no partial depopulation; 5.12-rc7 and 5.10.y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from percpu_reference.chunk import Chunk
from percpu_reference.variants.two_types import ENDURING, MEMCG, REFERENCE_ONLY, TwoTypes
from percpu_spec.geometry import Geometry

NO_DEPOPULATION = "no partial depopulation: pages leave with their chunk only"


class Linux512(TwoTypes):
    """The allocator of Linux 5.12: two types as before, and the float counted for each.

    nr_empty_pop_pages is the float of the plain type.
    """

    __slots__ = ("nr_empty_pop_memcg",)

    EXPECTED: ClassVar[dict[str, str]] = ENDURING
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {
        **REFERENCE_ONLY,
        **dict.fromkeys((f"ISO-{n}" for n in range(1, 5)), NO_DEPOPULATION),
        **dict.fromkeys((f"RCL-{n}" for n in range(1, 8)), NO_DEPOPULATION),
    }

    def __init__(self, geometry: Geometry, **given: Any) -> None:
        super().__init__(geometry, **given)
        self.nr_empty_pop_memcg = 0  # the float of the memcg type

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float of a type, in pages."""
        return self.nr_empty_pop_memcg if chunk_type == MEMCG else self.nr_empty_pop_pages

    def set_floats(self, floats: Sequence[int]) -> None:
        """Set the float of each type, in pages."""
        self.nr_empty_pop_pages, self.nr_empty_pop_memcg = floats

    def update_empty_pages(self, chunk: Chunk, nr: int) -> None:
        """Add nr pages to a chunk's empty populated pages and to its type's float."""
        if self.chunk_type(chunk) == MEMCG:
            chunk.nr_empty_pop_pages += nr
            self.nr_empty_pop_memcg += nr
        else:
            super().update_empty_pages(chunk, nr)

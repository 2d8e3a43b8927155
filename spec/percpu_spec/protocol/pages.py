"""Sets of pages and ranges of pages, plain form.

Actions use only the methods here; a symbolic set with the same methods takes the place of `Pages`
where formulas are built.
"""

from __future__ import annotations

from typing import NamedTuple

from percpu_spec.protocol.operators import Number


class Span(NamedTuple):
    """A range of pages [lo, hi)."""

    lo: Number
    hi: Number

    def __repr__(self) -> str:
        return f"[{self.lo}, {self.hi})"


def _mask(lo: int, hi: int) -> int:
    return (1 << hi) - (1 << lo) if lo < hi else 0


class Pages(int):
    """A set of pages as a bit mask; equal sets are equal integers."""

    __slots__ = ()

    @classmethod
    def of(cls, members: bytes | bytearray | list[int]) -> Pages:
        """Return the set of indices whose element is not 0."""
        return cls(sum(1 << page for page, member in enumerate(members) if member))

    def has(self, page: int) -> bool:
        """Return whether the page is in the set."""
        return page >= 0 and bool(self >> page & 1)

    def all_in(self, lo: int, hi: int) -> bool:
        """Return whether every page of [lo, hi) is in the set."""
        mask = _mask(lo, hi)
        return self & mask == mask

    def none_in(self, lo: int, hi: int) -> bool:
        """Return whether no page of [lo, hi) is in the set."""
        return self & _mask(lo, hi) == 0

    def add(self, lo: int, hi: int) -> Pages:
        """Return the set with [lo, hi), none of which it has."""
        return Pages(self | _mask(lo, hi))

    def remove(self, lo: int, hi: int) -> Pages:
        """Return the set without [lo, hi), all of which it has."""
        return Pages(self & ~_mask(lo, hi))

    def clear(self, lo: int, hi: int) -> Pages:
        """Return the set without [lo, hi), whether it had them or not."""
        return Pages(self & ~_mask(lo, hi))

    def mark(self, lo: int, hi: int) -> Pages:
        """Return the set with [lo, hi), whether it had them or not."""
        return Pages(self | _mask(lo, hi))

    def minus(self, other: Pages) -> Pages:
        """Return the pages of this set that are not in the other."""
        return Pages(self & ~other)

    @property
    def size(self) -> int:
        """How many pages there are in the set."""
        return self.bit_count()

    def members(self) -> list[int]:
        """Return the pages, ascending."""
        return [page for page in range(self.bit_length()) if self >> page & 1]

    def __repr__(self) -> str:
        return "{" + ", ".join(map(str, self.members())) + "}"


NO_PAGES = Pages(0)

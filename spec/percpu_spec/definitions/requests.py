"""What a request asks for, once its size and alignment are rounded."""

from __future__ import annotations

from percpu_spec.geometry import Geometry

OBJECT_POINTER = 8  # bytes of object vector charged per granule


def rounded_size(geometry: Geometry, size: int) -> int:
    """Return a requested size in bytes, rounded up to the granule (API-4)."""
    return -(-size // geometry.granule) * geometry.granule


def rounded_align(geometry: Geometry, align: int) -> int:
    """Return a requested alignment in bytes, raised to the granule (API-4)."""
    return max(align, geometry.granule)


def is_legal(geometry: Geometry, size: int, align: int) -> bool:
    """Say whether a request of `size` and `align` bytes may be served at all (API-1).

    After rounding: 0 < size <= largest, align a power of two and at most a page.
    """
    align = rounded_align(geometry, align)
    return (
        0 < rounded_size(geometry, size) <= geometry.largest
        and align <= geometry.page
        and align & (align - 1) == 0
    )


def charged_size(geometry: Geometry, size: int, *, vector: bool = True) -> int:
    """Return the bytes charged for an accounted area of `size` bytes (ACC-1).

    The area on every CPU, and, if vector, its share of the object vector where chunks have one.
    """
    share = size // geometry.granule * OBJECT_POINTER if geometry.memcg and vector else 0
    return size * geometry.cpus + share

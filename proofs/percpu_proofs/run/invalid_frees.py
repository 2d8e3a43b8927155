"""Frees that API-2 forbids: a second free, an address inside an area, one that nobody was given.

Where a kernel refuses such a free (7.0 and later: nothing changes, a warning is raised) the
allocator is asked, and judged. That takes an address in a populated page of a live chunk at which
no area starts. Everything else is the caller's error alone: it is reported as that and not carried
out, as a kernel would take another's area, spoil its books or read what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from percpu_proofs.run.operations import Operation
from percpu_reference.chunk import Area
from percpu_reference.variants import Allocator
from percpu_spec.definitions import area_size

Place = tuple[int, int]
"""An address by the number of its chunk and the byte offset in it; the chunk may be gone."""


class HandleError(ValueError):
    """A caller's error, never one of the allocator (API-2)."""


class WrongFree(NamedTuple):
    """What a caller frees wrongly, in words, and what the allocator is asked to free.

    area: None if the allocator is not asked.
    """

    said: str
    area: Area | None

    def __str__(self) -> str:
        become = "not carried out" if self.area is None else "refused by the allocator"
        return f"{self.said}: {become}"


def place_of(area: Area | None) -> Place | None:
    """Return the place of an area, None for what a failed allocation has left."""
    return None if area is None else (area[0].id, area[1])


def aim(
    allocator: Allocator,
    operation: Operation,
    held: Mapping[int, Area | None],
    freed: Mapping[int, Place | None],
) -> WrongFree | None:
    """Return what an operation of a kind in operations.WRONG frees; None for a null pointer.

    held: areas by handle. freed: what handles held last. Raises HandleError where it names what is
    not as its kind says.
    """
    kind, arg, offset = operation[:3]
    if kind == "s":
        return WrongFree(_stray(allocator, arg), None)
    where: Place | None
    if kind == "d":
        if arg in held or arg not in freed:
            raise HandleError(f"handle {arg} has not been freed")
        where, what = freed[arg], "a second free of"
    elif arg in held:
        area = held[arg]
        size = area and area_size(area[0], area[1], allocator.geometry)
        if size is not None and offset >= size:
            raise HandleError(f"the area of handle {arg} has {size} bytes")
        where, what = place_of(area), f"a free of {offset} bytes into"
    elif arg in freed:
        where, what = freed[arg], f"a free of {offset} bytes into what was"
    else:
        raise HandleError(f"handle {arg} holds nothing")
    if where is None:
        return None
    number, start = where
    off = start + (offset if kind == "w" else 0)
    said = f"{what} byte {start} of chunk {number}"
    return _seen(allocator, number, off, said)


def _seen(allocator: Allocator, number: int, off: int, said: str) -> WrongFree:
    """Return the free with whether the allocator can be asked, and why not."""
    chunk = next((chunk for chunk in allocator.chunks() if chunk.id == number), None)
    if chunk is None:
        return WrongFree(f"{said}, which is gone", None)
    if not chunk.populated[off // allocator.page]:
        return WrongFree(f"{said}, whose page is gone", None)
    if area_size(chunk, off, allocator.geometry) is not None:
        return WrongFree(f"{said}, where another area is now", None)
    return WrongFree(said, (chunk, off) if allocator.CHECKS_FREES else None)


def _stray(allocator: Allocator, pointer: int) -> str:
    """Return what a pointer that no request was given points to."""
    geometry = allocator.geometry
    if 0 < pointer < geometry.static:
        return f"a free of the static variable at byte {pointer}"
    if pointer >= geometry.unit:
        return f"a free of pointer {pointer}, which is in no chunk"
    static = f"static is 1 to {geometry.static - 1}" if geometry.static else "nothing is static"
    raise HandleError(f"pointer {pointer}: {static}, no chunk is from {geometry.unit} on")

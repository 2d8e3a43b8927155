"""The geometry of a machine, from the allocator's own variables and its two chunks of boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from percpu_proofs.recorded.boot.layout import EARLIEST
from percpu_spec.geometry import PAGE_SIZES, Geometry, GeometryError

MOST_GROUPS = 1024
"""Nodes of a machine, at most (MAX_NUMNODES)."""


@dataclass(frozen=True, slots=True)
class BootChunk:
    """Where a chunk of boot lies: its address, the bytes that it hides at either end, its pages."""

    base_addr: int
    start_offset: int
    end_offset: int
    nr_pages: int

    def served(self, page: int) -> int:
        """Return the bytes that it serves."""
        return self.nr_pages * page - self.start_offset - self.end_offset


class ShapeError(ValueError):
    """A variable with a value that no kernel has: its name, what was expected, what was found."""

    def __init__(self, name: str, expected: str, found: object) -> None:
        super().__init__(f"{name}: expected {expected}, found {found}")
        self.name = name
        self.expected = expected
        self.found = str(found)


def geometry_of(
    values: Mapping[str, int], first: BootChunk, reserved: BootChunk | None
) -> Geometry:
    """Return the geometry. values: the kernel's variables by name; cpus and memcg where known.

    Raises ShapeError. Source: pcpu_setup_first_chunk; the static part ends where the lower one of
    the two chunks begins to serve, and each serves its own part.
    """
    unit, pages = values["pcpu_unit_size"], values["pcpu_unit_pages"]
    if unit <= 0:
        raise ShapeError("pcpu_unit_size", "a size in bytes", unit)
    if pages <= 0 or unit % pages or unit // pages not in PAGE_SIZES:
        known = ", ".join(str(unit // page) for page in PAGE_SIZES if not unit % page)
        raise ShapeError("pcpu_unit_pages", f"one of {known}: a unit has {unit} bytes", pages)
    page = unit // pages
    groups = values["pcpu_nr_groups"]
    if not 1 <= groups <= MOST_GROUPS:
        raise ShapeError("pcpu_nr_groups", f"1 to {MOST_GROUPS}", groups)
    units = values.get("pcpu_nr_units", 0)
    cpus = values.get("cpus", units)
    if cpus <= 0 or (units and units < cpus):
        raise ShapeError("pcpu_nr_units", f"at least {max(cpus, 1)}, a unit for each CPU", units)
    lowest = reserved or first
    static = lowest.base_addr + lowest.start_offset - values["pcpu_base_addr"]
    if not 0 <= static < unit:
        expected = f"an address at most {unit} bytes below the first chunk's, {lowest.base_addr:x}"
        raise ShapeError("pcpu_base_addr", expected, f"{values['pcpu_base_addr']:x}")
    sizes = {"first": first.served(page), "reserved": reserved.served(page) if reserved else 0}
    for name, size in sizes.items():
        if size < 0 or static + size > unit:
            raise ShapeError(f"the {name} chunk", f"to lie inside a unit of {unit} bytes", size)
    try:
        return Geometry(
            unit=unit, static=static, reserved=sizes["reserved"], dyn=sizes["first"], cpus=cpus,
            groups=groups, spare=max(units - cpus, 0), memcg=bool(values.get("memcg", 1)),
            backing="vm" if static else "km", page=page, early=min(EARLIEST, sizes["first"]),
        ).require_kernel()  # fmt: skip
    except GeometryError as error:
        raise ShapeError("the layout", "one that a kernel boots with", error) from None

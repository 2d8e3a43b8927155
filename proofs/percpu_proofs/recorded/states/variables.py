"""The variables of mm/percpu.c in a state: which there are, what each may be, whose they are.

The geometry follows from them and from the two chunks of boot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.recorded.boot.layout import EARLIEST
from percpu_proofs.recorded.source import problem
from percpu_proofs.run.inputs import TraceError
from percpu_spec.geometry import PAGE_SIZES, Geometry, GeometryError

VARIABLES: Final = {
    "pcpu_reserved_chunk": 16, "pcpu_first_chunk": 16, "pcpu_base_addr": 16, "pcpu_nr_slots": 10,
    "pcpu_free_slot": 10, "pcpu_sidelined_slot": 10, "pcpu_to_depopulate_slot": 10,
    "pcpu_unit_size": 10, "pcpu_unit_pages": 10, "pcpu_nr_units": 10, "pcpu_atom_size": 10,
    "pcpu_chunk_struct_size": 16, "pcpu_nr_groups": 10, "pcpu_nr_empty_pop_pages": 10,
    "pcpu_nr_populated": 16, "pcpu_atomic_alloc_failed": 10, "pcpu_async_enabled": 10,
}  # fmt: skip
"""The base of each: a state that was saved has a line for each, `?` where the kernel has none."""
_FLOATS: Final = "pcpu_nr_empty_pop_pages"  # one, or one for each type
_ALSO: Final = {
    "pcpu_chunk_lists": 16, "pcpu_slot": 16, "pcpu_group_offsets": 16, "pcpu_group_sizes": 16,
    "pcpu_unit_offsets": 16, "pcpu_unit_map": 16, "pcpu_low_unit_cpu": 10, "pcpu_high_unit_cpu": 10,
}  # fmt: skip
"""What some recorders write too."""
_POINTERS: Final = ("pcpu_first_chunk", "pcpu_reserved_chunk")
_MOST_STRUCT: Final = 1 << 20  # bytes of a chunk's struct


def check_variables(
    path: Path, values: Mapping[str, str], places: Mapping[str, int], page: int, reserved: bool
) -> None:
    """Raise TraceError for one that is no number, or none that a kernel has.

    places: their lines. page: bytes. reserved: whether the text has a reserved chunk.
    """

    def wrong(name: str, expected: str) -> TraceError:
        return problem(path, places[name], f"{name}={expected}", values[name])

    for name, value in values.items():
        base = VARIABLES.get(name, _ALSO.get(name, 0))
        if not base or value == "?" or name in (*_POINTERS, _FLOATS):
            continue
        form = r"-?[0-9a-f]{1,16}" if base == 16 else r"-?[0-9]{1,20}"
        if not re.fullmatch(form, value):
            raise wrong(name, "number in hexadecimal" if base == 16 else "number")
    for name, there in zip(_POINTERS, (True, reserved), strict=True):
        value = values.get(name, "?")
        if name not in values or (value == "?" and not there):
            continue
        sound = re.fullmatch(r"[0-9a-f]{1,16}", value)
        if not sound or 0 < int(value, 16) < page:
            raise wrong(name, " an address in hexadecimal")
        if there != bool(int(value, 16)):  # it points to a chunk's struct; 0: there is none
            chunk = name.removeprefix("pcpu_").replace("_", " ")
            are = "an address, as the" if there else "0, as no"
            raise wrong(name, f" {are} {chunk} is in the text")
    atom, struct = (values.get(f"pcpu_{of}_size", "?") for of in ("atom", "chunk_struct"))
    if atom != "?" and (int(atom) <= 0 or int(atom) % page):
        raise wrong("pcpu_atom_size", f"number of bytes, of whole pages of {page}")
    if struct != "?" and not 0 < int(struct, 16) <= _MOST_STRUCT:
        raise wrong("pcpu_chunk_struct_size", f"1 to {_MOST_STRUCT:x}, in hexadecimal")


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

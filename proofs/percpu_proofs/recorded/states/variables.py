"""The variables of mm/percpu.c in the text of a state: which there are, and what each may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from percpu_proofs.recorded.source import problem

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


class Variables:
    """The variables of one text, with their lines, for checks and their messages."""

    def __init__(self, path: Path, values: Mapping[str, str], places: Mapping[str, int]) -> None:
        self.path = path
        self.values = values
        self.places = places

    def check(self, page: int, reserved: bool) -> None:
        """Raise TraceError for one that is no number, or none that a kernel has.

        page: bytes. reserved: whether the text has a reserved chunk.
        """
        for name, value in self.values.items():
            base = VARIABLES.get(name, _ALSO.get(name, 0))
            if not base or value == "?" or name in (*_POINTERS, _FLOATS):
                continue
            form = r"-?[0-9a-f]{1,16}" if base == 16 else r"-?[0-9]{1,20}"
            if not re.fullmatch(form, value):
                raise self._wrong(name, "number in hexadecimal" if base == 16 else "number")
        self._check_pointers(page, reserved)
        atom = self.values.get("pcpu_atom_size", "?")
        struct = self.values.get("pcpu_chunk_struct_size", "?")
        if atom != "?" and (int(atom) <= 0 or int(atom) % page):
            raise self._wrong("pcpu_atom_size", f"number of bytes, of whole pages of {page}")
        if struct != "?" and not 0 < int(struct, 16) <= _MOST_STRUCT:
            raise self._wrong("pcpu_chunk_struct_size", f"1 to {_MOST_STRUCT:x}, in hexadecimal")

    def _check_pointers(self, page: int, reserved: bool) -> None:
        """Check that what points to a chunk's struct may do so; 0: there is no reserved one."""
        for name, there in zip(_POINTERS, (True, reserved), strict=True):
            value = self.values.get(name)
            if value is None or (value == "?" and not there):
                continue
            sound = re.fullmatch(r"[0-9a-f]{1,16}", value)
            if not sound or 0 < int(value, 16) < page:
                raise self._wrong(name, " an address in hexadecimal")
            if there != bool(int(value, 16)):
                chunk = name.removeprefix("pcpu_").replace("_", " ")
                are = "an address, as the" if there else "0, as no"
                raise self._wrong(name, f" {are} {chunk} is in the text")

    def _wrong(self, name: str, expected: str) -> Exception:
        return problem(self.path, self.places[name], f"{name}={expected}", self.values[name])

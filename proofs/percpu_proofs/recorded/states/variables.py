"""The variables of mm/percpu.c in the text of a state: which there are, and what each may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from percpu_proofs.recorded.source import problem
from percpu_proofs.run.inputs import TraceError

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

"""The shape of a recorded machine, from the lines that the kernel prints at boot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from percpu_proofs.traces.events import TraceError, problem
from percpu_proofs.traces.source import lines_of
from percpu_spec.geometry import Geometry, GeometryError

_N = r"(\d{1,18})"  # longer numbers are no sizes
_PARTS = rf"s{_N} r{_N} d{_N}"
_SIZES = re.compile(rf"pcpu-alloc: {_PARTS} u{_N} alloc={_N}\*{_N}\s*$")
_UNITS = re.compile(r"pcpu-alloc:((?: \[\d{1,9}\](?: (?:\d{1,9}|-+))*)+)\s*$")
_GROUP = re.compile(r"\[(\d{1,9})\]((?: (?:\d{1,9}|-+))*)")
_EMBEDDED = re.compile(rf"percpu: Embedded {_N} pages/cpu {_PARTS} u{_N}")
_PAGED = re.compile(rf"percpu: {_N} \d+K pages/cpu {_PARTS}")
_CPU_IDS = re.compile(r"setup_percpu: NR_CPUS:\d.* nr_cpu_ids:(\d{1,9})\b")
_PAGE = 4096


class Layout(NamedTuple):
    """A machine's geometry, and its number of units: one a CPU, and those left over in groups."""

    geometry: Geometry
    units: int


def read_layout(path: Path) -> Layout:
    """Return the layout of the machine whose boot messages `path` holds (plain or gzip)."""
    return layout(path, lines_of(path))


def layout(where: Path, lines: Iterable[tuple[int, str]]) -> Layout:
    """Return the layout that numbered boot messages give.

    Sizes in bytes. Raises TraceError if the lines are missing, contradict each other, or give a
    geometry that the kernel would refuse. Source: pcpu_dump_alloc_info, pcpu_embed_first_chunk.
    """
    sizes: tuple[int, tuple[int, ...]] | None = None
    embedded: tuple[int, tuple[int, ...]] | None = None
    groups: dict[int, list[int]] = {}
    allocations: list[tuple[int, int, str]] = []  # line, units, as printed
    cpu_ids: tuple[int, int] | None = None
    cpus: set[int] = set()
    for number, line in lines:
        if match := _EMBEDDED.search(line) or _PAGED.search(line):
            embedded = number, tuple(map(int, match.groups()))
        elif match := _SIZES.search(line):
            sizes = number, tuple(map(int, match.groups()))
        elif match := _CPU_IDS.search(line):
            cpu_ids = number, int(match[1])
        elif "pcpu-alloc:" in line:
            match = _UNITS.search(line)
            if match is None:
                raise problem(where, number, "pcpu-alloc: [group] cpu...", line)
            for group, units in _GROUP.findall(match[1]):
                allocations.append((number, len(units.split()), line))
                of_group = groups.setdefault(int(group), [])
                for unit in units.split():
                    if not unit.startswith("-"):
                        if int(unit) in cpus:
                            raise problem(where, number, f"CPU {unit} in one unit only", line)
                        cpus.add(int(unit))
                        of_group.append(int(unit))
    if sizes is None:
        raise problem(where, None, "a line 'pcpu-alloc: s.. r.. d.. u.. alloc=..' of the boot")
    number, (static, reserved, dyn, unit, atoms, atom) = sizes
    if not cpus:
        raise problem(where, number, "lines 'pcpu-alloc: [group] cpu...' after this one")
    _agree(where, embedded, (static, reserved, dyn, unit))
    if not unit or atoms * atom % unit or not atoms * atom:
        raise problem(where, number, "alloc=N*M of whole units", f"alloc={atoms}*{atom} u{unit}")
    per_allocation = atoms * atom // unit
    for at, units, line in allocations:
        if units != per_allocation:
            raise problem(where, at, f"{per_allocation} units behind each [group]", line)
    if cpu_ids is not None and max(cpus) + 1 != cpu_ids[1]:
        expected = f"nr_cpu_ids:{max(cpus) + 1}, as the pcpu-alloc lines say"
        raise problem(where, cpu_ids[0], expected, str(cpu_ids[1]))
    try:
        geometry = Geometry(
            unit=unit,
            static=static,
            reserved=reserved,
            dyn=dyn,
            cpus=len(cpus),
            groups=len(groups),
        ).require_kernel()
    except GeometryError as error:
        raise TraceError(f"{where}:{number}: a layout the kernel would refuse: {error}") from None
    return Layout(geometry, per_allocation * len(allocations))


def _agree(
    where: Path, embedded: tuple[int, tuple[int, ...]] | None, sizes: tuple[int, int, int, int]
) -> None:
    """Check the first-chunk line, if there was one, against the sizes and the pages they need."""
    if embedded is None:
        return
    number, (pages, *printed) = embedded
    if tuple(printed) != sizes[: len(printed)]:
        raise problem(where, number, "the sizes of the pcpu-alloc line", str(tuple(printed)))
    if len(printed) == 4 and pages != -(-sum(sizes[:3]) // _PAGE):
        raise problem(where, number, "as many pages as s, r and d fill", str(pages))

"""The shape of a recorded machine, from the lines that the kernel prints at boot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from percpu_proofs.traces.events import TraceError, problem
from percpu_proofs.traces.source import lines_of
from percpu_spec.geometry import Geometry, GeometryError

_SIZES = re.compile(r"pcpu-alloc: s(\d+) r(\d+) d(\d+) u(\d+) alloc=(\d+)\*(\d+)\s*$")
_UNITS = re.compile(r"pcpu-alloc:((?: \[\d+\](?: (?:\d+|-+))*)+)\s*$")
_GROUP = re.compile(r"\[(\d+)\]((?: (?:\d+|-+))*)")
_EMBEDDED = re.compile(r"percpu: Embedded (\d+) pages/cpu s(\d+) r(\d+) d(\d+) u(\d+)")
_PAGED = re.compile(r"percpu: (\d+) \d+K pages/cpu s(\d+) r(\d+) d(\d+)")
_PAGE = 4096


def read_layout(path: Path) -> Geometry:
    """Return the geometry of the machine whose boot messages `path` holds (plain or gzip)."""
    return layout(path, lines_of(path))


def layout(where: Path, lines: Iterable[tuple[int, str]]) -> Geometry:
    """Return the geometry that numbered boot messages give.

    Sizes in bytes. Raises TraceError if the lines are missing, contradict each other, or give a
    geometry that the kernel would refuse. Source: pcpu_dump_alloc_info, pcpu_embed_first_chunk.
    """
    sizes: tuple[int, tuple[int, ...]] | None = None
    embedded: tuple[int, tuple[int, ...]] | None = None
    groups: dict[int, list[int]] = {}
    cpus: set[int] = set()
    for number, line in lines:
        if match := _EMBEDDED.search(line) or _PAGED.search(line):
            embedded = number, tuple(map(int, match.groups()))
        elif match := _SIZES.search(line):
            sizes = number, tuple(map(int, match.groups()))
        elif "pcpu-alloc:" in line:
            match = _UNITS.search(line)
            if match is None:
                raise problem(where, number, "pcpu-alloc: [group] cpu...", line)
            for group, units in _GROUP.findall(match[1]):
                of_group = groups.setdefault(int(group), [])
                for unit in units.split():
                    if not unit.startswith("-"):
                        if int(unit) in cpus:
                            raise problem(where, number, f"CPU {unit} in one unit only", line)
                        cpus.add(int(unit))
                        of_group.append(int(unit))
    if sizes is None:
        raise problem(where, None, "a line 'pcpu-alloc: s.. r.. d.. u.. alloc=..' of the boot")
    number, (static, reserved, dyn, unit, _, _) = sizes
    if not cpus:
        raise problem(where, number, "lines 'pcpu-alloc: [group] cpu...' after this one")
    _agree(where, embedded, (static, reserved, dyn, unit))
    try:
        return Geometry(
            unit=unit,
            static=static,
            reserved=reserved,
            dyn=dyn,
            cpus=len(cpus),
            groups=len(groups),
        ).require_kernel()
    except GeometryError as error:
        raise TraceError(f"{where}:{number}: a layout the kernel would refuse: {error}") from None


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

"""The text in which the state of a kernel's allocator is kept: reading it whole or not at all.

Its form is told in `data/README.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from percpu_proofs.recorded.source import problem, text_of
from percpu_proofs.recorded.states.snapshot import (
    COUNTS,
    BlockSnapshot,
    ChunkSnapshot,
    Snapshot,
    bits_of,
)
from percpu_proofs.recorded.states.variables import VARIABLES, check_variables
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS

_CHUNK = ("slot", "pos", "base_addr", *COUNTS, "md")
_SLOTS = ("pcpu_free_slot", "pcpu_sidelined_slot", "pcpu_to_depopulate_slot")
_ONE_TYPE = (5, 14)  # the first release with those lists, and with one type of chunks
_DECIMAL = ("slot", "pos", *COUNTS)
_VARIABLE = re.compile(r"kernel |\w+=")
_ADDRESS = re.compile(r"[0-9a-f]{1,16}")
_OWNER = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_HINTS_OF_BLOCK = re.compile(r"[0-9]{1,10}(/[0-9]{1,10}){6}")
_REPEATED = ("stack", "owner")  # lines of which a state may have several


def read_snapshot(path: Path, geometry: Geometry) -> Snapshot:
    """Return the state recorded in `path`, plain or gzip; `geometry` is the machine's layout.

    Raises TraceError for a malformed line, or a state that does not fit the layout.
    """
    return StateText(path, text_of(path)).snapshot(geometry)


class StateText:
    """The lines of one state: first its variables are read, then, by the layout, its chunks."""

    def __init__(self, path: Path, lines: Sequence[str]) -> None:
        """Read the lines name=value. Raises TraceError for one that stands there again."""
        self.path = path
        self.lines = lines
        self.globals: dict[str, str] = {}
        self.places: dict[str, int] = {}  # lines of the globals
        self.owners: dict[str, str] = {}  # names by number
        self.ended = False  # by a line 'end'
        for self.line, line in enumerate(lines, 1):  # read last, for messages
            if _VARIABLE.match(line):
                self._enter(*re.split("[ =]", line, maxsplit=1))

    def snapshot(self, geometry: Geometry) -> Snapshot:
        """Return the state on a machine of a layout; raises as read_snapshot does."""
        self.geometry = geometry
        self.line = 0
        special: dict[str, ChunkSnapshot] = {}
        listed: dict[int, list[ChunkSnapshot]] = {}
        addresses: set[int] = set()
        begin: dict[int, int] = {}  # the line of the first chunk on each list
        number = 0
        role = ""
        while self.line < len(self.lines):
            line = self.lines[self.line]
            self.line += 1
            if line in ("first:", "reserved:"):
                role = line[:-1]
                if role in special:
                    raise self._wrong(f"one chunk under '{line}'", line)
            elif line.startswith("chunk "):
                at, number = self.line, number + 1
                chunk = self._chunk(line)
                behind, self.line = self.line, at  # what is wrong now stands in its first line
                begin.setdefault(chunk.slot, at)
                if role:
                    special[role] = chunk
                if role == "reserved" and (chunk.slot, chunk.pos) != (-1, 0):
                    raise self._wrong("slot=-1 pos=0: the reserved chunk is on no list", line)
                if role != "reserved" and chunk.slot < 0:
                    raise self._wrong("slot= the list that the chunk is on, from 0", line)
                if not role and chunk.base_addr in addresses:
                    raise self._wrong("chunks at different addresses", f"{chunk.base_addr:x}")
                role = ""
                addresses.add(chunk.base_addr)
                if chunk.slot >= 0:
                    of_slot = listed.setdefault(chunk.slot, [])
                    if chunk.pos != len(of_slot):
                        raise self._wrong(f"pos={len(of_slot)} in slot {chunk.slot}", line)
                    of_slot.append(chunk)
                self.line = behind
            elif line == "end" and not any(self.lines[self.line :]):
                self.ended = True
            elif line and not _VARIABLE.match(line):
                raise self._wrong("name=value, a chunk, or 'first:' or 'reserved:'", line)
        self._check_whole(number)
        if "first" not in special:
            raise self._wrong("a chunk under 'first:'", "")
        self._check_layout()
        page, reserved = self.geometry.page, "reserved" in special
        check_variables(self.path, self.globals, self.places, page, reserved)
        types = self._types()
        most = self.geometry.unit.bit_length() + 1
        nr_slots = self._within("pcpu_nr_slots", 1, most)
        free, sidelined, to_depopulate = (
            (self._within(name, 0, nr_slots - 1) for name in _SLOTS)
            if types == 1
            else (nr_slots - 1, -1, -1)
        )
        total = nr_slots * types
        if any(slot >= total for slot in listed):
            self.line = begin[max(listed)]
            raise self._wrong(f"slots below {total}", str(max(listed)))
        floats = self._floats(types)
        return Snapshot(
            phase=self.path.name.split(".")[0],
            geometry=self.geometry,
            globals=self.globals,
            chunk_types=types,
            free_slot=free,
            sidelined_slot=sidelined,
            to_depopulate_slot=to_depopulate,
            nr_slots=total,
            nr_empty_pop_pages=floats[0],
            nr_populated=self._global("pcpu_nr_populated"),
            async_enabled=bool(self._within("pcpu_async_enabled", 0, 1)),
            atomic_alloc_failed=bool(self._within("pcpu_atomic_alloc_failed", 0, 1)),
            first_chunk=special["first"],
            reserved_chunk=special.get("reserved"),
            lists=tuple(tuple(listed.get(slot, ())) for slot in range(total)),
            floats=floats if len(floats) > 1 else (),
        )

    def _wrong(self, expected: str, got: str) -> Exception:
        return problem(self.path, self.line or None, expected, got)

    def _wrong_value(self, name: str, expected: str, value: str | None = None) -> Exception:
        """Return the error for a global; value: the part of it that is wrong."""
        self.line = self.places[name]
        return self._wrong(f"{name}={expected}", self.globals[name] if value is None else value)

    def _enter(self, name: str, value: str) -> None:
        """Take over a line name=value."""
        if name in _REPEATED:
            if name == "owner":
                number, _, owner = value.partition(" ")
                if not _OWNER.fullmatch(number) or not owner or number in self.owners:
                    raise self._wrong("owner=NUMBER NAME, each number once", value)
                self.owners[number] = owner
                return
            earlier = self.globals.get(name)
            value = value if earlier is None else f"{earlier}\n{value}"
        elif name in self.globals:
            raise self._wrong(f"{name}= once", value)
        self.globals[name] = value
        self.places.setdefault(name, self.line)

    def _global(self, name: str) -> int:
        return self._number(name, self.globals.get(name, ""), VARIABLES.get(name, 10))

    def _number(self, name: str, value: str, base: int = 10) -> int:
        if re.fullmatch(r"-?[0-9a-f]{1,16}" if base == 16 else _NUMBER, value):
            return int(value, base)
        if name not in self.places:
            raise problem(self.path, None, f"a line {name}=number", "none")
        raise self._wrong_value(name, "number", value)

    def _within(self, name: str, least: int, most: int) -> int:
        """Return a global that has no other values than those."""
        value = self._global(name)
        if not least <= value <= most:
            raise self._wrong_value(name, f"{least} to {most}")
        return value

    def _types(self) -> int:
        """Return how many types of chunks there are: one where chunks are sidelined.

        A kernel that does so has all the lists that this takes.
        """
        lost = [name for name in _SLOTS if self.globals.get(name, "?") == "?"]
        release = re.match(r"([0-9]+)\.([0-9]+)", self.globals.get("kernel", ""))
        sidelines = release is not None and (int(release[1]), int(release[2])) >= _ONE_TYPE
        if lost and (sidelines or len(lost) < len(_SLOTS)):
            self.line = self.places.get(lost[0], 0)
            raise self._wrong(f"{lost[0]}=number, as kernels from 5.14 on have it", "")
        return 2 if lost else 1

    def _check_whole(self, number: int) -> None:
        """Check that all chunks are there, and all lines of the last, where a text tells it."""
        if "chunks" not in self.globals:
            return
        told = self._global("chunks")
        if number != told or not self.ended:
            found = f"{number} chunks{'' if self.ended else ', no end'}"
            raise self._wrong(f"{told} chunks and a line 'end': the text is cut", found)

    def _floats(self, types: int) -> tuple[int, ...]:
        """Return the floats: one for each type of chunks, or the one that was recorded."""
        name = "pcpu_nr_empty_pop_pages"
        values = self.globals.get(name, "").split(",")
        if len(values) not in (1, types):
            raise self._wrong_value(name, f" a number for each of {types} types")
        return tuple(self._number(name, value) for value in values)

    def _check_layout(self) -> None:
        """Check that the state is that of the machine whose layout was given."""
        wanted = {
            "pcpu_unit_size": self.geometry.unit,
            "pcpu_unit_pages": self.geometry.unit_pages,
            "pcpu_nr_units": self.geometry.units,
            "pcpu_nr_groups": self.geometry.groups,
        }
        for name, value in wanted.items():
            if self.globals.get(name) != "?" and self._global(name) != value:
                raise self._wrong_value(name, f"{value}, as the boot lines say")

    def _chunk(self, line: str) -> ChunkSnapshot:
        pairs = self._named("a chunk", line.split()[1:], "=", _CHUNK)
        md_pairs = self._named("md", pairs["md"].split(","), ":", (*HINTS, "nr_bits"))
        if not _ADDRESS.fullmatch(pairs["base_addr"]) or not all(
            map(_NUMBER.fullmatch, (*(pairs[n] for n in _DECIMAL), *md_pairs.values()))
        ):
            raise self._wrong("a chunk: name=number..., md=name:number,...", line)
        n: dict[str, Any] = {name: int(pairs[name]) for name in _DECIMAL}
        n["base_addr"] = int(pairs["base_addr"], 16)
        hints = {name: int(value) for name, value in md_pairs.items()}
        nr_pages = n["nr_pages"]
        if not 0 < nr_pages <= self.geometry.unit_pages:
            raise self._wrong(f"nr_pages of 1 to {self.geometry.unit_pages}", str(nr_pages))
        if n["base_addr"] % self.geometry.page:
            raise self._wrong("base_addr= an address at which a page begins", pairs["base_addr"])
        for name in ("start_offset", "end_offset"):
            if not 0 <= n[name] < nr_pages * self.geometry.page or n[name] % self.geometry.granule:
                raise self._wrong(f"{name} of whole granules inside the chunk", str(n[name]))
        bits = nr_pages * self.geometry.block_bits
        for name in HINTS:
            if not 0 <= hints[name] <= bits:
                raise self._wrong(f"md= {name} of 0 to {bits}, the chunk's bits", md_pairs[name])
        for name in ("immutable", "isolated"):
            if n[name] not in (0, 1):
                raise self._wrong(f"{name}=0 or 1", str(n[name]))
            n[name] = bool(n[name])
        populated = bytearray(nr_pages)
        for start, end in self._pairs("populated", self._next("populated"), "-"):
            if not start <= end < nr_pages:
                raise self._wrong(f"pages below {nr_pages}", str(end))
            populated[start : end + 1] = b"\1" * (end + 1 - start)
        areas = dict(self._pairs("areas", self._next("areas")))
        maps = self._maps(nr_pages, n["start_offset"], n["end_offset"], areas)
        blocks = self._blocks(nr_pages)
        bounds = self._bounds(len(maps[1]))
        return ChunkSnapshot(
            **n,
            chunk_md=BlockSnapshot(**hints),
            md_blocks=blocks,
            areas=areas,
            alloc_map=maps[0],
            bound_map=maps[1] if bounds is None else bounds,
            populated=populated,
            has_bounds=bounds is not None,
            owners=self._owners(areas),
        )

    def _named(
        self, what: str, parts: Sequence[str], between: str, names: Sequence[str]
    ) -> dict[str, str]:
        """Return the values of name=value or name:value; each name once and no others."""
        found: dict[str, str] = {}
        for part in parts:
            name, _, value = part.partition(between)
            if name not in names or name in found:
                raise self._wrong(f"{what} with {', '.join(names)}, each once", part)
            found[name] = value
        missing = [name for name in names if name not in found]
        if missing:
            raise self._wrong(f"{what} with {missing[0]}{between}", between.join(found))
        return found

    def _next(self, name: str) -> str:
        """Return what follows ` name=` on the next line."""
        line = self._line_of(name)
        if line is None:
            found = self.lines[self.line] if self.line < len(self.lines) else ""
            self.line += 1
            raise self._wrong(f"a line ' {name}=...' of the chunk", found)
        return line

    def _line_of(self, name: str) -> str | None:
        """Return what follows ` name=` on the next line, None if that is another."""
        head = f" {name}="
        if self.line >= len(self.lines) or not self.lines[self.line].startswith(head):
            return None
        self.line += 1
        return self.lines[self.line - 1][len(head) :]

    def _pairs(self, name: str, text: str, between: str = ":") -> list[tuple[int, int]]:
        """Return the pairs a:b,c:d of a text as numbers."""
        if not text:
            return []
        form = re.compile(rf"[0-9]{{1,20}}{between}[0-9]{{1,20}}")
        parts = text.split(",")
        wrong = next((part for part in parts if not form.fullmatch(part)), None)
        if wrong is not None:
            raise self._wrong(f"{name}= pairs of numbers", wrong)
        numbers = list(map(int, text.replace(between, ",").split(",")))
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _blocks(self, nr_pages: int) -> tuple[BlockSnapshot, ...]:
        text = self._next("blocks")
        bits = self.geometry.block_bits
        parts = text.split(";")
        wrong = next((part for part in parts if not _HINTS_OF_BLOCK.fullmatch(part)), None)
        if wrong is not None:
            raise self._wrong("blocks= seven numbers a block", wrong)
        if len(parts) != nr_pages:
            raise self._wrong(f"{nr_pages} blocks", str(len(parts)))
        blocks = []
        for part in parts:
            hints = list(map(int, part.split("/")))
            if max(hints) > bits:
                raise self._wrong(f"blocks= numbers of 0 to {bits}, a block's bits", part)
            blocks.append(BlockSnapshot(*(*hints, bits)))
        return tuple(blocks)

    def _maps(
        self, nr_pages: int, start_offset: int, end_offset: int, areas: Mapping[int, int]
    ) -> tuple[bytearray, bytearray]:
        """Return allocation and boundary map; hidden offsets count as allocated."""
        granule = self.geometry.granule
        bits = nr_pages * self.geometry.block_bits
        alloc_map, bound_map = bytearray(bits), bytearray(bits + 1)
        taken = dict(areas)
        if start_offset:
            taken[0] = start_offset
        if end_offset:
            taken[bits * granule - end_offset] = end_offset
        for off, size in taken.items():
            first, last = off // granule, (off + size) // granule
            if off % granule or size % granule or size <= 0 or last > bits:
                raise self._wrong("areas of whole granules inside the chunk", f"{off}:{size}")
            if alloc_map.find(1, first, last) >= 0:
                raise self._wrong("areas that do not overlap", f"{off}:{size}")
            alloc_map[first:last] = b"\1" * (last - first)
            bound_map[first] = bound_map[last] = 1
        return alloc_map, bound_map

    def _bounds(self, size: int) -> bytearray | None:
        """Return the boundary map of the next line, None if it is another's."""
        text = self._line_of("bmap")
        if text is None:
            return None
        if not re.fullmatch(r"[0-9a-f]+", text) or int(text, 16).bit_length() > size:
            raise self._wrong(f"bmap= a hexadecimal number of at most {size} bits", text)
        return bits_of(int(text, 16), size)

    def _owners(self, areas: Mapping[int, int]) -> Mapping[int, str] | None:
        """Return the owners that the next line names, by byte offset; None if it is another's."""
        text = self._line_of("owners")
        if text is None:
            return None
        found = {}
        for off, number in self._pairs("owners", text):
            if off not in areas:
                raise self._wrong("owners= offsets at which an area begins", f"{off}:{number}")
            if str(number) not in self.owners:
                raise self._wrong("a number that a line owner=NUMBER NAME names", str(number))
            found[off] = self.owners[str(number)]
        return found

"""A kernel's own percpu structures, read out of its memory, as views that predicates run on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from percpu_proofs.traces.events import problem
from percpu_proofs.traces.source import lines_of
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS, ChunkView

_CHUNK = (
    "slot", "pos", "base_addr", "free_bytes", "immutable", "isolated", "start_offset",
    "end_offset", "nr_pages", "nr_populated", "nr_empty_pop_pages", "md",
)  # fmt: skip
_HEX = ("pcpu_nr_populated", "pcpu_chunk_struct_size")
_RANGE = re.compile(r"(\d{1,20})-(\d{1,20})")
_AREA = re.compile(r"(\d{1,20}):(\d{1,20})")


@dataclass(frozen=True, slots=True)
class BlockSnapshot:
    """Hints of a block or chunk, in bits, as they stood (BlockView)."""

    scan_hint: int
    scan_hint_start: int
    contig_hint: int
    contig_hint_start: int
    left_free: int
    right_free: int
    first_free: int
    nr_bits: int


@dataclass(frozen=True, slots=True)
class ChunkSnapshot:
    """One chunk as it stood (ChunkView); also its address, and its place on the lists.

    `bound_map` holds the boundaries of the areas only: the kernel's stale ones are not recorded.
    """

    base_addr: int
    slot: int  # -1: on no list
    pos: int  # from the head of its list
    free_bytes: int
    immutable: bool
    isolated: bool
    start_offset: int
    end_offset: int
    nr_pages: int
    nr_populated: int
    nr_empty_pop_pages: int
    chunk_md: BlockSnapshot
    md_blocks: tuple[BlockSnapshot, ...]
    areas: Mapping[int, int]  # byte offset -> bytes
    alloc_map: bytearray
    bound_map: bytearray
    populated: bytearray


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole allocator as it stood (AllocatorView).

    A kernel before partial depopulation has neither a sidelined nor a to_depopulate list (both
    -1) and two chunk types: `chunk_types` is 2, and the lists of the second follow the first's.
    """

    phase: str
    geometry: Geometry
    globals: Mapping[str, str]
    chunk_types: int
    free_slot: int
    sidelined_slot: int
    to_depopulate_slot: int
    nr_slots: int
    nr_empty_pop_pages: int
    nr_populated: int
    async_enabled: bool
    atomic_alloc_failed: bool
    first_chunk: ChunkSnapshot
    reserved_chunk: ChunkSnapshot | None
    lists: tuple[tuple[ChunkSnapshot, ...], ...]

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return the type of a recorded chunk, told by its list; 0 for the reserved one."""
        number = next((c.slot for c in self.chunks() if c is chunk), 0)
        return max(number, 0) // (self.nr_slots // self.chunk_types)

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float of a type.

        Recorded is the first type's; the other's is taken for the sum of its chunks' counters.
        """
        if not chunk_type:
            return self.nr_empty_pop_pages
        slots = self.nr_slots // self.chunk_types
        own = self.lists[chunk_type * slots : (chunk_type + 1) * slots]
        return sum(chunk.nr_empty_pop_pages for chunks in own for chunk in chunks)

    def slot_chunks(self, slot: int, /) -> Sequence[ChunkSnapshot]:
        """Return the chunks of one list, head to tail."""
        return self.lists[slot]

    def owned_chunks(self) -> Sequence[ChunkSnapshot]:
        """Return no chunk: whatever a running step held was not recorded."""
        return ()

    def chunks(self) -> Iterator[ChunkSnapshot]:
        """Yield every recorded chunk: the reserved one, then the lists."""
        if self.reserved_chunk is not None:
            yield self.reserved_chunk
        for chunks in self.lists:
            yield from chunks


def read_snapshot(path: Path, geometry: Geometry) -> Snapshot:
    """Return the state recorded in `path`, plain or gzip; `geometry` is the machine's layout.

    Raises TraceError for a malformed line, or a state that does not fit the layout.
    """
    phase = path.name.split(".")[0]
    return _Reader(path, geometry).snapshot(phase, lines_of(path))


class _Reader:
    """Reads one state file; keeps the line for messages."""

    def __init__(self, path: Path, geometry: Geometry) -> None:
        self.path = path
        self.geometry = geometry
        self.line = 0
        self.globals: dict[str, str] = {}
        self.lines: dict[str, int] = {}  # of the globals

    def snapshot(self, phase: str, lines: Iterable[tuple[int, str]]) -> Snapshot:
        special: dict[str, ChunkSnapshot] = {}
        listed: dict[int, list[ChunkSnapshot]] = {}
        role = ""
        source = iter(lines)
        for self.line, line in source:
            if line in ("first:", "reserved:"):
                role = line[:-1]
            elif line.startswith("chunk "):
                chunk = self._chunk(line, source)
                if role:
                    special[role] = chunk
                role = ""
                if chunk.slot >= 0:
                    of_slot = listed.setdefault(chunk.slot, [])
                    if chunk.pos != len(of_slot):
                        raise self._wrong(f"pos={len(of_slot)} in slot {chunk.slot}", line)
                    of_slot.append(chunk)
            elif "=" in line:
                name, _, value = line.partition("=")
                if name in self.globals:
                    raise self._wrong(f"{name}= once", line)
                self.globals[name] = value
                self.lines[name] = self.line
            elif line.startswith("kernel "):
                self.globals["kernel"] = line[7:]
            elif line:
                raise self._wrong("name=value, a chunk, or 'first:' or 'reserved:'", line)
        if "first" not in special:
            raise self._wrong("a chunk under 'first:'", "")
        types = 1 if self._has("pcpu_sidelined_slot") else 2
        nr_slots = self._global("pcpu_nr_slots")
        total = nr_slots * types
        if any(slot >= total for slot in listed):
            raise self._wrong(f"slots below {total}", str(max(listed)))
        self._check_layout()
        return Snapshot(
            phase=phase,
            geometry=self.geometry,
            globals=self.globals,
            chunk_types=types,
            free_slot=self._global("pcpu_free_slot") if types == 1 else nr_slots - 1,
            sidelined_slot=self._global("pcpu_sidelined_slot") if types == 1 else -1,
            to_depopulate_slot=self._global("pcpu_to_depopulate_slot") if types == 1 else -1,
            nr_slots=total,
            nr_empty_pop_pages=self._global("pcpu_nr_empty_pop_pages"),
            nr_populated=self._global("pcpu_nr_populated"),
            async_enabled=bool(self._global("pcpu_async_enabled")),
            atomic_alloc_failed=bool(self._global("pcpu_atomic_alloc_failed")),
            first_chunk=special["first"],
            reserved_chunk=special.get("reserved"),
            lists=tuple(tuple(listed.get(slot, ())) for slot in range(total)),
        )

    def _wrong(self, expected: str, got: str) -> Exception:
        return problem(self.path, self.line or None, expected, got)

    def _has(self, name: str) -> bool:
        return self.globals.get(name, "?") != "?"

    def _global(self, name: str) -> int:
        value = self.globals.get(name)
        try:
            if value is not None:
                return int(value, 16 if name in _HEX else 10)
        except ValueError:
            pass
        self.line = self.lines.get(name, 0)
        raise self._wrong(f"{name}=number", value or "")

    def _check_layout(self) -> None:
        """Check that the state is that of the machine whose layout was given."""
        wanted = {
            "pcpu_unit_size": self.geometry.unit,
            "pcpu_unit_pages": self.geometry.unit_pages,
            "pcpu_nr_units": self.geometry.units,
            "pcpu_nr_groups": self.geometry.groups,
        }
        for name, value in wanted.items():
            if self._global(name) != value:
                self.line = self.lines[name]
                raise self._wrong(f"{name}={value}, as the boot lines say", self.globals[name])

    def _chunk(self, line: str, source: Iterator[tuple[int, str]]) -> ChunkSnapshot:
        pairs = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
        missing = [name for name in _CHUNK if name not in pairs]
        if missing:
            raise self._wrong(f"a chunk with {missing[0]}=", line)
        try:
            n = {name: int(pairs[name], 16 if name == "base_addr" else 10) for name in _CHUNK[:-1]}
            hints = dict(part.split(":") for part in pairs["md"].split(","))
            md = BlockSnapshot(*(int(hints[name]) for name in (*HINTS, "nr_bits")))
        except (ValueError, KeyError):
            raise self._wrong("a chunk: name=number..., md=name:number,...", line) from None
        nr_pages = n["nr_pages"]
        if not 0 < nr_pages <= self.geometry.unit_pages:
            raise self._wrong(f"nr_pages of 1 to {self.geometry.unit_pages}", str(nr_pages))
        populated = bytearray(nr_pages)
        for start, end in self._parts(source, "populated", _RANGE, ","):
            if not start <= end < nr_pages:
                raise self._wrong(f"pages below {nr_pages}", str(end))
            populated[start : end + 1] = b"\1" * (end + 1 - start)
        areas = dict(self._parts(source, "areas", _AREA, ","))
        blocks = self._blocks(source, nr_pages)
        maps = self._maps(nr_pages, n["start_offset"], n["end_offset"], areas)
        return ChunkSnapshot(
            base_addr=n["base_addr"],
            slot=n["slot"],
            pos=n["pos"],
            free_bytes=n["free_bytes"],
            immutable=bool(n["immutable"]),
            isolated=bool(n["isolated"]),
            start_offset=n["start_offset"],
            end_offset=n["end_offset"],
            nr_pages=nr_pages,
            nr_populated=n["nr_populated"],
            nr_empty_pop_pages=n["nr_empty_pop_pages"],
            chunk_md=md,
            md_blocks=blocks,
            areas=areas,
            alloc_map=maps[0],
            bound_map=maps[1],
            populated=populated,
        )

    def _next(self, source: Iterator[tuple[int, str]], name: str) -> str:
        """Return what follows ` name=` on the next line."""
        self.line, line = next(source, (self.line + 1, ""))
        if not line.startswith(f" {name}="):
            raise self._wrong(f"a line ' {name}=...' of the chunk", line)
        return line[len(name) + 2 :]

    def _parts(
        self, source: Iterator[tuple[int, str]], name: str, form: re.Pattern[str], sep: str
    ) -> list[tuple[int, int]]:
        """Return the pairs of numbers on the next line."""
        text = self._next(source, name)
        pairs = []
        for part in text.split(sep) if text else ():
            match = form.fullmatch(part)
            if match is None:
                raise self._wrong(f"{name}= pairs of numbers", part)
            pairs.append((int(match[1]), int(match[2])))
        return pairs

    def _blocks(
        self, source: Iterator[tuple[int, str]], nr_pages: int
    ) -> tuple[BlockSnapshot, ...]:
        text = self._next(source, "blocks")
        bits = self.geometry.block_bits
        try:
            blocks = tuple(
                BlockSnapshot(*(*map(int, part.split("/")), bits)) for part in text.split(";")
            )
        except (ValueError, TypeError):
            raise self._wrong("blocks= seven numbers a block", text) from None
        if len(blocks) != nr_pages:
            raise self._wrong(f"{nr_pages} blocks", str(len(blocks)))
        return blocks

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

"""Reads the percpu allocator out of a kernel's memory: first every byte, then what they mean.

Only memory is asked for (KernelMemory), so recorded reads do in its place. Every size is bounded
before it is used: in a kernel that runs on, a list may lead anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from percpu_proofs.live.kernel_memory import (
    DIFFERS,
    KernelMemory,
    Structures,
    UnreadableError,
    reading,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, Quiescence, with_floats
from percpu_proofs.recorded.states.snapshot import (
    COUNTS,
    BlockSnapshot,
    ChunkSnapshot,
    Snapshot,
    bitmap,
)
from percpu_proofs.recorded.states.variables import VARIABLES, BootChunk, ShapeError, geometry_of
from percpu_proofs.recorded.traces.events import GRANULE
from percpu_spec.definitions import served_areas
from percpu_spec.geometry import LARGEST_UNIT, PAGE_SIZES, Geometry
from percpu_spec.views import HINTS

_MOST_SLOTS = 64
_MOST_CHUNKS = 1 << 20
_MD = 4 * (len(HINTS) + 1)  # bytes of struct pcpu_block_md
_CHUNK = (
    "list", "chunk_md", "base_addr", "alloc_map", "bound_map", "md_blocks", "populated",
    *(name for name in COUNTS if name != "isolated"),  # which older kernels lack
)  # fmt: skip
_REQUIRED = ("pcpu_first_chunk", "pcpu_base_addr", "pcpu_nr_slots", "pcpu_unit_size",
             "pcpu_unit_pages", "pcpu_nr_groups", "pcpu_nr_populated")  # fmt: skip
_SPARED = ("pcpu_unit_pages", "pcpu_nr_units", "pcpu_atom_size", "pcpu_chunk_struct_size")
"""Recorded reads may lack them: they are for the text, or follow from others."""
_FLOAT = "pcpu_nr_empty_pop_pages"


class TornError(Exception):
    """The lists changed while they were read, or are damaged: where, in words."""


@dataclass(slots=True)
class Copy:
    """All bytes that a state is made of, as they stood: equal copies are of one state."""

    values: dict[str, int | None]
    floats: tuple[int, ...]
    lock: int
    owner: int  # the task that holds the mutex, as an address
    waiters: bool
    pending: bool
    lists: list[list[int]] = field(default_factory=list)  # addresses of chunks
    chunks: dict[int, ChunkBytes] = field(default_factory=dict)

    def address_of(self, chunk: ChunkSnapshot) -> int:
        """Return where the struct of a chunk lies that was read out of this copy."""
        if chunk.slot < 0:
            return self.values["pcpu_reserved_chunk"] or 0
        return self.lists[chunk.slot][chunk.pos]


@dataclass(frozen=True, slots=True)
class ChunkBytes:
    """One chunk's bytes: the struct up to its map of populated pages, and its maps."""

    raw: bytes
    populated: bytes
    alloc_map: bytes
    bound_map: bytes
    md_blocks: bytes


class Reader:
    """Reads the allocator of one kernel, as often as wanted."""

    def __init__(self, memory: KernelMemory) -> None:
        """Find where things are. Raises UnreadableError for structures that differ."""
        self.kernel = kernel = Structures(memory)
        self.types = memory.types
        self.release = kernel.release()
        self.cpus = kernel.possible_cpus()
        self._at = {name: kernel.offset("pcpu_chunk", name) for name in _CHUNK}
        self._isolated = None
        if kernel.has("pcpu_chunk", "isolated"):
            self._isolated = kernel.offset("pcpu_chunk", "isolated")
        for place, name in enumerate((*HINTS, "nr_bits")):
            if kernel.offset("pcpu_block_md", name) != 4 * place:
                raise UnreadableError(f"{name} of struct pcpu_block_md is elsewhere", DIFFERS)
        unit = kernel.value("pcpu_unit_size")
        pages = kernel.optional("pcpu_unit_pages") or self._unit_pages(unit)
        if not 0 < unit <= LARGEST_UNIT or pages <= 0 or unit % pages:
            raise UnreadableError(f"a unit of {unit} bytes and {pages} pages", DIFFERS)
        if unit // pages not in PAGE_SIZES:
            raise UnreadableError(f"a page of {unit // pages} bytes", DIFFERS)
        self.unit_pages, self.page = pages, unit // pages
        self._slots = kernel.value("pcpu_nr_slots")
        if not 0 < self._slots <= _MOST_SLOTS:
            raise UnreadableError(f"pcpu_nr_slots is {self._slots}", DIFFERS)
        self.chunk_types = 1 if kernel.memory.symbol("pcpu_sidelined_slot") is not None else 2
        named = kernel.memory.symbol("pcpu_chunk_lists") is not None
        self._heads = kernel.value("pcpu_chunk_lists" if named else "pcpu_slot")

    def _unit_pages(self, unit: int) -> int:
        """Return the pages of a unit, by the first chunk's, for reads that lack the variable."""
        chunk = self.kernel.value("pcpu_first_chunk")
        pages = self.kernel.number(chunk + self._at["nr_pages"], 4)
        nr_bits = self._at["chunk_md"] + self.kernel.offset("pcpu_block_md", "nr_bits")
        return unit * pages // max(self.kernel.number(chunk + nr_bits, 4) * GRANULE, 1)

    def copy(self) -> Copy:
        """Copy every byte of the state, as fast as may be.

        Raises TornError where the lists do not hold together, UnreadableError for memory that is
        not there.
        """
        kernel = self.kernel
        values = {
            name: kernel.optional(name, needed=name not in _SPARED)
            for name in VARIABLES if name != _FLOAT
        }  # fmt: skip
        values["pcpu_unit_pages"] = self.unit_pages
        missing = [name for name in _REQUIRED if values[name] is None]
        if missing:
            raise UnreadableError(f"the kernel has no variable {missing[0]}", DIFFERS)
        copy = Copy(
            values, self._floats(), kernel.lock_value(), kernel.mutex_owner(),
            kernel.mutex_waited_for(), kernel.work_pending(),
        )  # fmt: skip
        reserved = values["pcpu_reserved_chunk"]
        if reserved:
            copy.chunks[reserved] = self._chunk_bytes(reserved)
        for number in range(self._slots * self.chunk_types):
            copy.lists.append(list(self._list(number, copy.chunks)))
        return copy

    def _floats(self) -> tuple[int, ...]:
        """Return the float of each type; one number where the kernel has one for all."""
        at = self.kernel.address(_FLOAT)
        many = self.chunk_types > 1 and self.kernel.memory.size(_FLOAT) >= 8
        number = self.kernel.number
        return tuple(number(at + 4 * i, 4, signed=True) for i in range(1 + many))

    def _list(self, number: int, chunks: dict[int, ChunkBytes]) -> Iterator[int]:
        """Yield the addresses of the chunks of a list, their bytes read."""
        head = self._heads + 16 * number
        with reading(f"the head of list {number}"):
            at, before = self.kernel.pointer(head), head
        link = self._at["list"]
        while at != head:
            chunk = at - link
            if chunk in chunks:
                raise TornError(f"list {number} comes to the chunk at {chunk:#x} again")
            if len(chunks) > _MOST_CHUNKS:
                raise TornError(f"list {number} does not end")
            chunks[chunk] = found = self._chunk_bytes(chunk)
            if pointer_in(found.raw, link + 8) != before:
                raise TornError(f"list {number}: the chunk at {chunk:#x} does not point back")
            yield chunk
            before, at = at, pointer_in(found.raw, link)

    def _chunk_bytes(self, chunk: int) -> ChunkBytes:
        at = self._at
        called = f"the chunk at {chunk:#x}"

        def read(what: str, address: int, count: int) -> bytes:
            with reading(f"{what}{called}"):
                return self.kernel.memory.read(address, count)

        raw = read("", chunk, at["populated"])
        pages = _number(raw, at["nr_pages"])
        if not 0 < pages <= self.unit_pages:
            raise TornError(f"{called} has {pages} pages")
        size = pages * self.page // GRANULE // 8
        sizes = {"alloc_map": size, "bound_map": size + 8, "md_blocks": pages * _MD}
        maps = (read(f"{name} of ", pointer_in(raw, at[name]), sizes[name]) for name in sizes)
        populated = read("populated of ", chunk + at["populated"], -(-pages // 64) * 8)
        return ChunkBytes(raw, populated, *maps)

    def unlinked(self, chunk: ChunkBytes) -> ChunkBytes:
        """Return a chunk's bytes without its links to its neighbours on a list."""
        at = self._at["list"]
        return replace(chunk, raw=chunk.raw[:at] + chunk.raw[at + 16 :])

    def state(self, copy: Copy, source: str) -> KernelState:
        """Return the state that a copy holds. Raises UnreadableError where no kernel has such."""
        values = {name: value for name, value in copy.values.items() if value is not None}
        first, reserved = values["pcpu_first_chunk"], values.get("pcpu_reserved_chunk", 0)
        if not any(first in chunks for chunks in copy.lists):
            raise UnreadableError("the first chunk is on no list (LIST-1)", DIFFERS)
        geometry = self._geometry(copy, values, first, reserved)
        decoded = {
            address: self._chunk(bytes_, slot, pos, geometry)
            for slot, chunks in enumerate(copy.lists)
            for pos, address in enumerate(chunks)
            for bytes_ in (copy.chunks[address],)
        }
        nr_slots = values["pcpu_nr_slots"]
        one = self.chunk_types == 1
        for name in ("pcpu_free_slot", "pcpu_sidelined_slot", "pcpu_to_depopulate_slot"):
            if not 0 <= values.get(name, 0) < nr_slots:
                raise UnreadableError(f"{name} is {values[name]} of {nr_slots} lists", DIFFERS)
        snapshot = Snapshot(
            phase=source,
            geometry=geometry,
            globals=dict(self._texts(copy)),
            chunk_types=self.chunk_types,
            free_slot=values.get("pcpu_free_slot", nr_slots - 1) if one else nr_slots - 1,
            sidelined_slot=values.get("pcpu_sidelined_slot", -1) if one else -1,
            to_depopulate_slot=values.get("pcpu_to_depopulate_slot", -1) if one else -1,
            nr_slots=nr_slots * self.chunk_types,
            nr_empty_pop_pages=copy.floats[0],
            nr_populated=values["pcpu_nr_populated"],
            async_enabled=bool(values.get("pcpu_async_enabled", 1)),
            atomic_alloc_failed=bool(values.get("pcpu_atomic_alloc_failed", 0)),
            first_chunk=decoded[first],
            reserved_chunk=(
                self._chunk(copy.chunks[reserved], -1, 0, geometry) if reserved else None
            ),
            lists=tuple(tuple(decoded[address] for address in chunks) for chunks in copy.lists),
            floats=copy.floats if len(copy.floats) > 1 else (),
        )
        state = with_floats(snapshot)
        return KernelState(source, self.release, state, self._quiescence(copy), self.types)

    def _geometry(
        self, copy: Copy, values: dict[str, int], first: int, reserved: int
    ) -> Geometry:
        def boot(address: int) -> BootChunk:
            raw, at = copy.chunks[address].raw, self._at
            sizes = "start_offset", "end_offset", "nr_pages"
            numbers = (_number(raw, at[name]) for name in sizes)
            return BootChunk(pointer_in(raw, at["base_addr"]), *numbers)

        known = values | {"cpus": self.cpus, "memcg": int(self._has_owners())}
        try:
            return geometry_of(known, boot(first), boot(reserved) if reserved else None)
        except ShapeError as error:
            raise UnreadableError(str(error), DIFFERS) from None

    def _has_owners(self) -> bool:
        """Return whether chunks have vectors of who holds their areas."""
        return any(map(self.kernel.has, ["pcpu_chunk"] * 2, ("obj_exts", "obj_cgroups")))

    def _quiescence(self, copy: Copy) -> Quiescence:
        owner = self.kernel.task_name(copy.owner) if copy.owner else ""
        running = self.kernel.work_running()
        return Quiescence(copy.lock, owner, copy.waiters, copy.pending, running)

    def _texts(self, copy: Copy) -> Iterator[tuple[str, str]]:
        """Yield the variables as the text of a state has them."""
        for name in VARIABLES:
            if name == _FLOAT:
                yield name, ",".join(map(str, copy.floats))
                continue
            value = copy.values[name]
            shown = "?" if value is None else f"{value:x}" if VARIABLES[name] == 16 else str(value)
            yield name, shown

    def _chunk(self, found: ChunkBytes, slot: int, pos: int, geometry: Geometry) -> ChunkSnapshot:
        raw, at = found.raw, self._at
        pages = _number(raw, at["nr_pages"])
        bits = pages * geometry.block_bits
        counts: dict[str, Any] = {name: _number(raw, at[name]) for name in COUNTS if name in at}
        counts["immutable"] = bool(raw[at["immutable"]])
        counts["isolated"] = self._isolated is not None and bool(raw[self._isolated])
        chunk = ChunkSnapshot(
            base_addr=pointer_in(raw, at["base_addr"]),
            slot=slot,
            pos=pos,
            **counts,
            chunk_md=_hints(raw[at["chunk_md"] : at["chunk_md"] + _MD]),
            md_blocks=tuple(
                _hints(found.md_blocks[place : place + _MD])
                for place in range(0, len(found.md_blocks), _MD)
            ),
            areas={},
            alloc_map=bitmap(found.alloc_map, bits),
            bound_map=bitmap(found.bound_map, bits + 1),
            populated=bitmap(found.populated, pages),
            has_bounds=True,
        )
        areas = served_areas(chunk, geometry)
        assert isinstance(chunk.areas, dict)
        chunk.areas.update(
            (start * geometry.granule, (end - start) * geometry.granule) for start, end in areas
        )
        return chunk


def _number(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little", signed=True)


def pointer_in(raw: bytes, at: int) -> int:
    """Return the pointer that stands at a place of some bytes."""
    return int.from_bytes(raw[at : at + 8], "little")


def _hints(raw: bytes) -> BlockSnapshot:
    return BlockSnapshot(*(_number(raw, at) for at in range(0, _MD, 4)))

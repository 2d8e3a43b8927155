"""Where the percpu memory of a state is, hints beside truth, and who holds it.

The memory is used, empty or stranded. Who holds an area is the memory cgroup that pays, and the
source line that allocated: a chunk has an entry for each granule (obj_exts from 6.10 on,
obj_cgroups before) with the cgroup, and where the kernel profiles allocations
(CONFIG_MEM_ALLOC_PROFILING) their tag.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from percpu_proofs.live.kernel_memory import Structures, UnreadableError
from percpu_proofs.live.reader import Copy, Reader, pointer_in
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot, pages_of
from percpu_proofs.recorded.traces.events import GRANULE
from percpu_proofs.show.picture import list_name
from percpu_spec.counts import counted
from percpu_spec.definitions import empty_populated_pages, longest_run, served_areas, slots_per_type
from percpu_spec.geometry import Geometry

WAITS = "waits for reclaim"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes over all CPUs, by the bitmaps; pages are those of one unit.

    percpu_kb is Percpu of /proc/meminfo, which counts units without CPU too. empty: pages in the
    float. above_high: those of them that the float would have to give up to come down to HIGH.
    stranded: empty pages of sidelined chunks, which are in no float. waiting: those of chunks on
    to_depopulate, in no float either, which the work is to release.
    """

    percpu_kb: int
    used: int
    reserved_used: int
    empty: int
    above_high: int
    stranded: int
    waiting: int
    float_pages: int
    high: int
    page_cost: int  # of a populated page


def memory_of(state: KernelState) -> Memory:
    """Return the memory of a state."""
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    cost = geometry.page * geometry.cpus
    floats = [snapshot.float_of(kind) for kind in range(snapshot.chunk_types)]
    empty = stranded = waiting = 0
    for chunk in state.chunks:
        pages = empty_populated_pages(chunk, geometry)
        if not chunk.isolated:
            empty += pages
        elif _waits(snapshot, chunk):
            waiting += pages
        else:
            stranded += pages
    reserved = snapshot.reserved_chunk
    return Memory(
        percpu_kb=snapshot.nr_populated * geometry.page * geometry.units // 1024,
        used=sum(used_bytes(chunk, geometry) for chunk in state.chunks) * geometry.cpus,
        reserved_used=used_bytes(reserved, geometry) * geometry.cpus if reserved else 0,
        empty=empty * cost,
        above_high=sum(max(pages - geometry.empty_high, 0) for pages in floats) * cost,
        stranded=stranded * cost,
        waiting=waiting * cost,
        float_pages=sum(floats),
        high=geometry.empty_high,
        page_cost=cost,
    )


def _waits(snapshot: Snapshot, chunk: ChunkSnapshot) -> bool:
    """Return whether a chunk waits for reclaim."""
    slot = chunk.slot % slots_per_type(snapshot)
    return chunk.isolated and slot == snapshot.to_depopulate_slot


def isolated_kb(memory: Memory) -> str:
    """Return in words what isolated chunks keep."""
    waits = f", {memory.waiting // 1024} kB on to_depopulate" if memory.waiting else ""
    return f"{memory.stranded // 1024} kB stranded in sidelined chunks{waits}"


def used_bytes(chunk: ChunkSnapshot, geometry: Geometry) -> int:
    """Return the bytes of a unit that areas of a chunk take, the hidden parts excepted."""
    return sum(end - start for start, end in served_areas(chunk, geometry)) * geometry.granule


@dataclass(frozen=True, slots=True)
class ChunkMemory:
    """One chunk: its number and list, its pages, bytes of one unit, what it says and has."""

    chunk: str
    address: str
    list: str
    used_pages: int
    empty_pages: int
    hole_pages: int
    areas: int
    used_bytes: int
    free_bytes: int
    advertises: int  # contig_hint
    longest: int  # free run, by the map
    isolated: bool
    notes: tuple[str, ...]


def chunk_rows(state: KernelState) -> Iterator[ChunkMemory]:
    """Yield a row a chunk, list by list, the reserved one last."""
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    for chunk, name in state.names.items():
        areas = list(served_areas(chunk, geometry))
        empty = empty_populated_pages(chunk, geometry)
        populated = chunk.populated.count(1)
        longest = longest_run(chunk) * geometry.granule
        advertised = chunk.chunk_md.contig_hint * geometry.granule
        reserved = chunk is snapshot.reserved_chunk
        yield ChunkMemory(
            chunk=name,
            address=f"{chunk.base_addr:x}",
            list="reserved" if reserved else list_name(snapshot, chunk.slot),
            used_pages=populated - empty,
            empty_pages=empty,
            hole_pages=chunk.nr_pages - populated,
            areas=len(areas),
            used_bytes=sum(end - start for start, end in areas) * geometry.granule,
            free_bytes=chunk.free_bytes,
            advertises=advertised,
            longest=longest,
            isolated=chunk.isolated,
            notes=tuple(_notes(state, chunk, empty, advertised, longest)),
        )


def _notes(
    state: KernelState, chunk: ChunkSnapshot, empty: int, advertised: int, longest: int
) -> Iterator[str]:
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    granule = geometry.granule
    if chunk is snapshot.first_chunk:
        yield "first"
    if chunk is snapshot.reserved_chunk:
        yield "modules' static variables"
        return
    most = min(longest, geometry.largest)
    if chunk.slot % slots_per_type(snapshot) == 0 and longest:
        yield f"not searched, {most} bytes would fit"
    elif advertised < longest and advertised < geometry.largest:
        yield f"unreachable for {advertised + granule}..{most} bytes"
    waits = _waits(snapshot, chunk)
    if waits:
        yield WAITS
    if chunk.isolated and empty:
        kb = empty * geometry.page * geometry.cpus // 1024
        yield f"{counted(empty, 'empty page')}: {kb} kB {'to release' if waits else 'stranded'}"


NOT_ACCOUNTED = "not accounted"
_MOST_DEEP = 64  # of a tree of cgroups


class Owners:
    """Names owners of one kernel; each cgroup is read once."""

    def __init__(self, reader: Reader) -> None:
        self._kernel = kernel = reader.kernel
        self._vector = None
        self._pointers = {"cgroup": 0}  # bytes from the start of an entry
        if kernel.has("pcpu_chunk", "obj_exts"):
            self._vector = kernel.offset("pcpu_chunk", "obj_exts")
            self._pointers = {
                name: kernel.offset("pcpuobj_ext", name)
                for name in ("cgroup", "tag") if kernel.has("pcpuobj_ext", name)
            }  # fmt: skip
        elif kernel.has("pcpu_chunk", "obj_cgroups"):
            self._vector = kernel.offset("pcpu_chunk", "obj_cgroups")
        self._names: dict[tuple[int, int], str] = {}

    def with_owners(self, snapshot: Snapshot, copy: Copy) -> Snapshot:
        """Return the state with the owners of its areas."""

        def with_own(chunk: ChunkSnapshot) -> ChunkSnapshot:
            if chunk is snapshot.reserved_chunk:  # it has no owners
                return chunk
            with suppress(UnreadableError):  # a core lacks them, or they went
                return replace(chunk, owners=dict(self._of(chunk, copy.address_of(chunk))))
            return chunk

        return snapshot.with_chunks(with_own)

    def _of(self, chunk: ChunkSnapshot, address: int) -> Iterator[tuple[int, str]]:
        """Yield (byte offset of an area, its owner) for those that have one."""
        if self._vector is None:
            return
        vector = self._kernel.pointer(address + self._vector)
        if not vector:
            return
        stride = 8 * len(self._pointers)
        raw = self._kernel.memory.read(vector, len(chunk.alloc_map) * stride)
        for off in chunk.areas:
            at = off // GRANULE * stride
            entry = {name: pointer_in(raw, at + offset) for name, offset in self._pointers.items()}
            if name := self._name(entry.get("cgroup", 0), entry.get("tag", 0)):
                yield off, name

    def _name(self, cgroup: int, tag: int) -> str:
        key = cgroup, tag
        if key not in self._names:
            parts = [self._path(cgroup) if cgroup else "", self._line(tag) if tag else ""]
            self._names[key] = " ".join(filter(None, parts))
        return self._names[key]

    def _path(self, obj_cgroup: int) -> str:
        """Return the path of the memory cgroup that an object cgroup stands for."""
        kernel = self._kernel
        try:
            memcg = kernel.pointer(obj_cgroup + kernel.offset("obj_cgroup", "memcg"))
            css = memcg + kernel.offset("mem_cgroup", "css")
            cgroup = kernel.pointer(css + kernel.offset("cgroup_subsys_state", "cgroup"))
            return _kernfs_path(kernel, kernel.pointer(cgroup + kernel.offset("cgroup", "kn")))
        except UnreadableError:
            return f"cgroup at {obj_cgroup:#x}"

    def _line(self, tag: int) -> str:
        """Return the source line and function of an allocation's tag."""
        kernel = self._kernel
        try:
            names = (kernel.text(kernel.pointer(tag + kernel.offset("codetag", name)))
                     for name in ("filename", "function"))  # fmt: skip
            file, function = names
            line = kernel.number(tag + kernel.offset("codetag", "lineno"), 4)
        except UnreadableError:
            return f"tag {tag:#x}"
        return f"{file}:{line} {function}"


def _kernfs_path(kernel: Structures, node: int) -> str:
    """Return the path of a kernfs node."""
    names: list[str] = []
    name = kernel.offset("kernfs_node", "name")
    parent = kernel.offset("kernfs_node", "parent", "__parent")
    while node and len(names) < _MOST_DEEP:
        names.append(kernel.text(kernel.pointer(node + name)))
        node = kernel.pointer(node + parent)
    return "/".join(reversed(names)) or "/"


def owner_bytes(chunk: ChunkSnapshot) -> dict[str, int]:
    """Return the bytes of a unit that each owner has in a chunk, the largest first."""
    held = Counter[str]()
    for off, size in chunk.areas.items():
        held[(chunk.owners or {}).get(off, NOT_ACCOUNTED)] += size
    return dict(held.most_common())


def total_owner_bytes(chunks: Iterable[ChunkSnapshot]) -> dict[str, int]:
    """Return the same of all chunks whose owners are told."""
    held = Counter[str]()
    for chunk in chunks:
        held.update(owner_bytes(chunk) if chunk.owners is not None else {})
    return dict(held.most_common())


def page_owners(chunk: ChunkSnapshot, page: int) -> dict[int, dict[str, int]]:
    """Return the bytes that each owner has in each page of a chunk that areas pin."""
    pages: dict[int, dict[str, int]] = defaultdict(Counter)
    for off, size in chunk.areas.items():
        owner = (chunk.owners or {}).get(off, NOT_ACCOUNTED)
        for number, part in pages_of(off, size, page):
            pages[number][owner] += part
    return {number: dict(held) for number, held in pages.items()}

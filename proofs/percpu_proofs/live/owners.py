"""Who holds areas: the memory cgroup that pays, and the source line that allocated.

A chunk has an entry for each granule (obj_exts from 6.10 on, obj_cgroups before): the cgroup, and
where the kernel profiles allocations (CONFIG_MEM_ALLOC_PROFILING) their tag.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from percpu_proofs.live.kernel_memory import Structures, UnreadableError
from percpu_proofs.live.reader import Copy, Reader, pointer_in
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_proofs.recorded.traces.events import GRANULE

NOT_ACCOUNTED = "not accounted"
_MOST_DEEP = 64  # of a tree of cgroups


class Owners:
    """Names owners of one kernel; each cgroup is read once."""

    def __init__(self, reader: Reader) -> None:
        self._kernel = kernel = reader.kernel
        self._vector = None
        self._stride, self._cgroup, self._tag = 8, 0, -1
        if kernel.has("pcpu_chunk", "obj_exts"):
            self._vector = kernel.offset("pcpu_chunk", "obj_exts")
            has = [kernel.has("pcpuobj_ext", name) for name in ("cgroup", "tag")]
            self._cgroup = kernel.offset("pcpuobj_ext", "cgroup") if has[0] else -1
            self._tag = kernel.offset("pcpuobj_ext", "tag") if has[1] else -1
            self._stride = 8 * sum(has)
        elif kernel.has("pcpu_chunk", "obj_cgroups"):
            self._vector = kernel.offset("pcpu_chunk", "obj_cgroups")
        self._names: dict[tuple[int, int], str] = {}

    def with_owners(self, snapshot: Snapshot, copy: Copy) -> Snapshot:
        """Return the state with the owners of its areas."""
        places = {
            (slot, pos): address
            for slot, chunks in enumerate(copy.lists)
            for pos, address in enumerate(chunks)
        }

        def with_own(chunk: ChunkSnapshot) -> ChunkSnapshot:
            at = places.get((chunk.slot, chunk.pos))  # None: the reserved chunk has no owners
            return replace(chunk, owners=None if at is None else self._owners_of(chunk, at))

        return snapshot.with_chunks(with_own)

    def _owners_of(self, chunk: ChunkSnapshot, address: int) -> dict[int, str] | None:
        """Return the owners of a chunk's areas; None where a core lacks them, or they went."""
        try:
            return dict(self._of(chunk, address))
        except UnreadableError:
            return None

    def _of(self, chunk: ChunkSnapshot, address: int) -> Iterator[tuple[int, str]]:
        """Yield (byte offset of an area, its owner) for those that have one."""
        if self._vector is None:
            return
        vector = self._kernel.pointer(address + self._vector)
        if not vector:
            return
        raw = self._kernel.memory.read(vector, len(chunk.alloc_map) * self._stride)
        for off in chunk.areas:
            at = off // GRANULE * self._stride
            cgroup, tag = (
                pointer_in(raw, at + offset) if offset >= 0 else 0
                for offset in (self._cgroup, self._tag)
            )
            name = self._name(cgroup, tag)
            if name:
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
            return _path(kernel, kernel.pointer(cgroup + kernel.offset("cgroup", "kn")))
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


def _path(kernel: Structures, node: int) -> str:
    """Return the path of a kernfs node."""
    names: list[str] = []
    name = kernel.offset("kernfs_node", "name")
    parent = kernel.offset("kernfs_node", "parent", "__parent")
    while node and len(names) < _MOST_DEEP:
        names.append(kernel.text(kernel.pointer(node + name)))
        node = kernel.pointer(node + parent)
    return "/".join(reversed(names)) or "/"


def held_by(chunk: ChunkSnapshot) -> dict[str, int]:
    """Return the bytes of a unit that each owner has in a chunk, the largest first."""
    held = Counter[str]()
    for off, size in chunk.areas.items():
        held[(chunk.owners or {}).get(off, NOT_ACCOUNTED)] += size
    return dict(held.most_common())


def all_held(chunks: Iterable[ChunkSnapshot]) -> dict[str, int]:
    """Return the same of all chunks whose owners are told."""
    held = Counter[str]()
    for chunk in chunks:
        held.update(held_by(chunk) if chunk.owners is not None else {})
    return dict(held.most_common())


def pinned_pages(chunk: ChunkSnapshot, page: int) -> dict[int, dict[str, int]]:
    """Return the bytes that each owner has in each page of a chunk that areas pin."""
    pages: dict[int, dict[str, int]] = defaultdict(Counter)
    for off, size in chunk.areas.items():
        owner = (chunk.owners or {}).get(off, NOT_ACCOUNTED)
        for number in range(off // page, (off + size - 1) // page + 1):
            part = min(off + size, (number + 1) * page) - max(off, number * page)
            pages[number][owner] += part
    return {number: dict(held) for number, held in pages.items()}

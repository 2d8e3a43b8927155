"""The memory of a kernel that was never booted: a model's state laid out as structs in bytes."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

from percpu_proofs.live.kernel_memory import KernelMemory, RecordedMemory
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.views import HINTS

CHUNK = (  # in an order of no release: the reader goes by names
    ("nr_pages", 4), ("immutable", 1), ("isolated", 1), ("list", 16), ("free_bytes", 4),
    ("chunk_md", 32), ("base_addr", 8), ("md_blocks", 8), ("bound_map", 8), ("alloc_map", 8),
    ("end_offset", 4), ("start_offset", 4), ("nr_empty_pop_pages", 4), ("nr_populated", 4),
    ("obj_exts", 8),
)  # fmt: skip
OFFSETS: dict[str, dict[str, int]] = {
    "pcpu_block_md": {name: 4 * at for at, name in enumerate((*HINTS, "nr_bits"))},
    "uts_namespace": {"name": 4}, "new_utsname": {"release": 130},
    "mutex": {"owner": 0, "wait_list": 16}, "work_struct": {"data": 0},
    "idr": {"idr_rt": 0}, "xarray": {"xa_head": 8}, "xa_node": {"slots": 40, "marks": 40 + 512},
    "worker_pool": {"busy_hash": 8}, "worker": {"hentry": 0, "current_work": 16},
    "task_struct": {"comm": 0, "pid": 16}, "spinlock": {"rlock": 0},
    "rt_mutex_base": {"owner": 24, "waiters": 8},
}  # fmt: skip


class FakeKernel:
    """Memory that grows from one address; every place is kept by name to be changed in tests."""

    def __init__(self, model: Allocator, release: str, *, old: bool = False, rt: bool = False):
        """Lay a model's state out. old: as before 5.14, with two types; rt: as PREEMPT_RT."""
        self.model = model
        self.old = old
        self.bytes = bytearray(0x1000)
        self.base = 0xFFFF888000000000
        self.symbols: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.offsets = {name: dict(members) for name, members in OFFSETS.items()}
        self.offsets["pcpu_chunk"] = self._chunk_offsets()
        if rt:
            self.offsets["spinlock"] = {"lock": 0}
            self.offsets["mutex"] = {"rtmutex": 0}
        self.chunks: dict[int, int] = {}  # address by id
        self._variables(release)
        self._lists()

    def _chunk_offsets(self) -> dict[str, int]:
        offsets, at = {}, 0
        for name, size in CHUNK:
            at = -(-at // min(size, 8)) * min(size, 8)
            offsets[name] = at
            at += size
        offsets["populated"] = -(-at // 8) * 8
        if self.old:
            del offsets["isolated"]
            offsets["obj_cgroups"] = offsets.pop("obj_exts")
        return offsets

    def take(self, size: int) -> int:
        """Return the address of so many new bytes."""
        at = -(-len(self.bytes) // 16) * 16
        self.bytes += bytes(at + size + 16 - len(self.bytes))
        return self.base + at

    def put(self, address: int, data: bytes) -> None:
        """Write bytes."""
        at = address - self.base
        self.bytes[at : at + len(data)] = data

    def number(self, address: int, value: int, size: int = 4) -> None:
        """Write a number."""
        self.put(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def variable(self, name: str, value: int, size: int = 4) -> int:
        """Make a variable and return its address."""
        self.symbols[name] = address = self.take(size)
        self.sizes[name] = size
        self.number(address, value, size)
        return address

    def _variables(self, release: str) -> None:
        model, geometry = self.model, self.model.geometry
        lists = model.nr_slots // model.chunk_types
        for name, value in (
            ("nr_slots", lists), ("unit_size", geometry.unit), ("unit_pages", geometry.unit_pages),
            ("nr_units", geometry.units), ("atom_size", geometry.unit),
            ("nr_groups", geometry.groups),
        ):  # fmt: skip
            self.variable(f"pcpu_{name}", value)
        if not self.old:
            for name in ("free_slot", "sidelined_slot", "to_depopulate_slot"):
                self.variable(f"pcpu_{name}", getattr(model, name))
        floats = [model.float_of(kind) for kind in range(model.chunk_types)]
        at = self.variable("pcpu_nr_empty_pop_pages", floats[0], 4 * len(floats))
        for kind, pages in enumerate(floats):
            self.number(at + 4 * kind, pages)
        low = model.reserved_chunk or model.first_chunk
        base = low.base_addr + low.start_offset - -(-geometry.static // 4) * 4
        self.variable("pcpu_base_addr", base, 8)
        self.variable("pcpu_nr_populated", model.nr_populated, 8)
        self.variable("pcpu_chunk_struct_size", self.offsets["pcpu_chunk"]["populated"], 8)
        self.variable("pcpu_async_enabled", model.async_enabled, 1)
        self.variable("pcpu_atomic_alloc_failed", model.atomic_alloc_failed, 1)
        self.variable("nr_cpu_ids", geometry.cpus)
        mask = (1 << geometry.cpus) - 1
        self.variable("__cpu_possible_mask", mask, 8 * -(-geometry.cpus // 64))
        self.symbols["init_uts_ns"] = uts = self.take(400)
        self.put(uts + 4 + 130, release.encode() + b"\0")
        self.variable("pcpu_lock", 0, 32)
        self.variable("pcpu_alloc_mutex", 0, 40)
        mutex = self.symbols["pcpu_alloc_mutex"]
        self.number(mutex + 16, 0 if "rtmutex" in self.offsets["mutex"] else mutex + 16, 8)
        self.variable("pcpu_balance_work", 0, 32)
        self.variable("worker_pool_idr", 0, 24)

    def _lists(self) -> None:
        model = self.model
        name = "pcpu_slot" if self.old else "pcpu_chunk_lists"
        heads = self.take(16 * model.nr_slots)
        self.variable(name, heads, 8)
        if model.reserved_chunk is not None:
            self._chunk(model.reserved_chunk)
        self.variable("pcpu_reserved_chunk", self.chunks.get(-1, 0), 8)
        link = self.offsets["pcpu_chunk"]["list"]
        for head in model.chunk_lists:
            at = heads + 16 * head.slot
            places = [at, *(self._chunk(chunk) + link for chunk in head), at]
            for before, after in pairwise(places):
                self.number(before, after, 8)
                self.number(after + 8, before, 8)
        self.variable("pcpu_first_chunk", self.chunks[model.first_chunk.id], 8)

    def _chunk(self, chunk: Chunk) -> int:
        at = self.offsets["pcpu_chunk"]
        self.chunks[chunk.id] = address = self.take(at["populated"] + chunk.nr_pages // 8 + 16)
        for name in ("nr_pages", "free_bytes", "start_offset", "end_offset", "nr_populated",
                     "nr_empty_pop_pages"):  # fmt: skip
            self.number(address + at[name], getattr(chunk, name))
        self.number(address + at["immutable"], chunk.immutable, 1)
        if not self.old:
            self.number(address + at["isolated"], chunk.isolated, 1)
        self.number(address + at["base_addr"], chunk.base_addr, 8)
        self.put(address + at["chunk_md"], _md(chunk.chunk_md))
        blocks = b"".join(map(_md, chunk.md_blocks))
        for name, data in (
            ("md_blocks", blocks), ("alloc_map", _packed(chunk.alloc_map)),
            ("bound_map", _packed(chunk.bound_map) + bytes(8)),
        ):  # fmt: skip
            where = self.take(len(data))
            self.put(where, data)
            self.number(address + at[name], where, 8)
        self.put(address + at["populated"], _packed(chunk.populated))
        return address

    def busy_worker(self, work: int, pools: int = 2) -> None:
        """Make pools behind a node, and in the last of them a worker that runs a work."""
        node = self.take(40 + 520)
        for index in range(pools):
            pool = self.take(8 + 512)
            self.number(node + 40 + 8 * index, pool, 8)
        worker = self.take(64)
        self.number(pool + 8 + 8 * 5, worker, 8)
        self.number(worker + 16, work, 8)
        self.number(self.symbols["worker_pool_idr"] + 8, node | 2, 8)

    def task(self, name: str, pid: int) -> int:
        """Make a task and return its address."""
        task = self.take(64)
        self.put(task, name.encode() + b"\0")
        self.number(task + 16, pid)
        return task

    def memory(self) -> RecordedMemory:
        """Return the memory as it stands."""
        return RecordedMemory(
            self.symbols, self.offsets, {self.base: bytes(self.bytes)}, "fake", self.sizes
        )


def _md(block: Any) -> bytes:
    return struct.pack("<8i", *(getattr(block, name) for name in (*HINTS, "nr_bits")))


def _packed(bits: bytearray) -> bytes:
    number = int(bytes(bits[::-1]).translate(bytes.maketrans(b"\0\1", b"01")) or b"0", 2)
    return number.to_bytes(-(-len(bits) // 64) * 8, "little")


class MemoryRecording:
    """Memory that keeps what is read of it."""

    def __init__(self, memory: KernelMemory) -> None:
        self.memory = memory
        self.types = memory.types
        self.symbols: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.offsets: dict[str, dict[str, int]] = {}
        self.reads: dict[int, bytes] = {}

    def symbol(self, name: str, /) -> int | None:
        """Return the address of a variable, and keep it (KernelMemory)."""
        found = self.memory.symbol(name)
        if found is not None:
            self.symbols[name] = found
        return found

    def size(self, name: str, /) -> int:
        """Return the bytes of a variable, and keep them (KernelMemory)."""
        self.sizes[name] = self.memory.size(name)
        return self.sizes[name]

    def offset(self, struct: str, member: str, /) -> int | None:
        """Return where a member begins, and keep it (KernelMemory)."""
        found = self.memory.offset(struct, member)
        if found is not None:
            self.offsets.setdefault(struct, {})[member] = found
        return found

    def read(self, address: int, count: int, /) -> bytes:
        """Return bytes, and keep them (KernelMemory)."""
        data = self.memory.read(address, count)
        if len(data) > len(self.reads.get(address, b"")):
            self.reads[address] = data
        return data

    def recorded(self) -> RecordedMemory:
        """Return what was read as memory of its own."""
        return RecordedMemory(self.symbols, self.offsets, self.reads, self.types, self.sizes)


def write_reads(path: Path, memory: RecordedMemory) -> None:
    """Write what was read."""
    text = json.dumps({
        "symbols": dict(memory.symbols),
        "structs": {name: dict(members) for name, members in memory.offsets.items()},
        "sizes": dict(memory.sizes),
        "memory": {hex(at): base64.b64encode(b).decode() for at, b in memory.reads.items()},
    })  # fmt: skip
    path.write_bytes(gzip.compress(text.encode(), mtime=0))

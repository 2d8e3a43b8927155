"""A kernel's memory, as the reader asks for it: symbols, offsets of members, bytes, single values.

A core, the running kernel and recorded reads all offer this; drgn is one way to get it. Recorded
reads are what a reader read, without the core: a JSON object, plain or gzip, of `symbols` (name:
address), `memory` (hexadecimal address: base64), and, where they were recorded, `structs` (name:
member: offset in bytes) and `sizes` of symbols.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from struct import unpack
from typing import Any, Final, Protocol

from percpu_proofs import data
from percpu_proofs.run.inputs import InputError, read_json, read_text

DIFFERS: Final = (
    "the kernel's structures are not those that this reader knows (5.10 to the newest mainline): "
    "a vendor has changed them, or the debug information is of another build"
)
_WIDTHS: Final = {
    "pcpu_nr_populated": 8, "pcpu_chunk_struct_size": 8, "pcpu_base_addr": 8,
    "pcpu_chunk_lists": 8, "pcpu_slot": 8, "pcpu_first_chunk": 8, "pcpu_reserved_chunk": 8,
    "pcpu_async_enabled": 1, "pcpu_atomic_alloc_failed": 1,
}  # fmt: skip
"""Bytes of the variables that are no int: BTF has no types of variables before 6.13 or so."""
_LONGEST_NAME = 256


class UnreadableError(Exception):
    """What cannot be read, in words; `advice` says what to do."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say what was being read where it cannot be."""
    try:
        yield
    except UnreadableError as error:
        raise UnreadableError(f"{what}: {error}", error.advice) from None


class KernelMemory(Protocol):
    """Little-endian memory of 64 bits, with what is known of its structures."""

    types: str
    """What the types are taken from, in words."""

    def symbol(self, name: str, /) -> int | None:
        """Return the address of a variable, None if the kernel has none of that name."""

    def size(self, name: str, /) -> int:
        """Return the bytes of a variable, 0 where that is not known."""

    def offset(self, struct: str, member: str, /) -> int | None:
        """Return where a member begins, in bytes, None if the struct has none of that name."""

    def read(self, address: int, count: int, /) -> bytes:
        """Return bytes of memory. Raises UnreadableError for what is not there."""


@dataclass(slots=True)
class RecordedMemory:
    """Memory that was recorded: every read that a reader made of a kernel, and the symbols."""

    symbols: Mapping[str, int]
    offsets: Mapping[str, Mapping[str, int]]  # of the members, by struct
    reads: Mapping[int, bytes]
    types: str = "recorded with the reads"
    sizes: Mapping[str, int] = field(default_factory=dict)
    _pieces: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Join reads of neighbouring or overlapping bytes."""
        for address in sorted(self.reads):
            found = self.reads[address]
            if self._pieces:
                start, piece = self._pieces[-1]
                if address <= start + len(piece):
                    keep = piece[: address - start] + found + piece[address - start + len(found) :]
                    self._pieces[-1] = start, keep
                    continue
            self._pieces.append((address, found))

    def symbol(self, name: str, /) -> int | None:
        """Return the address of a variable (KernelMemory)."""
        return self.symbols.get(name)

    def size(self, name: str, /) -> int:
        """Return the bytes of a variable, 0 where that was not recorded (KernelMemory)."""
        return self.sizes.get(name, 0)

    def offset(self, struct: str, member: str, /) -> int | None:
        """Return where a member begins (KernelMemory)."""
        return self.offsets.get(struct, {}).get(member)

    def read(self, address: int, count: int, /) -> bytes:
        """Return recorded bytes (KernelMemory)."""
        behind = bisect_right(self._pieces, address, key=lambda piece: piece[0])
        if behind:
            start, piece = self._pieces[behind - 1]
            if address + count <= start + len(piece):
                return piece[address - start : address - start + count]
        raise UnreadableError(f"{count} bytes at {address:#x} were not recorded")


def is_reads(text: str) -> bool:
    """Return whether a text begins as recorded reads do."""
    return re.match(r'\s*\{\s*"(symbols|memory|structs|sizes)"', text) is not None


def memory_of_reads(path: Path) -> RecordedMemory:
    """Return the memory that a file holds. Raises InputError for what is malformed.

    A file without structs has those of the release that its memory names (data/states).
    """
    try:
        found = read_json(read_text(path))
        memory = {
            int(address, 16): base64.b64decode(bytes_, validate=True)
            for address, bytes_ in found["memory"].items()
        }
        symbols = {str(name): int(address) for name, address in found["symbols"].items()}
        structs = found.get("structs") or _known_structs(path, memory)
        sizes = {str(name): int(size) for name, size in found.get("sizes", {}).items()}
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        expected = "recorded reads: symbols, and memory by hexadecimal address in base64"
        raise InputError(path, None, f"{expected} ({error})") from None
    return RecordedMemory(symbols, structs, memory, "recorded reads", sizes)


def _known_structs(path: Path, memory: Mapping[int, bytes]) -> Mapping[str, Mapping[str, int]]:
    """Return the structs of the release whose name stands in the memory."""
    known: dict[str, Any] = json.loads((data.folder("states") / "structs.json").read_text("utf-8"))
    text = b"".join(memory[at] for at in sorted(memory))
    for release, structs in known.items():
        if re.search(rb"\b" + re.escape(release.encode()) + rb"\.\d+[-.+\w]*\0", text):
            return dict(structs)
    expected = f"recorded reads with structs, or of {' or '.join(known)}"
    raise InputError(path, None, expected)


class Structures:
    """The kernel's structures by name: single values out of its memory.

    What differs from release to release is a name here; where members are comes from the memory's
    types. Raises UnreadableError for what is not there, or makes no sense.
    """

    def __init__(self, memory: KernelMemory) -> None:
        self.memory = memory
        self._offset = cache(memory.offset)

    def value(self, name: str) -> int:
        """Return the value of a variable."""
        address = self.address(name)
        with reading(name):
            return self.number(address, _WIDTHS.get(name, 4), signed=name not in _WIDTHS)

    def optional(self, name: str, *, needed: bool = False) -> int | None:
        """Return the value of a variable, None if there is none.

        None too if it cannot be read, unless it is needed where there is one.
        """
        if self.memory.symbol(name) is None:
            return None
        try:
            return self.value(name)
        except UnreadableError:
            if needed:
                raise
            return None

    def address(self, name: str) -> int:
        """Return the address of a variable."""
        address = self.memory.symbol(name)
        if address is None:
            raise UnreadableError(f"the kernel has no variable {name}", DIFFERS)
        return address

    def number(self, address: int, width: int, *, signed: bool = False) -> int:
        """Return the number of `width` bytes at an address."""
        return int.from_bytes(self.memory.read(address, width), "little", signed=signed)

    def pointer(self, address: int) -> int:
        """Return the pointer at an address."""
        return self.number(address, 8)

    def pointers(self, address: int, count: int) -> tuple[int, ...]:
        """Return the pointers of an array."""
        return unpack(f"<{count}Q", self.memory.read(address, 8 * count))

    def has(self, struct: str, member: str) -> bool:
        """Return whether a struct has a member of that name."""
        return self._offset(struct, member) is not None

    def offset(self, struct: str, *members: str) -> int:
        """Return where the first member of these that there is begins: they are one by many names.
        """
        for member in members:
            found = self._offset(struct, member)
            if found is not None:
                return found
        raise UnreadableError(f"struct {struct} has no member {' or '.join(members)}", DIFFERS)

    def text(self, address: int, most: int = _LONGEST_NAME) -> str:
        """Return the text at an address, up to its NUL."""
        found = bytearray()
        while len(found) < most:
            byte = self.memory.read(address + len(found), 1)
            if byte == b"\0":
                break
            found += byte
        return found.decode("utf-8", "replace")

    @reading("the kernel's release")
    def release(self) -> str:
        """Return the kernel's release."""
        at = self.address("init_uts_ns")
        at += self.offset("uts_namespace", "name") + self.offset("new_utsname", "release")
        return self.text(at, 65)

    @reading("__cpu_possible_mask")
    def possible_cpus(self) -> int:
        """Return how many CPUs there may be: each has a unit."""
        mask = self.address("__cpu_possible_mask")
        ids = self.optional("nr_cpu_ids") or self.value("pcpu_nr_units")
        if not 0 < ids <= 1 << 16:
            raise UnreadableError(f"nr_cpu_ids is {ids}", DIFFERS)
        return sum(word.bit_count() for word in self.pointers(mask, -(-ids // 64)))

    @reading("pcpu_lock")
    def lock_value(self) -> int:
        """Return pcpu_lock's raw value: 0 where it is free. With PREEMPT_RT it is an rt_mutex."""
        if self.has("spinlock", "lock"):
            return self._rt_mutex("pcpu_lock", "spinlock", "lock", "owner") & ~1
        return self.number(self.address("pcpu_lock"), 4)

    @reading("pcpu_alloc_mutex")
    def mutex_owner(self) -> int:
        """Return the task that holds pcpu_alloc_mutex, as an address; 0: it is free."""
        if self.has("mutex", "rtmutex"):  # PREEMPT_RT
            return self._rt_mutex("pcpu_alloc_mutex", "mutex", "rtmutex", "owner") & ~1
        return self.pointer(self.address("pcpu_alloc_mutex") + self.offset("mutex", "owner")) & ~7

    @reading("pcpu_alloc_mutex")
    def mutex_waited_for(self) -> bool:
        """Return whether somebody waits for pcpu_alloc_mutex."""
        if self.has("mutex", "rtmutex"):
            return self._rt_mutex("pcpu_alloc_mutex", "mutex", "rtmutex", "waiters") != 0
        at = self.address("pcpu_alloc_mutex")
        if self.has("mutex", "first_waiter"):  # in the place of a list
            return self.pointer(at + self.offset("mutex", "first_waiter")) != 0
        at += self.offset("mutex", "wait_list")
        return self.pointer(at) != at

    def _rt_mutex(self, name: str, struct: str, member: str, pointer: str) -> int:
        """Return a pointer of the rt_mutex that is a member of a lock."""
        at = self.address(name) + self.offset(struct, member)
        return self.pointer(at + self.offset("rt_mutex_base", pointer))

    @reading("pcpu_balance_work")
    def work_pending(self) -> bool:
        """Return whether the balance work is asked for and has not begun."""
        at = self.address("pcpu_balance_work") + self.offset("work_struct", "data")
        return bool(self.pointer(at) & 1)

    def work_running(self) -> bool | None:
        """Return whether a worker of some pool runs the balance work; None if that is unreadable.
        """
        work = self.address("pcpu_balance_work")
        try:
            return any(current == work for pool in self._pools() for current in self._busy(pool))
        except UnreadableError:
            return None

    def _pools(self) -> Iterator[int]:
        """Yield the addresses of the worker pools, which an xarray keeps."""
        root = self.address("worker_pool_idr") + self.offset("idr", "idr_rt")
        todo = [self.pointer(root + self.offset("xarray", "xa_head"))]
        slots = self.offset("xa_node", "slots")
        count = (self.offset("xa_node", "marks", "tags") - slots) // 8
        visited = 0
        while todo and visited < 4096:
            entry = todo.pop()
            visited += 1
            if entry & 3 == 2 and entry > 4096:  # a node
                node = entry - 2
                todo += filter(None, self.pointers(node + slots, count))
            elif entry and not entry & 3:
                yield entry

    def _busy(self, pool: int) -> Iterator[int]:
        """Yield what each busy worker of a pool is running, as an address."""
        heads = pool + self.offset("worker_pool", "busy_hash")
        entry = self.offset("worker", "hentry")
        current = self.offset("worker", "current_work")
        for first in self.pointers(heads, 64):
            node = first
            for _ in range(4096):
                if not node:
                    break
                yield self.pointer(node - entry + current)
                node = self.pointer(node)

    def task_name(self, task: int) -> str:
        """Return a task as name[pid]; as its address where it cannot be read."""
        try:
            name = self.text(task + self.offset("task_struct", "comm"), 16)
            pid = self.number(task + self.offset("task_struct", "pid"), 4)
        except UnreadableError:
            return f"task at {task:#x}"
        return f"{name}[{pid}]"

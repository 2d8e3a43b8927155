"""A kernel's memory, as the reader asks for it: symbols, offsets of members, bytes.

A core, the running kernel and recorded reads all offer this; drgn is one way to get it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


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
            data = self.reads[address]
            if self._pieces:
                start, piece = self._pieces[-1]
                if address <= start + len(piece):
                    keep = piece[: address - start] + data + piece[address - start + len(data) :]
                    self._pieces[-1] = start, keep
                    continue
            self._pieces.append((address, data))

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
        low, high = 0, len(self._pieces)
        while low < high:
            middle = (low + high) // 2
            if self._pieces[middle][0] <= address:
                low = middle + 1
            else:
                high = middle
        if low:
            start, piece = self._pieces[low - 1]
            if address + count <= start + len(piece):
                return piece[address - start : address - start + count]
        raise UnreadableError(f"{count} bytes at {address:#x} were not recorded")


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

"""A kernel's memory, as the reader asks for it: symbols, offsets of members, bytes.

A core, the running kernel and recorded reads all offer this; drgn is one way to get it. Recorded
reads are what a reader read, without the core: a JSON object, plain or gzip, of `symbols` (name:
address), `memory` (hexadecimal address: base64), and, where they were recorded, `structs` (name:
member: offset in bytes) and `sizes` of symbols.

Every kernel built with CONFIG_DEBUG_INFO_BTF carries it in its memory. Only the structs asked for
are looked at: there are some 100,000 types. Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from percpu_proofs import data
from percpu_proofs.run.inputs import InputError, read_json, read_text


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


_MAGIC = 0xEB9F
_STRUCT, _UNION = 4, 5
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
_BEHIND = {1: 4, 3: 12, 14: 4, 17: 4}  # bytes behind the header of a type, by kind
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # bytes of each member, by kind


class Btf:
    """Offsets of members, by the names of struct and member."""

    def __init__(self, raw: bytes) -> None:
        """Find where each type stands. Raises UnreadableError for what is no BTF."""
        try:
            magic, _, _, header, types, length, strings, size = struct.unpack_from("<HBBIIIII", raw)
        except struct.error:
            magic = 0
        if magic != _MAGIC:
            raise UnreadableError("the kernel's type information is no BTF")
        self._names = raw[header + strings : header + strings + size]
        self._raw = raw[header + types : header + types + length]
        self._places = array("I", [0])  # of each type; number 0 is void
        self._structs: dict[int, int] = {}  # number of a struct or union, by the place of its name
        self._walk()

    def _walk(self) -> None:
        raw, places, structs = self._raw, self._places, self._structs
        unpack, end, at = struct.Struct("<II").unpack_from, len(self._raw), 0
        while at + 12 <= end:
            name, info = unpack(raw, at)
            kind = info >> 24 & 31
            if name and kind in (_STRUCT, _UNION):
                structs.setdefault(name, len(places))
            places.append(at)
            at += 12 + _BEHIND.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)

    def _name(self, at: int) -> str:
        return self._names[at : self._names.index(b"\0", at)].decode()

    def offset(self, of: str, member: str) -> int | None:
        """Return where a member of a struct begins, in bytes, None if there is none."""
        wanted = b"\0" + of.encode() + b"\0"
        at = self._names.find(wanted)
        while at >= 0:
            number = self._structs.get(at + 1)
            if number is not None:
                return self._within(number, member)
            at = self._names.find(wanted, at + 1)
        return None

    def _within(self, number: int, member: str) -> int | None:
        """Return where a member begins in a struct or its nameless parts."""
        at = self._places[number]
        _, info, _ = struct.unpack_from("<III", self._raw, at)
        fields = info >> 31  # offsets carry the width of a bit field in their top byte
        for place in range(at + 12, at + 12 + 12 * (info & 0xFFFF), 12):
            name, of_type, bits = struct.unpack_from("<III", self._raw, place)
            offset: int = (bits & 0xFFFFFF if fields else bits) // 8
            if name:
                if self._name(name) == member:
                    return offset
                continue
            inner = self._struct_behind(of_type)
            found = None if inner is None else self._within(inner, member)
            if found is not None:
                return offset + found
        return None

    def _struct_behind(self, number: int) -> int | None:
        """Return the struct or union that a type names, None if it is another."""
        for _ in range(16):
            _, info, target = struct.unpack_from("<III", self._raw, self._places[number])
            kind = info >> 24 & 31
            if kind in (_STRUCT, _UNION):
                return number
            if kind not in _MODIFIERS:
                return None
            number = target
        return None

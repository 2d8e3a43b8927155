"""A kernel's memory, as the reader asks for it: symbols, offsets of members, bytes.

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

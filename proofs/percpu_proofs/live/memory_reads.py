"""Recorded reads of a kernel's memory as a file: what a reader read, without the core.

A JSON object, plain or gzip: `symbols` (name: address), `memory` (hexadecimal address: base64),
and, where they were recorded, `structs` (name: member: offset in bytes) and `sizes` of symbols.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from percpu_proofs import data
from percpu_proofs.live.kernel_memory import RecordedMemory
from percpu_proofs.run.inputs import InputError, read_json, read_text


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


def write_reads(path: Path, memory: RecordedMemory) -> None:
    """Write what was read."""
    text = json.dumps({
        "symbols": dict(memory.symbols),
        "structs": {name: dict(members) for name, members in memory.offsets.items()},
        "sizes": dict(memory.sizes),
        "memory": {hex(at): base64.b64encode(b).decode() for at, b in memory.reads.items()},
    })  # fmt: skip
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _known_structs(path: Path, memory: Mapping[int, bytes]) -> Mapping[str, Mapping[str, int]]:
    """Return the structs of the release whose name stands in the memory."""
    known: dict[str, Any] = json.loads((data.folder("states") / "structs.json").read_text("utf-8"))
    text = b"".join(memory[at] for at in sorted(memory))
    for release, structs in known.items():
        if re.search(rb"\b" + re.escape(release.encode()) + rb"\.\d+[-.+\w]*\0", text):
            return dict(structs)
    expected = f"recorded reads with structs, or of {' or '.join(known)}"
    raise InputError(path, None, expected)

"""Which functions and lines of a tree return addresses belong to (addr2line, inlined ones too)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from percpu_proofs.kernel.tree import FILES

_NAMES = frozenset(Path(name).name for name in FILES)


class SourceLocation(NamedTuple):
    """A line of the tree and the function that it stands in."""

    function: str
    file: str  # below the tree's top
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


def places_of(library: Path, addresses: Iterable[int]) -> dict[int, tuple[SourceLocation, ...]]:
    """Return the places in the tree of each return address in a library, the innermost first.

    Without addr2line, none.
    """
    wanted = sorted(set(addresses))
    if not wanted or shutil.which("addr2line") is None:
        return dict.fromkeys(wanted, ())
    done = subprocess.run(
        ["addr2line", "-a", "-f", "-i", "-e", str(library), *(hex(a - 1) for a in wanted)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[int, tuple[SourceLocation, ...]] = {}
    lines = done.stdout.splitlines()
    at = 0
    for address in wanted:
        at += 1  # the address
        end = at
        while end < len(lines) and not lines[end].startswith("0x"):
            end += 2
        found[address] = tuple(_places(lines[at:end]))
        at = end
    return found


def _places(lines: Sequence[str]) -> Iterable[SourceLocation]:
    for function, where in zip(lines[::2], lines[1::2], strict=False):
        path, _, number = where.partition(" ")[0].rpartition(":")
        name = Path(path).name
        if name in _NAMES and number.isdecimal():
            yield SourceLocation(function, f"{Path(path).parent.name}/{name}", int(number))

"""A compiled allocator: what of a geometry is fixed when it is compiled, and what it tells.

Which functions and lines of a tree its addresses belong to, addr2line says, inlined ones too.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.kernel.messages import CompilerWarning
from percpu_proofs.kernel.tree import FILES
from percpu_proofs.run.inputs import InputError
from percpu_spec.geometry import Backing, Geometry


class BuildForm(NamedTuple):
    """What of a geometry is fixed when a kernel is compiled: backing, bytes of a page, SMP."""

    backing: Backing = "vm"
    page: int = Geometry().page
    smp: bool = True

    @classmethod
    def of(cls, geometry: Geometry) -> BuildForm:
        """Return the form of a kernel with this geometry."""
        return cls(geometry.backing, geometry.page, geometry.smp)

    def require(self, geometry: Geometry) -> None:
        """Raise InputError for a geometry that a kernel of this form cannot have."""
        wanted = BuildForm.of(geometry)
        if wanted != self:
            raise InputError("geometry", None, str(self), str(wanted))

    def __str__(self) -> str:
        return f"{self.backing}-{self.page >> 10}k" + ("" if self.smp else "-up")

    @property
    def defines(self) -> dict[str, str]:
        """The macros that the stubs know it by."""
        found = {"PERCPU_PAGE_SHIFT": str(self.page.bit_length() - 1)}
        if self.backing == "km":
            found["PERCPU_KM"] = "1"
        if not self.smp:
            found["PERCPU_UP"] = "1"
        return found


USUAL: Final = BuildForm()
"""The form of most kernels: vm, pages of 4096 bytes, several CPUs."""


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled allocator."""

    path: Path
    release: str  # of the tree, as vectors name it
    form: BuildForm
    # variables of the kernel's that no description of a state shows: name, offset, size in bytes
    undescribed: tuple[tuple[str, int, int], ...] = ()
    variables: tuple[tuple[str, int, int], ...] = ()  # all of the kernel's
    root_objcg: bool = False  # tasks of the root group have an object cgroup
    source: Path | None = None  # the folder or archive that was given, for messages
    one_unit: bool = False  # km: the pages of a chunk are counted right for one unit only
    warnings: tuple[CompilerWarning, ...] = ()  # of the compiler


_NAMES: Final = frozenset(Path(name).name for name in FILES)


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

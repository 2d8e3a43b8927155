"""A compiled allocator: the form that it is compiled in, its library, and kernels booted of it.

addr2line tells which functions and lines of its tree addresses in a library belong to.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from cffi import FFI

from percpu_proofs.kernel.messages import STUBS, CompilerWarning
from percpu_proofs.kernel.tree import FILES
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import HANDLES, WRONG, Operation
from percpu_spec.geometry import Backing, Geometry
from percpu_spec.steps import REQUESTS, MemoryRequest


class BuildForm(NamedTuple):
    """What of a geometry is fixed when a kernel is compiled: backing, bytes of a page, SMP."""

    backing: Backing = "vm"
    page: int = Geometry().page
    smp: bool = True

    @classmethod
    def of(cls, geometry: Geometry) -> BuildForm:
        """Return the form of a kernel with this geometry."""
        return cls(geometry.backing, geometry.page, geometry.smp)

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


class KernelVariable(NamedTuple):
    """A variable of the kernel's code: where in the library it is, and its bytes."""

    name: str  # one of a function has a number behind its own
    offset: int
    size: int

    @property
    def plain_name(self) -> str:
        """The name in the source."""
        return self.name.partition(".")[0]


DESCRIBED: Final = frozenset({
    "pcpu_lock", "pcpu_alloc_mutex", "pcpu_nr_empty_pop_pages", "pcpu_nr_populated",
    "pcpu_async_enabled", "pcpu_atomic_alloc_failed", "pcpu_first_chunk", "pcpu_reserved_chunk",
    "pcpu_chunk_lists",
    "warn_limit",  # how many more failures are printed
})  # fmt: skip
"""Variables of mm/percpu.c that the description of a state shows; any other is compared raw."""


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled allocator."""

    path: Path
    release: str  # of the tree, as vectors name it
    form: BuildForm
    variables: tuple[KernelVariable, ...] = ()  # of the kernel's, where it is to be searched
    root_objcg: bool = False  # tasks of the root group have an object cgroup
    source: Path | None = None  # the folder or archive that was given, for messages
    one_unit: bool = False  # km: the pages of a chunk are counted right for one unit only
    warnings: tuple[CompilerWarning, ...] = ()  # of the compiler


class Point:
    """Points at which an actor stands, as the stubs number them (locks.h), and what it does."""

    DONE, UNLOCKED, MEMORY, RELEASED, FAILED, RESCHED, WAITING, ACCESS = range(8)
    WORDS = (
        "ends", "pcpu_lock released", "asks for memory", "pcpu_alloc_mutex released",
        "reports a failure", "may be preempted", "waits for pcpu_alloc_mutex",
        "accesses shared memory",
    )  # fmt: skip


HASTE: Final = 5
"""Part of the time after which a loop is called endless, where that is soon."""


class KernelStopped(Exception):
    """The compiled kernel ran into a BUG, a bad address or a loop that does not end."""


class OperationResult(NamedTuple):
    """What an operation did, and for an allocation where: chunk number, offset in bytes."""

    ok: bool
    chunk: int
    off: int
    warned: int


@functools.cache
def interface(*headers: str) -> Any:
    """Return the declarations of headers of the stubs, by name, as cffi reads them."""
    ffi = FFI()
    for name in headers:
        lines = (STUBS / name).read_text().splitlines()
        ffi.cdef("\n".join(line.partition("//")[0] for line in lines if not line.startswith("#")))
    return ffi


def as_compiled(lib: Any, geometry: Geometry) -> Geometry:
    """Return a geometry with the constants of a library's tree: what is promised goes by them."""
    low, high, relegation, _ = lib.percpu_constants
    return replace(geometry, empty_low=low, empty_high=high, relegation_slot=relegation)


class LoadedLibrary:
    """A copy of a compiled library, with variables of its own."""

    def __init__(self, library: Library, *headers: str) -> None:
        """Load it; headers: those of the stubs that declare what it offers. Raises InputError."""
        self.ffi = interface(*headers)
        self.lib = load(self.ffi, library.path)
        self._numbers: dict[int, int] = {}  # handles as the caller counts them -> ours

    def boot(self, library: Library, geometry: Geometry) -> None:
        """Boot its allocator. Raises KernelStopped if that fails."""
        shape = self.ffi.new("struct percpu_shape *")
        shape.unit, shape.static_size = geometry.unit, geometry.static
        shape.reserved, shape.dyn = geometry.reserved, geometry.dyn
        shape.cpus, shape.groups, shape.spare = geometry.cpus, geometry.groups, geometry.spare
        shape.memcg, shape.async_enabled = geometry.memcg, geometry.async_enabled
        shape.root_objcg = library.root_objcg
        self.check(self.lib.percpu_boot(shape))

    def fill(self, entry: Any, operation: Operation) -> Any:
        """Write an operation into a struct percpu_operation, which is returned."""
        kind, arg, size, align, reserved, gfp = operation
        entry.kind, entry.align, entry.reserved, entry.gfp = ord(kind), align, reserved, gfp
        entry.size = size if kind in HANDLES else 0 if kind in WRONG else arg
        entry.handle = self._numbers.setdefault(arg, len(self._numbers)) if kind in HANDLES else 0
        return entry

    def check(self, code: int) -> int:
        """Return a call's result; raises KernelStopped with the reason if it is negative."""
        if code < 0:
            raise KernelStopped(self.reason or "refused")
        return code

    @property
    def reason(self) -> str:
        """Why the kernel stopped."""
        return str(self.ffi.string(self.lib.percpu_reason).decode())

    def close(self) -> None:
        """Give everything back; nothing else may be called after."""
        if self.lib is not None:
            self.end()
            self.ffi.dlclose(self.lib)
            self.lib = None

    def end(self) -> None:
        """Give back what the library has taken."""
        self.lib.percpu_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Kernel(LoadedLibrary):
    """A compiled allocator just booted. Several may live side by side, each with its own state."""

    def __init__(
        self, library: Library, geometry: Geometry, *, refuses: bool = False, hasty: bool = False
    ) -> None:
        """Load a copy of the library and boot it; raises KernelStopped if that fails.

        refuses: it is asked for frees that name no live area, where a kernel may refuse (API-2).
        hasty: a loop is soon called one without end, for tries of which the last is repeated.
        """
        form = BuildForm.of(geometry.require_kernel())
        if form != library.form:
            raise InputError("geometry", None, str(library.form), str(form))
        super().__init__(library, "interface.h")
        self.geometry = geometry
        self._operation = self.ffi.new("struct percpu_operation *")
        self._outcome = self.ffi.new("struct percpu_outcome *")
        self.environment = self.lib.percpu_environment
        self._held: dict[int, bool] = {}  # whether the handle's allocation succeeded
        self.lib.percpu_refuses = refuses
        self.lib.percpu_haste = HASTE if hasty else 1
        self.boot(library, geometry)

    def apply(self, operation: Operation) -> OperationResult:
        """Apply one operation. Raises HandleError for a handle named wrongly, KernelStopped."""
        self.check(self.lib.percpu_apply(self.enter(operation), self._outcome))
        result = self._result()
        if operation[0] == "a":
            self.note(operation[1], result.ok)
        return result

    def _result(self) -> OperationResult:
        outcome = self._outcome
        return OperationResult(bool(outcome.ok), outcome.chunk, outcome.off, outcome.warned)

    def enter(self, operation: Operation) -> Any:
        """Return an operation as the library takes it, its handle checked and noted."""
        kind, arg = operation[:2]
        if kind == "a":
            if self._held.get(arg):
                raise HandleError(f"handle {arg} is in use")
            self._held[arg] = False
        elif kind == "f":
            if self._held.pop(arg, None) is None:
                raise HandleError(f"handle {arg} holds nothing")
        elif kind in HANDLES and (
            arg not in self._numbers or (kind == "d" and arg in self._held)
        ):
            raise HandleError(f"handle {arg} has not been freed")
        return self.fill(self._operation, operation)

    @property
    def requests(self) -> dict[MemoryRequest, int]:
        """What was asked for so far, as the model's environment counts it."""
        entries = self.lib.percpu_requests
        return {
            MemoryRequest(REQUESTS[entries[n].kind], entries[n].gfp): entries[n].count
            for n in range(self.lib.percpu_nr_requests)
        }

    def note(self, handle: int, ok: bool) -> None:
        """Note how an allocation ended."""
        self._held[handle] = ok

    def prepare(self, operations: Sequence[Operation]) -> tuple[Any, int]:
        """Return a whole list as the library takes it, to be run and timed."""
        entries = self.ffi.new("struct percpu_operation[]", len(operations))
        for number, operation in enumerate(operations):
            entries[number] = self.enter(operation)[0]
        return entries, len(operations)

    def run(self, prepared: tuple[Any, int]) -> None:
        """Run a prepared list at one stroke. Raises KernelStopped."""
        entries, count = prepared
        self.check(self.lib.percpu_run(entries, count, len(self._numbers) + 1))

    def actor(self, operation: Operation) -> int:
        """Begin an operation of its own, not run yet; return its number."""
        return self.check(self.lib.percpu_actor(self.enter(operation)))

    def step(self, actor: int) -> tuple[int, OperationResult]:
        """Run an actor to its next point; return that and, once DONE, what it did."""
        return self.check(self.lib.percpu_step(actor, self._outcome)), self._result()


def load(ffi: Any, path: Path) -> Any:
    """Load a copy of a library: the loader gives the same file the same variables."""
    try:
        with tempfile.NamedTemporaryFile(suffix=".so") as own:
            shutil.copyfile(path, own.name)
            return ffi.dlopen(own.name)
    except OSError as error:
        raise InputError(path, None, f"a library that can be loaded ({error})") from None


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
    _, *answers = re.split(r"^0x.*\n", done.stdout, flags=re.MULTILINE)  # it repeats the address
    return {
        address: tuple(_places(answer.splitlines()))
        for address, answer in zip(wanted, answers, strict=True)
    }


def _places(lines: Sequence[str]) -> Iterable[SourceLocation]:
    for function, where in zip(lines[::2], lines[1::2], strict=False):
        path, _, number = where.partition(" ")[0].rpartition(":")
        name = Path(path).name
        if name in _NAMES and number.isdecimal():
            yield SourceLocation(function, f"{Path(path).parent.name}/{name}", int(number))

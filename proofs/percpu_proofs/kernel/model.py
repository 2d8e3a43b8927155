"""Which model a compiled kernel is held to: a variant, and what its version does by design.

What differs between versions is found by trying, and declared in every report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.conformance.state import Recorder
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.instance import Kernel
from percpu_proofs.kernel.views import KernelState
from percpu_proofs.oplist import parse_operations
from percpu_reference.environment import Task
from percpu_reference.variants import DEFAULT, Allocator, variant_class
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.reference import FIXES, with_fixes
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NORETRY, NOWARN, may_block

PRINTED: Final = ("prwarn", "stacks")
"""Counters that are not compared where a kernel does not print failed atomic allocations."""

_SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
_FILLED: Final = "a 1 28672 4 -"  # the whole first chunk


@dataclass(frozen=True, slots=True)
class Model:
    """A variant, or linux_6_12 with fixes, and the declared differences of a kernel's version."""

    name: str = DEFAULT
    fixes: tuple[str, ...] = ()  # names of fixes, on top of linux_6_12
    prints_atomic: bool = True  # failed atomic allocations are printed
    unmaps_failing: bool = True  # after a map failure the failing unit is unmapped too
    noio_sleeps: bool = True  # requests without I/O may sleep
    refuses: bool = False  # a free that names no live area is refused (API-2)

    @property
    def skip(self) -> frozenset[str]:
        """Counters that are not compared."""
        return frozenset() if self.prints_atomic else frozenset(PRINTED)

    @property
    def version(self) -> str:
        """The version that vectors carry: how printed failures count."""
        return "6.12" if self.prints_atomic else "6.1"

    @property
    def declared(self) -> list[str]:
        """The declared differences, in words."""
        said = {
            "failed atomic allocations are not printed": not self.prints_atomic,
            "after a map failure the failing unit is not unmapped": not self.unmaps_failing,
            "requests without I/O count as atomic": not self.noio_sleeps,
            "frees that name no live area are refused": self.refuses,
        }
        return [what for what, so in said.items() if so]

    def variant(self) -> type[Allocator]:
        """Return the model's class. Raises UnknownVariantError, InputError for an unknown fix."""
        base = variant_class(self.name)
        if self.fixes:
            known = {fix.NAME: fix for fix in (*FIXES, ChunkRelativeEnd)}
            for name in self.fixes:
                if name not in known:
                    raise InputError("fix", None, f"one of {', '.join(known)}", name)
            base = with_fixes(*(fix for name, fix in known.items() if name in self.fixes))
        if not self.noio_sleeps:
            base = _older(base)
        if self.refuses and not base.CHECKS_FREES:
            base = type(base.__name__, (base,), {"__slots__": (), "CHECKS_FREES": True})
        return base


def _older(base: type[Allocator]) -> type[Allocator]:
    """Return a variant that counts all requests as atomic that lack a flag of GFP_KERNEL."""

    # mypy takes no class from a variable for a base
    class Older(base):  # type: ignore[misc, valid-type]
        """A variant as of kernels before 6.15 without its fix."""

        __slots__ = ()

        BLOCKING = KERNEL
        WORK = Task(KERNEL | NORETRY | NOWARN, 0)

        def is_atomic(self, gfp: int) -> bool:
            return not may_block(gfp, KERNEL)

    return Older


def probe(library: Library, name: str = DEFAULT, fixes: tuple[str, ...] = ()) -> Model:
    """Return the model for a library with vm backing. Raises KernelStopped."""
    atomic = _after(library, _FILLED, "a 2 8192 4 A")
    mapping = _after(library, _FILLED, "M 1", "a 2 4096 4 -")
    sleeping = _after(library, _FILLED, "a 2 8192 4 O")
    return Model(
        name, fixes, atomic[1] > 0, mapping[2] > 0, bool(sleeping[0]), refuses=refuses(library)
    )


def refuses(library: Library) -> bool:
    """Return whether a kernel leaves all as it is when an area is freed a second time."""
    states = []
    for lines in (("a 1 64 4 -", "a 2 64 4 -", "f 1"), ("a 1 64 4 -", "a 2 64 4 -", "f 1", "d 1")):
        with Kernel(library, _SMALL, refuses=True) as kernel:
            for operation in parse_operations(Path("probe"), lines).operations:
                kernel.apply(operation)
            states.append(Recorder(KernelState(kernel)).read().crc)
    return states[0] == states[1]


def _after(library: Library, *lines: str) -> tuple[int, int, int]:
    """Return whether the last operation succeeded, failures printed, and ranges unmapped."""
    with Kernel(library, _SMALL) as kernel:
        for operation in parse_operations(Path("probe"), lines).operations:
            result = kernel.apply(operation)
        environment = kernel.environment
        return int(result.ok), environment.printed, environment.unmaps

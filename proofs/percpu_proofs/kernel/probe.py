"""In what a kernel version differs from 6.12 by design: found by trying, declared in every report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.instance import Kernel
from percpu_proofs.kernel.pair import PRINTED
from percpu_proofs.oplist import parse_operations
from percpu_reference.variants import Allocator, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL

_SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)


@dataclass(frozen=True, slots=True)
class Declared:
    """A kernel's known differences: they are not counted as mismatches."""

    prints_atomic: bool  # failed atomic allocations are printed
    unmaps_failing: bool  # after a map failure the failing unit is unmapped too
    noio_sleeps: bool  # requests without I/O may sleep

    @property
    def skip(self) -> frozenset[str]:
        """Counters that are not compared."""
        return frozenset() if self.prints_atomic else frozenset(PRINTED)

    @property
    def version(self) -> str:
        """The version that vectors carry: how printed failures count."""
        return "6.12" if self.prints_atomic else "6.1"

    @property
    def notes(self) -> list[str]:
        """What is declared, in words."""
        said = {
            "failed atomic allocations are not printed": not self.prints_atomic,
            "after a map failure the failing unit is not unmapped": not self.unmaps_failing,
            "requests without I/O count as atomic": not self.noio_sleeps,
        }
        return [what for what, so in said.items() if so]

    def variant(self, name: str) -> str | type[Allocator]:
        """Return the model of a variant that classifies requests as this kernel does."""
        if self.noio_sleeps:
            return name
        base = variant_class(name)

        class Older(base):  # type: ignore[misc, valid-type]
            """A variant of before 6.15 without its fix."""

            __slots__ = ()

            BLOCKING = KERNEL

            def is_atomic(self, gfp: int) -> bool:
                return gfp & KERNEL != KERNEL

        return Older


def probe(library: Library) -> Declared:
    """Try a library, which must be one with vm backing. Raises KernelStopped."""
    printed, _ = _after(library, "a 1 28672 4 -", "a 2 8192 4 A")
    _, unmaps = _after(library, "a 1 28672 4 -", "M 1", "a 2 4096 4 -")
    with Kernel(library, _SMALL) as kernel:
        results = [kernel.apply(op) for op in _parsed("a 1 28672 4 -", "a 2 8192 4 O")]
    return Declared(printed > 0, unmaps > 0, results[1].ok)


def _after(library: Library, *lines: str) -> tuple[int, int]:
    with Kernel(library, _SMALL) as kernel:
        for operation in _parsed(*lines):
            kernel.apply(operation)
        return kernel.environment.printed, kernel.environment.unmaps


def _parsed(*lines: str) -> Iterator[tuple[str, int, int, int, bool, int]]:
    yield from parse_operations(Path("probe"), lines).operations

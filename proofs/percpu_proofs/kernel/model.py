"""Which model a compiled kernel is held to: a variant, and what its version does by design.

What a kernel does is found by trying, and declared in every report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.changes import (
    HAS,
    SLEEPABLE,
    WORDS,
    changes_of,
    nearest,
    with_changes,
)
from percpu_proofs.kernel.instance import Kernel
from percpu_proofs.oplist import parse_operations
from percpu_reference.variants import DEFAULT, Allocator, variant_class, variant_name
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.reference import FIXES, with_fixes
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import DIRECT_RECLAIM, KERNEL

PRINTED: Final = ("prwarn", "stacks")
"""Counters that are not compared where a kernel does not print failed atomic allocations."""

_SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
_FILLED: Final = "a 1 28672 4 -"  # the whole first chunk


@dataclass(frozen=True, slots=True)
class Model:
    """A variant, perhaps with fixes, and the declared differences of a kernel from it."""

    name: str = DEFAULT
    fixes: tuple[str, ...] = ()  # names of fixes, on top of the variant
    prints_atomic: bool = True  # failed atomic allocations are printed
    unmaps_failing: bool = True  # after a map failure the failing unit is unmapped too
    noio_sleeps: bool = True  # requests without I/O may sleep
    backports: frozenset[str] = frozenset()  # releases of later changes that the kernel has too
    has: frozenset[str] | None = None  # releases of the changes found, where these chose the name

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
        }
        found = [what for what, so in said.items() if so]
        if self.noio_sleeps != (variant_class(self.name).BLOCKING == DIRECT_RECLAIM):
            found.append(
                f"{WORDS[SLEEPABLE]} ({SLEEPABLE}, by backport)"
                if self.noio_sleeps
                else "requests without I/O count as atomic"
            )
        return found + [f"{WORDS[r]} ({r}, by backport)" for r in sorted(self.backports)]

    @property
    def because(self) -> str:
        """Why the variant was chosen: the newest change that the kernel has, the first it lacks."""
        if self.has is None:
            return ""
        mine = [f"{what} ({r})" for r, what in WORDS.items() if r in HAS[self.name]]
        lacks = [f"not: {what} ({r})" for r, what in WORDS.items() if r not in self.has]
        return "; ".join([*mine[-1:], *lacks[:1]])

    def variant(self) -> type[Allocator]:
        """Return the model's class. Raises UnknownVariantError, InputError for an unknown fix."""
        base = variant_class(self.name)
        if self.fixes:
            known = {fix.NAME: fix for fix in (*FIXES, ChunkRelativeEnd)}
            for name in self.fixes:
                if name not in known:
                    raise InputError("fix", None, f"one of {', '.join(known)}", name)
            base = with_fixes(*(f for n, f in known.items() if n in self.fixes), base=base)
        base = with_changes(base, self.backports)
        if self.noio_sleeps == (base.BLOCKING == DIRECT_RECLAIM):
            return base
        needed = DIRECT_RECLAIM if self.noio_sleeps else KERNEL
        return type(base.__name__, (base,), {"__slots__": (), "BLOCKING": needed})


def probe(library: Library, name: str | None = None, fixes: tuple[str, ...] = ()) -> Model:
    """Return the model for a library with vm backing: the variant named, or what its probes say.

    Raises KernelStopped, and InputError for a kernel between two known behaviours.
    """
    atomic = _after(library, _FILLED, "a 2 8192 4 A")
    mapping = _after(library, _FILLED, "M 1", "a 2 4096 4 -")
    sleeping = _after(library, _FILLED, "a 2 8192 4 O")
    model = Model(name or DEFAULT, fixes, atomic[1] > 0, mapping[2] > 0, bool(sleeping[0]))
    if name is not None:
        return replace(model, name=variant_name(name))
    found = changes_of(library)
    chosen = nearest(found)
    return replace(
        model,
        name=chosen,
        backports=found - HAS[chosen] - {SLEEPABLE},
        has=found,
    )


def _after(library: Library, *lines: str) -> tuple[int, int, int]:
    """Return whether the last operation succeeded, failures printed, and ranges unmapped."""
    with Kernel(library, _SMALL) as kernel:
        for operation in parse_operations(Path("probe"), lines).operations:
            result = kernel.apply(operation)
        environment = kernel.environment
        return int(result.ok), environment.printed, environment.unmaps

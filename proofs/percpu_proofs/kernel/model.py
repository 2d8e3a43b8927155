"""Which model a compiled kernel is held to: a variant, and what its version does by design.

What differs between versions is found by trying, and declared in every report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from percpu_proofs.conformance.state import Recorder
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.instance import Kernel
from percpu_proofs.kernel.views import KernelState
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import parse_operations
from percpu_reference import build
from percpu_reference.environment import Task
from percpu_reference.variants import DEFAULT, Allocator, variant_class
from percpu_reference.variants.fixes import ChunkRelativeEnd, LimitsHandedOn
from percpu_reference.variants.reference import FIXES, with_fixes
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NOFAIL, NOIO, NORETRY, NOWARN, may_block

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
    asks: str = ""  # how memory is asked for where that is not as in 6.12, one of FORMS

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
            f"a caller's memory is asked for {self.asks}": bool(self.asks),
        }
        return [what for what, so in said.items() if so]

    def variant(self) -> type[Allocator]:
        """Return the model's class. Raises UnknownVariantError, InputError for an unknown fix."""
        return _variant(self)


_SCOPED: Final = "in a scope of its limits"
_LIMITED: Final = NOIO | NORETRY | NOWARN | NOFAIL
FORMS: Final[dict[str, dict[str, Any]]] = {
    "": {},
    _SCOPED: {},
    "with its own flags throughout": {"INNER": None},
    "without I/O and file systems": {"HANDED_ON": _LIMITED, "INNER": None},
    "without I/O and file systems, but for areas and page tables": {"HANDED_ON": _LIMITED},
}
"""How trees ask for memory on a caller's behalf, with what of a variant that changes."""


@cache
def _variant(model: Model) -> type[Allocator]:
    """Return a model's class: a variant with fixes, and what its tree does by design."""
    base = variant_class(model.name)
    if model.fixes:
        known = {fix.NAME: fix for fix in (*FIXES, ChunkRelativeEnd)}
        for name in model.fixes:
            if name not in known:
                raise InputError("fix", None, f"one of {', '.join(known)}", name)
        base = with_fixes(*(fix for name, fix in known.items() if name in model.fixes))
    names = dict(FORMS[model.asks])
    if not model.noio_sleeps:  # as of kernels before 6.15 without its fix
        names |= {
            "BLOCKING": KERNEL,
            "WORK": Task(KERNEL | NORETRY | NOWARN, 0),
            "is_atomic": lambda self, gfp: not may_block(gfp, KERNEL),
        }
    if model.refuses:
        names["CHECKS_FREES"] = True
    scoped = model.asks == _SCOPED and not issubclass(base, LimitsHandedOn)
    if not names and not scoped:
        return base
    bases = (LimitsHandedOn, base) if scoped else (base,)
    return cast("type[Allocator]", type(base.__name__, bases, {"__slots__": (), **names}))


def probe(library: Library, name: str = DEFAULT, fixes: tuple[str, ...] = ()) -> Model:
    """Return the model for a library with vm backing. Raises KernelStopped."""
    atomic = _after(library, _FILLED, "a 2 8192 4 A")
    mapping = _after(library, _FILLED, "M 1", "a 2 4096 4 -")
    sleeping = _after(library, _FILLED, "a 2 8192 4 O")
    model = Model(
        name, fixes, atomic[1] > 0, mapping[2] > 0, bool(sleeping[0]), refuses=refuses(library)
    )
    return replace(model, asks=_form(library, model))


_LIMITS: Final = (_FILLED, "a 2 4096 4 SY")


def _form(library: Library, model: Model) -> str:
    """Return how a kernel asks for a caller's memory; as 6.12 does if it is none of FORMS."""
    with Kernel(library, _SMALL) as kernel:
        for operation in parse_operations(Path("probe"), _LIMITS).operations:
            kernel.apply(operation)
        asked = kernel.requests
    for form in FORMS:
        machine = Machine(build(replace(model, asks=form).variant(), _SMALL))
        machine.run(parse_operations(Path("probe"), _LIMITS))
        if machine.allocator.env.requests == asked:
            return form
    return ""


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

"""What releases changed of what the allocator does, and whether a compiled kernel has a change.

A probe lets the kernel do a few operations and looks at one number. The model tells what that is
before the change and since, so a tree is known by what it does: a stable tree shows what it has by
backport, and a tree that shows neither is between two known behaviours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from percpu_proofs.conformance.state import Recorder
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.instance import Kernel, KernelStopped
from percpu_proofs.kernel.library import Library
from percpu_proofs.kernel.views import KernelState
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import OperationList, parse_operations
from percpu_reference import build
from percpu_reference.variants import Allocator, variant_class
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.linux_mm import RegionHints
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import DIRECT_RECLAIM, KERNEL

SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2, memcg=True)
"""A first chunk of seven pages behind the static one."""
SLEEPABLE: Final = "6.15"
"""The change that long-term kernels have by backport, and a variant may have or not."""

Look = Callable[[Any, Any, bool], int]
"""Reads a number from counters, chunks by number, and whether the last operation succeeded."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of behaviour: the release that brought it, and how a kernel shows it.

    before, since: variants that differ in it, as far as the probe sees. gives: class attributes,
    and mixins: classes, by which a variant takes it over.
    """

    release: str
    what: str
    before: str
    since: str
    lines: tuple[str, ...]
    unit: str  # what the number counts
    look: Look
    gives: Mapping[str, object] = field(default_factory=dict)
    mixins: tuple[type, ...] = ()

    def shown_by(self, library: Library) -> bool:
        """Return whether a library has it. Raises InputError if it has neither, KernelStopped."""
        listed = parse_operations(Path(f"probe of {self.release}"), self.lines)
        found = _on_kernel(library, listed, self.look)
        old, new = (_on_model(name, listed, self.look) for name in (self.before, self.since))
        if found not in (old, new):
            raise InputError(
                f"a tree between two known behaviours, after {'; '.join(self.lines)}", None,
                f"{old} {self.unit} as up to {self.before} or {new} as since {self.release} "
                f"({self.what})", str(found),
            )  # fmt: skip
        return found == new


def _on_kernel(library: Library, listed: OperationList, look: Look) -> int:
    ok = False
    with Kernel(library, SMALL) as kernel:
        for operation in listed.operations:
            ok = kernel.apply(operation).ok
        state = KernelState(kernel)
        state.read()
        return look(kernel.environment, state.chunk, ok)


def _on_model(name: str, listed: OperationList, look: Look) -> int:
    machine = Machine(build(variant_class(name), SMALL))
    ok = False
    for number, operation in enumerate(listed.operations, 1):
        ok = bool(machine.apply(number, operation).ok)
    chunks = {chunk.id: chunk for chunk in machine.allocator.chunks()}
    return look(machine.allocator.env, chunks.__getitem__, ok)


_EIGHTHS: Final = tuple(f"a {n} 512 4 -" for n in range(1, 9))
"""The first page in eight areas."""

CHANGES: Final = (
    Change(
        "5.17", "an accounted area pays for its part of the object vector",
        "linux_5_14", "linux_6_12", ("a 1 32768 4 G",), "bytes charged",
        lambda env, chunk, ok: int(env.charged), {"CHARGES_VECTOR": True},
    ),
    Change(
        "6.13", "the float is tested as soon as an area is found, before its pages are populated",
        "linux_6_12", "linux_6_13", ("a 1 32768 4 -",), "requests for balance work",
        lambda env, chunk, ok: int(env.balance_requests), {"TESTS_FLOAT_LOCKED": True},
    ),
    Change(
        SLEEPABLE, "requests without I/O may sleep",
        "linux_6_13", "linux_6_15", ("a 1 28672 4 -", "a 2 8192 4 O"), "such requests served",
        lambda env, chunk, ok: int(ok), {"BLOCKING": DIRECT_RECLAIM},
    ),
    Change(
        "mm 1/4", "the chunk is told where a run freed inside a block ends (L1)",
        "linux_7_1", "linux_mm",
        ("a 1 4096 4 -", "a 2 2048 4 -", "a 3 2048 4 -", "a 4 20480 4 -", "f 3"),
        "bits of chunk 0's contig_hint",
        lambda env, chunk, ok: int(chunk(0).chunk_md.contig_hint), mixins=(ChunkRelativeEnd,),
    ),
    Change(
        "mm 4/4", "scan_hint stays on its side of an equal contig_hint (L3)",
        "linux_7_1", "linux_mm", (*_EIGHTHS, "f 5", "f 3"), "bits of block 0's scan_hint",
        lambda env, chunk, ok: int(chunk(0).md_blocks[0].scan_hint), mixins=(RegionHints,),
    ),
)  # fmt: skip
REFUSES: Final = "7.0"
ROOT: Final = "7.1"
WORDS: Final = {
    **{change.release: change.what for change in CHANGES if not change.mixins},
    REFUSES: "a free that names no live area is refused",
    ROOT: "a task of the root group has an object cgroup, which pays nothing",
    **{change.release: change.what for change in CHANGES if change.mixins},
}
"""What each change is, by its release, oldest first."""
GIVES: Final = {change.release: change.gives for change in CHANGES} | {
    REFUSES: {"CHECKS_FREES": True}
}
MIXINS: Final = {change.release: change.mixins for change in CHANGES if change.mixins}

HAS: Final[dict[str, frozenset[str]]] = {}
"""The changes that each variant has."""
for _name, _more in (
    ("linux_5_14", ()), ("linux_6_12", ("5.17",)), ("linux_6_13", ("6.13",)), ("linux_6_15", ()),
    ("linux_7_0", (REFUSES,)), ("linux_7_1", (ROOT,)), ("linux_mm", ("mm 1/4", "mm 4/4")),
):  # fmt: skip
    HAS[_name] = frozenset(_more).union(*HAS.values())


def changes_of(library: Library) -> frozenset[str]:
    """Return the releases of the changes that a library has. Raises InputError, KernelStopped."""
    found = {change.release for change in CHANGES if change.shown_by(library)}
    if refuses(library):
        found.add(REFUSES)
    if library.root_objcg:
        found.add(ROOT)
    return frozenset(found)


def refuses(library: Library) -> bool:
    """Return whether a kernel leaves all as it is where a free names no live area.

    Raises InputError for one that refuses a second free or a free into an area, not both.
    """
    before, again, into = (_after_frees(library, *more) for more in ((), ("d 1",), ("w 2 16",)))
    if (again == before) != (into == before):
        kinds = ("a second free of an area", "a free into an area")
        done, refused = kinds if into == before else kinds[::-1]
        raise InputError(
            "a tree between two known behaviours, after a 1 64 4 -; a 2 64 4 -; f 1", None,
            f"frees that name no live area all refused, as since {REFUSES}, or all carried out, as "
            "before", f"{refused} refused, {done} carried out",
        )  # fmt: skip
    return again == before


def _after_frees(library: Library, *more: str) -> int | None:
    """Return the checksum behind some operations, None where the kernel stops."""
    lines = ("a 1 64 4 -", "a 2 64 4 -", "f 1", *more)
    try:
        with Kernel(library, SMALL, refuses=True) as kernel:
            for operation in parse_operations(Path("probe"), lines).operations:
                kernel.apply(operation)
            return Recorder(KernelState(kernel)).read().crc
    except KernelStopped:
        return None


def counts_every_unit(library: Library) -> bool:
    """Return whether a kernel counts the pages of a km chunk once for each unit.

    They are those of one; "mm/percpu-km: fix bitmap overflow and accounting in
    pcpu_create_chunk()" of July 2026, for stable too, mends it.
    """
    if library.form.backing != "km" or not library.form.smp:
        return False
    page = library.form.page
    geometry = Geometry(
        unit=8 * page, static=page, reserved=0, dyn=7 * page, cpus=2, backing="km", page=page
    )
    try:
        with Kernel(library, geometry) as kernel:
            before = _populated(kernel)
            kernel.apply(("a", 1, geometry.unit, 4, False, KERNEL))
            return _populated(kernel) - before > geometry.unit_pages
    except KernelStopped:  # the comparison shows it
        return False


def _populated(kernel: Kernel) -> int:
    state = KernelState(kernel)
    state.read()
    return int(state.nr_populated)


def nearest(found: frozenset[str]) -> str:
    """Return the newest variant that has no change but those found.

    SLEEPABLE decides between two that are equal but for it.

    >>> nearest(frozenset({"5.17", "6.13"})), nearest(frozenset({"5.17", "7.0", "6.15"}))
    ('linux_6_13', 'linux_6_12')
    """
    names = [name for name, has in HAS.items() if has <= found]
    most = [name for name in names if HAS[name] == HAS[names[-1]]]
    return most[-1] if SLEEPABLE in found else most[0]


def with_changes(base: type[Allocator], releases: frozenset[str]) -> type[Allocator]:
    """Return a class with the changes of these releases on top."""
    attributes = {k: v for r in sorted(releases) for k, v in GIVES.get(r, {}).items()}
    mixins = [mixin for r in sorted(releases, reverse=True) for mixin in MIXINS.get(r, ())]
    if not attributes and not mixins:
        return base
    return type(base.__name__, (*mixins, base), {"__slots__": (), **attributes})

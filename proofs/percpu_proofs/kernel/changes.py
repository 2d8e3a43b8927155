"""What releases changed of what the allocator does, and whether a compiled kernel has a change.

A probe lets the kernel do a few operations and looks at one number. The model tells what that is
before the change and since, so a tree is known by what it does: a stable tree shows what it has by
backport. Each change has several probes, which must agree: a tree with a part of a change, or with
one more of what it moved, is between two known behaviours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from percpu_proofs.kernel.instance import Kernel, KernelStopped, Library
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import OperationList, parse_operations
from percpu_proofs.run.state_record import checksum
from percpu_reference import build
from percpu_reference.state import LIMITED_WORK
from percpu_reference.variants import MERGED, Allocator, variant_class
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.linux_mm import RegionHints
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import DIRECT_RECLAIM, IO, KERNEL
from percpu_spec.steps import MemoryRequest

SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2, memcg=True)
"""A first chunk of seven pages behind the static one."""
SLEEPABLE: Final = "6.15"
"""The change that long-term kernels have by backport, and a variant may have or not."""
BETWEEN: Final = "a tree between two known behaviours"


class ProbeView(NamedTuple):
    """What a probe may look at once its operations are done."""

    state: Any  # of the model, or of a kernel as it was read
    ok: bool  # whether the last operation succeeded
    requests: Mapping[MemoryRequest, int]  # for memory

    def chunk(self, number: int) -> Any:
        """Return a chunk by its number."""
        return next(chunk for chunk in self.state.chunks() if chunk.id == number)


T = TypeVar("T")
Value = int | tuple[int, int]
"""What the probe of a change looks at: a number, or two."""


class Probe(NamedTuple, Generic[T]):
    """Operations, what it is that is looked at behind them, and how it is read."""

    lines: tuple[str, ...]
    unit: str
    look: Callable[[ProbeView], T]

    @property
    def listed(self) -> OperationList:
        """The operations."""
        return parse_operations(Path("probe"), self.lines)

    @property
    def text(self) -> str:
        """The operations in one line."""
        return "; ".join(self.lines)


@dataclass(frozen=True, slots=True)
class BehaviourChange:
    """A change of behaviour: the release that brought it, and how a kernel shows it.

    before, since: variants that differ in it, as far as the probes see. gives: class attributes,
    and mixins: classes, by which a variant takes it over.
    """

    release: str
    what: str
    before: str
    since: str
    probes: tuple[Probe[Value], ...]
    gives: Mapping[str, object] = field(default_factory=dict)
    mixins: tuple[type, ...] = ()

    def shown_by(self, library: Library) -> bool:
        """Return whether a library has it. Raises InputError if it has neither, KernelStopped."""
        return self.judge([on_kernel(library, probe) for probe in self.probes], library.source)

    def judge(self, found: Sequence[Value], source: Path | None = None) -> bool:
        """Return whether what the probes saw is as since the change.

        Raises InputError for what is neither that nor as before, with the probe that tells and what
        it expected.
        """
        old, new = (
            [on_model(variant_class(name), probe) for probe in self.probes]
            for name in (self.before, self.since)
        )
        found = list(found)
        if found in (old, new):
            return found == new
        for probe, number, was, now in zip(self.probes, found, old, new, strict=True):
            if number not in (was, now):
                either = f"{was} {probe.unit} as up to {self.before} or {now} as since"
                alike = f"{now} {probe.unit} as before and since"
                expected = f"{alike if was == now else either} {self.release} ({self.what})"
                raise between(source, probe.text, expected, str(number))
        # each alone is known, but not together
        telling = [n for n in range(len(new)) if old[n] != new[n]]
        lacks = next(n for n in telling if found[n] == old[n])
        has = next(n for n in telling if found[n] == new[n])
        raise between(
            source, self.probes[lacks].text,
            f"{new[lacks]} {self.probes[lacks].unit}, as since {self.release} ({self.what}), which "
            f"it shows after {self.probes[has].text}", str(found[lacks]),
        )  # fmt: skip


class BetweenError(InputError):
    """A tree that does neither of two things that are known, and so is no variant."""


def between(source: Path | None, after: str, expected: str, found: str) -> BetweenError:
    """Return what is wrong with a tree, with the operations that tell."""
    where = f"{source}: {BETWEEN}" if source is not None else BETWEEN
    return BetweenError(f"{where}, after {after}", None, expected, found)


def on_kernel(
    library: Library, probe: Probe[T], geometry: Geometry = SMALL, *, refuses: bool = False
) -> T:
    """Return what a probe sees on a compiled kernel. Raises KernelStopped."""
    with Kernel(library, geometry, refuses=refuses) as kernel:
        results = [kernel.apply(operation) for operation in probe.listed.operations]
        return probe.look(ProbeView(CompiledState(kernel), results[-1].ok, kernel.requests))


def on_model(variant: type[Allocator], probe: Probe[T], geometry: Geometry = SMALL) -> T:
    """Return what a probe sees on a variant."""
    driver = Driver(build(variant, geometry))
    results = [driver.apply(*numbered) for numbered in enumerate(probe.listed.operations, 1)]
    allocator = driver.allocator
    return probe.look(ProbeView(allocator, results[-1].ok, allocator.env.requests))


def _charged(*lines: str) -> Probe[Value]:
    return Probe(lines, "bytes charged", lambda seen: int(seen.state.env.charged))


def _asked(*lines: str) -> Probe[Value]:
    return Probe(
        lines, "requests for balance work", lambda seen: int(seen.state.env.balance_requests)
    )


def _served(*lines: str) -> Probe[Value]:
    return Probe(lines, "such requests served", lambda seen: int(seen.ok))


def _hints(*lines: str) -> Probe[Value]:
    """Look at both hints of block 0."""

    def look(seen: ProbeView) -> tuple[int, int]:
        block = seen.chunk(0).md_blocks[0]
        return int(block.contig_hint), int(block.scan_hint)

    return Probe(lines, "as contig_hint and scan_hint of block 0, in bits", look)


_EIGHTHS: Final = tuple(f"a {n} 512 4 -" for n in range(1, 9))
"""The first page in eight areas."""
FILLED: Final = "a 1 28672 4 -"
"""All of the first chunk: the float is 0 then."""

# Of the series of May 2026 in linux-mm 2/4, "do not trust hint starts when they are not set", has
# no row, as no state shows it: put alone on 7.1.5, and its tests taken out of linux-mm, it leaves
# every field equal in 33,324 operations each. A start of a hint that is not set decided at most
# whether to set the hint's size to 0, which it was. 3/4 changes types.
CHANGES: Final = (
    BehaviourChange(
        "5.17", "an accounted area pays for its part of the object vector",
        "linux_5_14", "linux_5_17",
        (
            _charged("a 1 32768 4 G"),
            _charged("a 1 32768 4 G", "f 1"),
            _charged("a 1 64 4 G"),  # of the first chunk, which has no object vector
        ),
        {"CHARGES_VECTOR": True},
    ),
    BehaviourChange(
        "6.13", "the float is tested as soon as an area is found, before its pages are populated",
        "linux_5_17", "linux_6_13",
        (
            _asked("a 1 32768 4 -"),
            _asked(FILLED),  # with the test in both places two, without any none
            _asked("a 1 28672 4 A"),
        ),
        {"TESTS_FLOAT_LOCKED": True},
    ),
    BehaviourChange(
        SLEEPABLE, "requests without I/O may sleep",
        "linux_6_13", "linux_6_15",
        (
            _served(FILLED, "a 2 8192 4 O"),
            _served(FILLED, "a 2 8192 4 S"),
            Probe(
                (FILLED, "b"), "kinds of requests of the balance work that may do I/O",
                lambda seen: sum(bool(request.gfp & IO) for request in seen.requests),
            ),
        ),
        {"BLOCKING": DIRECT_RECLAIM, "WORK": LIMITED_WORK},
    ),
    BehaviourChange(
        "mm 1/4", "the chunk is told where a run freed inside a block ends (L1)",
        "linux_7_1", "linux_mm",
        (
            Probe(
                ("a 1 4096 4 -", "a 2 2048 4 -", "a 3 2048 4 -", "a 4 20480 4 -", "f 3"),
                "bits of chunk 0's contig_hint",
                lambda seen: int(seen.chunk(0).chunk_md.contig_hint),
            ),
        ),
        mixins=(ChunkRelativeEnd,),
    ),
    BehaviourChange(
        "mm 4/4", "scan_hint stays on its side of an equal contig_hint (L3)",
        "linux_7_1", "linux_mm",
        (
            _hints(*_EIGHTHS, "f 5", "f 3"),
            _hints(*_EIGHTHS, "f 3", "f 1"),
            _hints(*_EIGHTHS, "f 1", "f 4", "f 3"),  # the last one grows contig_hint
            _hints(*_EIGHTHS, "f 4", "f 2", "f 5"),  # scan_hint stays what it was
            _hints(*_EIGHTHS, "f 1", "f 4", "f 3", "f 2"),  # the last one meets both
        ),
        mixins=(RegionHints,),
    ),
)  # fmt: skip
REFUSES: Final = "7.0"
ROOT: Final = "7.1"
SCOPE: Final = "mm scope"
"""Of May 2026 in linux-mm, "preserve NOFS/NOIO scope during chunk create and populate"."""
SCOPED: Final = "in a scope of its limits"
WORDS: Final = {
    **{change.release: change.what for change in CHANGES if not change.mixins},
    REFUSES: "a free that names no live area is refused",
    ROOT: "a task of the root group has an object cgroup, which pays nothing",
    **{change.release: change.what for change in CHANGES if change.mixins},
    SCOPE: f"a caller's memory is asked for {SCOPED}",
}
"""What each change is, by its release, oldest first."""
GIVES: Final = {change.release: change.gives for change in CHANGES} | {
    REFUSES: {"CHECKS_FREES": True}
}
MIXINS: Final = {change.release: change.mixins for change in CHANGES if change.mixins}

_FIRST: Final = tuple(WORDS)
HAS: Final[Mapping[str, frozenset[str]]] = {
    "linux_5_14": frozenset(),
    "linux_5_17": frozenset(_FIRST[:1]),
    MERGED: frozenset({*_FIRST[:1], SLEEPABLE}),
    "linux_6_13": frozenset(_FIRST[:2]),
    "linux_6_15": frozenset(_FIRST[:3]),
    "linux_7_0": frozenset(_FIRST[:4]),
    "linux_7_1": frozenset(_FIRST[:5]),
    "linux_mm": frozenset(_FIRST[:-1]),
}
"""The changes that each variant has."""


def changes_of(library: Library) -> frozenset[str]:
    """Return the releases of the changes that a library has. Raises InputError, KernelStopped."""
    found = {change.release for change in CHANGES if change.shown_by(library)}
    if refuses(library):
        found.add(REFUSES)
    if spares_root(library):
        found.add(ROOT)
    return frozenset(found)


_BY_ROOT: Final = _charged("U 0", "a 1 32768 4 G")


def spares_root(library: Library) -> bool:
    """Return whether a task of the root group pays nothing though it has an object cgroup.

    Raises InputError for a tree that lets it pay where the rest of the kernel gives it one.
    """
    paid = on_kernel(replace(library, root_objcg=True), _BY_ROOT)
    if paid and library.root_objcg:
        expected = f"0 bytes charged, as since {ROOT} ({WORDS[ROOT]})"
        raise between(library.source, _BY_ROOT.text, expected, str(paid))
    return not paid


def refuses_again(library: Library) -> bool:
    """Return whether a kernel leaves all as it is where an area is freed once more."""
    return _after_frees(library) == _after_frees(library, "d 1")


def refuses(library: Library) -> bool:
    """Return whether a kernel leaves all as it is where a free names no live area.

    Raises InputError for one that refuses a second free or a free into an area, not both.
    """
    before, again, into = (_after_frees(library, *more) for more in ((), ("d 1",), ("w 2 16",)))
    if (again == before) != (into == before):
        kinds = ("a second free of an area", "a free into an area")
        done, refused = kinds if into == before else kinds[::-1]
        raise between(
            library.source, "a 1 64 4 -; a 2 64 4 -; f 1",
            f"frees that name no live area all refused, as since {REFUSES}, or all carried out, as "
            "before", f"{refused} refused, {done} carried out",
        )  # fmt: skip
    return again == before


def _after_frees(library: Library, *more: str) -> int | None:
    """Return the checksum behind some operations, None where the kernel stops."""
    lines = ("a 1 64 4 -", "a 2 64 4 -", "f 1", *more)
    probe = Probe(lines, "as checksum", lambda seen: checksum(seen.state))
    with suppress(KernelStopped):
        return on_kernel(library, probe, refuses=True)
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
            state = CompiledState(kernel)
            before = state.nr_populated
            kernel.apply(("a", 1, geometry.unit, 4, False, KERNEL))
            state.read()
            return bool(state.nr_populated - before > geometry.unit_pages)
    except KernelStopped:  # the comparison shows it
        return False


def nearest(found: frozenset[str]) -> str:
    """Return the variant with most of the changes found, and with no other.

    >>> nearest(frozenset({"5.17", "6.13"})), nearest(frozenset({"5.17", "7.0", "6.15"}))
    ('linux_6_13', 'linux_6_12')
    """
    return max((name for name, has in HAS.items() if has <= found), key=lambda n: len(HAS[n]))


def with_changes(base: type[Allocator], releases: frozenset[str]) -> type[Allocator]:
    """Return a class with the changes of these releases on top."""
    attributes = {k: v for r in sorted(releases) for k, v in GIVES.get(r, {}).items()}
    mixins = [mixin for r in sorted(releases, reverse=True) for mixin in MIXINS.get(r, ())]
    if not attributes and not mixins:
        return base
    return type(base.__name__, (*mixins, base), {"__slots__": (), **attributes})

"""Deterministic operation lists for tests: every geometry, every failure, every kind of request.

A list is made of phases; each has its own chances of allocating, of running the balance work, and
of a failure scripted ahead. `random()` alone is used: it repeats on every Python version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from percpu_contracts.monitor import Monitor
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import OperationList, parse_operations
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry

T = TypeVar("T")

# blocks of 16 bits, units of 12 pages; thresholds as in the kernel, requests up to half a unit
SMALL = Geometry(
    page=64, unit=768, static=72, reserved=0, dyn=376, least_unit=384, cpus=2, memcg=True
)
HIDDEN = SMALL.with_changes("static=38,reserved=132,dyn=310,memcg=0,cpus=3")
ALIGNED = Geometry(page=256, unit=2048, static=100, reserved=0, dyn=1436, least_unit=1024, cpus=2)
KM = SMALL.with_changes("backing=km,cpus=3")
EARLY = SMALL.with_changes("async=0,memcg=0,reserved=128,dyn=256")
KERNEL = Geometry(static=10002, reserved=8192, dyn=30958, memcg=True)

EIGHT = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
TINY = Geometry(page=32, unit=128, static=24, reserved=40, dyn=64, cpus=2, least_unit=64)

MIXED = ("-", "-", "-", "G", "A", "AG", "N", "NW", "O", "OG", "F", "W", "GF")
RESERVED = (*MIXED, "R", "R", "RA", "RG", "RN")
PLAIN = ("-", "-", "A")
FAULTS = (
    "Z 1", "P 1", "P 2", "Q 3", "Q 5", "M 1", "m 2",
    "C 1", "Z 2", "Z 4", "K 1", "H 1", "U 0", "U 1",
)  # fmt: skip


SIDELINED = "a 1 16 4 -|a 2 52 4 -|a 3 52 4 -|b|f 1|f 3|b|a 4 36 4 -|b"
"""The balance work populates a sidelined chunk, and the float does not rise (R2)."""


WAITING = "|".join(
    (
        *(f"a {n} 4096 4 -" for n in (*range(1, 8), *range(11, 27))),
        *("a 31 24576 4 -", "a 32 8192 4 -"),
        *(f"f {n}" for n in (*range(11, 26, 2), 32)),
        *("a 40 8192 4 A", "b"),
    )
)
"""A request for which only a chunk on to_depopulate has room (ISO-4)."""


SCOPES = "a 1 28672 4 -|a 2 28672 4 s|a 3 28672 4 o|b"
"""Chunks created and populated by tasks that are in a scope without file systems, without I/O."""


class Phase(NamedTuple):
    """A stretch of operations; what is not an allocation is a free."""

    length: int
    alloc: float
    work: float = 0.2  # chance that pending work runs after an operation
    fault: float = 0.0
    sizes: Sequence[int] = ()


class Scene(NamedTuple):
    """A geometry and the operations to run on it."""

    name: str
    geometry: Geometry
    listed: OperationList


def _lines(
    seed: int, geometry: Geometry, flags: Sequence[str], phases: Sequence[Phase]
) -> Iterator[str]:
    rng = Random(seed)

    def pick(items: Sequence[T]) -> T:
        return items[int(rng.random() * len(items))]

    page, largest = geometry.page, geometry.largest
    common = (4, 4, 8, 12, 20, page // 4, page // 2, page - 4, page, page + 4, 2 * page)
    odd = (0, 1, 3, 7, 3 * page, 4 * page, largest - 4, largest, largest + 4)
    aligns = (0, 1, 3, 4, 4, 4, 8, 8, 16, page // 2, page, page * 2, 24)
    live: list[int] = []
    handle = 0
    for phase in phases:
        for _ in range(phase.length):
            if rng.random() < phase.alloc or not live:
                handle += 1
                sizes = phase.sizes or (common if rng.random() < 0.85 else odd)
                align = pick(aligns) if rng.random() < 0.5 else 4
                yield f"a {handle} {pick(sizes)} {align} {pick(flags)}"
                live.append(handle)
            else:
                # the areas taken last, or any: neighbours are freed in every order
                back = 0.3 if rng.random() < 0.5 else 1.0
                yield f"f {live.pop(-1 - int(rng.random() * len(live) * back))}"
            if rng.random() < phase.work:
                yield "B"
            if rng.random() < phase.fault:
                yield pick(FAULTS)
    for held in live:
        yield f"f {held}"
    yield from ("b", "b")
    yield from ["B"] * 10  # nothing else runs: no more work is asked for (BAL-3)


def _scene(name: str, geometry: Geometry, seed: int, flags: Sequence[str], *phases: Phase) -> Scene:
    lines = list(_lines(seed, geometry, flags, phases))
    if not geometry.async_enabled:
        lines.insert(len(lines) // 2, "E")
    if "Z 1" in lines:
        lines.insert(0, "Z 6")  # the array of pages, behind a chunk's own five
    return Scene(name, geometry, parse_operations(Path(name), lines))


FILL, DRAIN, CHURN = Phase(70, 0.8), Phase(60, 0.15, 0.1), Phase(80, 0.5, 0.1)
FAIL = Phase(90, 0.6, 0.3, 0.35)
ODD = (4, 8, 12, 20, 28, 36, 52, 60, 68, 100)
GROW, SHRINK = Phase(200, 0.58, 0.05, 0.0, ODD), Phase(150, 0.4, 0.05, 0.0, ODD)
DENSE = Phase(150, 0.55, 0.05, 0.0, (4, 4, 8, 8, 12, 16, 20, 24, 28, 36, 44, 60))


@cache
def scenes() -> tuple[Scene, ...]:
    """Return the scenes, small ones first."""
    small = (FILL, DRAIN, CHURN, FILL, DRAIN)
    return (
        _scene("small", SMALL, 1, MIXED, *small),
        _scene("hidden", HIDDEN, 2, RESERVED, *small),
        _scene("failing", SMALL, 3, MIXED, FAIL, DRAIN, FAIL, FAIL, DRAIN),
        _scene("dense", HIDDEN, 7, PLAIN, DENSE, DENSE, DRAIN, DENSE),
        _scene("aligned", ALIGNED, 26, PLAIN, GROW, SHRINK, GROW, SHRINK),
        _scene("km", KM, 4, MIXED, *small, FAIL),
        _scene("early", EARLY, 5, RESERVED, *small),
        _scene("kernel", KERNEL, 6, RESERVED, FILL, FAIL, DRAIN, FILL, DRAIN),
        Scene("sidelined", TINY, parse_operations(Path("sidelined"), SIDELINED.split("|"))),
        Scene("waiting", EIGHT, parse_operations(Path("waiting"), WAITING.split("|"))),
    )


def in_scopes() -> tuple[Scene, ...]:
    """Return the scenes, and one whose tasks are in scopes: what a bug of atomicity fails too."""
    return (*scenes(), Scene("scopes", EIGHT, parse_operations(Path("scopes"), SCOPES.split("|"))))


def boot(cls: type[Allocator], geometry: Geometry, monitor: Monitor | None = None) -> Allocator:
    """Return a booted allocator of just this class, with statistics."""
    allocator = cls(geometry, stats=True)
    allocator.monitor = monitor
    allocator.spin_lock()
    allocator.setup_first_chunk()
    allocator.spin_unlock()
    return allocator


def play(cls: type[Allocator], scene: Scene, monitor: Monitor | None = None) -> Driver:
    """Run a scene to its end on a class; what the allocator raises passes through."""
    machine = Driver(boot(cls, scene.geometry, monitor))
    machine.run(scene.listed)
    return machine

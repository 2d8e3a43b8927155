"""The variant `reference`: every clause holds in it, and none of its fixes can be spared.

HYPOTHESIS_PROFILE=deep runs the same tests over many more operations.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from depth import deep_unless
from every_state import every_state, passed_over
from random_actors import Actors
from scripted import broken_by
from workloads import ALIGNED, EARLY, HIDDEN, KERNEL, KM, SMALL, Scene, scenes

from percpu_proofs import data
from percpu_proofs.recorded.vectors import find_vectors, read_vector
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import OperationList, read_operations
from percpu_proofs.run.state_record import checksum
from percpu_proofs.workload.fix_cost import Counting, combinations, measure
from percpu_reference import build
from percpu_reference.chunk import Block
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES, Reference, with_fixes, without
from percpu_spec.geometry import Geometry

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
TINY = Geometry(page=32, unit=128, static=24, reserved=40, dyn=64, cpus=2, least_unit=64)
FOUR = Geometry(page=64, unit=256, static=20, reserved=0, dyn=172, least_unit=128, cpus=2)
GEOMETRIES = {
    "tiny": TINY,
    "four": FOUR,
    "small": SMALL,
    "hidden": HIDDEN,
    "aligned": ALIGNED,
    "early": EARLY,
    "km": KM,
    "kernel": KERNEL,
}

NEEDED = {
    "L2": ("HINT-3", TINY, "a 1 4 4 -|a 2 4 16 -|a 3 4 4 -"),
    "L3": ("HINT-4", TINY, "a 1 4 4 -|a 2 4 4 -|a 3 4 16 -|f 2"),
    "L4": ("HINT-6", FOUR, "a 1 8 4 -|a 2 12 4 -|a 3 4 4 -|a 4 12 4 -|f 1|f 3|a 5 8 4 -"),
    "L5": ("HINT-5", TINY, "a 1 36 4 -|a 2 4 4 -|f 2"),
    "R1": ("RCL-3", TINY, "a 1 64 4 -|a 2 32 4 -|a 3 32 4 -|a 4 4 4 -|b|f 1|f 3|w|w|f 2"),
    "R2": ("BAL-1", TINY, "a 1 16 4 -|a 2 52 4 -|a 3 52 4 -|b|f 1|f 3|b|a 4 36 4 -|b"),
    "R3": ("LIST-2", TINY, "a 1 20 4 -|a 2 12 8 -|a 3 4 32 -|f 1"),
    "R4 work": ("BAL-2", TINY, "a 1 36 4 -|a 2 4 32 -|a 3 32 4 A|f 2"),
    "R4 creation": (
        "BAL-2",
        TINY,
        "a 1 4 4 -|a 2 64 4 -|a 3 64 4 -|C 1|b|A 4 64 4 -|g|f 1|f 2|f 3",
    ),
    "R4 failure": (
        "BAL-2",
        TINY,
        "a 1 4 4 -|a 2 64 4 -|a 3 64 4 -|P 1|b|A 4 64 4 -|f 2|f 3|P 1",
    ),
}
"""What each fix is for: without it this clause breaks, none of these lines being idle."""


def test_declares_nothing() -> None:
    assert not Reference.EXPECTED
    assert not Reference.NOT_APPLICABLE
    assert {fix.NAME for fix in FIXES} == NEEDED.keys()
    assert all(len(fix.__doc__ or "") > 300 for fix in FIXES)  # a reason, not a title
    with pytest.raises(ValueError, match=r"R9: expected some of L2, .*R4 failure"):
        without("R9")


@pytest.mark.parametrize("name", NEEDED)
def test_no_fix_can_be_spared(name: str) -> None:
    clause, geometry, text = NEEDED[name]
    lines = text.split("|")
    assert broken_by(without(name), geometry, lines) == clause
    assert broken_by(Reference, geometry, lines) is None
    spared = [lines[:at] + lines[at + 1 :] for at, line in enumerate(lines) if line[0] in "fbwPC"]
    assert all(broken_by(without(name), geometry, rest) != clause for rest in spared)


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.NAME)
def test_each_fix_stands_alone(fix: Any) -> None:
    """Alone on 6.12 it breaks nothing that 6.12 keeps."""
    scene = scenes()[2]
    run(with_fixes(fix), scene.geometry, scene.listed)


def run(
    cls: type[Allocator], geometry: Geometry, listed: OperationList, limit: int | None = None
) -> Counter[str]:
    """Run operations under full contracts; return how often each clause was asked."""
    allocator = build(cls, geometry, contracts="full", stats=True)
    Driver(allocator).run(listed, 0, limit)
    assert allocator.monitor is not None
    allocator.monitor.judge(allocator, quiescent=allocator.quiescent)
    return allocator.monitor.asked()


@pytest.mark.parametrize("scene", scenes(), ids=[scene.name for scene in scenes()])
def test_every_clause_holds_in_scenes(scene: Scene) -> None:
    asked = run(Reference, scene.geometry, scene.listed)
    assert asked["HINT-6"] > len(scene.listed.operations) / 2
    assert asked["FIT-1"] or len(scene.listed.operations) < 100  # the short ones miss nowhere


SHIPPED = find_vectors([data.folder("vectors")])
ALL = find_vectors(data.shared("vectors")[:1]) or SHIPPED


@pytest.mark.parametrize("path", ALL if DEEP else SHIPPED[:4], ids=lambda path: path.stem)
def test_every_clause_holds_on_recorded_operations(path: Path) -> None:
    vector = read_vector(path)
    run(Reference, vector.geometry, vector.listed)


def test_every_clause_holds_on_a_large_list() -> None:
    listed = read_operations(data.folder("bench") / "c10.ops.gz")
    run(Reference, Geometry(), listed, None if DEEP else 1500)


@pytest.mark.parametrize("concurrent", deep_unless(bool, [False, True]), ids=["alone", "in gaps"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_clause_holds_at_random(name: str, concurrent: bool) -> None:
    drained: Counter[int] = Counter()
    for seed in range(200 if DEEP else 6):
        actors = Actors(Reference, GEOMETRIES[name], seed, concurrent)
        for _ in range(4):
            actors.phase(60)
            for chunk in actors.allocator.chunks():
                assert passed_over(chunk, GEOMETRIES[name].block_bits) is None
        actors.allocator.async_enabled = True
        actors.free_all()
        drained += actors.drained
        assert not actors.allocator.env.charged
    assert max(drained) <= 2  # one more run where the first left a second free chunk


@pytest.mark.parametrize(
    ("blocks", "bits", "states"),
    [(1, 4, 448), (3, 2, 11_568)] + [(4, 2, 181_077), (1, 8, 544_766), (2, 4, 2_017_846)] * DEEP,
)
def test_hints_are_exact_in_every_state(blocks: int, bits: int, states: int) -> None:
    found = every_state(Reference, blocks, bits)
    assert found.wrong is None, found
    assert found.states == states


@pytest.mark.parametrize(
    ("name", "wrong", "steps"),
    [
        ("L2", "right_free 0, expected 1", "+1/1 +1/2 +1/1"),
        ("L3", "scan_hint of 1 bit at 1", "+1/1 +1/1 +1/1 -1"),
        ("L4", "2 bits free at 1, before a scan_hint of 1", "+1/1 +1/4 +2/1 +1/1 +1/1 -1 -4"),
        ("L5", "contig_hint", "+1/1 +1/1 -1"),
    ],
)
def test_shortest_way_to_wrong_hints(name: str, wrong: str, steps: str) -> None:
    found = every_state(without(name), 2, 4)
    assert found.wrong is not None
    assert wrong in found.wrong
    assert " ".join(found.steps) == steps


def test_shorter_runs_further_on_change_nothing() -> None:
    """Refreshes leave such runs out (chunk_refresh_hint, block_refresh_hint)."""
    allocator = build(Reference, TINY)
    bits = 8
    for start, length in product(range(bits), repeat=2):
        for contig, contig_start in product(range(length + 1, bits), range(start)):
            for scan, scan_start in product(range(contig + 1), range(start)):
                block = Block(bits)
                block.contig_hint, block.contig_hint_start = contig, contig_start
                block.scan_hint, block.scan_hint_start = scan, scan_start
                before = block.as_list()[:4]
                allocator.block_update(block, start, start + length)
                assert block.as_list()[:4] == before


def test_no_free_refreshes_a_chunk() -> None:
    """A full rescan on every free would be no fix."""

    class NoFullScan(Reference):
        __slots__ = ()

        def chunk_refresh_hint(self, chunk: Any, full_scan: bool) -> None:
            assert not full_scan
            super().chunk_refresh_hint(chunk, full_scan)

    scene = scenes()[0]
    Driver(build(NoFullScan, scene.geometry)).run(scene.listed)


def test_cost_is_counted() -> None:
    listed = read_operations(data.folder("bench") / "c10.ops.gz")
    limit = None if DEEP else 12_000
    chosen = {name: combinations()[name] for name in ("linux_6_12", "L2 to L5", "reference")}
    kernel, hints, whole = measure(listed, Geometry(), chosen, limit)
    for other in (hints, whole):
        assert other.cost.blocks < 1.4 * kernel.cost.blocks
        assert other.cost.updates < 1.4 * kernel.cost.updates
        assert other.cost.bits < 1.2 * kernel.cost.bits
        assert other.pages <= kernel.pages + 4


def test_counting_changes_nothing() -> None:
    scene = scenes()[0]
    plain, counted = (
        build(cls, scene.geometry)
        for cls in (Linux612, type("Counted", (Counting, Linux612), {"__slots__": ()}))
    )
    for allocator in (plain, counted):
        Driver(allocator).run(scene.listed)
    assert checksum(plain) == checksum(counted)
    assert counted.cost.chunks > 100

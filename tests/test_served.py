"""Atomic requests served between two runs of the balance work: figures, ends, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.live.subject import kind_of, read_subject
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.room import Demand, capacity, room_of, why
from percpu_proofs.workload import burst
from percpu_proofs.workload.burst import GEOMETRY, Served, measure
from percpu_proofs.workload.plots import served_svg
from percpu_reference.variants import VARIANTS, Allocator, build
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC

KNOWN = {200: 0, 400: 84, 500: 1188, 800: 2427}  # of 6000 requests of 40 bytes, from boot


def booted(size: int = 40, variant: str = "linux_6_12", geometry: Geometry = GEOMETRY) -> Served:
    return measure(
        variant, "boot", build(variant, geometry), size, 8, periods=list(KNOWN)
    )


@pytest.mark.parametrize("variant", ["linux_5_12", "linux_6_12", "linux_7_1", "reference"])
def test_from_boot(variant: str) -> None:
    found = booted(variant=variant)
    assert (found.room, found.rounds[0], found.float_pages) == (28672 // 40, 716, 7)
    assert found.between == (409, 410)  # four pages, and what is left of one
    assert found.failed == KNOWN
    assert found.safe == 200
    assert not found.cut


@pytest.mark.parametrize("size", [8, 40, 1000, 4096, 8192])
def test_a_round_is_what_has_room(size: int) -> None:
    """Nothing is populated within a round, so it ends with what fitted, whatever the size."""
    start = build("linux_6_12", GEOMETRY)
    found = measure("linux_6_12", "boot", start, size, 8, periods=[])
    assert found.rounds[0] == found.room
    assert all(n * size <= 4 * 4096 + size for n in found.rounds[1:])


def test_pages_of_64_kib() -> None:
    big = Geometry(page=65536, unit=655360, static=500000, reserved=0, dyn=155360, cpus=4)
    found = booted(5000, geometry=big)
    assert found.between == (52, 53)  # 4 pages of 64 KiB
    assert found.failed[200] > 0


def test_states_are_left_as_they_are() -> None:
    start = burst.after_wave("linux_6_12", GEOMETRY, 40, 8)
    before = capacity(start, 40, 8), start.nr_empty_pop_pages, start.nr_populated
    first = measure("linux_6_12", "wave", start, 40, 8, periods=[5000], requests=100)
    again = measure("linux_6_12", "wave", start, 40, 8, periods=[5000], requests=100)
    assert first == again
    assert before == (capacity(start, 40, 8), start.nr_empty_pop_pages, start.nr_populated)


def test_a_wave_leaves_room_and_depopulation_takes_some_of_it() -> None:
    rooms = {}
    for variant in ("linux_5_12", "linux_6_12"):
        start = burst.after_wave(variant, GEOMETRY, 40, 8)
        assert not start.work_pending
        rooms[variant] = measure(variant, "wave", start, 40, 8, periods=[]).rounds[0]
    assert rooms["linux_5_12"] > rooms["linux_6_12"] > booted().rounds[0]


def test_after_a_list() -> None:
    listed = parse_operations(Path("x.ops"), [f"a {n} 40 8 A" for n in range(1, 801)])
    start = burst.after_list("linux_6_12", GEOMETRY, listed)
    assert measure("linux_6_12", "list", start, 40, 8, periods=[]).rounds[0] == 409


def test_in_a_kernels_state() -> None:
    path = next((data.folder("boot61_2") / "state").glob("*"))
    state = read_subject(str(path), kind_of(str(path)), None, owners=False)
    assert burst.in_state("linux_5_12", state.snapshot) is None  # of two types of chunks
    start = burst.in_state("linux_6_12", state.snapshot)
    assert start is not None
    found = measure("linux_6_12", "state", start, 40, 8, periods=[])
    assert found.float_pages == state.snapshot.nr_empty_pop_pages
    assert 0 < found.rounds[0] <= found.room
    result = invoke("workload", "burst", "--state", path, "--variant", "linux_5_12",
                    "--variant", "linux_6_12", "--every", 500, "--requests", 1000,
                    "--json")  # fmt: skip
    told = [(one["variant"], one["state"]) for one in json.loads(result.output)["served"]]
    assert [name for name, at in told if at == f"in {path}"] == ["linux_6_12"]
    assert [name for name, at in told if at == "just booted"] == ["linux_5_12", "linux_6_12"]


def test_why_it_ends() -> None:
    found = booted()
    assert "no populated hole of 40 bytes aligned to 8 is there" in found.ends[0]
    assert "float 0 pages" in found.ends[0]
    assert "BAL-5" in found.ends[-1]


def test_a_round_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "MOST", 50)
    found = measure(
        "linux_6_12", "boot", build("linux_6_12", GEOMETRY), 40, 8, requests=50, periods=[]
    )
    assert (found.rounds, found.cut) == ([50], True)
    assert "no end was seen" in found.ends[0]


# room


@cache
def waved() -> Allocator:
    return burst.after_wave("reference", GEOMETRY, 64, 8)


@cache
def drawn() -> Allocator:
    """An allocator with holes, populated or not, after some work."""
    allocator = build("linux_6_12", replace(GEOMETRY, cpus=2))
    areas = [allocator.alloc(8 * (1 + n * 7 % 97), 8) for n in range(900)]
    for number, area in enumerate(areas):
        if number % 3:
            allocator.free(area)
    burst.settle(allocator)
    return allocator


@pytest.mark.parametrize("size", [4, 40, 777, 4096, 32768])
@pytest.mark.parametrize("align", [4, 64, 4096])
@pytest.mark.parametrize("allocator", [drawn, waved])
def test_why_is_what_happens(allocator: Callable[[], Allocator], size: int, align: int) -> None:
    """The answer read off the state is what the allocator does next."""
    held = allocator()
    answer = why(room_of(held, Demand(size, align, atomic=True), 0))
    got = held.clone()[0].alloc(size, align, gfp=ATOMIC)
    assert answer.served == (got is not None), answer.lines


def test_the_reserve() -> None:
    held = build("linux_6_12", GEOMETRY)
    for size in (4000, 4096):
        held.alloc(size, 8, reserved=True)
    for size, fits in ((96, True), (100, False)):
        answer = why(room_of(held, Demand(size, 8, atomic=False, reserved=True)))
        assert answer.served is fits
        assert (held.clone()[0].alloc(size, 8, reserved=True) is not None) is fits
        assert "reserved chunk has 96 bytes free" in answer.lines[0]


# the command


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_command(tmp_path: Path) -> None:
    listed, svg = tmp_path / "some.ops", tmp_path / "served.svg"
    listed.write_text("a 1 40 8 A\nf 1\n")
    options = ("--variant", "linux_6_12", "--requests", 1000, "--every", 400, "--every", 200)
    result = invoke("workload", "burst", listed, "--size", 40, *options, "--svg", svg)
    assert result.exit_code == 0, result.output
    assert "409..410" in result.output
    panels = ElementTree.parse(svg).getroot().itertext()
    assert sum("of 1000 atomic requests" in text for text in panels) == 3
    found = json.loads(invoke("workload", "burst", "--json", *options).output)
    boot = next(one for one in found["served"] if one["state"] == "just booted")
    assert boot["rounds"][0] == 716
    assert boot["failed"] == {"400": 84, "200": 0}
    assert boot["safe"] == 200
    assert boot["between"] == {"least": 409, "most": 410}


@pytest.mark.parametrize("bad", [("--size", 40000), ("--size", 0), ("--align", 12)])
def test_illegal_requests(bad: tuple[str, int]) -> None:
    result = invoke("workload", "burst", *bad)
    assert (result.exit_code, "a power of two up to 4096" in result.output) == (2, True)


def test_svg_has_a_line_a_variant() -> None:
    found = [booted(variant=variant) for variant in list(VARIANTS)[:2]]
    text = served_svg(found)
    assert all(one.variant in text for one in found)


@pytest.mark.parametrize("size", [40, 32768])
def test_requests_before_the_work_is_asked_for_are_made_once(size: int) -> None:
    """The same counts as with every period from the beginning; 32768: the first fails."""
    start = build("linux_6_12", burst.GEOMETRY)
    found = burst.measure("linux_6_12", "", start, size, 8, requests=900, periods=(100, 450))
    for period, failed in found.failed.items():
        allocator, _ = start.clone()
        count = 0
        for number in range(1, 901):
            count += allocator.alloc(size, 8, gfp=ATOMIC) is None
            if number % period == 0 and allocator.work_pending:
                allocator.balance()
        assert failed == count


# seeded bugs


def never_works(allocator: Allocator, size: int, align: int, numbers: range, period: int) -> int:
    return sum(allocator.alloc(size, align, gfp=ATOMIC) is None for _ in numbers)


def may_sleep(allocator: Allocator, size: int, align: int) -> object:
    return allocator.alloc(size, align)


@pytest.mark.parametrize(
    ("name", "bug"), [("failures", never_works), ("_ask", may_sleep)], ids=["work", "sleeps"]
)
def test_these_tests_see_bugs(
    name: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst, name, bug)
    monkeypatch.setattr(burst, "MOST", 2000)
    with pytest.raises(AssertionError):
        test_from_boot("linux_6_12")


def test_the_test_of_room_sees_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole in pages that are not populated is taken for room."""
    monkeypatch.setattr("percpu_proofs.run.room.longest_hole", whole)
    with pytest.raises(AssertionError):
        for size in (4, 40, 777, 4096, 32768):
            test_why_is_what_happens(drawn, size, 4)


def whole(chunk: object, geometry: Geometry, align: int, backed: bool) -> int:
    from percpu_proofs.run.room import _holes

    holes = _holes(chunk, geometry, align, backed=False)  # type: ignore[arg-type]
    return max((end - start for start, end in holes), default=0)

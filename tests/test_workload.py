"""The workload of the series and what a search costs: figures, order, what the checks catch."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import workload_packaging
from click.testing import CliRunner, Result

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands import workload as command
from percpu_proofs.recorded.traces.reader import read_run
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.state_record import checksum
from percpu_proofs.workload.plots import cost_svg, removal_svg
from percpu_proofs.workload.recorded import (
    BANDS,
    USUAL,
    Curve,
    Player,
    Schedule,
    Workload,
    derive,
    load,
    run_workload,
    shipped,
)
from percpu_proofs.workload.search_cost import SHAPES, Burst, piles
from percpu_reference.gaps import Steps
from percpu_reference.variants import VARIANTS, build
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES
from percpu_spec.gfp import ACCOUNT

SVG = "{http://www.w3.org/2000/svg}"
SMALL = data.folder("cgkp61_4_one")  # a recorded 100 x (1 + 10), one CPU of 6.1 active
QUIET = Schedule(0, 0)
SHORT = (4, 16, 64)  # chunks drained


@pytest.fixture(scope="module")
def small() -> Workload:
    return derive(read_run(SMALL))


@pytest.fixture(scope="module")
def full() -> Workload:
    return load("cg612_4")


@pytest.fixture(scope="module")
def curves(small: Workload) -> dict[str, Curve]:
    return {name: run_workload(small, name, USUAL) for name in VARIANTS}


# the workloads


@pytest.mark.parametrize(
    ("name", "variant", "before", "created", "removed", "stranded", "charged"),
    [
        ("cg612_4", "linux_6_12", 1104, 81392, 36784, 8400, 2),
        ("cg510_4", "linux_5_12", 1120, 133680, 133680, 0, 4),
    ],
)
def test_shipped_workloads_are_1000_times_11_cgroups(
    name: str,
    variant: str,
    before: int,
    created: int,
    removed: int,
    stranded: int,
    charged: int,
) -> None:
    workload = load(name)
    assert workload.variant == variant
    phases = {phase.name: phase for phase in workload.phases}
    assert [phases[f"cg_{p}"].percpu_kb for p in ("before", "created", "removed30")] == [
        before,
        created,
        removed,
    ]
    assert workload.phases[-1].stranded_kb == stranded
    one_a_cgroup = [op[1] for op in workload.operations if op[:1] + op[2:4] == ("a", 128, 64)]
    assert 11000 <= len(one_a_cgroup) <= 11010
    # 10 of 11 are gone again, and what one cgroup needs with them
    live = {handle for kind, handle, *_ in workload.operations if kind == "a"}
    held = sum(1 if kind == "a" else -1 for kind, *_ in workload.operations)
    assert held < len(live) / 9
    accounted = sum(1 for op in workload.operations if op[0] == "a" and op[5] & ACCOUNT)
    assert round(accounted / 11000, 1) == charged  # requests of one cgroup


def test_the_package_ships_what_a_run_would_give(small: Workload) -> None:
    text = workload_packaging.text(small)
    assert parse_operations(Path("x"), text.split("\n")).operations == small.operations
    lines = text.split("\n")
    for phase in small.phases:
        at = lines.index(f"# {phase.name}: {phase.percpu_kb} kB")
        assert sum(not line.startswith("#") for line in lines[:at]) == phase.operation
    assert json.loads(json.dumps(small.facts()))["geometry"]["unit"] == small.geometry.unit


def test_handles_name_live_areas_once(small: Workload) -> None:
    live: set[int] = set()
    for kind, handle, *_ in small.operations:
        assert (handle in live) == (kind == "f")
        live ^= {handle}


# memory


def test_the_recorded_kernel_with_one_cpu_is_met_exactly(small: Workload) -> None:
    """Nothing ran in the gaps there, so nothing is left to a choice of moments."""
    curve = run_workload(small, "linux_6_12", QUIET)
    assert [phase.percpu_kb for phase in curve.phases] == [p.percpu_kb for p in small.phases]
    assert small.phases[-1].percpu_kb == 5536
    assert curve.phases[-1].stranded_kb == small.phases[-1].stranded_kb == 0


@pytest.mark.deep
def test_full_workload_is_within_the_bands(full: Workload) -> None:
    curve = run_workload(full, "linux_6_12", USUAL)
    assert curve.outside == []
    held = {stage: phase.percpu_kb for stage, phase in curve.stages.items()}
    assert held["before"] == pytest.approx(1104, rel=0.05)
    assert held["created"] == pytest.approx(81392, rel=0.05)
    assert held["removed"] == pytest.approx(36784, rel=0.25)
    last = curve.phases[-1]
    assert last.stranded_kb > 0
    # but for the stranded pages, that hang on moments not recorded, it is the kernel's figure
    recorded = last.recorded_kb - last.recorded_stranded_kb
    assert last.unstranded_kb == pytest.approx(recorded, rel=0.005)


@pytest.mark.deep
def test_full_workload_is_within_the_bands_with_nothing_in_the_gaps(full: Workload) -> None:
    """The band does not hang on the fitted gap."""
    curve = run_workload(full, "linux_6_12", QUIET)
    assert curve.outside == []
    assert curve.phases[-1].stranded_kb == 0


def test_variants_in_order_of_what_they_give_back(curves: dict[str, Curve]) -> None:
    back = {name: curve.given_back for name, curve in curves.items()}
    assert back["linux_5_12"] == 0
    for name in set(VARIANTS) - {"linux_5_12"}:
        assert 0.25 < back[name] < 0.6, name
    assert back["linux_6_12"] < back["reference"]
    works = {name: curve.works for name, curve in curves.items()}
    assert works["rfc_series"] < works["rfc_1"]  # one waits for a second marked chunk


@pytest.mark.parametrize("schedule", [Schedule(0, 20), Schedule(0, 100), Schedule(0, 50, 1)])
def test_pages_are_stranded_on_6_12_only(small: Workload, schedule: Schedule) -> None:
    found = {
        name: run_workload(small, name, schedule).phases[-1] for name in ("linux_6_12", "reference")
    }
    assert found["linux_6_12"].stranded_kb > 0
    assert found["reference"].stranded_kb == 0
    assert found["reference"].percpu_kb < found["linux_6_12"].percpu_kb


def test_a_seed_repeats_and_another_differs(small: Workload) -> None:
    runs = [run_workload(small, "linux_6_12", Schedule(5, 20, seed)) for seed in (1, 1, 2)]
    assert runs[0].memory == runs[1].memory != runs[2].memory


@pytest.mark.deep
def test_a_player_without_gaps_is_the_machine(small: Workload) -> None:
    played, plain = (build("linux_6_12", small.geometry) for _ in range(2))
    Player(played, QUIET).play(small.operations)
    machine = Driver(plain)
    for number, operation in enumerate(small.operations, 1):
        machine.apply(number, operation)
        machine.apply(number, ("B", 0, 0, 0, False, 0))
    assert checksum(played) == checksum(plain)


def test_a_player_lets_frees_run_while_pages_are_released(small: Workload) -> None:
    """Frees happen while the work holds pcpu_alloc_mutex; after settling it does not."""
    player = Player(build("linux_6_12", small.geometry), Schedule(0, 50))
    created = next(p.operation for p in small.phases if p.name == "cg_created")
    player.play(small.operations[:created])
    beside = 0
    for operation in small.operations[created:]:
        beside += operation[0] == "f" and player.allocator.alloc_mutex
        player.play([operation])
    assert beside > 100
    player.settle()
    assert not player.allocator.alloc_mutex
    assert not player.allocator.work_pending


class KeepsEverything(Linux612):
    """Never releases a page of a chunk in use."""

    __slots__ = ()

    def reclaim_populated(self) -> Steps[None]:
        """Put every chunk back."""
        for chunk in list(self.chunk_lists[self.to_depopulate_slot]):
            self.reintegrate_chunk(chunk)
        return
        yield


class PopulatesMuch(Linux612):
    """Populates eight times as many pages as are wanted."""

    __slots__ = ()

    def pages_to_populate(self, chunk_type: int) -> int:
        """Return eight times the pages wanted."""
        return 8 * super().pages_to_populate(chunk_type)


@pytest.mark.parametrize(
    ("bug", "stages"), [(KeepsEverything, ["removed"]), (PopulatesMuch, ["before"])]
)
def test_bands_catch(small: Workload, bug: type[Linux612], stages: list[str]) -> None:
    assert run_workload(small, bug, QUIET).outside == stages


# COST-1


HELD, OPEN = SHAPES  # the last page of each drained chunk is in use, is free


@pytest.fixture(scope="module")
def every_burst() -> list[Burst]:
    return [burst for name in VARIANTS for burst in piles(name, SHORT)]


@pytest.fixture(scope="module")
def bursts(every_burst: list[Burst]) -> dict[str, list[Burst]]:
    """Those of chunks whose empty pages every variant can release."""
    return {
        name: [b for b in every_burst if (b.variant, b.state) == (name, HELD)] for name in VARIANTS
    }


@pytest.mark.parametrize("name", ["rfc_1", "rfc_series"])
def test_cost_grows_with_the_pile(bursts: dict[str, list[Burst]], name: str) -> None:
    found = bursts[name]
    assert "COST-1" in VARIANTS[name].EXPECTED
    for less, more in pairwise(found):
        assert more.most - less.most == more.depopulated - less.depopulated > 0
    assert all(burst.broken for burst in found)
    assert found[-1].mean > 20


@pytest.mark.parametrize("name", ["rfc_1_reviewed", "linux_6_12", "reference"])
def test_cost_stays_flat(bursts: dict[str, list[Burst]], name: str) -> None:
    found = bursts[name]
    assert found[-1].depopulated >= SHORT[-1] - 1
    assert {burst.most for burst in found} == {1}
    assert not any(burst.broken for burst in found)
    assert all(burst.served >= 12 for burst in found)
    # what nothing can serve is searched for everywhere all the same
    assert found[-1].failing > SHORT[-1] - 1


@pytest.mark.parametrize(
    ("name", "grows"),
    [("rfc_1", True), ("rfc_1_reviewed", True), ("linux_6_12", False), ("reference", False)],
)
def test_pages_never_released_are_found_by_walking(
    every_burst: list[Burst], name: str, grows: bool
) -> None:
    """rfc_1_reviewed searches in the order of COST-1, and RCL-4 makes it walk all the same."""
    found = [b for b in every_burst if (b.variant, b.state) == (name, OPEN)]
    assert found[-1].depopulated >= SHORT[-1] - 1
    assert [b.most for b in found] == ([b.depopulated for b in found] if grows else [1] * 3)
    assert not any(b.broken for b in found)


def test_cost_without_depopulation(bursts: dict[str, list[Burst]]) -> None:
    assert {(burst.depopulated, burst.most) for burst in bursts["linux_5_12"]} == {(0, 1)}


class SearchesSidelinedFirst(Linux612):
    """Searches the sidelined chunks before all others."""

    __slots__ = ()

    def setup_lists(self, last_searched: int) -> None:
        """Lay out the lists, and search the sidelined one first."""
        super().setup_lists(last_searched)
        late = self.chunk_lists[self.sidelined_slot]
        self.search_lists = [
            [late, *(head for head in heads if head is not late)] for heads in self.search_lists
        ]


def test_cost_catches_a_wrong_order() -> None:
    found = [b for b in piles(SearchesSidelinedFirst, SHORT) if b.state == HELD]
    assert all(burst.broken for burst in found)
    assert found[-1].most == found[-1].depopulated + 1


# plots


def test_removal_plot(small: Workload, curves: dict[str, Curve]) -> None:
    drawn = ElementTree.fromstring(removal_svg([(small, list(curves.values()))]))
    assert len(list(drawn.iter(f"{SVG}circle"))) == len(small.phases) + 1  # and beside its name
    texts = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    held = {f"{name} {curve.memory[-1][1]} kB" for name, curve in curves.items()}
    recorded = f"recorded kernel {small.phases[-1].percpu_kb} kB"
    assert {*held, recorded, "before", "created", "removed"} <= set(texts)
    assert any("MiB" in text for text in texts)
    longest = [p for p in drawn.iter(f"{SVG}polyline") if p.get("points", "").count(" ") > 100]
    assert len(longest) == len(VARIANTS)


def test_stranded_memory_is_a_band_of_its_own_as_thick_as_it_is(small: Workload) -> None:
    memory, stranded = [(0, 4096), (500, 8192), (1000, 6144)], [0, 1024, 2048]
    curve = Curve("linux_6_12", USUAL, [], memory, stranded)
    drawn = ElementTree.fromstring(removal_svg([(small, [curve])]))
    band, sample = drawn.iter(f"{SVG}polygon")
    assert sample.get("fill") == band.get("fill")
    corners = [
        tuple(map(float, corner.split(","))) for corner in band.get("points", "").split()
    ]
    upper, lower = corners[:4], corners[:3:-1]
    thick = [round(b[1] - a[1], 1) for a, b in zip(upper, lower, strict=True)]
    assert thick[0] == 0 and 0 < 2 * thick[1] == pytest.approx(thick[2], abs=0.2)
    four_mib = upper[0][1] - upper[1][1]  # from 4096 kB to 8192
    assert thick[2] == pytest.approx(four_mib / 2, abs=0.2)
    assert thick[3] == thick[2] and upper[3][0] > upper[2][0]  # what is held in the end
    assert "linux_6_12 stranded 2048 kB" in [text.text for text in drawn.iter(f"{SVG}text")]


def test_names_stand_at_the_ends_of_lines_and_apart(
    curves: dict[str, Curve], small: Workload
) -> None:
    drawn = ElementTree.fromstring(removal_svg([(small, list(curves.values()))]))
    names = [t for t in drawn.iter(f"{SVG}text") if " kB" in (t.text or "")]
    assert len(names) > len(VARIANTS)
    heights = sorted(float(name.get("y", "")) for name in names)
    assert min(b - a for a, b in pairwise(heights)) >= 12
    width = float(drawn.get("width", ""))
    assert all(float(n.get("x", "")) + 7.5 * len(n.text or "") <= width for n in names)


def test_what_a_request_examines_after_a_workload_is_a_bar() -> None:
    found = [
        Burst("linux_6_12", "cg612_4", 42, 39, 545, 37, 2.22, 40, 0, ""),
        Burst("reference", "cg612_4", 42, 39, 20, 1, 1.0, 40, 0, ""),
        Burst("rfc_1", "cg612_4", 43, 33, 0, 0, 0.0, 1, 0, ""),
    ]
    drawn = ElementTree.fromstring(cost_svg([], found))
    wide = [float(bar.get("width", "")) for bar in list(drawn.iter(f"{SVG}rect"))[-3:]]
    assert wide[0] == pytest.approx(37 * wide[1], rel=0.01) and wide[2] == 1
    texts = " ".join(text.text or "" for text in drawn.iter(f"{SVG}text"))
    assert "37, on average 2.22, for 545 served; 39 of 42 chunks depopulated" in texts
    assert "none served" in texts


def test_cost_plot(every_burst: list[Burst]) -> None:
    drawn = ElementTree.fromstring(cost_svg(every_burst))
    dots = list(drawn.iter(f"{SVG}circle"))
    assert len(dots) == len(VARIANTS) * len(SHORT) * len(SHAPES)
    dots = dots[: len(dots) // len(SHAPES)]  # of the first panel
    heights: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for dot in dots:
        heights[(dot[0].text or "").partition(":")[0]].append(float(dot.get("cy", "")))
    assert heights["rfc_1"] == sorted(heights["rfc_1"], reverse=True)
    assert len(set(heights["linux_6_12"])) == 1
    assert any("COST-1" in (text.text or "") for text in drawn.iter(f"{SVG}text"))


# the command


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["workload", *map(str, arguments)])


@pytest.mark.deep
def test_removal_as_json(tmp_path: Path) -> None:
    svg = tmp_path / "x.svg"
    chosen = ("--variant", "linux_5_12", "--variant", "linux_6_12", "--gap", 0)
    result = call("removal", SMALL, *chosen, "--timings", "--svg", svg, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    one = found["workloads"]["cgkp61_4_one"]
    assert list(one["variants"]) == ["linux_5_12", "linux_6_12"]
    assert [phase["ratio"] for phase in one["variants"]["linux_6_12"]["phases"]] == [1.0] * 7
    assert len(one["timings"]) == len(command.TIMINGS)
    assert found["bands"] == BANDS
    assert found["ok"]
    assert svg.read_text().startswith("<svg")


def test_removal_as_tables() -> None:
    result = call("removal", SMALL, "--variant", "linux_6_12", "--gap", 0)
    assert result.exit_code == 0
    assert "before +0.0%, created +0.0%, removed +0.0%" in " ".join(result.output.split())
    assert "RFC cover" in result.output


@pytest.mark.deep
def test_removal_too_far_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "linux_6_12", KeepsEverything)
    result = call("removal", SMALL, "--variant", "linux_6_12")
    assert result.exit_code == 1
    assert "removed too far" in result.output


@pytest.mark.deep
def test_cost_command(tmp_path: Path) -> None:
    svg = tmp_path / "x.svg"
    chosen = ("--variant", "rfc_1", "--variant", "linux_6_12")
    result = call("cost", *chosen, "--after", SMALL, "--svg", svg, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["breaking"] == ["rfc_1"]
    assert {burst["state"] for burst in found["variants"]["rfc_1"]} == set(SHAPES)
    assert found["variants"]["rfc_1"][-1]["most"] > 128
    assert found["variants"]["linux_6_12"][-1]["most"] == 1
    assert found["after"]["linux_6_12"]["depopulated"] > 0
    assert svg.exists()
    shown = call("cost", *chosen)
    assert "rfc_1 breaks COST-1, as it declares" in shown.output


def test_cost_broken_without_declaring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "linux_6_12", SearchesSidelinedFirst)
    result = call("cost", "--variant", "linux_6_12")
    assert result.exit_code == 1
    assert "not expected" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("removal", "nosuch"), "WORKLOAD: expected one of cg510_4, cg612_4"),
        (("removal", "--variant", "nosuch"), "variant 'nosuch'"),
        (("cost", "--variant", "nosuch"), "variant 'nosuch'"),
        (("cost", "--after", "nosuch"), "WORKLOAD: expected one of"),
        (("cost", "--variant", "linux_6_12", "--svg", "/nosuch/x.svg"), "no such folder"),
        (("removal", "--gap", "-1"), "--gap"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_an_interruption_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Callable[..., Curve] = run_workload

    def interrupted(workload: Workload, name: str, *rest: Any) -> Curve:
        if name == "linux_6_12":
            raise KeyboardInterrupt
        return run(workload, name, *rest)

    monkeypatch.setattr(command, "run_workload", interrupted)
    result = call("removal", SMALL, "--variant", "linux_5_12", "--variant", "linux_6_12", "--json")
    assert result.exit_code == 130
    found = json.loads(result.stdout)
    assert found["interrupted"]
    assert not found["ok"]
    assert list(found["workloads"]["cgkp61_4_one"]["variants"]) == ["linux_5_12"]


def test_shipped_names() -> None:
    assert shipped() == ["cg510_4", "cg612_4"]


def test_every_fix_has_its_cost() -> None:
    result = CliRunner().invoke(main, ["workload", "fixes", "--operations", "3000", "--json"])
    assert result.exit_code == 0
    costs = json.loads(result.output)
    assert costs.keys() >= {"linux_6_12", "reference", *(fix.NAME for fix in FIXES)}
    # a fix that rescans whole chunks on every free would reach many times as many blocks
    assert costs["reference"]["blocks"] < 1.5 * costs["linux_6_12"]["blocks"]
    unknown = CliRunner().invoke(main, ["workload", "fixes", "c99"])
    assert unknown.exit_code == 2 and "c10" in unknown.output

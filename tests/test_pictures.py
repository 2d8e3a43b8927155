"""Drawings as SVG: valid, of one legend, whole at the width of a page; and those of README."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.show.canvas import PAPER, STRANDED, Canvas
from percpu_proofs.show.chart import Bar, Bars, Panel, Series, Style, chart_svg
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.svg import chunk_svg, overview_svg
from percpu_proofs.workload.plots import cost_svg, removal_svg
from percpu_proofs.workload.recorded import USUAL, Curve, Workload, load
from percpu_proofs.workload.search_cost import Burst
from percpu_reference.variants import VARIANTS, build
from percpu_spec.geometry import Geometry

SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"title": 17, "faint": 11, "mono": 11}
PICTURES = {
    "removal.svg": ("removal", "cg612_4"),
    "cost.svg": ("cost", "--after", "cg612_4"),
}
"""README's pictures, and what `percpu-spec workload` makes them with."""


def state(title: str = "a state") -> StatePicture:
    """Return a state with an isolated chunk that has an empty page, and one on a list that has."""
    sizes = Geometry(unit=32768, static=4096, reserved=0, dyn=28672)
    machine = Driver(build("linux_6_12", sizes))
    lines = [f"a {n} 4096 4 -" for n in range(1, 23)] + ["f 12", "f 21"]
    machine.run(parse_operations(Path("x"), lines))
    chunk = next(c for c in machine.allocator.chunks() if c.id == 1)
    machine.allocator.spin_lock()
    machine.allocator.isolate_chunk(chunk)
    machine.allocator.spin_unlock()
    return picture_of_state(machine.allocator, title=title)


def empty_curves(workload: Workload) -> list[Curve]:
    return [
        Curve(name, USUAL, [], [(0, 1104), (99, 81360), (200, 36752)], [0, 0, 8400])
        for name in VARIANTS
    ]


def burst(name: str) -> Burst:
    return Burst(name, "a state of a name as long as paths of files are", 42, 39, 545, 37, 2.2, 40,
                 0, "")  # fmt: skip


DRAWINGS: dict[str, Callable[[], str]] = {
    "chunk": lambda: chunk_svg(state(), "1"),
    "chunk of a long path": lambda: chunk_svg(state("/x" * 99), "1"),
    "all chunks": lambda: overview_svg(state()),
    "all chunks of a long path": lambda: overview_svg(state("/x" * 99)),
    "removal": lambda: removal_svg([(load("cg612_4"), empty_curves(load("cg612_4")))]),
    "cost": lambda: cost_svg(map(burst, VARIANTS), list(map(burst, VARIANTS))),
    "nothing": lambda: chart_svg("nothing", [Panel("", "", "", []), Bars("", [])]),
    "README's removal": lambda: (data.folder("pictures") / "removal.svg").read_text("utf-8"),
    "README's cost": lambda: (data.folder("pictures") / "cost.svg").read_text("utf-8"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_whole_has_a_ground_and_asks_nothing_of_the_net(name: str) -> None:
    text = DRAWINGS[name]()
    root = ElementTree.fromstring(text)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert 850 <= width <= 960
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    ground = next(root.iter(f"{SVG}rect"))
    assert (ground.get("width"), ground.get("fill")) == ("6", PAPER)  # of the hatch
    assert [r.get("fill") for r in root.iter(f"{SVG}rect") if r.get("width") == "100%"] == [PAPER]
    for one in root.iter(f"{SVG}text"):
        if one.get("transform"):
            continue
        size = SIZES.get(one.get("class", ""), 12)
        wide = float(one.get("textLength", 0.56 * size * len(one.text or "")))
        x = float(one.get("x", ""))
        x -= wide * {"end": 1, "middle": 0.5}.get(one.get("text-anchor", ""), 0)
        assert x >= 0 and x + wide <= width, one.text
        assert 0 < float(one.get("y", "")) <= height


def test_empty_pages_of_an_isolated_chunk_stand_out() -> None:
    shown = state()
    isolated = next(c.name for c in shown.chunks.values() if "isolated" in c.marks)
    other = next(c.name for c in shown.chunks.values() if c.empty and c.name != isolated)
    legend = 1  # the colour is in the legend of each
    assert chunk_svg(shown, isolated).count(STRANDED) == legend + 2  # of the bar, and its row
    assert chunk_svg(shown, other).count(STRANDED) == legend
    assert overview_svg(shown).count(STRANDED) == legend + 1


def test_a_drawing_has_one_legend() -> None:
    for text in (chunk_svg(state(), "1"), overview_svg(state())):
        texts = [one.text for one in ElementTree.fromstring(text).iter(f"{SVG}text")]
        assert texts.count("unpopulated") == texts.count("populated, empty") == 1


def test_what_is_too_long_is_set_narrower() -> None:
    canvas = Canvas(100)
    canvas.text(10, 10, "x" * 50)
    canvas.text(90, 20, "x" * 50, anchor="end")
    canvas.text(10, 30, "short")
    lengths = [t.get("textLength") for t in ElementTree.fromstring(canvas.finish(9, "x"))
               .iter(f"{SVG}text")]  # fmt: skip
    assert lengths == ["86", "86", None]


def test_bars_are_as_long_as_their_values() -> None:
    style = Style("#123456")
    text = chart_svg("x", [Bars("b", [Bar("a", 8, "", style), Bar("b", 2, "", style)])])
    drawn = [r for r in ElementTree.fromstring(text).iter(f"{SVG}rect")
             if r.get("fill") == style.colour]  # fmt: skip
    assert float(drawn[0].get("width", "")) == pytest.approx(4 * float(drawn[1].get("width", "")))


def test_a_line_that_ends_early_has_no_leader_across_the_panel() -> None:
    style = Style("#123456")
    lines = [Series("long", [(0, 1), (9, 2)], style), Series("early", [(0, 1)], style)]
    drawn = ElementTree.fromstring(chart_svg("x", [Panel("", "", "", lines)]))
    leaders = [p for p in drawn.iter(f"{SVG}polyline") if p.get("stroke-width") == "0.6"]
    assert len(leaders) == 1
    assert {"long", "early"} <= {text.text for text in drawn.iter(f"{SVG}text")}


@pytest.mark.deep
@pytest.mark.parametrize("name", PICTURES)
def test_readmes_pictures_are_what_the_command_draws(name: str, tmp_path: Path) -> None:
    made = tmp_path / name
    result = CliRunner().invoke(main, ["workload", *PICTURES[name], "--svg", str(made)])
    assert result.exit_code == 0, result.output
    assert made.read_bytes() == (data.folder("pictures") / name).read_bytes()

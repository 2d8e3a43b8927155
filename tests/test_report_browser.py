"""Reports in headless Chromium: links, search, stepping, colours, a phone's width, print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from html5lib import HTMLParser
from pages import MISSING, browser
from test_report import cells

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.report.book import book

pytestmark = pytest.mark.deep

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a report of each kind."""
    folder = tmp_path_factory.mktemp("reports")
    found = {name: folder / f"{name}.html" for name in ("book", "review", "state")}
    found["book"].write_text(book(cells())[0], "utf-8")
    searches = ["--search", "quarters", "--search", "reuse", "--no-cache", "--jobs", "1"]
    review = ["review", "--variant", "linux_6_12", *searches, "--html", str(found["review"])]
    assert CliRunner().invoke(main, review).exit_code == 0
    saved = data.folder("states") / "612_4.removed60.txt.gz"
    CliRunner().invoke(main, ["state", str(saved), "--html", str(found["state"])])
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser that runs, without a window."""
    path = browser()
    if path is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        # as root there is no sandbox; pages are our own
        running = tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(chromium: Any, reports: dict[str, Path]) -> Iterator[Any]:
    """Return what opens a report; nothing may be fetched, nothing be said on the console."""
    said: list[str] = []
    contexts = []

    def open_report(name: str, size: dict[str, int] = DESK, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        address = reports[name].as_uri()
        page.on("request", lambda request: request.url == address or said.append(request.url))
        page.goto(address)
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize("name", ["book", "review", "state"])
def test_a_report_is_valid(reports: dict[str, Path], name: str) -> None:
    HTMLParser(strict=True).parse(reports[name].read_text("utf-8"))  # raises for what is not


@pytest.mark.parametrize("name", ["book", "review", "state"])
def test_nothing_is_wider_than_a_phone(opened: Any, name: str) -> None:
    page = opened(name, PHONE)
    for opening in (False, True):
        if opening:  # whatever can be opened
            page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    wide = "main > section, .walk, h1, h2, h3, p"
    assert page.evaluate(
        "(wide) => [...document.querySelectorAll(wide)].filter(one => !one.closest('.wide, pre')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.textContent)", wide
    ) == []  # fmt: skip


@pytest.mark.parametrize("name", ["book", "review", "state"])
def test_dark_and_light_differ_and_can_be_read(opened: Any, name: str) -> None:
    colours = [
        opened(name, DESK, scheme).evaluate(
            "['backgroundColor', 'color'].map((of) => getComputedStyle(document.body)[of])"
        )
        for scheme in ("light", "dark")
    ]
    light, dark = ([_brightness(colour) for colour in pair] for pair in colours)
    assert light[0] - light[1] > 150 and dark[1] - dark[0] > 150


def _brightness(colour: str) -> float:
    """Return how bright a colour of CSS is, from 0 to 255."""
    parts = colour.removeprefix("rgb(").removesuffix(")").split(",")
    return sum(map(float, parts)) / 3


def test_search_finds_a_clause_by_its_words(opened: Any) -> None:
    page = opened("book")
    page.keyboard.press("/")
    page.keyboard.type("sidelined quiescent")
    first = page.locator("#hits a").first
    assert "RCL-3" in page.locator("#hits").inner_text()
    page.locator("#search").fill("hint-5")
    assert first.inner_text().startswith("HINT-5: ")
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#HINT-5'")
    assert page.locator("#HINT-5").is_visible() and page.locator("#hits").is_hidden()
    top = page.evaluate("document.getElementById('HINT-5').getBoundingClientRect().top")
    head = page.evaluate("document.querySelector('header').getBoundingClientRect().bottom")
    assert head - 1 <= top < DESK["height"] / 2  # below what sticks to the top
    page.locator("#search").fill("pcpu_isolate")
    assert first.inner_text().startswith("pcpu_isolate_chunk")
    for spelled in ("hint5", "HINT_5", "Hint 5", "hint-05"):
        page.locator("#search").fill(spelled)
        assert first.inner_text().startswith("HINT-5: ")
    for suffix in (".isra.0", ".constprop.0.isra.1", ".part.0+0x12/0x40", ".cold", "()"):
        page.locator("#search").fill(f"pcpu_isolate_chunk{suffix}")
        assert first.inner_text().startswith("pcpu_isolate_chunk")
    page.locator("#search").fill("pcpu_isolat_chnk")
    assert page.locator("#hits").inner_text().startswith("no match; nearest:")
    assert first.inner_text().startswith("pcpu_isolate_chunk")
    page.locator("#search").fill("qqqqq")
    assert page.locator("#hits").inner_text() == "no match, and nothing is near"


def test_a_counterexample_is_walked_through(opened: Any) -> None:
    page = opened("book")
    walk = page.locator("#walk-RCL-3-linux_6_12")
    where, shown = walk.locator("output"), walk.locator(".panel:visible")
    back, on = walk.locator(".player button").all()
    steps = walk.locator(".panel").count() - 1
    assert steps >= 4 and shown.count() == 1 and back.is_disabled()
    seen = [shown.inner_text()]
    for number in range(1, steps + 1):
        on.click()
        assert where.inner_text() == f"step {number} of {steps}"
        assert shown.count() == 1
        assert walk.locator(".ladder tr.now td").first.inner_text() == str(number)
        seen.append(shown.inner_text())
    assert len(set(seen)) == steps + 1 and "RCL-3: a sidelined chunk keeps" in seen[-1]
    assert on.is_disabled()
    walk.focus()
    page.keyboard.press("ArrowLeft")
    assert shown.inner_text() == seen[-2]
    page.keyboard.press("Home")
    assert shown.inner_text() == seen[0]
    walk.locator(".ladder tbody tr").nth(2).click()
    assert shown.inner_text() == seen[2]


def test_a_link_opens_what_is_closed_around_its_place(opened: Any) -> None:
    page = opened("state")
    folded = page.locator("#chunks details").nth(1)
    place = folded.get_attribute("id")
    assert not folded.evaluate("(one) => one.open")
    page.locator(f"#map a[href='#{place}']").first.click()
    page.wait_for_function(f"document.getElementById('{place}').open")


def test_print_has_all_steps_and_nothing_to_press(opened: Any) -> None:
    page = opened("book")
    walk = page.locator("#walk-RCL-3-linux_6_12")
    assert page.locator("header").is_visible()
    ink = "one => getComputedStyle(one).color"
    keyword = page.locator("pre .k").first.evaluate(ink)
    page.emulate_media(media="print", color_scheme="dark")  # paper is light all the same
    assert page.locator("pre .k").first.evaluate(ink) == keyword
    assert page.locator("header").is_hidden() and page.locator("nav").is_hidden()
    assert walk.locator(".player").is_hidden()
    assert walk.locator(".panel:visible").count() == walk.locator(".panel").count()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


def test_a_number_stands_on_the_line_of_its_clause(opened: Any) -> None:
    for size in (PHONE, DESK):
        pairs = opened("book", size).locator("#releases .counted")
        assert pairs.count() > 20
        heights = {pair.evaluate("one => one.getClientRects().length") for pair in pairs.all()}
        lines = {round(pair.bounding_box()["height"] / 20) for pair in pairs.all()}
        assert heights == {1} and lines == {1}


def test_without_scripts_all_is_there(chromium: Any, reports: dict[str, Path]) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["book"].as_uri())
    panels = page.locator("#walk-RCL-3-linux_6_12 .panel")
    assert panels.count() > 1 and all(panel.is_visible() for panel in panels.all())
    assert page.locator(".player:visible").count() == 0  # nothing to press that does nothing
    context.close()

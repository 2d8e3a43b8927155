"""The searches of a tree at pages of other sizes: what is asked for there, and what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from depth import deep_unless
from kernel_trees import FOUND, MISSING, tree_of
from searched_trees import FEWEST, SEARCHES, outcome_of

from percpu_proofs.explore.scenario import parse_scenario
from percpu_proofs.kernel.search.plans import at_page, of_scenario, shallower
from percpu_proofs.review.trees import searches_for
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import text_of
from percpu_proofs.run.sizes import page_size


def requests(name: str, page: int) -> list[str]:
    plan = at_page(SEARCHES[name], page).plan
    return [text_of(operation).removeprefix("a 0 ") for operation in plan.operations]


REQUESTS = [
    ("pages", 4096, ["28672 4 -", "4096 4 -", "4096 4 A"]),
    ("pages", 8192, ["32768 4 -", "8192 4 -", "8192 4 A"]),
    ("pages", 65536, ["65536 4 -", "65536 4 A"]),
    ("quarters", 16384, ["4096 4 -", "8192 4 -", "4096 8192 -"]),
    ("crumbs", 65536, ["65520 4 -", "4 4 -", "12 4 -"]),
    ("reserved", 16384, ["16384 4 R", "32768 4 -", "16384 4 AR", "16384 12 W", "32772 4 W"]),
]


@pytest.mark.parametrize(("name", "page", "wanted"), REQUESTS)
def test_requests_by_pages(name: str, page: int, wanted: list[str]) -> None:
    assert requests(name, page) == wanted


@pytest.mark.parametrize("page", [8192, 16384, 65536])
@pytest.mark.parametrize("name", [n for n, search in SEARCHES.items() if search.plan.longest])
def test_every_size_is_one_that_a_kernel_boots_with(name: str, page: int) -> None:
    sizes = at_page(SEARCHES[name], page).plan.geometry
    assert sizes.page == page
    assert sizes.unit_pages >= 2
    assert sizes.dyn >= min(sizes.largest, sizes.unit - page)


def test_a_review_at_a_page_size_has_all_open_searches() -> None:
    small, large = searches_for(()), searches_for((), page=page_size("page=65536"))
    assert [s.name for s in large] == [s.name for s in small if s.plan.longest]
    for wrong, message in (("page=12288", "expected one of 4096"), ("unit=65536", "page=N alone")):
        with pytest.raises(InputError, match=message):
            page_size(wrong)


@pytest.mark.skipif(not FOUND, reason=MISSING)
@pytest.mark.parametrize(
    ("name", "page", "broken"),
    deep_unless(
        lambda name, page, _: (name, page) == ("pages", 65536),
        [
            ("quarters", 65536, {"HINT-3": 3, "HINT-4": 4}),
            ("crumbs", 16384, {"HINT-5": 3}),
            ("pages", 65536, {"BAL-2": 1}),
            ("whole", 16384, {"BAL-1": 6, "BAL-2": 1, "RCL-3": 6}),
        ],
    ),
)
def test_what_6_12_breaks_at_larger_pages(
    name: str, page: int, broken: dict[str, int], built: Path
) -> None:
    search = shallower(at_page(SEARCHES[name], page))
    if name == "pages":
        search = shallower(shallower(search))
    outcome = outcome_of(tree_of(FOUND[-1]), built / f"paged-{page}", search)
    assert outcome.complete
    found = {clause: e.length for clause, e in outcome.examples.items()}
    assert broken.items() <= found.items()
    assert found.keys() <= FEWEST.keys()


SCENARIO = """\
geometry unit=32768,static=0,reserved=0,dyn=32768,cpus=1,backing=km
setup
  {pin}
  a 2 32764 4 -
  a 3 32768 4 -
  f 2
actors
  f 3
"""


@pytest.mark.skipif(not FOUND, reason=MISSING)
@pytest.mark.deep
def test_a_kernel_without_smp_is_searched(built: Path) -> None:
    """Its first chunk, were it wholly free, would be destroyed; an area of boot's keeps it."""
    found = {}
    for pin in ("a 1 4 4 -", "b"):
        scenario = parse_scenario(Path("up.txt"), SCENARIO.format(pin=pin))
        outcome = outcome_of(tree_of(FOUND[-1]), built / "up", of_scenario(scenario))
        found[pin] = outcome.examples.keys()
    assert not found["a 1 4 4 -"]
    assert found["b"] >= {"LIST-1", "RCL-2"}

"""What a reviewer's variant keeps by itself: searches copy it, tell it apart, and see its loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Explored, Mode
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap
from percpu_reference.kept import UnknownStateError
from percpu_reference.variants import VARIANTS
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

SCENARIO = SCENARIOS["reclaim-free"]
FEW = SCENARIOS["freed-whole"]  # of few schedules


class _Counting(Linux612):
    """Reclaims at every third question only: what it does depends on a count of its own."""

    asked = 0

    def should_reclaim_chunk(self, chunk: Chunk) -> bool:
        self.asked += 1
        return super().should_reclaim_chunk(chunk) and self.asked % 3 == 0


class _Remembering(Linux612):
    """Remembers the chunks freed into, with and without __slots__ alike."""

    def __init__(self, geometry: Geometry, **given: Any) -> None:
        super().__init__(geometry, **given)
        self.freed: dict[str, list[Chunk]] = {"chunks": []}

    def check_freed_chunk(self, chunk: Chunk) -> bool:
        self.freed["chunks"].append(chunk)
        return super().check_freed_chunk(chunk)


class _Stepping(Linux612):
    """Passes on the gaps of the balance work one by one; where it stands is in no plain value."""

    __slots__ = ()

    def balance_workfn(self) -> Iterator[Gap]:  # type: ignore[override]
        steps = super().balance_workfn()
        while True:
            try:
                yield next(steps)
            except StopIteration:
                return


class _Looping(Linux612):
    """Lets others run twice first; how often it has is in no variable."""

    __slots__ = ()

    def balance_workfn(self) -> Iterator[Gap]:  # type: ignore[override]
        for _ in (None, None):
            yield Gap("look around")
        yield from super().balance_workfn()


class _Restless(Linux612):
    """Asks for the work again while a sidelined chunk has empty pages, which no run changes."""

    __slots__ = ()

    def first_unpopulated(self, number: int) -> Chunk | None:
        for chunk in self.chunk_lists[number]:
            if chunk.nr_pages - chunk.nr_populated and not chunk.isolated:
                return chunk
        return None

    def balance_workfn(self) -> Any:
        yield from super().balance_workfn()
        if any(chunk.nr_empty_pop_pages for chunk in self.chunk_lists[self.sidelined_slot]):
            self.schedule_balance_work()


@pytest.fixture(autouse=True)
def variants(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (_Counting, _Remembering, _Stepping, _Looping, _Restless):
        monkeypatch.setitem(VARIANTS, cls.__name__, cls)


def searched(variant: str, mode: Mode = "matching", scenario: str = SCENARIO.name) -> Explored:
    return search(SCENARIOS[scenario].start(variant), mode)


@pytest.mark.parametrize(
    ("variant", "scenario"),
    [("_Counting", SCENARIO), ("_Remembering", SCENARIO), ("_Stepping", SCENARIO),
     ("_Looping", FEW)],
)  # fmt: skip
def test_searches_agree(variant: str, scenario: Scenario) -> None:
    """With state matching as many schedules are counted as are run one by one."""
    every = searched(variant, "all", scenario.name)
    matched = searched(variant, "matching", scenario.name)
    assert (every.schedules, every.covered) == (matched.schedules, matched.covered)
    assert every.findings.keys() == matched.findings.keys()


def test_steps_passed_on_are_those_of_the_variant() -> None:
    plain, stepping = searched("linux_6_12"), searched("_Stepping")
    assert (plain.states, plain.schedules) == (stepping.states, stepping.schedules)
    assert plain.findings.keys() == stepping.findings.keys()


def test_attributes_are_copied_and_compared() -> None:
    origin = build(_Remembering, Geometry().with_changes(SCENARIO.geometry))
    area = origin.alloc(4096, 4)
    before, copies = origin.clone()
    origin.free(area)
    assert before.own_state() != origin.own_state()
    after, copies = origin.clone()
    assert after.own_state() == origin.own_state()
    kept: Any = after
    assert kept.freed["chunks"] == [copies[area[0]]]
    kept.freed["chunks"].clear()
    after.restore(origin, copies)
    assert after.own_state() == origin.own_state()


def test_what_cannot_be_compared_is_refused() -> None:
    allocator: Any = build(_Counting, Geometry().with_changes(SCENARIO.geometry))
    allocator.table = object()
    with pytest.raises(UnknownStateError, match=r"_Counting\.table holds a object"):
        allocator.own_state()


def test_work_without_rest_is_found_where_only_a_race_leads_to_it() -> None:
    """No run of the work ends the asking; the clauses about rest are never asked of it."""
    found = searched("_Restless").findings
    assert "asks for itself again" in found["BAL-3"].message
    assert "BAL-3" not in searched("linux_6_12").findings


def test_an_end_with_work_pending_is_run_to_rest() -> None:
    """`reuse` ends with one run of the work spent; the next would show what it leaves behind."""
    found = searched("linux_6_12", scenario="reuse").findings
    assert "after 1 more runs of the work" in found["RCL-3"].message

"""What a reviewer's variant keeps by itself: searches copy it, tell it apart, and see its loops."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from percpu_proofs.explore.fingerprint import state_key
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Exploration, Mode
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.world import World
from percpu_proofs.show.picture import picture_of_state
from percpu_reference import build
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Gap, Steps
from percpu_reference.own_state import UnknownStateError
from percpu_reference.variants import VARIANTS, Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

SHIPPED = tuple(VARIANTS)
SCENARIO = SCENARIOS["reclaim-free"]
FEW = SCENARIOS["freed-whole"]  # of few schedules
FILLED = tuple(f"a {handle} 4096 4 -" for handle in range(1, 6))
FREES = Scenario("frees", "three frees into one chunk", FILLED, ("f 1", "f 2", "f 4"))


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


class _Tagging(Linux612):
    """Remembers in a chunk what was freed last, and lets others run before the next free if odd."""

    def free_area(self, chunk: Any, off: int) -> int:
        chunk.last = off
        return super().free_area(chunk, off)

    def free_percpu(self, area: Area | None) -> Steps[None]:
        if area is not None and getattr(area[0], "last", 0) // 4096 % 2:
            yield Gap("look around")
        yield from super().free_percpu(area)


class _AgedChunk(Chunk):
    """Has a field in a slot, and one with a default."""

    __slots__ = ("__dict__", "age")

    neighbours: tuple[dict[str, list[Chunk]], ...] = ()

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.age = 0


class _Ageing(Linux612):
    """Declares the class of its chunks; a field of theirs holds chunks in containers."""

    __slots__ = ()

    CHUNK = _AgedChunk

    def free_area(self, chunk: Any, off: int) -> int:
        chunk.age = off // 4096 % 2
        chunk.neighbours = ({"next": [c for c in self.chunks() if c.id > chunk.id]},)
        return super().free_area(chunk, off)

    def free_percpu(self, area: Any) -> Steps[None]:
        if area[0].age:
            yield Gap("look around")
        yield from super().free_percpu(area)


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
    for cls in (_Counting, _Remembering, _Stepping, _Looping, _Restless, _Tagging, _Ageing):
        monkeypatch.setitem(VARIANTS, cls.__name__, cls)


def searched(variant: str, mode: Mode = "matching", scenario: str = SCENARIO.name) -> Exploration:
    return search(SCENARIOS[scenario].start(variant), mode)


@pytest.mark.parametrize(
    ("variant", "scenario"),
    [("_Counting", SCENARIO), ("_Remembering", SCENARIO), ("_Stepping", SCENARIO),
     ("_Looping", FEW), ("_Tagging", FREES), ("_Ageing", FREES)],
)  # fmt: skip
def test_searches_agree(variant: str, scenario: Scenario) -> None:
    """With state matching as many schedules are counted as are run one by one."""
    every = search(scenario.start(variant), "all")
    matched = search(scenario.start(variant), "matching")
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


def _set_tag(chunk: Any) -> None:
    chunk.last = 1


def _set_age(chunk: Any) -> None:
    chunk.age += 1


def _set_deep(chunk: Any) -> None:
    chunk.neighbours = ({"next": [chunk]},)


@pytest.mark.parametrize(
    ("cls", "change"), [(_Tagging, _set_tag), (_Ageing, _set_age), (_Ageing, _set_deep)]
)
def test_states_that_differ_in_a_chunks_field_alone_are_two(
    cls: type[Allocator], change: Callable[[Any], None]
) -> None:
    origin = build(cls, Geometry().with_changes(SCENARIO.geometry))
    origin.alloc(28672, 4)
    origin.alloc(4096, 4)
    one, two, three = (World(Start(origin, {}, ())) for _ in range(3))
    assert one.shared() == three.shared()
    changed = list(two.allocator.chunks())[-1]
    change(changed)
    assert one.shared() != two.shared() and one.protected() != two.protected()
    assert state_key(one.allocator) != state_key(two.allocator)
    saved = two.save()
    twin, copies = two.allocator.clone()
    assert state_key(twin) == state_key(two.allocator)
    assert all(f is not g for f, g in zip(twin.chunks(), two.allocator.chunks(), strict=True))
    if change is _set_deep:
        deep: Any = copies[changed]
        assert deep.neighbours[0]["next"] == [deep]  # of the copy, not of the origin
    two.load(two.begin)
    assert one.shared() == two.shared()
    two.load(saved)
    assert state_key(twin) == state_key(two.allocator)


def test_fields_are_shown_and_restored_away() -> None:
    origin: Any = build(_Tagging, Geometry().with_changes(SCENARIO.geometry))
    copy, copies = origin.clone()
    _set_tag(copy.first_chunk)
    assert "last 1" in picture_of_state(copy).chunks["0"].marks
    copy.restore(origin, copies)
    assert not hasattr(copy.first_chunk, "last")
    assert picture_of_state(copy).chunks["0"].marks == ("first", "immutable")


def test_what_is_one_object_stays_one() -> None:
    origin: Any = build(_Tagging, Geometry().with_changes(SCENARIO.geometry))
    origin.log = origin.first_chunk.log = [origin.first_chunk]
    copy: Any = origin.clone()[0]
    assert copy.log is copy.first_chunk.log is not origin.log
    assert copy.log == [copy.first_chunk]


def test_slots_of_a_variant_count_too() -> None:
    class Slotted(Linux612):
        __slots__ = ("asked", "unset")

        def __init__(self, geometry: Geometry, **given: Any) -> None:
            super().__init__(geometry, **given)
            self.asked = [0]

    origin: Any = build(Slotted, Geometry().with_changes(SCENARIO.geometry))
    copy: Any = origin.clone()[0]
    copy.asked[0] += 1
    assert origin.asked == [0] and copy.own_state() != origin.own_state()


def test_shipped_variants_have_chunks_with_slots_alone() -> None:
    for name in SHIPPED:
        allocator = build(name, Geometry())
        assert type(allocator.first_chunk) is Chunk
        assert not hasattr(allocator.first_chunk, "__dict__")


@pytest.mark.parametrize("on_chunk", [False, True])
@pytest.mark.parametrize("value", [object(), [{"deep": iter([])}], (i for i in ""), random])
def test_what_cannot_be_compared_is_refused(value: object, on_chunk: bool) -> None:
    allocator: Any = build(_Tagging, Geometry().with_changes(SCENARIO.geometry))
    holder = allocator.first_chunk if on_chunk else allocator
    holder.table = value
    with pytest.raises(UnknownStateError, match=r"(OpenChunk|_Tagging)\.table holds a ") as caught:
        state_key(allocator.clone()[0])
    assert caught.value.field == "table"


def test_work_without_rest_is_found_where_only_a_race_leads_to_it() -> None:
    """No run of the work ends the asking; the clauses about rest are never asked of it."""
    found = searched("_Restless").findings
    assert "asks for itself again" in found["BAL-3"].message
    assert "BAL-3" not in searched("linux_6_12").findings


def test_an_end_with_work_pending_is_run_to_rest() -> None:
    """`reuse` ends with one run of the work spent; the next would show what it leaves behind."""
    found = searched("linux_6_12", scenario="reuse").findings
    assert "after 1 more run of the work" in found["RCL-3"].message

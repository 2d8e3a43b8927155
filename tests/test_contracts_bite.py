"""The contracts bite: seeded bugs in every function under contract, and one for every clause."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from depth import deep_unless
from seeded_bugs import KM, Row, cast_for, hunt, plant, repaired
from workloads import HIDDEN, SMALL, Scene, boot, in_scopes, play, scenes
from workloads import KM as KM_GEOMETRY

import percpu_contracts
from percpu_contracts.attach import checked
from percpu_contracts.contract import ensure, marked_names, marks_of
from percpu_contracts.monitor import Monitor
from percpu_contracts.registry import CONTRACTS
from percpu_contracts.violations import ClauseViolation, MisuseError
from percpu_proofs import data
from percpu_proofs.bugs import table
from percpu_proofs.recorded.vectors import Vector, find_vectors, read_vector
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.state_record import Recorder, counter_record
from percpu_reference import build
from percpu_reference.backing import KmBacking
from percpu_reference.chunk import Area, Chunk
from percpu_reference.variants import Allocator, with_backing
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

for _module in pkgutil.iter_modules(percpu_contracts.__path__):
    importlib.import_module(f"percpu_contracts.{_module.name}")

OF_MODULES = ("slots", "hints", "areas", "chunks", "backing", "memcg", "operations", "balance")
BUGS = [row for name in (*OF_MODULES, "steps") for row in table(name)]
REPAIRED, LIMITS, FAST, UNLIKE, EQUAL = map(
    list, map(table, ("repaired", "limits", "fast", "unlike", "equal"))
)
_CLAUSES = re.compile(r"[A-Z]+-[0-9]+( [A-Z]+-[0-9]+)*")
PROMISED = [row for row in UNLIKE if _CLAUSES.fullmatch(row[3])]

UNREACHED = {"km.populate_chunk", "km.post_unmap_tlb_flush"}
"""Of the km backing: a chunk born whole has nothing to populate, and none is reclaimed."""


def rows(table: list[Row], every: int = 1) -> pytest.MarkDecorator:
    numbered = Counter[str]()
    names = []
    for row in table:
        numbered[row[0]] += 1
        names.append(f"{row[0]}-{numbered[row[0]]}")
    return pytest.mark.parametrize(
        ("method", "text", "bug", "said"),
        deep_unless(lambda *row: row in table[::every], table),
        ids=names,
    )


# bugs and what catches them


@rows(BUGS, every=3)
def test_bug_is_caught(method: str, text: str, bug: str, said: str) -> None:
    found = hunt(plant(method, text, bug))
    assert found is not None, "no clause was broken"
    assert found.clause in said.split(), found


@rows([*LIMITS, *REPAIRED], every=3)
def test_bug_is_caught_where_the_clause_is_not_given_up(
    method: str, text: str, bug: str, said: str
) -> None:
    among = in_scopes() if said == "GFP-1" else None
    found = hunt(repaired(plant(method, text, bug)), among=among)
    assert found is not None, "no clause was broken"
    assert found.clause == said, found


@rows(FAST)
def test_bug_is_caught_at_level_fast(method: str, text: str, bug: str, said: str) -> None:
    found = hunt(plant(method, text, bug), "fast")
    assert found is not None, "no clause was broken"
    assert found.clause == said, found


@rows(PROMISED)
def test_bug_that_breaks_a_promise_is_caught(method: str, text: str, bug: str, said: str) -> None:
    bugged = plant(method, text, bug)
    found = hunt(bugged) or hunt(repaired(bugged))
    assert found is not None, "no clause was broken"
    assert found.clause in said.split(), found


@rows(UNLIKE, every=4)
def test_bug_is_caught_by_the_vectors(method: str, text: str, bug: str, said: str) -> None:
    bugged = plant(method, text, bug)
    assert difference(bugged) is not None, f"as the kernel does it, though {said}"
    # a clause that speaks of it now belongs in the first table
    assert (method, text, bug, said) in PROMISED or hunt(bugged, among=scenes()[:2]) is None


@rows(EQUAL)
def test_bug_is_none(method: str, text: str, bug: str, said: str) -> None:
    bugged = plant(method, text, bug)
    for scene in scenes():
        assert end_of(cast_for(scene, bugged), scene) == end_of(cast_for(scene, Linux612), scene)


def difference(bugged: type[Allocator]) -> tuple[str, int] | None:
    """Return file and operation after which a state differs from the recorded one."""
    for vector in vectors():
        allocator = build(bugged, vector.geometry)
        machine, recorder = Driver(allocator), Recorder(allocator)
        for n, record in enumerate(vector.records[1:]):
            machine.run(vector.listed, n, n + 1)
            if recorder.read().crc != record["crc"] or (
                vector.version == "6.12" and counter_record(allocator) != record["x"]
            ):
                return vector.path.name, n + 1
    return None


@cache
def vectors() -> list[Vector]:
    return [read_vector(path) for path in find_vectors([data.folder("vectors")])]


def end_of(cls: type[Allocator] | None, scene: Scene) -> tuple[object, ...]:
    assert cls is not None
    allocator = play(cls, scene).allocator
    return Recorder(allocator).read().crc, counter_record(allocator), allocator.stats


# nothing is left out


def test_every_function_has_a_bug() -> None:
    seeded = {row[0] for row in (*BUGS, *REPAIRED, *FAST)}
    wanted = set(marked_names(Linux612))
    wanted |= {KM + name for name in wanted if name in vars(KmBacking)}
    assert not wanted - seeded - UNREACHED


def test_functions_have_three_bugs_on_average() -> None:
    seeded = Counter(row[0].removeprefix(KM) for row in (*BUGS, *REPAIRED, *FAST))
    marked = [seeded[name] for name in marked_names(Linux612)]
    assert min(marked) >= 1
    assert sum(marked) >= 3 * len(marked)


def test_every_clause_catches_a_bug() -> None:
    """A row with one clause says that this clause is the first to be broken."""
    catching = {row[3] for row in (*BUGS, *REPAIRED, *LIMITS, *PROMISED)}
    # API-2 is for callers to break: see below
    assert set(CONTRACTS.asks()) - catching == {"API-2"}


@pytest.mark.parametrize("variant", [Linux612, repaired(Linux612)], ids=["6.12", "repaired"])
def test_every_clause_is_asked(variant: type[Allocator]) -> None:
    """The scenes reach every clause, and break none that the variant does not declare."""
    asked = Counter[str]()
    for scene in scenes():
        cls = with_backing(variant, scene.geometry.backing)
        monitor = monitor_of(cls, scene.geometry)
        play(checked(cls, "full"), scene, monitor)
        assert monitor.violations.keys() <= cls.EXPECTED.keys()
        asked += monitor.asked()
    assert set(CONTRACTS.asks()) - set(+asked) == set(variant.NOT_APPLICABLE)


def test_every_expected_violation_shows() -> None:
    shown: set[str] = set()
    for scene in scenes():
        monitor = monitor_of(Linux612, scene.geometry)
        play(checked(with_backing(Linux612, scene.geometry.backing), "full"), scene, monitor)
        shown |= monitor.violations.keys()
    assert shown == set(Linux612.EXPECTED)


def monitor_of(
    cls: type[Allocator], geometry: Geometry, *, expected: Iterable[str] | None = None
) -> Monitor:
    """Return a monitor as build makes it, for what else than the declared is expected."""
    vm = {"POP-5"} if geometry.backing == "vm" else set()
    return Monitor(cls.EXPECTED if expected is None else expected, vm | set(cls.NOT_APPLICABLE))


# callers' errors are theirs


@pytest.mark.parametrize(
    "wrong",
    [
        lambda allocator, area: allocator.free(area) or area,
        lambda allocator, area: (area[0], area[1] + 4),
        lambda allocator, area: (area[0], area[1] + 1),
        lambda allocator, area: (area[0], allocator.geometry.unit),
        lambda allocator, area: (allocator.reserved_chunk, 0),
    ],
    ids=["twice", "inside", "misaligned", "outside", "hidden"],
)
def test_freeing_what_is_no_area(wrong: Any) -> None:
    allocator = build(Linux612, HIDDEN, contracts="full")
    area = allocator.alloc(12, 4)
    assert area is not None
    misused = wrong(allocator, area)
    before = Recorder(allocator).read().crc
    with pytest.raises(MisuseError, match="API-2: free at byte"):
        allocator.free(misused)
    assert Recorder(allocator).read().crc == before
    assert allocator.monitor is not None
    assert not allocator.monitor.violations.keys() - {"API-2"}


def test_freeing_nothing_is_no_error() -> None:
    allocator = build(Linux612, SMALL, contracts="full")
    allocator.free(None)
    assert allocator.monitor is not None and not allocator.monitor.violations


# levels, and what a variant declares


def test_off_is_the_class_itself() -> None:
    assert type(build(Linux612, SMALL)) is Linux612
    assert not hasattr(Linux612.alloc_percpu, "__wrapped__")


@pytest.mark.parametrize(("level", "least"), [("fast", {"alloc", "free", "balance"}), ("full", {
    "alloc_percpu", "free_percpu", "balance_workfn"})])  # fmt: skip
def test_a_level_wraps_what_it_asks_of(level: Any, least: set[str]) -> None:
    cls = type(build(Linux612, SMALL, contracts=level))
    wrapped = {name for name in vars(cls) if name in marked_names(Linux612)}
    asked = {n for n in marked_names(Linux612) if any(m.level == level for m in marks_of(cls, n))}
    assert cls.__base__ is Linux612
    assert least <= wrapped == asked


def first_scene(expected: Iterable[str], *, strict: bool = True) -> Monitor:
    monitor = Monitor(expected, Linux612.NOT_APPLICABLE, strict=strict)
    play(checked(Linux612, "full"), scenes()[0], monitor)
    return monitor


def test_declared_violations_are_recorded() -> None:
    monitor = first_scene(Linux612.EXPECTED)
    found = monitor.violations["HINT-5"]
    assert found.expected and found.count > 1 and found.first_message
    assert monitor.missing() == {"HINT-4", "RCL-3", "BAL-1"}


def test_an_undeclared_violation_raises_at_once() -> None:
    first = first_scene(Linux612.EXPECTED).violations["HINT-5"]
    with pytest.raises(ClauseViolation) as error:
        first_scene(Linux612.EXPECTED.keys() - {"HINT-5"})
    assert (error.value.clause, error.value.operation) == ("HINT-5", first.first_operation)
    assert error.value.message == first.first_message


def test_without_strict_an_undeclared_violation_is_recorded() -> None:
    monitor = first_scene((), strict=False)
    assert not monitor.violations["HINT-5"].expected
    declared = first_scene(Linux612.EXPECTED).violations
    assert {c: v.count for c, v in monitor.violations.items()} == {
        c: v.count for c, v in declared.items()
    }


# contracts are inherited


class Eager(Linux612):
    """A reviewer's reclaim that does not look at the float; no contract is written for it."""

    __slots__ = ()

    def should_reclaim_chunk(self, chunk: Chunk) -> bool:
        return not chunk.immutable and chunk.nr_empty_pop_pages > 0


class Careless(KmBacking, Linux612):
    """Overrides of methods that no run reaches."""

    __slots__ = ()

    def populate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> bool:
        self.env.live_pages += page_end - page_start
        return True

    def post_unmap_tlb_flush(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        pass


class Stricter(Linux612):
    """An override that promises more: its contract comes on top of the inherited one."""

    __slots__ = ()

    @ensure("COST-1", lambda self, result: "far off" if result and result[1] > 64 else None)
    def alloc_percpu(self, size: int, align: int, reserved: bool, gfp: int) -> Any:
        return (yield from super().alloc_percpu(size, align, reserved, gfp))


def test_an_override_is_held_to_the_contract_of_its_base() -> None:
    found = hunt(Eager)
    assert found is not None
    assert found.clause == "RCL-1"
    assert hunt(Eager, "fast") is None  # which looks at first blocks and counters only


def test_overrides_out_of_reach_are_held_to_it_too() -> None:
    allocator = boot(checked(Careless, "full"), KM_GEOMETRY, Monitor())
    chunk = Chunk(KM_GEOMETRY, 1, KM_GEOMETRY.unit_pages, 0)
    with pytest.raises(ClauseViolation, match="LOCK-2"):
        allocator.post_unmap_tlb_flush(chunk, 0, 1)
    allocator.alloc_mutex = True
    allocator.post_unmap_tlb_flush(chunk, 0, 1)
    with pytest.raises(ClauseViolation, match="POP-4"):
        allocator.populate_chunk(chunk, 0, 1)


def test_an_override_adds_to_the_contract() -> None:
    allocator = build(Stricter, SMALL, contracts="full")
    area: Area | None = allocator.alloc(8, 4)
    assert area is not None and area[1] <= 64
    with pytest.raises(ClauseViolation, match=r"COST-1 .*far off"):
        while allocator.alloc(8, 4) is not None:
            pass
    assert len(marks_of(Stricter, "alloc_percpu")) == len(marks_of(Linux612, "alloc_percpu")) + 1

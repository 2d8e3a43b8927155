"""Random callers against every clause: Hypothesis drives the allocator and a shadow of its areas.

HYPOTHESIS_PROFILE=deep searches much longer, and differently each time.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any, ClassVar

import pytest
from depth import deep_unless
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from seeded_bugs import plant
from workloads import EARLY, HIDDEN, KERNEL, KM, SMALL

from percpu_contracts.clauses import accounting, lists, maps
from percpu_contracts.violations import MisuseError
from percpu_reference import build
from percpu_reference.chunk import Area
from percpu_reference.variants import Allocator
from percpu_spec import gfp
from percpu_spec.definitions import dynamic_chunks, is_legal, rounded_size
from percpu_spec.geometry import Geometry

settings.register_profile(
    "short",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    stateful_step_count=80,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "deep",
    settings.get_profile("short"),
    derandomize=False,
    max_examples=4000,
    stateful_step_count=150,
)
PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

GEOMETRIES = {
    "small": SMALL,
    "hidden": HIDDEN,
    "km": KM,
    "early": EARLY,
    "kernel": KERNEL,
    # units of four pages of 4 bits: everything is near an edge
    "tiny": Geometry(
        page=16, unit=64, static=8, reserved=0, dyn=40, least_unit=32, cpus=1, empty_low=1,
        empty_high=2,
    ),
}  # fmt: skip

CONTEXTS = (gfp.KERNEL, gfp.KERNEL, gfp.ATOMIC, gfp.NOWAIT, gfp.NOIO, gfp.NOFS)
FAULTS = ("page_fault", "map_fault", "vm_fault", "metadata_fault", "charge_fault")


class Callers(RuleBasedStateMachine):
    """Allocates, frees, runs the balance work and lets things fail, in any order."""

    variant: ClassVar[str | type[Allocator]] = "linux_6_12"
    geometry: ClassVar[Geometry] = SMALL
    areas: Bundle[Any] = Bundle("areas")

    def __init__(self) -> None:
        super().__init__()
        self.allocator = build(self.variant, self.geometry, contracts="full", stats=True)
        self.held: dict[Area, int] = {}  # areas that callers hold, with their size in bytes

    # requests

    def ask(self, size: int, align: int, reserved: bool, flags: int) -> Area | None:
        assert self.allocator.monitor is not None
        self.allocator.monitor.operation += 1
        area = self.allocator.alloc(size, align, reserved=reserved, gfp=flags)
        if area is None:
            return None
        # no two callers are given the same place
        assert area not in self.held
        assert (area[0] is self.allocator.reserved_chunk) == (
            reserved and self.allocator.reserved_chunk is not None
        )
        self.held[area] = rounded_size(self.geometry, size)
        return area

    @rule(
        target=areas,
        grains=st.integers(1, 12),
        scale=st.sampled_from((1, 1, 2, 5)),
        align=st.sampled_from((0, 1, 4, 4, 4, 8, 16)),
        flags=st.sampled_from(CONTEXTS),
        account=st.booleans(),
        modifier=st.sampled_from((0, 0, gfp.NOWARN, gfp.NOFAIL)),
    )
    def alloc_small(
        self, grains: int, scale: int, align: int, flags: int, account: bool, modifier: int
    ) -> Area | None:
        flags |= modifier | (gfp.ACCOUNT if account else 0)
        size = min(grains * scale * 4 - (scale > 1), self.geometry.largest)
        return self.ask(size, min(align, self.geometry.page), False, flags)

    @rule(
        target=areas,
        pages=st.integers(1, 4),
        less=st.sampled_from((0, 0, 4, 8)),
        aligned=st.booleans(),
        flags=st.sampled_from(CONTEXTS),
    )
    def alloc_pages(self, pages: int, less: int, aligned: bool, flags: int) -> Area | None:
        page = self.geometry.page
        size = min(max(pages * page - less, 4), self.geometry.largest)
        return self.ask(size, page if aligned else 4, False, flags)

    @rule(count=st.integers(3, 10), grains=st.sampled_from((1, 3, 7, 16, 30)))
    def fill(self, count: int, grains: int) -> None:
        """Allocate areas that only free_many gives back."""
        for _ in range(count):
            self.ask(min(grains * 4, self.geometry.largest), 4, False, gfp.KERNEL | gfp.NOWARN)

    @rule(target=areas, grains=st.integers(1, 20), flags=st.sampled_from(CONTEXTS))
    def alloc_reserved(self, grains: int, flags: int) -> Area | None:
        return self.ask(min(grains * 4, self.geometry.largest), 4, True, flags)

    @rule(
        size=st.sampled_from((0, -4, 1, 1 << 20)),
        align=st.sampled_from((4, 3, 24, 1 << 16)),
        flags=st.sampled_from(CONTEXTS),
    )
    def alloc_illegal(self, size: int, align: int, flags: int) -> None:
        if not is_legal(self.geometry, size, align):
            assert self.ask(size, align, False, flags | gfp.ACCOUNT) is None

    def give_back(self, area: Area | None) -> None:
        assert self.allocator.monitor is not None
        self.allocator.monitor.operation += 1
        self.allocator.free(area)
        if area is not None:
            del self.held[area]

    @rule(area=consumes(areas))
    def free(self, area: Area | None) -> None:
        if area is None or area in self.held:
            self.give_back(area)

    @rule(area=consumes(areas))
    def free_twice(self, area: Area | None) -> None:
        """The second time is the caller's error, and told as such."""
        if area in self.held:
            self.give_back(area)
            with pytest.raises(MisuseError):
                self.allocator.free(area)

    @rule(first=st.booleans(), count=st.integers(2, 12))
    def free_many(self, first: bool, count: int) -> None:
        """Free a stretch of the areas held, from either end."""
        for area in list(self.held)[:: 1 if first else -1][:count]:
            self.give_back(area)

    # the balance work, and what can go wrong

    @rule()
    def balance(self) -> None:
        self.allocator.balance()

    @rule()
    def balance_if_pending(self) -> None:
        if self.allocator.work_pending:
            self.allocator.balance()

    @rule(
        kind=st.sampled_from(FAULTS),
        count=st.integers(1, 4),
        later=st.booleans(),
    )
    def script_failure(self, kind: str, count: int, later: bool) -> None:
        setattr(getattr(self.allocator.env, kind), "kth" if later else "next", count)

    @rule(waits=st.integers(1, 2))
    def script_kill(self, waits: int) -> None:
        self.allocator.env.killed_waits = waits

    @rule(member=st.booleans())
    def change_task(self, member: bool) -> None:
        self.allocator.env.has_objcg = member

    @precondition(lambda self: not self.allocator.async_enabled)
    @rule()
    def enable_async(self) -> None:
        self.allocator.async_enabled = True

    # what holds between operations, beyond what the monitor asks

    @invariant()
    def areas_are_those_held(self) -> None:
        held = defaultdict(list)
        for (chunk, off), size in self.held.items():
            held[chunk].append((off, size))
        chunks = set(self.allocator.chunks())
        assert held.keys() <= chunks
        for chunk in chunks:
            assert maps.areas_match(chunk, held[chunk], self.geometry) is None
        assert lists.chunks_have_one_place(self.allocator, held) is None

    @invariant()
    def books_are_true(self) -> None:
        allocator = self.allocator
        assert allocator.stats is not None
        assert accounting.counts_are_true(allocator, allocator.stats) is None
        if self.geometry.backing == "vm":
            pages = sum(chunk.populated.count(1) for chunk in dynamic_chunks(allocator))
            assert allocator.env.live_pages == self.geometry.cpus * pages

    def teardown(self) -> None:
        """Free everything and let the work run out: nothing is owed, nothing is lost."""
        allocator, env = self.allocator, self.allocator.env
        for area in list(self.held):
            self.give_back(area)
        assert env.charged == env.objcg_refs == 0
        event(f"chunks created {min(env.creates - 1, 3)}, reclaimed {bool(env.tlb_flushes)}")
        allocator.async_enabled = True
        allocator.balance()
        for _ in range(len(list(allocator.chunks())) + 1):  # BAL-3 says no more
            if allocator.work_pending:
                allocator.balance()
        assert not allocator.work_pending
        self.areas_are_those_held()
        self.books_are_true()
        for chunk in allocator.chunks():
            if not chunk.immutable:
                assert chunk.free_bytes == self.geometry.unit
        if self.geometry.backing == "vm" and len(list(allocator.listed_chunks())) == 1:
            assert env.live_pages == 0


QUICK = {"linux_6_12": ("hidden",), "reference": ("kernel",)}
EACH = [(v, name) for v in ("linux_6_12", "reference") for name in GEOMETRIES]


@pytest.mark.parametrize(
    ("variant", "name"),
    deep_unless(lambda variant, name: name in QUICK[variant], EACH),
)
def test_callers(variant: str, name: str) -> None:
    run(GEOMETRIES[name], variant, PROFILE)


def run(geometry: Geometry, variant: str | type[Allocator], how: settings) -> None:
    """Run the machine on a variant at a geometry; what it finds is raised."""
    machine = type("Callers", (Callers,), {"geometry": geometry, "variant": variant})
    run_state_machine_as_test(machine, settings=how)


BUGS = [
    ("alloc_area", "bound_map[stop] = 1", "pass"),
    ("free_percpu", "self.memcg_free_hook(chunk, off, size)", "pass"),
    ("search_lists_for", "self.reintegrate_chunk(chunk)", "chunk.isolated = False"),
    ("alloc_percpu", "if reserved and self.reserved_chunk", "if self.reserved_chunk"),
]


@pytest.mark.parametrize(
    ("method", "text", "bug"),
    deep_unless(lambda method, *_: method != "search_lists_for", BUGS),
    ids=[row[0] for row in BUGS],
)
def test_the_machine_finds_a_bug(method: str, text: str, bug: str) -> None:
    quick = settings(settings.get_profile("short"), max_examples=200, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run(HIDDEN if "reserved" in text else SMALL, plant(method, text, bug), quick)

"""The allocator refines the machine, and what does not is reported."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from depth import deep_unless
from seeded_allocators import Doubled, EarlySideline, Impatient, KeptFloat, Unflagged
from workloads import KM, SMALL, Scene, boot, play, scenes

from percpu_contracts.attach import checked
from percpu_contracts.monitor import Monitor
from percpu_proofs.data import folder
from percpu_proofs.prove.protocol.claims import NEVER_SEEN
from percpu_proofs.recorded.vectors import find_vectors, read_vector
from percpu_proofs.refine.allocator import action_counts, run_randomly, with_machine
from percpu_proofs.refine.checker import RefinementChecker, StepMismatch
from percpu_proofs.run.driver import Driver as OperationMachine
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import MUTEX, Gap
from percpu_reference.variants import VARIANTS, build, with_backing
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL
from percpu_spec.protocol import freeing, shrinking
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.operators import Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import State
from percpu_spec.protocol.transitions import Transition
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, RFC_1_REVIEWED, on_km

VECTORS = find_vectors([folder("vectors")])[:3]
KERNEL_32K = Geometry(unit=32768, static=4096, reserved=0, dyn=20480, cpus=2)


def machine_of(variant: str, scene: Scene) -> Machine:
    machine = MACHINES[variant]
    return on_km(machine) if scene.geometry.backing == "km" else machine


KEPT = ["linux_5_12", "linux_6_12", "reference"]


@pytest.mark.parametrize("variant", KEPT)
@pytest.mark.parametrize("scene", scenes(), ids=[scene.name for scene in scenes()])
def test_sequential_operations(variant: str, scene: Scene) -> None:
    cls = with_backing(VARIANTS[variant], scene.geometry.backing)
    machine = play(with_machine(cls, machine_of(variant, scene)), scene, None)
    assert machine.allocator.checker.stretches > len(scene.listed.operations) / 2


@pytest.mark.parametrize("variant", ["rfc_1", "rfc_series", "rfc_1_reviewed"])
@pytest.mark.parametrize("number", [0, 2, 7])
def test_sequential_operations_of_the_posting(variant: str, number: int) -> None:
    scene = scenes()[number]
    machine = play(with_machine(VARIANTS[variant], MACHINES[variant]), scene, None)
    assert machine.allocator.checker.stretches > len(scene.listed.operations) / 2


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_recorded_operations(path: Path) -> None:
    vector = read_vector(path)
    machine = followed_machine(vector.geometry)
    machine.run(vector.listed, 0, 1500)
    assert machine.allocator.checker.stretches > 500


def followed_machine(geometry: Geometry) -> OperationMachine:
    return OperationMachine(boot(with_machine(Linux612, LINUX_6_12), geometry, None))


def test_under_full_contracts() -> None:
    scene = scenes()[0]
    monitor = Monitor(Linux612.EXPECTED, Linux612.NOT_APPLICABLE)
    play(with_machine(checked(Linux612, "full"), LINUX_6_12), scene, monitor)
    assert monitor.evaluated


@pytest.mark.parametrize(
    "variant",
    deep_unless(
        lambda variant: variant in ("linux_6_12", "reference"),
        [*KEPT, "rfc_1", "rfc_1_reviewed", "rfc_series"],
    ),
)
def test_every_action_fires_in_random_schedules(variant: str) -> None:
    unseen = {action for name, action in NEVER_SEEN if name == variant}
    assert set(MACHINES[variant].actions) - action_counts(variant).keys() == unseen


@pytest.mark.parametrize("variant", ["linux_6_12", "rfc_1_reviewed"])
def test_random_schedules_on_km(variant: str) -> None:
    cls = with_machine(with_backing(VARIANTS[variant], "km"), on_km(MACHINES[variant]))
    fired = run_randomly(cls, KM, 1, 2000)
    assert {"create", "drain_end", "destroy", "area_ready"} <= fired.keys()


def followed(cls: type[Any] = Linux612, machine: Machine = LINUX_6_12) -> Any:
    return boot(with_machine(cls, machine), SMALL, None)


def test_two_holes_under_one_area() -> None:
    allocator = followed()
    page = SMALL.page
    held = []
    allocator.env.page_fault.next = 1
    while allocator.env.page_fault.next:  # until a new chunk is left without pages
        held.append(allocator.alloc(6 * page, page))
    assert held.pop() is None
    free_list = allocator.chunk_lists[allocator.free_slot]
    allocator.spin_lock()
    allocator.chunk_populated(free_list.next, 1, 2)
    allocator.spin_unlock()
    allocator.checker.reset()

    steps = allocator.alloc_percpu(6 * page, page, False, KERNEL)
    assert (next(steps).start, allocator.checker.actions) == (0, ["area_hole"])
    assert (next(steps).start, allocator.checker.actions) == (2, ["fill_next"])
    assert (next(steps).name, allocator.checker.actions) == ("alloc: test the float", ["fill_done"])


def test_waiting_and_flags_are_no_action() -> None:
    allocator = followed()
    size = 3 * SMALL.page
    while True:  # until an allocation has pages to populate
        holder = allocator.alloc_percpu(size, 4, False, KERNEL)
        if next(holder).name == "alloc: populate":
            break
        list(holder)
    waiter = allocator.balance_workfn()
    assert next(waiter) is MUTEX
    assert allocator.checker.actions == []
    assert next(holder).name == "alloc: test the float"
    assert allocator.checker.actions == ["fill_done"]
    assert list(holder) == [] and allocator.checker.actions == []


def test_creation_and_area_are_one_stretch() -> None:
    allocator = followed()
    taken = []
    while allocator.next_id < 3:
        for _gap in allocator.alloc_percpu(4 * SMALL.page, 4, False, KERNEL):
            taken.append(tuple(allocator.checker.actions))
    assert ("create", "area_hole") in taken
    assert ("miss",) in taken


def wrong_free(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """A free that the float never hears of."""
    move = freeing.free(s, c, pages, left, right)
    return Transition(move.when, lambda: move.then()._replace(floating=s.floating))


MACHINE_BUGS: dict[str, tuple[Machine, str]] = {
    "action dropped": (LINUX_6_12.changed("m", without=("sideline",)), "no such action"),
    "guard weakened": (
        LINUX_6_12.weakened("free", "the chunk does not qualify for reclaim"),
        "place: machine ACTIVE, allocator TO_DEPOPULATE",
    ),
    "wrong effect": (LINUX_6_12.changed("m", {"free": wrong_free}), "float: machine"),
}


ALLOCATOR_BUGS = {
    Unflagged: "isolated: machine True, allocator False",
    KeptFloat: "float: machine",
    EarlySideline: "chunk is on to_depopulate",
    Doubled: "empties: machine",
    Impatient: "holder of pcpu_alloc_mutex|actor",
}


@pytest.mark.parametrize("bug", sorted(MACHINE_BUGS))
def test_bug_in_the_machine_is_reported(bug: str) -> None:
    machine, message = MACHINE_BUGS[bug]
    with pytest.raises(StepMismatch, match=message):
        run_randomly(with_machine(Linux612, machine), SMALL, 1, 3000)


@pytest.mark.parametrize("bug", ALLOCATOR_BUGS, ids=lambda bug: bug.__name__)
def test_bug_in_the_allocator_is_reported(bug: type[Any]) -> None:
    with pytest.raises(StepMismatch, match=ALLOCATOR_BUGS[bug]) as caught:
        run_randomly(with_machine(bug, LINUX_6_12), SMALL, 1, 3000)
    assert caught.value.actor


REVIEWED_BUGS: dict[str, tuple[Machine, str]] = {
    **{
        f"{action} dropped": (RFC_1_REVIEWED.changed("m", without=(action,)), "no such action|mach")
        for action in ("release_begin", "release_end", "sideline", "free", "area")
    },
    "no mark": (
        RFC_1_REVIEWED.changed("m", {"release_begin": shrinking.shrink_begin}),
        "isolated: machine False, allocator True|is listed",
    ),
    "float without isolated chunks": (
        RFC_1_REVIEWED.changed("m", {"release_end": shrinking.shrink_end}),
        "float: machine",
    ),
}


@pytest.mark.parametrize("bug", sorted(REVIEWED_BUGS))
def test_bug_in_the_reviewed_machine_is_reported(bug: str) -> None:
    machine, message = REVIEWED_BUGS[bug]
    with pytest.raises(StepMismatch, match=message):
        run_randomly(with_machine(VARIANTS["rfc_1_reviewed"], machine), SMALL, 1, 3000)


def test_every_variant_has_its_machine() -> None:
    assert MACHINES.keys() == VARIANTS.keys()


def test_missing_flush_is_reported() -> None:
    class Unflushed(with_machine(Linux612, LINUX_6_12)):  # type: ignore[misc]
        """Reclaim comes back from the flush without having flushed."""

        __slots__ = ()

        def post_unmap_tlb_flush(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            return

    Unflushed.__name__ = "Linux612"
    with pytest.raises(StepMismatch, match=r"stale: machine \{\}, allocator"):
        run_randomly(Unflushed, SMALL, 1, 3000)


def test_mismatch_names_gaps_and_actions() -> None:
    with pytest.raises(StepMismatch) as caught:
        run_randomly(with_machine(KeptFloat, LINUX_6_12), SMALL, 1, 3000)
    wrong = caught.value
    assert wrong.plan == ["free_isolating"]
    assert wrong.gaps == ("", "free: ask for balance work")
    assert wrong.difference is not None
    assert wrong.difference.component == "float"
    assert "is no step of the machine" in str(wrong)


def test_checker_without_history() -> None:
    allocator = build("linux_6_12", SMALL)
    checker = RefinementChecker(LINUX_6_12, allocator)
    assert checker.history is None
    rng, live = Random(1), []
    for _ in range(600):
        if rng.random() < 0.5 or not live:
            actor, steps = "a", allocator.alloc_percpu(100, 4, False, KERNEL)
        elif rng.random() < 0.8:
            freed = live.pop(int(rng.random() * len(live)))
            actor, steps = "f", allocator.free_percpu(freed)
        else:
            actor, steps = "b", allocator.balance_workfn()
        area = finished(checker, actor, steps)
        live += [area] if area is not None else []
    assert checker.stretches > 600


def finished(checker: RefinementChecker, actor: str, steps: Any) -> Any:
    while True:
        checker.before(actor)
        try:
            gap = next(steps)
        except StopIteration as stop:
            checker.after(actor, None)
            return stop.value
        checker.after(actor, gap)


def test_lock_held_in_a_gap_is_reported() -> None:
    allocator = build("linux_6_12", SMALL)
    checker = RefinementChecker(LINUX_6_12, allocator)
    allocator.spin_lock()
    with pytest.raises(StepMismatch, match="pcpu_lock in a gap"):
        checker.after("a", MUTEX)
    with pytest.raises(StepMismatch, match="pcpu_lock in a gap"):
        checker.before("a")


def test_chunk_on_two_lists_is_reported() -> None:
    allocator = build("linux_6_12", SMALL)
    checker = RefinementChecker(LINUX_6_12, allocator)
    allocator.owned.append(allocator.first_chunk)
    with pytest.raises(StepMismatch, match="chunk 0 is at ACTIVE and OWNED"):
        checker.after("a", None)


def test_unknown_gap_is_reported() -> None:
    allocator = build("linux_6_12", SMALL)
    checker = RefinementChecker(LINUX_6_12, allocator)
    allocator.alloc_mutex = True
    with pytest.raises(StepMismatch, match="does not tell its kind"):
        checker.after("a", Gap("somewhere", allocator.first_chunk, 0, 1))

"""Schedulers and the shrinker: who runs next, what is left out, and that both repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from percpu_proofs.explore import shrink
from percpu_proofs.explore.modes import cross_check, search
from percpu_proofs.explore.scenario import Program
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers.fixed import (
    ImpossibleStepError,
    InTurn,
    ScheduleReplay,
    drain,
)
from percpu_proofs.explore.schedulers.matching import StepFacts
from percpu_proofs.explore.schedulers.random_order import Bursts, Pct, Uniform
from percpu_proofs.explore.search import Cursor
from percpu_proofs.explore.shrink import minimise, simpler, smaller
from percpu_proofs.explore.system import ActorPosition, Scheduler, SharedState, System, scheduled
from percpu_proofs.explore.world import World
from percpu_proofs.run.choices import ChoiceTape as Written
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.operations import parse_operations, text_of

SMALL = SCENARIOS["reclaim-free"].start("linux_6_12")
FAILING = SCENARIOS["no-memory"].start("linux_6_12")


def run(scheduler: Scheduler, start: Any = SMALL) -> list[int]:
    world = World(start)
    schedule = []
    for step in scheduled(world, scheduler):
        schedule.append(step)
        world.step(step)
    return schedule


RANDOM: list[Callable[[str], Scheduler]] = [
    lambda seed: Uniform(drawn(seed)),
    lambda seed: Pct(drawn(seed), 3, 12),
    lambda seed: Bursts(drawn(seed), 4),
]


@pytest.mark.parametrize("scheduler", RANDOM, ids=["uniform", "pct", "bursts"])
@pytest.mark.parametrize("start", [SMALL, FAILING], ids=["", "failing"])
def test_what_is_drawn_repeats_and_replays(
    scheduler: Callable[[str], Scheduler], start: Any
) -> None:
    schedules = [run(scheduler(f"{n}"), start) for n in range(30)]
    assert schedules == [run(scheduler(f"{n}"), start) for n in range(30)]
    assert len({tuple(schedule) for schedule in schedules}) > 5
    assert all(run(ScheduleReplay(schedule), start) == schedule for schedule in schedules)


def test_pct_runs_the_highest_until_it_drops() -> None:
    choices = Written((2, 5, 7))  # drops at step 2; actor 0 below actor 1
    scheduler = Pct(choices, 2, 10)
    assert [scheduler.next([0, 1]) for _ in range(4)] == [1, 1, 0, 0]
    assert scheduler.next([]) is None


def test_bursts_begin_operations_in_order() -> None:
    for seed in range(50):
        scheduler = Bursts(drawn(seed), 10, in_order=3)
        taken = [scheduler.next([0, 1, 2, 3]) for _ in range(12)]
        begun = list(dict.fromkeys(step for step in taken if step != 3))
        assert begun == sorted(begun)  # type: ignore[type-var]


def test_replay_is_strict_or_lenient() -> None:
    with pytest.raises(ImpossibleStepError, match="step 2, of actor 7"):
        run(ScheduleReplay([0, 7, 0]))
    assert run(ScheduleReplay([0, 7, 0], lenient=True)) == run(ScheduleReplay([0, 0]))


def test_actors_in_turn_run_to_their_ends() -> None:
    schedule = run(InTurn(range(2)))
    assert schedule == sorted(schedule) and set(schedule) == {0, 1}


def test_draining_comes_to_rest_or_says_why_not() -> None:
    world = World(SMALL)
    for step in scheduled(world, InTurn(range(2))):
        world.step(step)
    assert world.allocator.work_pending
    assert drain(world) is None and world.drained == 1 and world.allocator.quiescent


def test_an_endless_drain_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(SMALL)
    for step in scheduled(world, InTurn(range(2))):
        world.step(step)
    monkeypatch.setattr(
        type(world.allocator), "balance_workfn", lambda self: iter(()), raising=True
    )
    wrong = drain(world)
    assert wrong is not None and "changes nothing" in wrong


# matching


def forget_where(place: ActorPosition) -> ActorPosition:
    return place._replace(key=place.need)


def forget_the_mutex(place: ActorPosition) -> ActorPosition:
    return place._replace(need=place.need._replace(mutex=False))


@pytest.mark.parametrize(
    ("name", "forget"), [("reclaim-free", forget_where), ("two-waiters", forget_the_mutex)]
)
def test_matching_that_forgets_a_place_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, forget: Callable[[ActorPosition], ActorPosition]
) -> None:
    """Taking different places for the same covers less, or more; the other ways tell."""
    place = World.place
    monkeypatch.setattr(World, "place", lambda self, actor: forget(place(self, actor)))
    assert cross_check(SCENARIOS[name].start("linux_6_12"), 100_000).differences


def test_matching_that_forgets_what_is_shared_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = World.shared
    monkeypatch.setattr(World, "shared", lambda self: (s := shared(self))._replace(key=s.key[1:]))
    assert cross_check(SMALL, 100_000).differences


def test_what_is_known_changes_nothing_but_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    watched = World.guarded_step

    def count(self: World, step: int) -> Any:
        nonlocal taken
        taken += 1
        return watched(self, step)

    monkeypatch.setattr(World, "guarded_step", count)
    known = StepFacts()
    first = search(SMALL, known=known)
    once, taken = taken, 0
    again = search(SMALL, known=known)
    assert once < first.steps and taken == 0
    first.seconds = again.seconds = 0.0
    assert first == again
    with_failures = search(FAILING)
    every = search(FAILING, "all")
    assert with_failures.witnessed.keys() == every.witnessed.keys()
    assert (with_failures.schedules, with_failures.covered) == (every.schedules, every.steps)


def test_worlds_are_systems() -> None:
    world: System = World(SMALL)
    assert isinstance(world.shared(), SharedState) and isinstance(world.place(0), ActorPosition)


def test_a_cursor_comes_to_the_end_of_any_schedule() -> None:
    schedules = [run(Uniform(drawn(n))) for n in range(20)]
    here = Cursor(SMALL, refine=True)
    for schedule in schedules:
        for length in (len(schedule), len(schedule) // 2):
            here.come_to(schedule[:length])
            other = World(SMALL)
            for step in schedule[:length]:
                other.step(step)
            assert here.world.shared() == other.shared()
            actors = range(len(other.runners))
            assert [here.world.place(n) for n in actors] == [other.place(n) for n in actors]


# the shrinker


def operations(*lines: str) -> tuple[Any, ...]:
    return tuple(parse_operations(Path("x"), lines).operations)


def fewer(numbers: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for at in range(len(numbers)):
        yield numbers[:at] + numbers[at + 1 :]


def test_what_shows_it_is_left_and_no_more() -> None:
    small = shrink.shrink(tuple(range(20)), fewer, lambda n: n if {3, 17} <= set(n) else None, 1000)
    assert small.best == (3, 17) and not small.stopped


def test_what_did_not_show_is_not_tried_again() -> None:
    tried = []

    def shows(numbers: tuple[int, ...]) -> tuple[int, ...] | None:
        tried.append(numbers)
        return numbers if numbers.count(3) == 2 else None

    twins = tuple(n // 2 for n in range(20))
    assert shrink.shrink(twins, fewer, shows, 1000).best == (3, 3)
    assert len(set(tried)) == len(tried)


def test_tries_are_counted_and_a_guard_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few = shrink.shrink(tuple(range(20)), fewer, lambda n: n, 5)
    assert len(few.best) == 15 and few.stopped == "stopped after 5 tries"
    monkeypatch.setattr(shrink, "GUARD", -1.0)
    guarded = shrink.shrink(tuple(range(20)), fewer, lambda n: n, 5)
    assert len(guarded.best) == 20 and "stopped by the guard" in guarded.stopped


PROGRAM = Program(
    operations("a 1 8 64 A", "a 2 4096 4 -", "f 1", "a 3 4096 4 -"),
    operations("f 2", "a 4 8 4 -", "f 4"),
    (0, 3, 1, ~3, 4, 1, 2),
    works=2,
    failures=1,
)


def test_what_is_left_out_leaves_sound_programs() -> None:
    seen = list(smaller(PROGRAM))
    assert len(seen) > 10
    for program in seen:
        held: set[int] = set()
        for kind, handle, *_ in program.setup:
            if kind == "f":
                held.remove(handle)
            else:
                held.add(handle)
        made = {handle for kind, handle, *_ in program.actors if kind == "a"}
        assert {handle for kind, handle, *_ in program.actors if kind == "f"} <= held | made
        runs = len(program.actors) + program.works
        assert all(max(step, ~step) < runs for step in program.schedule)


def test_a_run_of_the_work_goes_with_its_steps() -> None:
    schedules = [(p.schedule, p.works) for p in smaller(PROGRAM) if p.works < PROGRAM.works]
    assert ((0, 3, 1, ~3, 1, 2), 1) in schedules and ((0, 1, 3, 1, 2), 1) in schedules


def test_allocations_become_plain() -> None:
    texts = {tuple(map(text_of, program.setup)) for program in simpler(PROGRAM)}
    assert ("a 1 4 4 -", "a 2 4096 4 -", "f 1", "a 3 4096 4 -") in texts
    merged = Program(operations("a 1 8 4 -", "a 2 16 4 -"))
    assert ("a 1 24 4 -",) in {tuple(map(text_of, program.setup)) for program in simpler(merged)}


def test_allocations_grow_in_the_place_of_others() -> None:
    many = Program(operations(*(f"a {n} 24576 4 -" for n in range(1, 9))))
    seen = {tuple(map(text_of, program.setup)) for program in simpler(many)}
    left = (f"a {n} 24576 4 -" for n in (6, 7, 8))
    assert ("a 1 24576 4 -", "a 2 32768 4 -", *left) in seen
    assert list(simpler(Program(()))) == []


def test_a_free_into_an_area_stays_within_it() -> None:
    program = Program(operations("a 1 4096 4 -", "w 1 2048", "a 2 8 4 -", "w 2 4", "f 1", "d 1"))
    seen = [each.setup for each in (*smaller(program), *simpler(program))]
    for setup in seen:
        held: dict[int, int] = {}
        for kind, handle, size, *_ in setup:
            if kind == "a":
                held[handle] = size
            elif kind == "f":
                del held[handle]
            elif kind == "w":
                assert size < held[handle]
    assert any(operation[0] == "w" for setup in seen for operation in setup)


def test_the_same_counterexample_comes_of_every_run() -> None:
    scenario = SCENARIOS["reuse"]
    one, other = (minimise(scenario, "linux_6_12", "RCL-3") for _ in range(2))
    assert one == other and one is not None and not one.stopped

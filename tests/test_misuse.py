"""Misuse of locks and steps that are no action are violations, and the explorer shows them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from seeded_allocators import Doubled, KeptFloat
from seeded_bugs import plant

from percpu_contracts.lock_guard import LockGuard
from percpu_proofs.cli import main
from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Mode
from percpu_proofs.explore.shrink import minimise
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.explore.world import World
from percpu_reference import VARIANTS, build
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import REFINE
from percpu_spec.geometry import Geometry
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES

MISUSED = [
    # scenario, method, text, what stands there instead, clause, message
    ("reclaim-free", "free_percpu", "self.spin_lock()", "self.spin_lock()\n    self.spin_lock()",
     "LOCK-1", "pcpu_lock is taken while held"),
    ("reclaim-free", "free_percpu", "self.spin_unlock()",
     "self.spin_unlock()\n    self.spin_unlock()", "LOCK-1", "pcpu_lock is released, not held"),
    ("reclaim-free", "free_percpu", "self.spin_unlock()", "pass",
     "LOCK-1", "pcpu_lock is taken while held"),
    ("reclaim-free", "free_percpu", "self.spin_lock()",
     "_ = chunk.populated[0]\n    self.spin_lock()",
     "LOCK-1", "populated bits are read with neither lock held"),
    ("reclaim-free", "depopulate_empty", "self.spin_unlock()", "pass",
     "LOCK-2", "a step stands in a gap with pcpu_lock held"),
    ("reclaim-free", "free_percpu", "size = self.free_area(",
     "self.spin_unlock()\n    self.spin_lock()\n    size = self.free_area(",
     "LOCK-1", "pcpu_lock is released and taken again, with no gap between"),
    ("no-room", "populate_area", "self.spin_lock()", "pass",
     "LOCK-1", "index data change without pcpu_lock"),
    ("no-room", "create_chunk", "self.enter_chunk(chunk)",
     "self.enter_chunk(chunk)\n    self.alloc_mutex = False",
     "LOCK-2", "backing changes without pcpu_alloc_mutex"),
    ("two-waiters", "balance_workfn", "while self.alloc_mutex:", "while False:",
     "LOCK-2", "pcpu_alloc_mutex is taken while held"),
    ("no-room", "chunk_populated", "nr = page_end - page_start",
     "nr = page_end - page_start\n    self.alloc_mutex = False",
     "LOCK-2", "populated bits change without pcpu_alloc_mutex"),
    ("reclaim-free", "free_percpu", "yield ASK", "self.alloc_mutex = False\n        yield ASK",
     "LOCK-2", "a mutex not held is released"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "text", "bug", "clause", "message"), MISUSED, ids=lambda part: part[:20]
)
def test_misuse_is_found(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
    text: str,
    bug: str,
    clause: str,
    message: str,
) -> None:
    monkeypatch.setitem(VARIANTS, "seeded", plant(method, text, bug))
    said = set()
    start = SCENARIOS[name].start("seeded")
    modes: tuple[Mode, ...] = ("matching", "dpor")
    for mode in modes:
        result = search(start, mode, max_steps=20_000)
        assert clause in result.findings
        said.add(result.findings[clause].message)
    assert message in said


@pytest.mark.parametrize("name", ["reclaim-free", "no-memory", "two-waiters"])
def test_nothing_is_misused_as_it_is(name: str) -> None:
    result = search(SCENARIOS[name].start("reference"), "matching")
    assert not {"LOCK-1", "LOCK-2"} & result.findings.keys()
    assert result.witnessed["LOCK-1"] and result.witnessed["LOCK-2"]


def test_a_world_come_back_to_is_watched_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = "_ = [c.populated[0] for c in self.chunks()]\n    self.spin_lock()"
    monkeypatch.setitem(VARIANTS, "seeded", plant("free_percpu", "self.spin_lock()", bug))
    world = World(SCENARIOS["reuse"].start("seeded"))
    saved, chunks = world.save(), len(list(world.allocator.chunks()))
    free = next(n for n, r in enumerate(world.runners) if r.operation[0] == "f")
    for schedule in ((), (free,)):
        for step in schedule:
            world.step(step)
        world.load(saved)
        world.guarded_step(free)
        assert len(world.misuse) == chunks > 1
        world.load(saved)
        assert not world.misuse


def test_a_guard_tells_the_actors_apart() -> None:
    said: list[tuple[str, str]] = []
    guard = LockGuard(lambda *misuse: said.append(misuse))
    guard.begin(SimpleNamespace(lock=False, alloc_mutex=True), actor=1, holder=0)
    guard.take_mutex(False)
    guard.begin(SimpleNamespace(lock=False, alloc_mutex=True), actor=0, holder=0)
    guard.take_mutex(False)
    assert said == [("LOCK-2", "pcpu_alloc_mutex is released by a step that does not hold it")]


def test_without_contracts_there_is_no_guard() -> None:
    allocator = build("linux_6_12", Geometry())
    assert "lock" not in vars(type(allocator))
    assert type(allocator.first_chunk.populated) is bytearray


NO_ACTION: dict[type[Allocator], str] = {
    KeptFloat: "float-falls",
    Doubled: "no-room",
}


@pytest.mark.parametrize("bug", NO_ACTION, ids=lambda bug: bug.__name__)
def test_a_step_that_is_no_action_is_a_counterexample(
    monkeypatch: pytest.MonkeyPatch, bug: type[Allocator]
) -> None:
    monkeypatch.setitem(VARIANTS, "seeded", bug)
    scenario = SCENARIOS[NO_ACTION[bug]]
    result = search(
        scenario.start("seeded"), "matching", refine=True, stop=lambda r: REFINE in r.findings
    )
    token = Token.of("seeded", REFINE, scenario, result.findings[REFINE].schedule)
    steps = of_token(str(token)).steps
    assert "is no step of the machine" in dict(steps[-1].broken)[REFINE]
    plain = search(scenario.start("seeded"), "matching", max_steps=200)
    assert REFINE not in plain.findings and not plain.refined


def test_a_step_that_is_no_action_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "seeded", Doubled)
    small = minimise(SCENARIOS["no-room"], "seeded", REFINE)
    assert small is not None
    assert (small.operations, small.preemptions) == (6, 0)


def test_a_step_that_is_no_action_ends_a_run_under_full_contracts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = LINUX_6_12.changed("without creation", without=("create",))
    monkeypatch.setitem(MACHINES, "linux_6_12", machine)
    listed = tmp_path / "list.ops"
    listed.write_text("\n".join(f"a {n} 4096 4 -" for n in range(1, 20)) + "\n")
    options = ["run", str(listed), "--contracts", "full", "--json"]
    result = CliRunner().invoke(main, [*options, "--geometry", SCENARIOS["reuse"].geometry])
    found = json.loads(result.output)
    assert result.exit_code == 1 and found["stopped_by"] == REFINE
    assert "is no step of the machine" in found["violations"][REFINE]["message"]


def test_refusals_and_who_holds_the_mutex_are_shown() -> None:
    scenario = SCENARIOS["no-memory"]
    world = World(scenario.start("linux_6_12"))
    schedule: tuple[int, ...] = ()
    while world.enabled():
        step = min(world.enabled())
        schedule = (*schedule, step)
        world.step(step)
    token = str(Token.of("linux_6_12", "LIST-1", scenario, schedule))
    steps = of_token(token).steps
    refused = [step for step in steps if step.refused]
    assert len(refused) == scenario.failures == 1
    assert {step.state.mutex for step in steps} > {""}
    read = read_token(token)
    assert (read.schedule, read.failures) == (schedule, 1)


def test_work_that_creates_without_end_is_found() -> None:
    scenario = SCENARIOS["km-creates"]
    result = search(scenario.start("rfc_series"), "matching", stop=lambda r: "BAL-3" in r.findings)
    assert "has created" in result.findings["BAL-3"].message
    assert "BAL-3" not in search(scenario.start("linux_6_12"), "matching").findings

"""Random schedules on the model and a compiled kernel: what happens where pcpu_lock is dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.draws import Phase, expand
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import Model
from percpu_proofs.kernel.schedule import Confirmed, Interleaving, Stage
from percpu_proofs.oplist import Operation, text_of
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

T = TypeVar("T")

_PAGES = (4096, 8192, 12288, 2048, 16384, 1024)
_TRIES = 5  # schedules drawn for a plan with one operation less
_MOST_STEPS = 2000  # of one schedule; an end comes long before


_SCENARIOS = [s for s in SCENARIOS.values() if s.sizes.backing == "vm"]
"""Races that seldom come about by chance, as when a chunk is freed while another is created."""


def draw(seed: int) -> Interleaving:
    """Return a setup that leaves balance work pending, mostly, and actors to run at once.

    Every third one is that of a scenario of the explorer.
    """
    if seed % 3 == 2:
        return _plan_of(_SCENARIOS[seed // 3 % len(_SCENARIOS)])
    random = Random(seed).random

    def pick(items: Sequence[T]) -> T:
        return items[int(random() * len(items))]

    unit = pick((32768, 32768, 65536))
    reserved = pick((0, 0, 4608))
    geometry = Geometry(
        unit=unit, static=4096, reserved=reserved, dyn=unit - 4096 - reserved, cpus=pick((1, 2, 3)),
        memcg=random() < 0.2,
    )  # fmt: skip
    length = pick((10, 20, 40, 80))
    flags = ("-", "G") if geometry.memcg else ("-",)
    fill = Phase(length, int(random() * 1e9), 95, pick((0, 5)), 0, 0, _PAGES, (4,), flags)
    drain = replace(fill, seed=fill.seed + 1, length=length * 3 // 4, grow=5, work=pick((0, 0, 5)))
    setup = expand([fill, drain])
    held = {operation[1] for operation in setup if operation[0] == "a"}
    held -= {operation[1] for operation in setup if operation[0] == "f"}
    actors: list[Operation] = []
    left = sorted(held)
    for number in range(2 + int(random() * 4)):
        chance = random()
        if chance < 0.55 and left:
            actors.append(("f", left.pop(int(random() * len(left))), 0, 0, False, 0))
        elif chance < 0.95:
            asked = gfp.ATOMIC if random() < 0.5 else gfp.KERNEL
            if geometry.memcg and random() < 0.5:
                asked |= gfp.ACCOUNT
            size = pick(_PAGES) if random() < 0.8 else 32768
            actors.append(("a", 1_000_000 + number, size, 4, False, asked))
        else:
            actors.append(("P", 1, 0, 0, False, 0))
    return Interleaving(geometry, setup, actors, 3, pick((0, 0, 1)), random() < 0.3)


def _plan_of(scenario: Scenario) -> Interleaving:
    return Interleaving(
        scenario.sizes, list(scenario.prepared), list(scenario.concurrent), scenario.works,
        scenario.failures, scenario.waiting,
    )  # fmt: skip


def run_drawn(
    library: Library, model: Model, plan: Interleaving, seed: int
) -> tuple[Confirmed, tuple[int, ...]]:
    """Run a plan under a random schedule; return what was seen and the schedule taken.

    A clause that the model's variant is not expected to break counts as a difference.
    """
    expected = model.variant().EXPECTED
    random = Random(seed).random
    done = Confirmed("")
    schedule: list[int] = []
    stage: Stage | None = None
    try:
        stage = Stage(library, model, plan, done)
        while done.difference is None and done.steps < _MOST_STEPS:
            enabled = stage.world.enabled()
            if not enabled:
                stage.judge_rest()
                break
            # mostly the same actor goes on, else any other
            actor = schedule[-1] if schedule and random() < 0.4 else -1
            if actor not in enabled:
                actor = enabled[int(random() * len(enabled))]
            schedule.append(actor)
            done.steps += 1
            stage.step(actor)
            for clause in done.broken.keys() - expected.keys():
                done.difference = f"clause {clause}: {done.broken[clause][1]}"
    except KernelStopped as stopped:
        done.difference = f"the kernel stopped: {stopped}"
    finally:
        if stage is not None:
            stage.pair.close()
    return done, tuple(schedule)


@dataclass(frozen=True, slots=True)
class FoundSchedule:
    """A schedule after whose last step kernel and model differ."""

    plan: Interleaving
    schedule: tuple[int, ...]
    difference: str
    token: str


def shrunk(
    library: Library, model: Model, plan: Interleaving, seed: int, seconds: float
) -> FoundSchedule:
    """Return the difference that a plan shows, with as few operations as can be had in the time.

    Leaves out operations of the setup and actors one by one; the schedule is drawn anew.
    """
    deadline = time.monotonic() + seconds
    done, schedule = run_drawn(library, model, plan, seed)
    smaller = True
    while smaller:
        smaller = False
        for candidate in _without_one(plan):
            if time.monotonic() > deadline:
                break
            for again in range(seed, seed + _TRIES):
                tried, taken = run_drawn(library, model, candidate, again)
                if tried.difference is not None:
                    plan, done, schedule, smaller = candidate, tried, taken, True
                    break
            if smaller:
                break
    return FoundSchedule(plan, schedule, str(done.difference), token_of(plan, model, "", schedule))


def _without_one(plan: Interleaving) -> Iterator[Interleaving]:
    for at in range(len(plan.actors)):
        yield replace(plan, actors=plan.actors[:at] + plan.actors[at + 1 :])
    freed = {actor[1] for actor in plan.actors if actor[0] == "f"}
    for at in range(len(plan.setup) - 1, -1, -1):
        kind, handle = plan.setup[at][:2]
        if kind == "a":
            if handle in freed:
                continue
            rest = [op for op in plan.setup if op[0] not in "af" or op[1] != handle]
        else:
            rest = plan.setup[:at] + plan.setup[at + 1 :]
        yield replace(plan, setup=rest)


def token_of(plan: Interleaving, model: Model, clause: str, schedule: tuple[int, ...]) -> str:
    """Return the token that replays a schedule."""
    g = plan.geometry
    sizes = (
        f"unit={g.unit},static={g.static},reserved={g.reserved},dyn={g.dyn},cpus={g.cpus},"
        f"memcg={int(g.memcg)}"
    )
    return str(
        Token(
            model.name, clause, sizes, tuple(map(text_of, plan.setup)),
            tuple(map(text_of, plan.actors)), plan.works, schedule, plan.failures, plan.waiting,
        )
    )  # fmt: skip

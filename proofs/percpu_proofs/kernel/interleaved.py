"""Random schedules on the model and a compiled kernel: what happens where pcpu_lock is dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from percpu_proofs.choices import drawn
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers.bursts import Bursts
from percpu_proofs.explore.shrink import Program, shrink, smaller
from percpu_proofs.explore.system import Schedule, scheduled
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.draws import Phase, expand
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import Model
from percpu_proofs.kernel.schedule import Confirmed, Interleaving, Stage
from percpu_proofs.oplist import Operation, text_of
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

_PAGES = (4096, 8192, 12288, 2048, 16384, 1024)
_OTHERS: Final = 6  # times in ten steps another actor takes over
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
    choices = drawn(seed)
    pick, number = choices.pick, choices.number
    unit = pick((32768, 32768, 65536))
    reserved = pick((0, 0, 4608))
    geometry = Geometry(
        unit=unit, static=4096, reserved=reserved, dyn=unit - 4096 - reserved, cpus=pick((1, 2, 3)),
        memcg=number(10) < 2,
    )  # fmt: skip
    length = pick((10, 20, 40, 80))
    flags = ("-", "G") if geometry.memcg else ("-",)
    fill = Phase(length, number(10**9), 95, pick((0, 5)), 0, 0, _PAGES, (4,), flags)
    drain = replace(fill, seed=fill.seed + 1, length=length * 3 // 4, grow=5, work=pick((0, 0, 5)))
    setup = expand([fill, drain])
    held = {operation[1] for operation in setup if operation[0] == "a"}
    held -= {operation[1] for operation in setup if operation[0] == "f"}
    actors: list[Operation] = []
    left = sorted(held)
    for at in range(2 + number(4)):
        chance = number(100)
        if chance < 55 and left:
            actors.append(("f", left.pop(number(len(left))), 0, 0, False, 0))
        elif chance < 95:
            asked = gfp.KERNEL if choices.bit() else gfp.ATOMIC
            if geometry.memcg and not choices.bit():
                asked |= gfp.ACCOUNT
            size = pick(_PAGES) if number(10) < 8 else 32768
            actors.append(("a", 1_000_000 + at, size, 4, False, asked))
        else:
            actors.append(("P", 1, 0, 0, False, 0))
    refused = pick((0, 0, 1))
    return Interleaving(geometry, tuple(setup), tuple(actors), 3, refused, number(10) < 3)


def _plan_of(scenario: Scenario) -> Interleaving:
    return Interleaving(
        scenario.sizes, scenario.prepared, scenario.concurrent, scenario.works,
        scenario.failures, scenario.waiting,
    )  # fmt: skip


def run_drawn(
    library: Library, model: Model, plan: Interleaving, seed: int
) -> tuple[Confirmed, Schedule]:
    """Run a plan under a random schedule; return what was seen and the schedule taken.

    A clause that the model's variant is not expected to break counts as a difference.
    """
    expected = model.variant().EXPECTED
    done = Confirmed("")
    schedule: list[int] = []
    stage: Stage | None = None
    try:
        stage = Stage(library, model, plan, done)
        for step in scheduled(stage, Bursts(drawn(seed), _OTHERS)):
            schedule.append(step)
            stage.step(step)
            for clause in done.broken.keys() - expected.keys():
                done.difference = f"clause {clause}: {done.broken[clause][1]}"
            if done.difference is not None or done.steps == _MOST_STEPS:
                break
        else:
            stage.judge_rest()
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
    schedule: Schedule
    difference: str
    token: str
    stopped: str = ""  # why more may be left out


def shrunk(
    library: Library, model: Model, plan: Interleaving, seed: int, tries: int
) -> FoundSchedule:
    """Return the difference that a plan shows, with as few operations as so many tries allow.

    Schedules are drawn anew; `seed` is that of the one that showed it.
    """
    done, schedule = run_drawn(library, model, plan, seed)

    def shows(program: Program) -> Program | None:
        nonlocal plan, done, schedule
        candidate = replace(
            plan, setup=program.setup, actors=program.actors, failures=program.failures
        )
        for again in range(seed, seed + _TRIES):
            tried, taken = run_drawn(library, model, candidate, again)
            if tried.difference is not None:
                plan, done, schedule = candidate, tried, taken
                return program
        return None

    whole = Program(plan.setup, plan.actors, failures=plan.failures)
    small = shrink(whole, smaller, shows, tries)
    token = token_of(plan, model, "", schedule)
    return FoundSchedule(plan, schedule, str(done.difference), token, small.stopped)


def token_of(plan: Interleaving, model: Model, clause: str, schedule: Schedule) -> str:
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

"""Random schedules on the model and a compiled kernel: what happens where pcpu_lock is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from percpu_proofs.explore.scenario import Program, Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers.random_order import Bursts
from percpu_proofs.explore.shrink import shrink, smaller
from percpu_proofs.explore.system import Schedule
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.cases import DrawPhase, expand, paged
from percpu_proofs.kernel.instance import Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.schedule import LockstepOutcome, follow
from percpu_proofs.run.choices import Choices, drawn
from percpu_proofs.run.operations import Operation
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

_PAGES = (4096, 8192, 12288, 2048, 16384, 1024)
_OTHERS: Final = 6  # times in ten steps another actor takes over
_TRIES = 5  # schedules drawn for a plan with one operation less


_SCENARIOS = [s for s in SCENARIOS.values() if s.sizes.backing == "vm"]
"""Races that seldom come about by chance, as when a chunk is freed while another is created."""


def draw(seed: int, page: int = Geometry().page) -> Scenario:
    """Return a setup that leaves balance work pending, mostly, and actors to run at once.

    Every third one is that of a scenario of the explorer, if they are of pages of this size.
    """
    scale = page // Geometry().page
    if seed % 3 == 2 and scale == 1:
        return _SCENARIOS[seed // 3 % len(_SCENARIOS)]
    choices = drawn(seed)
    pick, number = choices.pick, choices.number
    unit = scale * pick((32768, 32768, 65536))
    reserved = pick((0, 0, 4608))
    cpus, memcg = pick((1, 2, 3)), number(10) < 2
    geometry = (
        f"unit={unit},static={page},reserved={reserved},dyn={unit - page - reserved},cpus={cpus},"
        f"memcg={int(memcg)}" + (f",page={page}" if scale > 1 else "")
    )
    sizes = Geometry().with_changes(geometry)
    length = pick((10, 20, 40, 80))
    flags = ("-", "G") if memcg else ("-",)
    fill = DrawPhase(length, number(10**9), 95, pick((0, 5)), 0, 0, _PAGES, (4,), flags)
    drain = replace(fill, seed=fill.seed + 1, length=length * 3 // 4, grow=5, work=pick((0, 0, 5)))
    setup = expand([paged(fill, sizes), paged(drain, sizes)], sizes)
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
            if memcg and not choices.bit():
                asked |= gfp.ACCOUNT
            size = pick(_PAGES) if number(10) < 8 else 32768
            size = min(size * scale, sizes.largest)
            actors.append(("a", 1_000_000 + at, size, 4, False, asked))
        else:
            actors.append(("P", 1, 0, 0, False, 0))
    actors = _unusual(drawn(f"{seed}/aside"), setup, actors)
    refused = pick((0, 0, 1))
    drawn_one = Scenario("drawn", "", (), (), geometry, 3, refused, number(10) < 3)
    return drawn_one.with_program(Program(tuple(setup), tuple(actors), failures=refused))


def _unusual(
    choices: Choices, setup: Sequence[Operation], actors: Sequence[Operation]
) -> list[Operation]:
    """Return actors some of which forbid I/O, or free once more what was freed."""
    found: list[Operation] = []
    for kind, handle, size, align, reserved, asked in actors:
        if kind == "a" and asked & gfp.KERNEL == gfp.KERNEL and not choices.number(4):
            asked ^= gfp.KERNEL ^ choices.pick((gfp.NOFS, gfp.NOIO, gfp.KERNEL | gfp.SCOPE_NOIO))
        found.append((kind, handle, size, align, reserved, asked))
    freed = [operation[1] for operation in (*setup, *actors) if operation[0] == "f"]
    if freed and not choices.number(4):
        found.append(("d", choices.pick(freed), 0, 0, False, 0))
    return found


def run_drawn(
    library: Library, model: ModelVariant, plan: Scenario, seed: int
) -> tuple[LockstepOutcome, Schedule]:
    """Run a plan under a random schedule; return what was seen and the schedule taken.

    A clause that the model's variant is not expected to break counts as a difference.
    """
    done = LockstepOutcome("")
    order = Bursts(drawn(seed), _OTHERS)
    return done, follow(library, model, plan, order, done, model.variant().EXPECTED)


@dataclass(frozen=True, slots=True)
class DifferingSchedule:
    """A schedule after whose last step kernel and model differ. seed: of the schedule drawn."""

    library: Library
    model: ModelVariant
    plan: Scenario
    seed: int
    schedule: Schedule
    difference: str
    stopped: str = ""  # why more may be left out

    @property
    def token(self) -> str:
        """The string that replays it."""
        return str(Token.of(self.model.name, "", self.plan, self.schedule))


def shrink_schedule(found: DifferingSchedule, tries: int) -> DifferingSchedule:
    """Return the difference with as few operations as so many tries allow; drawn anew."""
    best = found

    def shows(program: Program) -> Program | None:
        nonlocal best
        candidate = found.plan.with_program(program)
        for seed in range(found.seed, found.seed + _TRIES):
            tried, taken = run_drawn(found.library, found.model, candidate, seed)
            if tried.difference is not None:
                best = replace(
                    found, plan=candidate, seed=seed, schedule=taken, difference=tried.difference
                )
                return program
        return None

    small = shrink(found.plan.program, smaller, shows, tries)
    return replace(best, stopped=small.stopped)

"""Operation lists and schedules drawn at random, under contracts at full, and made small.

A program is a list of operations; each becomes an actor, and a drawn schedule lets them overlap
one another and the balance work. Whatever a program breaks is reduced until no operation and no
switch between actors can be left out.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.situations import Sightings
from percpu_proofs.explore.contracted import ContractedWorld
from percpu_proofs.explore.search import Explored
from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import Start
from percpu_proofs.oplist import Operation
from percpu_reference import build
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL

MOST_STEPS = 1000
"""Of a program. One that goes on is left to the searches, which see it come back to itself."""

PAGE_SIZES = (1, 1, 2, 3, 4, 5, 7, 8)  # in pages; 7 is all that the first chunk serves


class Drawn(NamedTuple):
    """A program and a schedule of it: actors by number, runs of the work behind the operations."""

    operations: tuple[Operation, ...]
    schedule: tuple[int, ...]
    works: int


@dataclass(slots=True)
class Fuzz:
    """A search through one variant; `run` fills what has a default."""

    variant: str
    geometry: Geometry
    seed: int
    budget: float  # seconds
    most: int | None = None  # programs, at most
    length: int = 24  # operations of a program
    least: int = 0  # programs, whatever was found; then on while something sought has not shown
    sought: frozenset[str] = frozenset()
    prefixes: Sequence[tuple[Operation, ...]] = ()  # what programs may begin with
    caught: dict[str, tuple[str, Drawn]] = field(default_factory=dict)  # message, and what broke it
    asked: Counter[str] = field(default_factory=Counter)
    sightings: Sightings = field(default_factory=Sightings)
    programs: int = 0
    steps: int = 0
    seconds: float = 0.0

    def run(self) -> None:
        """Draw and run programs until the budget is used or Ctrl-C; then make small what broke."""
        began = time.perf_counter()
        found: dict[str, Drawn] = {}
        try:
            while time.perf_counter() - began < self.budget / 2:
                if self.programs == self.most:
                    break
                if self.most and self.programs >= self.least and self.sought <= found.keys():
                    break
                chance = random.Random(f"{self.seed}/{self.programs}")
                together = chance.choice((0.0, 0.1, 0.4))
                drawn, broken = self._draw(chance, together)
                self.programs += 1
                for clause in broken.keys() - found.keys():
                    found[clause] = drawn
            for clause, drawn in found.items():
                end = began + self.budget
                self.caught[clause] = self._small(clause, drawn, end)
        except KeyboardInterrupt:
            pass
        self.seconds = time.perf_counter() - began

    def _world(self, operations: tuple[Operation, ...], works: int) -> ContractedWorld:
        root = build(self.variant, self.geometry, contracts="full", stats=True)
        return ContractedWorld(Start(root, {}, operations, works))

    def _draw(self, chance: random.Random, together: float) -> tuple[Drawn, dict[str, str]]:
        """Run a new program under a new schedule; return both and what was broken."""
        prefix = chance.choice([(), *self.prefixes])
        operations = program(chance, self.length, prefix, memcg=self.geometry.memcg)
        works = 1 + chance.randrange(6)
        world = self._world(operations, works)
        schedule: list[int] = []
        broken: dict[str, str] = {}
        for actor in range(len(prefix)):
            while not world.runners[actor].done:
                schedule.append(actor)
                self._step(world, actor, broken)
        last = -1
        while enabled := world.enabled():
            if last in enabled and chance.random() >= together:
                actor = last
            else:
                begun = [a for a in enabled if a < len(world.runners) and world.runners[a].gap]
                fresh = [a for a in enabled if a not in begun]
                pool = [*begun, *fresh[:1], *(a for a in fresh if a >= len(operations))]
                actor = chance.choice(pool)
            last = actor
            schedule.append(actor)
            if not self._step(world, actor, broken) or len(schedule) == MOST_STEPS:
                break
        self._end(world, broken)
        return Drawn(operations, tuple(schedule), works), broken

    def _step(self, world: ContractedWorld, actor: int, broken: dict[str, str]) -> bool:
        """Let an actor take a step; enter what it broke; False if the world cannot go on."""
        self.steps += 1
        ended = True
        try:
            world.watched_step(actor)
        except ClauseViolation:
            ended = False
        for clause, violation in world.monitor.violations.items():
            broken.setdefault(clause, violation.first_message)
        return ended

    def _end(self, world: ContractedWorld, broken: dict[str, str]) -> None:
        result = Explored("drawn")
        self._look(world)
        if world.finished:
            Watch(result).at_end(world, ())
            if world.drained:
                self._look(world)
        for clause, finding in result.findings.items():
            broken.setdefault(clause, finding.message)
        for clause, message in world.monitor.broken_state(
            world.allocator, quiescent=world.finished and world.allocator.quiescent
        ):
            broken.setdefault(clause, message)
        self.asked += world.monitor.asked()

    def _look(self, world: ContractedWorld) -> None:
        rest = world.finished and world.allocator.quiescent
        self.sightings.look(world.allocator, world.history, quiescent=rest)

    def _replay(self, drawn: Drawn) -> dict[str, str]:
        """Run a schedule as far as it can be followed, then the rest in order."""
        world = self._world(drawn.operations, drawn.works)
        broken: dict[str, str] = {}
        for actor in drawn.schedule:
            if actor in world.enabled() and not self._step(world, actor, broken):
                break
        self._end(world, broken)
        return broken

    def _small(self, clause: str, drawn: Drawn, end: float) -> tuple[str, Drawn]:
        """Return a smallest program and schedule in the neighbourhood that breaks the clause."""
        message = self._replay(drawn).get(clause, "")
        first = 0  # candidates before this one have helped already; they have another go at the end
        while True:
            for number, smaller in islice(enumerate(_smaller(drawn)), first, None):
                if time.perf_counter() > end:
                    return message, drawn
                now = self._replay(smaller)
                if clause in now:
                    drawn, message, first = smaller, now[clause], number
                    break
            else:
                if not first:
                    return message, drawn
                first = 0

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.asked)


def program(
    chance: random.Random, length: int, prefix: tuple[Operation, ...] = (), *, memcg: bool = False
) -> tuple[Operation, ...]:
    """Return operations drawn at random: requests, mostly of whole pages, and frees of theirs.

    They follow those of the prefix, and may free its areas.
    """
    operations = list(prefix)
    freed = {operation[1] for operation in prefix if operation[0] == "f"}
    held = [o[1] for o in prefix if o[0] == "a" and o[1] not in freed]
    behind = max((o[1] for o in prefix), default=0)
    sizes = [4096 * chance.choice(PAGE_SIZES) for _ in range(3)]
    crumbs = [4096, *(chance.choice((4, 12, 1024, 2048, 4092, 4100)) for _ in range(2))]
    for handle in range(behind + 1, behind + length + 1):
        kind = chance.random()
        if kind < 0.45 and held:
            operations.append(("f", held.pop(chance.randrange(len(held))), 0, 0, False, 0))
        elif kind < 0.48:
            operations.append(("P", 1, 0, 0, False, 0))
        else:
            size = chance.choice(sizes if chance.random() < 0.8 else crumbs)
            gfp = ATOMIC if chance.random() < 0.3 else KERNEL
            if memcg and chance.random() < 0.5:
                gfp |= ACCOUNT
            align = 4 if chance.random() < 0.9 else 4096
            operations.append(("a", handle, size, align, False, gfp))
            held.append(handle)
    return tuple(operations)


def _smaller(drawn: Drawn) -> Iterable[Drawn]:
    """Yield programs with one operation less, then schedules with fewer switches."""
    operations, schedule, works = drawn
    for size in (8, 4, 2, 1):
        for first in range(len(operations) - size, -1, -size):
            gone = set(range(first, first + size))
            handles = {operations[i][1] for i in gone if operations[i][0] == "a"}
            gone |= {i for i, o in enumerate(operations) if o[0] == "f" and o[1] in handles}
            if len(gone) < len(operations):
                yield _without(drawn, gone)
    seen: dict[int, None] = dict.fromkeys(a for a in schedule if a >= len(operations))
    for work in reversed(seen):
        kept = [a for a in schedule if a != work]
        yield Drawn(operations, tuple(a - 1 if a > work else a for a in kept), works - 1)
    for at in range(1, len(schedule)):
        actor = schedule[at]
        if schedule[at - 1] == actor:
            continue
        before = [i for i in range(at) if schedule[i] == actor]
        if before:  # join this step to the actor's one before it
            moved = [*schedule[: before[-1] + 1], actor, *schedule[before[-1] + 1 : at]]
            yield Drawn(operations, (*moved, *schedule[at + 1 :]), works)


def _without(drawn: Drawn, gone: set[int]) -> Drawn:
    kept = [i for i in range(len(drawn.operations)) if i not in gone]
    number = {old: new for new, old in enumerate(kept)}
    less = len(gone)
    schedule = tuple(
        number[a] if a in number else a - less
        for a in drawn.schedule
        if a not in gone
    )
    return Drawn(tuple(drawn.operations[i] for i in kept), schedule, drawn.works)

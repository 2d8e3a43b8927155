"""Operations drawn at random: programs that run at once, and lists for clauses about one chunk.

Each operation of a program becomes an actor, and a drawn schedule lets them overlap one another and
the balance work. Whatever a program breaks is reduced until no operation and no switch between
actors can be left out.

Lists fill the first chunk with crumbs and free much of it again. Only the clauses about one chunk,
its hints above all, are judged there, so that thousands of lists take seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from percpu_contracts.registry import Predicate, Scope, When, asked
from percpu_contracts.situations import SituationCoverage
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.explore.breadth import Operations
from percpu_proofs.explore.judges import ContractedWorld, StepJudge
from percpu_proofs.explore.scenario import KERNEL_32K, Program
from percpu_proofs.explore.schedulers.fixed import InTurn, ScheduleReplay
from percpu_proofs.explore.schedulers.random_order import Bursts
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.shrink import fewer, shrink, smaller
from percpu_proofs.explore.system import Scheduler, Start, scheduled
from percpu_proofs.run.choices import Choices, drawn
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import Operation
from percpu_reference import build
from percpu_reference.variants import variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL, NOFS, NOIO, SCOPE_NOFS, SCOPE_NOIO

MOST_STEPS = 1000
"""Of a program. One that goes on is left to the searches, which see it come back to itself."""

TRIES = 1000
"""Of making a program small that broke a clause."""

PAGE_SIZES = (1, 1, 2, 3, 4, 5, 7, 8)  # in pages; 7 is all that the first chunk serves


@dataclass
class Fuzz:
    """A search through one variant; `run` fills what has a default."""

    variant: str
    geometry: Geometry
    seed: int
    most: int  # programs, at most
    least: int = 0  # programs, whatever was found; then on while something sought has not shown
    length: int = 24  # operations of a program
    sought: frozenset[str] = frozenset()
    prefixes: Sequence[tuple[Operation, ...]] = ()  # what programs may begin with
    findings: dict[str, tuple[str, Program]] = field(default_factory=dict)  # message, what broke it
    sightings: SituationCoverage = field(default_factory=SituationCoverage)
    programs: int = 0
    callers_errors: int = 0  # frees that API-2 forbids
    steps: int = 0

    def run(self) -> None:
        """Draw and run programs until there are enough or Ctrl-C."""
        with suppress(KeyboardInterrupt):
            while self.programs < self.most:
                if self.programs >= self.least and self.sought <= self.findings.keys():
                    break
                one, broken = self._draw(drawn(f"{self.seed}/{self.programs}"))
                self.programs += 1
                for clause in sorted(broken.keys() - self.findings.keys()):
                    self.findings[clause] = broken[clause], one

    @cached_property
    def _boot(self) -> Start:
        return Start(build(self.variant, self.geometry, contracts="full", stats=True), {}, ())

    @cached_property
    def _world(self) -> ContractedWorld:
        return ContractedWorld(self._boot)

    def _draw(self, choices: Choices) -> tuple[Program, dict[str, str]]:
        """Run a new program under a new schedule; return both and what was broken."""
        prefix = choices.pick([(), *self.prefixes])
        operations = draw_program(choices, self.length, prefix, memcg=self.geometry.memcg)
        if self.programs % 4 == 3:
            operations = with_unusual(drawn(f"{self.seed}/{self.programs}/unusual"), operations)
        works = 1 + choices.number(6)
        world, broken = self._world, dict[str, str]()
        world.restart(replace(self._boot, operations=operations, works=works))
        together = choices.pick((0, 1, 4))
        schedule = self._run(world, InTurn(range(len(prefix))), broken)
        schedule += self._run(world, Bursts(choices, together, len(operations)), broken)
        self._end(world, broken)
        self.callers_errors += len(world.errors)
        return Program((), operations, tuple(schedule), works), broken

    def _run(
        self,
        world: ContractedWorld,
        scheduler: Scheduler,
        broken: dict[str, str],
        sought: str | None = None,
    ) -> list[int]:
        """Let a world run for as long as it can go on; enter what breaks; return the schedule.

        sought: a clause; the schedule ends with the step that breaks it.
        """
        schedule: list[int] = []
        for step in scheduled(world, scheduler):
            schedule.append(step)
            self.steps += 1
            goes_on = len(schedule) < MOST_STEPS
            try:
                world.guarded_step(step)
            except ClauseViolation:
                goes_on = False
            for clause, violation in world.monitor.violations.items():
                broken.setdefault(clause, violation.first_message)
            if not goes_on or sought in broken:
                break
        return schedule

    def _end(self, world: ContractedWorld, broken: dict[str, str]) -> None:
        result = Exploration("drawn")
        self._look(world)
        if world.finished and not world.enabled():
            StepJudge(result).at_end(world, ())
            if world.drained:
                self._look(world)
        for clause, finding in result.findings.items():
            broken.setdefault(clause, finding.message)
        for clause, message in world.monitor.broken_state(
            world.allocator, quiescent=world.finished and world.allocator.quiescent
        ):
            broken.setdefault(clause, message)

    def _look(self, world: ContractedWorld) -> None:
        rest = world.finished and world.allocator.quiescent
        self.sightings.look(world.allocator, world.history, quiescent=rest)

    def _replay(self, program: Program, clause: str) -> tuple[Program, dict[str, str]]:
        """Run a program by those steps of its schedule that are possible, until a clause breaks.

        Return it with the steps that were taken, and what breaks.
        """
        count = len(program.actors)
        works = len({step for step in program.schedule if step >= count})
        world, broken = self._world, dict[str, str]()
        world.restart(replace(self._boot, operations=program.actors, works=works))
        steps = self._run(world, ScheduleReplay(program.schedule, lenient=True), broken, clause)
        self._end(world, broken)
        works = len({step for step in steps if step >= count})
        return replace(program, schedule=tuple(steps), works=works), broken

    def minimise(self, clause: str, found: Program) -> tuple[str, Program]:
        """Return a smallest program and schedule that breaks a clause, and the message.

        found: one that does.
        """

        def shows(candidate: Program) -> Program | None:
            program, broken = self._replay(candidate, clause)
            return program if clause in broken else None

        small = shrink(found, smaller, shows, TRIES).best
        return self._replay(small, clause)[1][clause], small

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self._world.monitor.asked())


def draw_program(
    choices: Choices, length: int, prefix: tuple[Operation, ...] = (), *, memcg: bool = False
) -> tuple[Operation, ...]:
    """Return operations drawn at random: requests, mostly of whole pages, and frees of theirs.

    They follow those of the prefix, and may free its areas.
    """
    pick, number = choices.pick, choices.number
    operations = list(prefix)
    freed = {operation[1] for operation in prefix if operation[0] == "f"}
    held = [o[1] for o in prefix if o[0] == "a" and o[1] not in freed]
    behind = max((o[1] for o in prefix), default=0)
    sizes = [4096 * pick(PAGE_SIZES) for _ in range(3)]
    crumbs = [4096, *(pick((4, 12, 1024, 2048, 4092, 4100)) for _ in range(2))]
    for handle in range(behind + 1, behind + length + 1):
        kind = number(100)
        if kind < 45 and held:
            operations.append(("f", held.pop(number(len(held))), 0, 0, False, 0))
        elif kind < 48:
            operations.append(("P", 1, 0, 0, False, 0))
        else:
            size = pick(sizes if number(10) < 8 else crumbs)
            gfp = ATOMIC if number(10) < 3 else KERNEL
            if memcg and choices.bit():
                gfp |= ACCOUNT
            align = 4 if number(10) < 9 else 4096
            operations.append(("a", handle, size, align, False, gfp))
            held.append(handle)
    return tuple(operations)


_LIMITED = (NOFS, NOIO, KERNEL | SCOPE_NOFS, KERNEL | SCOPE_NOIO)


def with_unusual(choices: Choices, operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return operations some of which forbid I/O or file systems, with frees that API-2 forbids."""
    changed: list[Operation] = []
    for operation in operations:
        kind, handle, size, align, reserved, gfp = operation
        if kind == "a" and gfp & KERNEL == KERNEL and not choices.number(4):
            limited = choices.pick(_LIMITED) | gfp & ACCOUNT
            operation = (kind, handle, size, align, reserved, limited)
        changed.append(operation)
        if kind == "a" and size > 4 and not choices.number(12):
            changed.append(("w", handle, 4, 0, False, 0))
        if kind == "f" and not choices.number(6):
            changed.append(("d", handle, 0, 0, False, 0))
    return tuple(changed)


LISTS: Final = 3000
"""That are drawn, at most."""
LENGTH: Final = 60
_TRIES: Final = 8000  # of making one small
_ROOM: Final = 28672  # bytes of the first chunk that are free after booting
_SIZES: Final = (4, 64, 256, 512, 1024, 2048, 3072, 4092, 4096, 8192)
_SIZE: Final = Geometry().with_changes(KERNEL_32K)


def about_a_chunk(clause: str) -> list[Predicate]:
    """Return the predicates about one chunk that state a clause; none if it is about more."""
    return [
        predicate
        for name, predicate in asked(Scope.CHUNK, When.ALWAYS, When.SETTLED)
        if name == clause
    ]


def drawn_lists(clause: str) -> Iterator[Operations]:
    """Yield lists of operations, the same for each clause in every run."""
    for number in range(LISTS):
        choices = drawn(f"{clause}/{number}")
        yield _draw_mixed(choices) if number % 2 else _draw_filled(choices)


def first_breach(variant: str, clause: str, operations: Operations) -> int:
    """Return the number of the first operation that breaks a clause about a chunk; 0 if none."""
    predicates = about_a_chunk(clause)
    allocator = build(variant_class(variant), _SIZE)
    machine = Driver(allocator)
    for number, operation in enumerate(operations, 1):
        machine.apply(number, operation)
        for chunk in allocator.chunks():
            if any(holds(chunk, _SIZE) for holds in predicates):
                return number
    return 0


def smallest_list(operations: Operations, shows: Callable[[Operations], bool]) -> Operations:
    """Return a smallest list that shows what one does."""
    return shrink(
        Program(operations),
        fewer,
        lambda program: program if shows(program.setup) else None,
        _TRIES,
    ).best.setup


def _sizes(choices: Choices) -> list[int]:
    return [choices.pick(_SIZES) for _ in range(3)]


def _area(choices: Choices, handle: int, sizes: list[int]) -> tuple[str, int, int, int, bool, int]:
    return "a", handle, choices.pick(sizes), 4, False, KERNEL


def _draw_mixed(choices: Choices) -> Operations:
    """Return allocations and frees in any order."""
    sizes = _sizes(choices)
    operations, held = [], list[int]()
    for handle in range(1, LENGTH + 1):
        if held and choices.number(100) < 45:
            operations.append(("f", held.pop(choices.number(len(held))), 0, 0, False, 0))
        else:
            operations.append(_area(choices, handle, sizes))
            held.append(handle)
    return tuple(operations)


def _draw_filled(choices: Choices) -> Operations:
    """Return allocations that fill the first chunk, frees of some of them, and a few more."""
    sizes, left = _sizes(choices), _ROOM
    operations, held = [], list[int]()
    while left > 0 and len(held) < LENGTH // 2:
        operations.append(_area(choices, len(held) + 1, sizes))
        left -= operations[-1][2]
        held.append(len(held) + 1)
    behind = len(held)
    for _ in range(1 + choices.number(len(held))):
        operations.append(("f", held.pop(choices.number(len(held))), 0, 0, False, 0))
    for handle in range(behind + 1, behind + 11):
        operations.append(_area(choices, handle, sizes))
    return tuple(operations)

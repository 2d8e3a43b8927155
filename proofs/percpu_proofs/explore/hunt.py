"""The search from an empty start: shortest operation lists, then schedules on top of them.

Operations come from a small alphabet. All lists of one operation are tried, then all of two, and so
on, each in every order and with every way to let its last operations run at the same time as the
balance work. The first counterexample of a clause has therefore the fewest operations that the
alphabet allows. States that were reached before are not gone on from again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.search import Finding, Search
from percpu_proofs.explore.world import Start, World
from percpu_proofs.oplist import Operation
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC, KERNEL


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What callers may do: blocking and atomic requests, each (size, align) in bytes, and frees."""

    blocking: tuple[tuple[int, int], ...]
    atomic: tuple[tuple[int, int], ...] = ()

    def operations(self, held: dict[int, object], handle: int) -> Iterator[Operation]:
        """Yield what can be done with these handles held; an allocation takes `handle`."""
        for size, align in self.blocking:
            yield ("a", handle, size, align, False, KERNEL)
        for size, align in self.atomic:
            yield ("a", handle, size, align, False, ATOMIC)
        for other, area in held.items():
            if area is not None:
                yield ("f", other, 0, 0, False, 0)


@dataclass(frozen=True, slots=True)
class Caught:
    """A clause broken: the operations one after the other, those at once, and the schedule."""

    clause: str
    message: str
    setup: tuple[Operation, ...]
    actors: tuple[Operation, ...]
    schedule: tuple[int, ...]
    seconds: float  # since the hunt began

    @property
    def length(self) -> int:
        """Number of operations; runs of the balance work that was asked for do not count."""
        return len(self.setup) + len(self.actors)


@dataclass(slots=True)
class Hunt:
    """A hunt through one variant; `run` fills the rest."""

    variant: str
    geometry: Geometry
    alphabet: Alphabet
    longest: int  # operations, at most
    together: int = 2  # of them at the same time, at most
    budget: float = 60.0  # seconds
    hints: bool = False  # judge the hints of every state too
    caught: dict[str, Caught] = field(default_factory=dict)
    states: int = 0
    steps: int = 0
    covered: int = 0  # all lists of so many operations were tried
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every list that was planned was tried."""
        return self.covered == self.longest

    def run(self) -> Hunt:
        """Hunt until the longest lists are covered, time is up, or Ctrl-C."""
        began = time.perf_counter()
        root = build(self.variant, self.geometry)
        levels: list[list[tuple[Operation, ...]]] = [[()]]
        known = {_state(root)}
        try:
            for length in range(1, self.longest + 1):
                for at_once in range(2, self.together + 1):
                    if length >= at_once:
                        for setup in levels[length - at_once]:
                            self._race(root, setup, at_once, began)
                level: list[tuple[Operation, ...]] = []
                for setup in levels[length - 1]:
                    self._extend(root, setup, known, level, began)
                levels.append(level)
                self.covered = length
        except (KeyboardInterrupt, _TimeUpError):
            pass
        self.states = len(known)
        self.seconds = time.perf_counter() - began
        return self

    def _start(self, root: Allocator, setup: tuple[Operation, ...]) -> Start:
        """Return the state after a list of operations, each followed by nothing else."""
        world = World(Start(root, {}, setup, works=0))
        for actor in range(len(setup)):
            while not world.runners[actor].done:
                world.step(actor)
        return Start(world.allocator, world.handles, ())

    def _after(self, start: Start, operation: Operation) -> tuple[Allocator, tuple[int, ...]]:
        """Return the state after one more operation, and its schedule."""
        world = World(Start(start.allocator, start.handles, (operation,), works=0))
        steps = 0
        while not world.finished:
            world.step(0)
            steps += 1
        return world.allocator, (0,) * steps

    def _extend(
        self,
        root: Allocator,
        setup: tuple[Operation, ...],
        known: set[object],
        level: list[tuple[Operation, ...]],
        began: float,
    ) -> None:
        """Try every operation after a list, alone with the balance work."""
        start = self._start(root, setup)
        operations = list(self.alphabet.operations(dict(start.handles), len(setup) + 1))
        if start.allocator.work_pending:
            operations.append(("b", 0, 0, 0, False, 0))
        for operation in operations:
            self._search(start, setup, (operation,), began)
            longer = (*setup, operation)
            after, taken = self._after(start, operation)
            state = _state(after)
            if state not in known:
                known.add(state)
                level.append(longer)
                if self.hints:
                    for clause, wrong in WholeState().broken(after):
                        self._catch(clause, wrong, setup, (operation,), taken, began)

    def _race(
        self, root: Allocator, setup: tuple[Operation, ...], at_once: int, began: float
    ) -> None:
        """Try every choice of operations at once after a list, with the balance work."""
        start = self._start(root, setup)
        handle = len(setup) + 1
        able = list(self.alphabet.operations(dict(start.handles), handle))
        for chosen in combinations(able, at_once):
            renamed = tuple(
                (kind, handle + number if kind == "a" else name, *rest)
                for number, (kind, name, *rest) in enumerate(chosen)
            )
            self._search(start, setup, renamed, began)  # type: ignore[arg-type]

    def _search(
        self,
        start: Start,
        setup: tuple[Operation, ...],
        actors: tuple[Operation, ...],
        began: float,
    ) -> None:
        result = Search(Start(start.allocator, start.handles, actors, works=1)).run()
        self.steps += result.steps
        for finding in result.findings.values():
            self._enter(finding, setup, actors, began)
        if time.perf_counter() - began > self.budget:
            raise _TimeUpError

    def _enter(
        self,
        finding: Finding,
        setup: tuple[Operation, ...],
        actors: tuple[Operation, ...],
        began: float,
    ) -> None:
        self._catch(finding.clause, finding.message, setup, actors, finding.schedule, began)

    def _catch(
        self,
        clause: str,
        message: str,
        setup: tuple[Operation, ...],
        actors: tuple[Operation, ...],
        schedule: tuple[int, ...],
        began: float,
    ) -> None:
        if clause not in self.caught:
            seconds = time.perf_counter() - began
            self.caught[clause] = Caught(clause, message, setup, actors, schedule, seconds)


class _TimeUpError(Exception):
    """The hunt has used its time."""


def _state(allocator: Allocator) -> object:
    """Return a value equal for allocators at rest that will behave alike, whatever the handles."""
    return (
        allocator.nr_empty_pop_pages,
        allocator.own_state(),
        allocator.work_pending,
        allocator.atomic_alloc_failed,
        tuple(
            (
                head.slot,
                tuple(
                    (
                        chunk.id,
                        chunk.isolated,
                        bytes(chunk.alloc_map),
                        bytes(chunk.populated),
                        tuple(chunk.chunk_md.as_list()),
                        tuple(tuple(block.as_list()) for block in chunk.md_blocks),
                    )
                    for chunk in head
                ),
            )
            for head in allocator.chunk_lists
            if head.next is not head
        ),
    )

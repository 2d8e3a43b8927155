"""Breadth-first over operation lists from an empty start.

All lists of one operation come first, then all of two, and so on; a list that leads to a state met
before is not gone on from. Runs of the balance work that was asked for are free: they lengthen no
list, so a counterexample has the fewest operations of callers that the alphabet allows.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, Self, TypeVar

from percpu_proofs.explore.alphabet import WORK
from percpu_proofs.explore.alphabets import Plan
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Area, Chunk
from percpu_reference.variants import Allocator

Operations = tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Caught:
    """A clause broken: the operations one after the other, those at once, and the schedule.

    Without a schedule the last operation runs to its end with nothing else running.
    """

    clause: str
    message: str
    setup: Operations
    actors: Operations
    schedule: tuple[int, ...]
    seconds: float  # since the search began

    @property
    def length(self) -> int:
        """Number of operations; runs of the balance work that was asked for do not count."""
        return sum(operation != WORK for operation in (*self.setup, *self.actors))


GUARD: Final = 3600.0
"""Seconds after which a search is broken off; its bound in steps ends it before, on any machine
that is fit for use."""


class Spot:
    """An allocator at rest, and the areas that its callers hold."""

    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator
        self.machine = Machine(allocator)

    def apply(self, operation: Operation) -> bool:
        """Apply one operation; return whether it has an end."""
        self.machine.apply(1, operation)
        return True

    def copy(self) -> tuple[Self, dict[Chunk, Chunk]]:
        """Return an independent copy, and the map from old to new chunks."""
        allocator, copies = self.allocator.clone()
        new = type(self)(allocator)
        new.take_over(self, copies)
        return new, copies

    def restore(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Return to the spot this one is a copy of."""
        self.allocator.restore(origin.allocator, copies)
        self.take_over(origin, copies)

    def take_over(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Take over all but the allocator's state."""
        self.machine.handles = {
            handle: None if area is None else (copies[area[0]], area[1])
            for handle, area in origin.machine.handles.items()
        }


S = TypeVar("S", bound=Spot)


@dataclass
class Breadth(ABC, Generic[S]):
    """A search through one variant; `run` fills what has a default."""

    variant: str
    plan: Plan
    wanted: frozenset[str] = frozenset()  # clauses that are looked for beyond the plan's least
    caught: dict[str, Caught] = field(default_factory=dict)
    states: int = 0
    steps: int = 0
    stopped: str = ""  # why no longer lists were tried
    covered: int = 0  # all lists of so many operations were tried
    seconds: float = 0.0
    levels: list[list[Operations]] = field(default_factory=list)  # lists by number of operations
    _began: float = 0.0
    _way: list[tuple[Operation, S]] = field(default_factory=list)  # to a list, from the start on

    @property
    def complete(self) -> bool:
        """Whether every list that was planned was tried: up to `least`, or on to the longest."""
        return self.covered == self.plan.longest or self.is_enough(self.covered)

    def is_enough(self, length: int) -> bool:
        """Whether lists of so many operations suffice, for what has been found."""
        return length >= max(self.plan.least, 1) and self.wanted <= self.caught.keys()

    def run(self) -> None:
        """Search until the longest lists are covered, a bound is hit, or Ctrl-C."""
        self._began = time.perf_counter()
        with suppress(KeyboardInterrupt, EnoughError):
            self._run()
        self.seconds = time.perf_counter() - self._began

    def _run(self) -> None:
        known: set[bytes] = set()
        self.levels = [[()]]
        for length in range(self.plan.longest + 1):
            self.at_length(length)
            longer: list[Operations] = []
            for operations in self.levels[-1]:  # grows while it is walked: the work is free
                self.check()
                for operation, key in self.extend(operations, further=length < self.plan.longest):
                    if key not in known:
                        known.add(key)
                        same = operation == WORK
                        (self.levels[-1] if same else longer).append((*operations, operation))
                self.states = len(known)
            self.covered = length
            if self.is_enough(length):
                break
            self.levels.append(longer)

    def check(self) -> None:
        """Raise EnoughError at a bound."""
        if self.steps >= self.plan.most:
            self.stopped = f"stopped after {self.steps:,} steps"
        elif time.perf_counter() - self._began > GUARD:
            self.stopped = f"stopped by the guard of {GUARD:.0f} s after {self.steps:,} steps"
        if self.stopped:
            raise EnoughError

    def at_length(self, length: int) -> None:
        """Do what else a search does with lists of so many operations."""
        self.check()

    @property
    @abstractmethod
    def judged(self) -> Counter[str]:
        """How often each clause was judged, less those whose situation did not occur."""

    @property
    @abstractmethod
    def how(self) -> str:
        """What is done with the lists, in words."""

    @abstractmethod
    def start(self) -> S:
        """Return the spot after no operation."""

    @abstractmethod
    def key(self, spot: S) -> bytes:
        """Return a digest that is equal for spots that will behave alike."""

    def judge(self, spot: S, operations: Operations, operation: Operation, ended: bool) -> None:
        """Judge what an operation after a list has led to."""

    def after(self, operations: Operations) -> S:
        """Return the spot after a list; lists that begin alike share the way there."""
        way = self._way or [(WORK, self.start())]
        same = 0
        while same < min(len(operations), len(way) - 1) and operations[same] == way[same + 1][0]:
            same += 1
        self._way = way = way[: same + 1]
        for operation in operations[same:]:
            spot, _ = way[-1][1].copy()
            spot.apply(operation)
            way.append((operation, spot))
        return way[-1][1]

    def extend(self, operations: Operations, *, further: bool) -> Iterator[tuple[Operation, bytes]]:
        """Try every operation after a list, or with further=False only the work.

        Yields each that has an end, with the key of the state that it leads to.
        """
        here = self.after(operations)
        held, work = here.machine.handles, here.allocator.work_pending
        chosen = list(self.choices(held, operations, work=work, further=further))
        if not chosen:
            return
        there, copies = here.copy()
        for operation in chosen:
            there.restore(here, copies)
            ended = there.apply(operation)
            self.judge(there, operations, operation, ended)
            if ended:
                yield operation, self.key(there)

    def choices(
        self, held: dict[int, Area | None], operations: Operations, *, work: bool, further: bool
    ) -> Iterator[Operation]:
        """Yield the operations that can come after a list."""
        if further:
            handle = len(operations) + 1
            yield from self.plan.alphabet.operations(held, handle)
        if work:
            yield WORK

    def catch(
        self,
        clause: str,
        message: str,
        setup: Operations,
        actors: Operations,
        schedule: tuple[int, ...] = (),
    ) -> None:
        """Keep the first counterexample of a clause."""
        if clause not in self.caught:
            seconds = time.perf_counter() - self._began
            self.caught[clause] = Caught(clause, message, setup, actors, schedule, seconds)

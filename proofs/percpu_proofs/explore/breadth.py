"""Breadth-first over operation lists from an empty start.

All lists of one operation come first, then all of two, and so on; a list that leads to a state met
before is not gone on from. Runs of the balance work that was asked for are free: they lengthen no
list, so a counterexample has the fewest operations of callers that the alphabet allows.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from percpu_contracts.history import History
from percpu_proofs.explore.alphabet import WORK
from percpu_proofs.explore.alphabets import AlphabetPlan
from percpu_proofs.explore.equivalent_chunks import Handles, Twins, moved
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import Operation
from percpu_reference.chunk import Chunk
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


class AllocatorCopy(NamedTuple):
    """An allocator at rest, what its callers hold and what happened, to come back to."""

    allocator: Allocator
    handles: Handles
    history: History


class AllocatorSpot:
    """An allocator at rest, and the areas that its callers hold."""

    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator
        self.machine = Driver(allocator)
        self.history = History()
        self._twins = Twins(allocator.chunks())

    def apply(self, operation: Operation) -> bool:
        """Apply one operation; return whether it has an end."""
        self.machine.apply(1, operation)
        return True

    def save(self) -> AllocatorCopy:
        """Return what `load` comes back to."""
        allocator, copies = self.allocator.clone()
        history = self.history.copy(copies)
        return AllocatorCopy(allocator, moved(self.machine.handles, copies), history)

    def load(self, saved: AllocatorCopy) -> None:
        """Come to a state that was saved."""
        copies = self._twins.of(saved.allocator)
        self.rest(copies, saved.allocator)
        self.allocator.restore(saved.allocator, copies)
        self.machine.handles = moved(saved.handles, copies)
        self.history = saved.history.copy(copies)

    def rest(self, copies: Mapping[Chunk, Chunk], origin: Allocator) -> None:
        """Let nobody judge what comes: the state of another allocator is written."""


S = TypeVar("S", bound=AllocatorSpot)
_MOST_SAVED: Final = 2000  # states after lists, of some 50 kB each; others are come to again


@dataclass
class Breadth(ABC, Generic[S]):
    """A search through one variant; `run` fills what has a default."""

    variant: str
    plan: AlphabetPlan
    wanted: frozenset[str] = frozenset()  # clauses that are looked for beyond the plan's least
    on_broken: Callable[[Caught], None] = lambda caught: None  # may raise EnoughError
    caught: dict[str, Caught] = field(default_factory=dict)
    states: int = 0
    steps: int = 0
    stopped: str = ""  # why no longer lists were tried
    covered: int = 0  # all lists of so many operations were tried
    seconds: float = 0.0
    levels: list[list[Operations]] = field(default_factory=list)  # lists by number of operations
    _began: float = 0.0
    _saved: dict[Operations, AllocatorCopy] = field(
        default_factory=dict
    )  # states after lists, the latest

    @property
    def complete(self) -> bool:
        """Whether every list that was planned was tried: up to `least`, or on to the longest."""
        return self.covered == self.plan.longest or self.is_enough(self.covered)

    def is_enough(self, length: int) -> bool:
        """Whether lists of so many operations suffice, for what has been found."""
        return length >= max(self.plan.least, 1) and self.wanted <= self.caught.keys()

    def __post_init__(self) -> None:
        self.spot = self.start()

    def run(self) -> None:
        """Search until the longest lists are covered, a bound is hit, or Ctrl-C."""
        self._began = time.perf_counter()
        with suppress(KeyboardInterrupt, EnoughError):
            self._run()
        self.seconds = time.perf_counter() - self._began

    def _run(self) -> None:
        known: set[bytes] = set()
        self.levels = [[()]]
        self._save(())
        for length in range(self.plan.longest + 1):
            self.at_length(length)
            longer: list[Operations] = []
            for operations in self.levels[-1]:  # grows while it is walked: the work is free
                self.check()
                for operation, key in self.extend(operations, self.goes_on(length)):
                    same = operation == WORK
                    last = self.is_enough(length) and not same
                    if key not in known and not last and self._leads_on(length + (not same)):
                        self._save((*operations, operation))
                        (self.levels[-1] if same else longer).append((*operations, operation))
                    known.add(key)
                self.states = len(known)
            self.covered = length
            if self.is_enough(length):
                break
            self.levels.append(longer)

    def _leads_on(self, length: int) -> bool:
        """Whether a list of so many operations that has led here can be made longer."""
        return self.goes_on(length) or self.spot.allocator.work_pending

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

    def goes_on(self, length: int) -> bool:
        """Whether longer lists are made of those of so many operations."""
        return length < self.plan.longest

    @property
    @abstractmethod
    def judged(self) -> Counter[str]:
        """How often each clause was judged, less those whose situation did not occur."""

    @abstractmethod
    def start(self) -> S:
        """Return the spot after booting."""

    @abstractmethod
    def key(self) -> bytes:
        """Return a digest that is equal for states of the spot that will behave alike."""

    def judge(self, operations: Operations, operation: Operation, ended: bool) -> None:
        """Judge what an operation after a list has led the spot to."""

    def _save(self, operations: Operations) -> AllocatorCopy:
        """Keep the present state as that after a list, in the place of an old one.

        That after no operation stays: from it all others can be come to again.
        """
        if len(self._saved) >= _MOST_SAVED:
            del self._saved[next(filter(None, self._saved))]
        saved = self._saved[operations] = self.spot.save()
        return saved

    def after(self, operations: Operations) -> AllocatorCopy:
        """Return the state after a list."""
        if operations not in self._saved:
            self.spot.load(self.after(operations[:-1]))
            self.spot.apply(operations[-1])
            return self._save(operations)
        return self._saved[operations]

    def extend(self, operations: Operations, further: bool) -> Iterator[tuple[Operation, bytes]]:
        """Try every operation after a list, or with further=False only the work.

        Yields each that has an end, with the key of the state that it leads to.
        """
        here, spot = self.after(operations), self.spot
        for operation in self.choices(here, operations, further):
            spot.load(here)
            ended = spot.apply(operation)
            self.judge(operations, operation, ended)
            if ended:
                yield operation, self.key()

    def choices(
        self, here: AllocatorCopy, operations: Operations, further: bool
    ) -> Iterable[Operation]:
        """Yield the operations that can come after a list."""
        if further:
            yield from self.plan.alphabet.operations(here.handles, len(operations) + 1)
        if here.allocator.work_pending:
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
        seconds = time.perf_counter() - self._began
        caught = Caught(clause, message, setup, actors, schedule, seconds)
        self.caught.setdefault(clause, caught)
        self.on_broken(caught)

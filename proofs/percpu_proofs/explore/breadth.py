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

from percpu_proofs.explore.alphabet import WORK, Alphabet
from percpu_proofs.oplist import Operation
from percpu_reference.chunk import Area
from percpu_spec.geometry import Geometry

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


class TimeUpError(Exception):
    """The search has used its time."""


@dataclass
class Breadth(ABC):
    """A search through one variant; `run` fills what has a default."""

    variant: str
    geometry: Geometry
    alphabet: Alphabet
    longest: int  # operations, at most
    budget: float = 60.0  # seconds
    least: int = 0  # operations that lists have, whatever is found
    wanted: frozenset[str] = frozenset()  # clauses that are looked for beyond that
    caught: dict[str, Caught] = field(default_factory=dict)
    states: int = 0
    steps: int = 0
    covered: int = 0  # all lists of so many operations were tried
    seconds: float = 0.0
    levels: list[list[Operations]] = field(default_factory=list)  # lists by number of operations
    _began: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every list that was planned was tried: up to `least`, or on to the longest."""
        return self.covered == self.longest or self.is_enough(self.covered)

    def is_enough(self, length: int) -> bool:
        """Whether lists of so many operations suffice, for what has been found."""
        return length >= max(self.least, 1) and self.wanted <= self.caught.keys()

    def run(self) -> None:
        """Search until the longest lists are covered, time is up, or Ctrl-C."""
        self._began = time.perf_counter()
        with suppress(KeyboardInterrupt, TimeUpError):
            self._run()
        self.seconds = time.perf_counter() - self._began

    def _run(self) -> None:
        known: set[bytes] = set()
        self.levels = [[()]]
        for length in range(self.longest + 1):
            self.at_length(length)
            longer: list[Operations] = []
            for operations in self.levels[-1]:  # grows while it is walked: the work is free
                self.check_time()
                for operation, key in self.extend(operations, further=length < self.longest):
                    if key not in known:
                        known.add(key)
                        same = operation == WORK
                        (self.levels[-1] if same else longer).append((*operations, operation))
                self.states = len(known)
            self.covered = length
            if self.is_enough(length):
                break
            self.levels.append(longer)

    def check_time(self) -> None:
        """Raise TimeUpError when the budget is used."""
        if time.perf_counter() - self._began > self.budget:
            raise TimeUpError

    def at_length(self, length: int) -> None:
        """Do what else a search does with lists of so many operations."""
        self.check_time()

    @property
    @abstractmethod
    def judged(self) -> Counter[str]:
        """How often each clause was judged, less those whose situation did not occur."""

    @abstractmethod
    def extend(self, operations: Operations, *, further: bool) -> Iterator[tuple[Operation, bytes]]:
        """Try every operation after a list, or with further=False only the work.

        Yields each that has an end, with the key of the state that it leads to.
        """

    def choices(
        self, held: dict[int, Area | None], operations: Operations, *, work: bool, further: bool
    ) -> Iterator[Operation]:
        """Yield the operations that can come after a list."""
        if further:
            handle = len(operations) + 1
            yield from self.alphabet.operations(held, handle)
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

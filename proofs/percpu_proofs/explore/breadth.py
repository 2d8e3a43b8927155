"""Breadth-first over operation lists from an empty start.

All lists of one operation come first, then all of two, and so on; a list that leads to a state met
before is not gone on from. Runs of the balance work that was asked for are free: they lengthen no
list, so a counterexample has the fewest operations of callers that the alphabet allows.

Sequences run alone: the clauses asked of functions and states, those about quiescence included, are
judged at every operation of every list up to the bound. A hunt lets the last operations run at
once: every schedule of them is searched and every step judged. What comes before them runs alone,
and a run of the balance work is done with before they begin, or begins with them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar, Final, NamedTuple

from percpu_contracts.contract import Level
from percpu_contracts.history import History
from percpu_contracts.situations import SituationCoverage
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.explore.fingerprint import state_key
from percpu_proofs.explore.judges import passing_monitor
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.schedulers.matching import StepFacts
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.explore.searches import WORK, AlphabetPlan
from percpu_proofs.explore.system import Handles, Start, Twins, handles_in
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import Operation
from percpu_reference import build
from percpu_reference.variants import Allocator

Operations = tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class ListFinding:
    """A clause broken: the operations one after the other, those at once, and the schedule.

    Without a schedule the last operation runs to its end with nothing else running.
    """

    clause: str
    message: str
    setup: Operations
    actors: Operations
    schedule: tuple[int, ...]


GUARD: Final = 3600.0
"""Seconds after which a search is broken off; its bound in steps ends it before, on any machine
that is fit for use."""


class AllocatorCopy(NamedTuple):
    """An allocator at rest, what its callers hold and what happened, to come back to."""

    allocator: Allocator
    handles: Handles
    history: History


class SequentialWorld:
    """An allocator at rest, the areas that its callers hold, and what happened.

    Under contracts every violation is let pass and entered in `monitor`, but for that of ENDLESS.
    """

    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator
        self.monitor = passing_monitor(allocator)
        if allocator.monitor is not None:
            allocator.monitor = self.monitor
        self.driver = Driver(allocator)
        self.history = History()
        self._twins = Twins(allocator.chunks())

    def apply(self, operation: Operation) -> bool:
        """Apply one operation, with violations of that alone; return whether it has an end."""
        self.monitor.begin(self.history)
        try:
            self.driver.apply(1, operation)
        except ClauseViolation:
            return False
        return True

    def key(self) -> bytes:
        """Return a digest that is equal for states that behave alike, to contracts too."""
        plain = self.allocator.monitor is None
        return state_key(self.allocator, None if plain else self.history)

    def save(self) -> AllocatorCopy:
        """Return what `load` comes back to."""
        allocator, copies = self.allocator.clone()
        history = self.history.copy(copies)
        return AllocatorCopy(allocator, handles_in(self.driver.handles, copies), history)

    def load(self, saved: AllocatorCopy) -> None:
        """Come to a state that was saved."""
        copies = self._twins.of(saved.allocator)
        self.monitor.guard.quiesce(copies.values(), saved.allocator)
        self.allocator.restore(saved.allocator, copies)
        self.driver.handles = handles_in(saved.handles, copies)
        self.history = saved.history.copy(copies)


_MOST_SAVED: Final = 2000  # states after lists, of some 50 kB each; others are come to again


@dataclass
class Breadth(ABC):
    """A search through one variant; `run` fills what has a default."""

    CONTRACTS: ClassVar[Level] = "off"

    variant: str
    plan: AlphabetPlan
    sought: frozenset[str] = frozenset()  # clauses that are looked for beyond the plan's least
    on_broken: Callable[[ListFinding], None] = lambda finding: None  # may raise EnoughError
    findings: dict[str, ListFinding] = field(default_factory=dict)
    states: int = 0
    steps: int = 0
    stopped: str = ""  # why no longer lists were tried
    covered: int = 0  # all lists of so many operations were tried
    levels: list[list[Operations]] = field(default_factory=list)  # lists by number of operations
    _began: float = 0.0
    _saved: dict[Operations, AllocatorCopy] = field(default_factory=dict)  # the latest, by lists

    @property
    def complete(self) -> bool:
        """Whether every list that was planned was tried: up to `least`, or on to the longest."""
        return self.covered == self.plan.longest or self.is_enough(self.covered)

    def is_enough(self, length: int) -> bool:
        """Whether lists of so many operations suffice, for what has been found."""
        return length >= max(self.plan.least, 1) and self.sought <= self.findings.keys()

    def __post_init__(self) -> None:
        self.world = SequentialWorld(build(self.variant, self.plan.sizes, contracts=self.CONTRACTS))

    def run(self) -> None:
        """Search until the longest lists are covered, a bound is hit, or Ctrl-C."""
        self._began = time.perf_counter()
        with suppress(KeyboardInterrupt, EnoughError):
            self._run()

    def _run(self) -> None:
        known: set[bytes] = set()
        here = self.world.allocator
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
                    leads_on = self.goes_on(length + (not same)) or here.work_pending
                    if key not in known and not last and leads_on:
                        self._save((*operations, operation))
                        (self.levels[-1] if same else longer).append((*operations, operation))
                    known.add(key)
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

    def goes_on(self, length: int) -> bool:
        """Whether longer lists are made of those of so many operations."""
        return length < self.plan.longest

    @property
    @abstractmethod
    def judged(self) -> Counter[str]:
        """How often each clause was judged, less those whose situation did not occur."""

    def apply(self, operations: Operations, operation: Operation) -> bool:
        """Apply an operation after a list; return whether it has an end."""
        return self.world.apply(operation)

    def _save(self, operations: Operations) -> AllocatorCopy:
        """Keep the present state as that after a list, in the place of an old one.

        That after no operation stays: from it all others can be come to again.
        """
        if len(self._saved) >= _MOST_SAVED:
            del self._saved[next(filter(None, self._saved))]
        saved = self._saved[operations] = self.world.save()
        return saved

    def after(self, operations: Operations) -> AllocatorCopy:
        """Return the state after a list."""
        if operations not in self._saved:
            self.world.load(self.after(operations[:-1]))
            self.world.apply(operations[-1])
            return self._save(operations)
        return self._saved[operations]

    def extend(self, operations: Operations, further: bool) -> Iterator[tuple[Operation, bytes]]:
        """Try every operation after a list, or with further=False only the work.

        Yields each that has an end, with the key of the state that it leads to.
        """
        here, world = self.after(operations), self.world
        for operation in self.choices(here, operations, further):
            world.load(here)
            if self.apply(operations, operation):
                yield operation, world.key()

    def choices(
        self, here: AllocatorCopy, operations: Operations, further: bool
    ) -> Iterable[Operation]:
        """Yield the operations that can come after a list."""
        if further:
            yield from self.plan.alphabet.operations(here.handles, len(operations) + 1)
        if here.allocator.work_pending:
            yield WORK

    def enter(
        self,
        clause: str,
        message: str,
        setup: Operations,
        actors: Operations,
        schedule: tuple[int, ...] = (),
    ) -> None:
        """Keep the first counterexample of a clause."""
        finding = ListFinding(clause, message, setup, actors, schedule)
        self.findings.setdefault(clause, finding)
        self.on_broken(finding)


@dataclass
class Sequences(Breadth):
    """The search of operation lists under contracts."""

    CONTRACTS = "full"

    sightings: SituationCoverage = field(default_factory=SituationCoverage)

    def apply(self, operations: Operations, operation: Operation) -> bool:
        """Apply an operation; enter what the contracts and the clauses about states say."""
        ended = super().apply(operations, operation)
        self.steps += 1
        allocator = self.world.allocator
        for clause, violation in self.world.monitor.violations.items():
            self.enter(clause, violation.first_message, operations, (operation,))
        at_rest = ended and allocator.quiescent
        self.sightings.look(allocator, self.world.history, quiescent=at_rest)
        return ended

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.world.monitor.asked())


@dataclass
class Hunt(Breadth):
    """The search of operation lists with their last 1 to `together` operations at once."""

    witnessed: Counter[str] = field(default_factory=Counter)
    known: StepFacts = field(default_factory=StepFacts)

    def goes_on(self, length: int) -> bool:
        """Whether longer lists are made of those of so many operations."""
        return super().goes_on(length) and not self.is_enough(length)

    def choices(
        self, here: AllocatorCopy, operations: Operations, further: bool
    ) -> Iterable[Operation]:
        """Return the operations that can come after a list; none where no longer ones are made."""
        return super().choices(here, operations, further) if further else ()

    def at_length(self, length: int) -> None:
        """Search every choice of operations at once that makes lists of this length."""
        for at_once in range(1, min(self.plan.together, length) + 1):
            for operations in self.levels[length - at_once]:
                here = self.after(operations)
                choices = list(self.plan.alphabet.operations(here.handles, len(operations) + 1))
                for chosen in combinations(choices, at_once):
                    if at_once == 1 < self.plan.together and _is_among_pairs(operations, chosen[0]):
                        continue
                    self.check()
                    self._search(here, operations, _renamed(chosen, len(operations) + 1))

    def _search(self, here: AllocatorCopy, operations: Operations, actors: Operations) -> None:
        """Search every schedule of the actors and one run of the work, if it is asked for."""
        start = Start(here.allocator, here.handles, actors, works=1)
        result = search(start, preemptions=self.plan.preemptions, known=self.known, once=True)
        self.steps += result.steps
        self.witnessed.update(result.witnessed)
        for found in result.findings.values():
            self.enter(found.clause, found.message, operations, actors, found.schedule)
        if result.interrupted:
            raise KeyboardInterrupt

    @property
    def judged(self) -> Counter[str]:
        """How often each clause's question arose."""
        return self.witnessed


def _is_among_pairs(operations: Operations, last: Operation) -> bool:
    """Return whether a list's last operation and one more alone are searched as a pair as well.

    Of the schedules of two at once some run the first to its end before the other begins. Not so
    if the work ran in between, the other frees what the first allocates, or they are the same.
    """
    if not operations or operations[-1] == WORK:
        return False
    before = operations[-1]
    same = before[0] == last[0] == "a" and before[2:] == last[2:]
    return before[1] != last[1] and not same


def _renamed(chosen: Operations, handle: int) -> Operations:
    """Give each allocation a handle of its own, from `handle` up."""
    return tuple(
        ("a", handle + number, *operation[2:]) if operation[0] == "a" else operation
        for number, operation in enumerate(chosen)
    )

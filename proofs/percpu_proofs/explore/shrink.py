"""Making what shows something small: one loop, what can be left out, and schedules of the model.

Whatever was found, by a search, by chance or against a compiled kernel, is made small here: less is
left out for as long as it still shows. Tries are counted, so the result is the same on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Final, Generic, TypeVar

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Program, Scenario
from percpu_proofs.explore.schedulers.matching import StepFacts
from percpu_proofs.explore.search import ScheduleFinding
from percpu_proofs.explore.system import actor_of, without
from percpu_proofs.run.operations import HANDLES, Operation
from percpu_spec import gfp
from percpu_spec.catalogue import REFINE

T = TypeVar("T", bound=Hashable)

GUARD: Final = 600.0  # seconds; tries end before on any machine that is fit for use
_LARGEST: Final = 32768  # bytes of a request
_PAGE: Final = 4096  # bytes; other pages only make a size less likely to help
_MOST_STEPS: Final = 200_000  # of one search for a smaller counterexample
TRIES: Final = 4_000  # of leaving out operations of one


@dataclass(frozen=True, slots=True)
class ShrinkResult(Generic[T]):
    """The smallest that was found, and why it may not be the smallest there is."""

    best: T
    stopped: str = ""  # empty: nothing that was tried can be left out


def shrink(
    best: T, candidates: Callable[[T], Iterable[T]], shows: Callable[[T], T | None], tries: int
) -> ShrinkResult[T]:
    """Return the smallest in the neighbourhood that still shows what the first one shows.

    candidates: smaller ones, the smallest first. shows: returns what of a candidate it takes for it
    to show, None if it does not. What did not show is not tried twice.
    """
    began = time.monotonic()
    in_vain: set[T] = set()
    first = 0  # candidates before this one have helped already; they have another go at the end
    tried = 0
    while True:
        for number, candidate in islice(enumerate(candidates(best)), first, None):
            if candidate in in_vain:
                continue
            late = time.monotonic() - began > GUARD
            if late or tried == tries:
                guard = f"by the guard of {GUARD:.0f} s " if late else ""
                return ShrinkResult(best, f"stopped {guard}after {tried} tries")
            tried += 1
            smaller = shows(candidate)
            if smaller is not None:
                best, first = smaller, number
                break
            in_vain.add(candidate)
        else:
            if not first:
                return ShrinkResult(best)
            first = 0


def smaller(program: Program) -> Iterator[Program]:
    """Yield programs with a failure, stretches of operations, or switches between actors less."""
    if program.failures:
        yield replace(program, failures=program.failures - 1)
    yield from _fewer_actors(program)
    yield from _shorter_setups(program)
    yield from _fewer_works(program)
    yield from _fewer_switches(program)


def simpler(program: Program) -> Iterator[Program]:
    """Yield programs with an allocation in the place of two, and with plainer allocations."""
    setup = program.setup
    for at, (first, second) in enumerate(pairwise(setup)):
        size = first[2] + second[2]
        if first[0] == second[0] == "a" and first[3:] == second[3:] and size <= _LARGEST:
            yield _with(program, setup[:at], _sized(first, size), setup[at + 2 :])
    for gone in stretches(len(setup) - 1):  # behind an allocation that grows in their place
        grown = setup[gone.start]
        if grown[0] == "a" and grown[2] < _LARGEST:
            yield _with(
                program, setup[: gone.start], _sized(grown, _LARGEST), setup[gone.stop + 1 :]
            )
    for at, operation in enumerate(setup):
        for plainer in _plainer(operation):
            yield _with(program, setup[:at], plainer, setup[at + 1 :])


def fewer(program: Program) -> Iterator[Program]:
    """Yield all that is smaller or simpler, the search of resized ones last: they are many."""
    yield from smaller(program)
    yield from simpler(program)
    yield from resized(program)


def resized(program: Program) -> Iterator[Program]:
    """Yield programs with an operation less, and an allocation of another size for that.

    Sizes are those that allocations in a row add up to, as they are and in whole pages.
    """
    setup = program.setup
    sizes = _sums([operation[2] for operation in setup if operation[0] == "a"])
    for gone in reversed(range(len(setup))):
        left = setup[:gone] + setup[gone + 1 :]
        for at, operation in enumerate(left):
            for size in sizes if operation[0] == "a" else ():
                if size != operation[2]:
                    yield _with(program, left[:at], _sized(operation, size), left[at + 1 :])


def _sums(sizes: Sequence[int]) -> list[int]:
    """Return what some numbers in a row add up to, in whole pages too, the largest first."""
    sums = {
        sum(sizes[first:last])
        for first in range(len(sizes))
        for last in range(first + 1, len(sizes) + 1)
    }
    sums |= {-(-size // _PAGE) * _PAGE for size in sums}
    return sorted((size for size in sums if size <= _LARGEST), reverse=True)


def _sized(operation: Operation, size: int) -> Operation:
    return (*operation[:2], size, *operation[3:])


def _with(
    program: Program, before: Iterable[Operation], one: Operation, behind: Iterable[Operation]
) -> Program:
    return replace(program, setup=_sound((*before, one, *behind))[0])


def stretches(length: int) -> Iterator[range]:
    """Yield stretches to leave out, the longest first, halving down to single ones."""
    size = length
    while size > 0:
        for first in range(length - size, -1, -size):
            yield range(first, first + size)
        size //= 2


def _shorter_setups(program: Program) -> Iterator[Program]:
    made, freed = ({o[1] for o in program.actors if o[0] == kind} for kind in "af")
    for dropped in stretches(len(program.setup)):
        rest = program.setup[: dropped.start] + program.setup[dropped.stop :]
        sound, held = _sound(rest)
        if freed - made <= held:
            yield replace(program, setup=sound)


def _fewer_actors(program: Program) -> Iterator[Program]:
    """Leave out actors, with those that free what they allocate."""
    actors = program.actors
    for stretch in stretches(len(actors)):
        dropped = set(stretch)
        handles = {actors[at][1] for at in dropped if actors[at][0] == "a"}
        dropped |= {at for at, o in enumerate(actors) if o[0] in HANDLES and o[1] in handles}
        freed = {actors[at][1] for at in dropped if actors[at][0] == "f"}
        dropped |= {at for at, o in enumerate(actors) if o[0] == "d" and o[1] in freed}
        left = [at for at in range(len(actors)) if at not in dropped]
        if not left and not program.setup:
            continue
        schedule = without(program.schedule, dropped)
        yield replace(program, actors=tuple([actors[at] for at in left]), schedule=schedule)


def _fewer_works(program: Program) -> Iterator[Program]:
    """Leave out runs of the work that a schedule has, the last one first."""
    count = len(program.actors)
    works = dict.fromkeys(actor_of(s) for s in program.schedule if actor_of(s) >= count)
    for work in reversed(works):
        schedule = without(program.schedule, {work})
        yield replace(program, schedule=schedule, works=program.works - 1)


def _fewer_switches(program: Program) -> Iterator[Program]:
    """Let steps follow their actor's one before at once."""
    schedule = program.schedule
    for at in range(1, len(schedule)):
        actor = actor_of(schedule[at])
        before = [n for n in range(at) if actor_of(schedule[n]) == actor]
        if before and before[-1] != at - 1:
            behind = before[-1] + 1
            moved = (*schedule[:behind], schedule[at], *schedule[behind:at], *schedule[at + 1 :])
            yield replace(program, schedule=moved)


def _sound(operations: Iterable[Operation]) -> tuple[tuple[Operation, ...], set[int]]:
    """Return the operations without frees of what was never allocated, and the handles at the end.

    A free into an area stays within it.
    """
    sound: list[Operation] = []
    held: dict[int, int] = {}  # bytes by handle
    gone: set[int] = set()
    for operation in operations:
        kind, handle, size = operation[:3]
        if kind == "f":
            if handle not in held:
                continue
            del held[handle]
            gone.add(handle)
        elif (kind == "w" and size >= held.get(handle, 0)) or (kind == "d" and handle not in gone):
            continue
        elif kind == "a":
            held[handle] = size
            gone.discard(handle)
        sound.append(operation)
    return tuple(sound), set(held)


def _plainer(operation: Operation) -> Iterator[Operation]:
    """Yield plainer forms of an operation, the plainest first."""
    kind, handle, size, align, reserved, flags = operation
    if kind != "a":
        return
    for fewer in dict.fromkeys(s for s in (4, 1024, 4096, 8192, size) if s <= size):
        for plain in ((4, False, gfp.KERNEL), (4, False, flags), (align, reserved, flags)):
            if (fewer, *plain) != operation[2:]:
                yield (kind, handle, fewer, *plain)


@dataclass(frozen=True, slots=True)
class Minimum:
    """A scenario and a schedule of it that breaks a clause."""

    scenario: Scenario
    finding: ScheduleFinding
    preemptions: int
    stopped: str  # why operations may be left that can be left out; empty: none can

    @property
    def operations(self) -> int:
        """How many operations it takes, those of the setup included."""
        return len(self.scenario.setup) + len(self.scenario.actors)


def minimise(
    scenario: Scenario,
    variant: str,
    clause: str,
    candidates: Callable[[Program], Iterable[Program]] = smaller,
    most: int = _MOST_STEPS,
) -> Minimum | None:
    """Return a counterexample from which no operation can be left out.

    Allocations go together with their frees. Of its schedules it has one with the fewest
    preemptions. None if the scenario has no counterexample within `most` steps. Ctrl-C is raised.
    candidates: as shrink has it.
    """
    known = StepFacts()

    def finding(program: Program, preemptions: int | None = None) -> ScheduleFinding | None:
        result = search(
            scenario.with_program(program).start(variant),
            max_steps=most,
            stop=None if preemptions is not None else lambda found: clause in found.findings,
            preemptions=preemptions,
            refine=clause == REFINE,
            known=known,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return result.findings.get(clause)

    if finding(scenario.program) is None:
        return None
    small = shrink(scenario.program, candidates, lambda one: one if finding(one) else None, TRIES)
    for preemptions in range(64):
        found = finding(small.best, preemptions)
        if found is not None:
            least = scenario.with_program(small.best)
            return Minimum(least, found, preemptions, small.stopped)
    return None

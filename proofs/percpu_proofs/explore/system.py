"""What is searched, as schedulers see it: actors that take steps, and what a world begins with.

A world of the model is one (world.py), a kernel tree's code another (kernel/search/compiled.py).
Actors are numbered: those of the start first, then runs of the balance work as they begin. A step
of actor n is written n, and ~n if it asks for memory in vain.

What a step does depends on what all actors share and on where its own actor stands. It changes
these two, and no other actor's place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from percpu_contracts.history import History
from percpu_contracts.operation_steps import Actor
from percpu_proofs.run.driver import Place
from percpu_proofs.run.operations import Operation
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator

Schedule = tuple[int, ...]


class Need(NamedTuple):
    """What it takes for an actor's next step to be possible."""

    more: bool = True  # it has one left
    mutex: bool = False  # pcpu_alloc_mutex must be free
    handle: int | None = None  # an area that another actor allocates must be there; ~: must be gone
    memory: bool = False  # it asks for memory, and may be refused it


class SharedState(NamedTuple):
    """What all actors share: a value that is equal where steps do the same, and what steps need."""

    key: Hashable
    stopped: bool  # nobody may go on
    mutex: bool  # pcpu_alloc_mutex is held
    begins: bool  # another run of the balance work may begin
    failures: int  # so many steps may still be refused memory
    handles: frozenset[int]  # areas that are there, of those that actors allocate and free; ~: gone


class ActorPosition(NamedTuple):
    """Where an actor stands: a value equal where its next step does the same, and what it needs."""

    key: Hashable
    need: Need
    seen: Hashable  # what judges of other actors' steps see of it; None if it is under no operation
    holds: bool  # a chunk, which they see
    role: Hashable  # what is to be known of it when nobody can go on


class Steppable(Protocol):
    """Actors that take steps, one way."""

    def enabled(self) -> list[int]:
        """Return the steps that can be taken now."""

    def step(self, step: int) -> Any:
        """Take one."""


class System(Steppable, Protocol):
    """Actors that can be brought back to where they were, and tell what each step depends on.

    Compiled code does not tell it: its search compares whole states, and the schedulers that draw
    or follow a schedule drive it.
    """

    @property
    def at_rest(self) -> bool:
        """Whether no operation is under way, so that `save` is possible."""

    def save(self) -> Any:
        """Return what `load` comes back to."""

    def load(self, saved: Any) -> None:
        """Go back to a saved state of this system."""

    def shared(self) -> SharedState:
        """Return what all actors share."""

    def place(self, actor: int) -> ActorPosition:
        """Return where one actor stands."""


class Scheduler(Protocol):
    """Decides which step comes next."""

    def next(self, enabled: list[int]) -> int | None:
        """Return one of the steps that can be taken, None to end."""


def scheduled(system: Steppable, scheduler: Scheduler) -> Iterator[int]:
    """Yield the steps that a scheduler decides on, each to be taken before the next is asked."""
    while (step := scheduler.next(system.enabled())) is not None:
        yield step


def actor_of(step: int) -> int:
    """Return who takes a step."""
    return max(step, ~step)


def without(schedule: Schedule, gone: set[int]) -> Schedule:
    """Return a schedule without some actors, the others numbered anew."""
    left = {actor_of(step) for step in schedule} - gone
    number = {actor: actor - sum(other < actor for other in gone) for actor in left}
    steps = [step for step in schedule if actor_of(step) in left]
    return tuple([number[step] if step >= 0 else ~number[~step] for step in steps])


def enabled(shared: SharedState, needs: Sequence[Need]) -> list[int]:
    """Return the steps that can be taken; a new run of the work counts as an actor."""
    if shared.stopped:
        return []
    able = [
        actor
        for actor, need in enumerate(needs)
        if need.more
        and not (need.mutex and shared.mutex)
        and (need.handle is None or need.handle in shared.handles)
    ]
    refusable = [~actor for actor in able if needs[actor].memory] if shared.failures else []
    if shared.begins:
        able.append(len(needs))
    return able + refusable


Handles = dict[int, Area | None]
"""What callers hold; None: the allocation failed."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a world begins with: an allocator at rest, handles, and the actors' operations."""

    allocator: Allocator
    handles: Handles
    operations: tuple[Operation, ...]
    works: int = 2  # at most so many runs of the balance work that was asked for
    waiting: bool = False  # actors may begin while pcpu_alloc_mutex is held, and wait for it
    failures: int = 0  # so many steps that ask for memory may fail
    freed: Mapping[int, Place | None] = field(default_factory=dict)  # what handles held last


MOST_STEPS = 20_000
"""Of one operation. No operation of a shipped variant comes near it; one without end is an error
of a reviewer's variant, where a search does not see that its steps lead back."""


class Runner(Actor):
    """One actor: its operation, where it stands, and what came of it.

    One that is done does not change any more.
    """

    __slots__ = ("count", "done", "operation", "result", "steps")

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation[0], gfp=operation[5])
        self.operation = operation
        self.count = 0  # steps taken
        self.steps: Steps[Any] | None = None
        self.done = False
        self.result: Any = None


class WorldCopy(NamedTuple):
    """A world in which no operation is under way, to come back to."""

    origin: Allocator
    copies: dict[Chunk, Chunk]  # the chunks of origin, and which of the world's each stands for
    handles: Handles
    runners: tuple[Runner | Operation, ...]  # those that are done; operations not begun
    works: int
    failures: int
    alone: int
    holder: int | None
    history: History
    freed: dict[int, Place | None]


class Twins:
    """The chunks that an allocator is given whenever it comes to a state, by id.

    They are the same each time, so who watches them has learnt them already. Chunks of one id have
    one shape and one address.
    """

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = {chunk.id: chunk for chunk in chunks}

    def of(self, origin: Allocator) -> dict[Chunk, Chunk]:
        """Return the chunks of a state, each with its twin."""
        known = self._chunks
        return {
            chunk: known.get(chunk.id) or known.setdefault(chunk.id, chunk.clone())
            for chunk in origin.chunks()
        }


def handles_in(handles: Handles, copies: Mapping[Chunk, Chunk]) -> Handles:
    """Return the areas of these handles, in the copies of their chunks."""
    return {
        handle: None if area is None else (copies[area[0]], area[1])
        for handle, area in handles.items()
    }

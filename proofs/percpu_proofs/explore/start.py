"""What a world begins with, who runs in it, what it comes back to, and in which chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from percpu_contracts.history import History
from percpu_contracts.operation_steps import Actor
from percpu_proofs.run.invalid_frees import Place
from percpu_proofs.run.operations import Operation
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator

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

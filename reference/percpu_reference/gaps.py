"""Program points at which other work may run.

A kernel function that releases pcpu_lock is a generator here: it yields a Gap at each release, and
one before each access that the kernel makes without the lock. Nowhere else does it yield.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple, TypeVar

from percpu_reference.chunk import Chunk
from percpu_spec.steps import Kind as Kind  # variants import both from here

T = TypeVar("T")


class Gap(NamedTuple):
    """Where a running step stands: a name for people, the chunk and pages [start, end) it holds."""

    name: str
    chunk: Chunk | None = None
    start: int = 0
    end: int = 0
    kind: Kind = Kind.PAUSE

    @property
    def last(self) -> bool:
        """Whether nothing but flags and requests for work is left to do."""
        return self.kind is Kind.FLAGS


Steps = Generator[Gap, None, T]
"""A kernel function in progress: yields gaps, returns its result."""

MUTEX: Final = Gap("wait for pcpu_alloc_mutex", kind=Kind.WAIT)
FREE_LIST: Final = Gap("alloc: look at the free list")
CREATE: Final = Gap("alloc: create a chunk", kind=Kind.CREATE)
DONE: Final = Gap("alloc: test the float", kind=Kind.FLAGS)
FAILED: Final = Gap("alloc: mark the failure", kind=Kind.FLAGS)
ASK: Final = Gap("free: ask for balance work", kind=Kind.FLAGS)
BALANCE_CREATE: Final = Gap("balance: create a chunk", kind=Kind.GROW)


def run(steps: Steps[T]) -> T:
    """Run steps to their end with nothing in the gaps, and return their result."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result

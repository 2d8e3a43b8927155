"""Named program points at which other work may run.

A kernel function that releases pcpu_lock is a generator here: it yields a Gap at each release, and
one before each access that the kernel makes without the lock. Nowhere else does it yield.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple, TypeVar

from percpu_reference.chunk import Chunk

T = TypeVar("T")


class Gap(NamedTuple):
    """Where a running step stands: a name, and the chunk and pages [start, end) it holds.

    last: nothing but flags and requests for work is left to do.
    """

    name: str
    chunk: Chunk | None = None
    start: int = 0
    end: int = 0
    last: bool = False


Steps = Generator[Gap, None, T]
"""A kernel function in progress: yields gaps, returns its result."""

MUTEX: Final = Gap("wait for pcpu_alloc_mutex")
FREE_LIST: Final = Gap("alloc: look at the free list")
CREATE: Final = Gap("alloc: create a chunk")
DONE: Final = Gap("alloc: test the float", last=True)
FAILED: Final = Gap("alloc: mark the failure", last=True)
ASK: Final = Gap("free: ask for balance work", last=True)
BALANCE_CREATE: Final = Gap("balance: create a chunk")


def run(steps: Steps[T]) -> T:
    """Run steps to their end with nothing in the gaps, and return their result."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result

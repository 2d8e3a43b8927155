"""Lists drawn at random that fill the first chunk with crumbs and free much of it again.

They are for clauses about one chunk, its hints above all: only those are judged, so that thousands
of lists take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from percpu_contracts.registry import Predicate, Scope, When, asked
from percpu_proofs.explore.breadth import Operations
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.explore.shrink import Program, fewer, shrink
from percpu_proofs.run.choices import Choices, drawn
from percpu_proofs.run.driver import Driver
from percpu_reference import build
from percpu_reference.variants import variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL

LISTS: Final = 3000
"""That are drawn, at most."""
LENGTH: Final = 60
_TRIES: Final = 8000  # of making one small
_ROOM: Final = 28672  # bytes of the first chunk that are free after booting
_SIZES: Final = (4, 64, 256, 512, 1024, 2048, 3072, 4092, 4096, 8192)
_SIZE: Final = Geometry().with_changes(KERNEL_32K)


def about_a_chunk(clause: str) -> list[Predicate]:
    """Return the predicates about one chunk that state a clause; none if it is about more."""
    return [
        predicate
        for name, predicate in asked(Scope.CHUNK, When.ALWAYS, When.SETTLED)
        if name == clause
    ]


def lists(clause: str) -> Iterator[Operations]:
    """Yield lists of operations, the same for each clause in every run."""
    for number in range(LISTS):
        choices = drawn(f"{clause}/{number}")
        yield _mixed(choices) if number % 2 else _filled(choices)


def breaks(variant: str, clause: str, operations: Operations) -> int:
    """Return the number of the first operation that breaks a clause about a chunk; 0 if none."""
    predicates = about_a_chunk(clause)
    allocator = build(variant_class(variant), _SIZE)
    machine = Driver(allocator)
    for number, operation in enumerate(operations, 1):
        machine.apply(number, operation)
        for chunk in allocator.chunks():
            if any(holds(chunk, _SIZE) for holds in predicates):
                return number
    return 0


def small(operations: Operations, shows: Callable[[Operations], bool]) -> Operations:
    """Return a smallest list that shows what one does."""
    return shrink(
        Program(operations),
        fewer,
        lambda program: program if shows(program.setup) else None,
        _TRIES,
    ).best.setup


def _sizes(choices: Choices) -> list[int]:
    return [choices.pick(_SIZES) for _ in range(3)]


def _area(choices: Choices, handle: int, sizes: list[int]) -> tuple[str, int, int, int, bool, int]:
    return "a", handle, choices.pick(sizes), 4, False, KERNEL


def _mixed(choices: Choices) -> Operations:
    """Return allocations and frees in any order."""
    sizes = _sizes(choices)
    operations, held = [], list[int]()
    for handle in range(1, LENGTH + 1):
        if held and choices.number(100) < 45:
            operations.append(("f", held.pop(choices.number(len(held))), 0, 0, False, 0))
        else:
            operations.append(_area(choices, handle, sizes))
            held.append(handle)
    return tuple(operations)


def _filled(choices: Choices) -> Operations:
    """Return allocations that fill the first chunk, frees of some of them, and a few more."""
    sizes, left = _sizes(choices), _ROOM
    operations, held = [], list[int]()
    while left > 0 and len(held) < LENGTH // 2:
        operations.append(_area(choices, len(held) + 1, sizes))
        left -= operations[-1][2]
        held.append(len(held) + 1)
    behind = len(held)
    for _ in range(1 + choices.number(len(held))):
        operations.append(("f", held.pop(choices.number(len(held))), 0, 0, False, 0))
    for handle in range(behind + 1, behind + 11):
        operations.append(_area(choices, handle, sizes))
    return tuple(operations)

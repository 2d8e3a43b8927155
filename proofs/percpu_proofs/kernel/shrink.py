"""Making a list of operations short that shows a difference, and its numbers small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from percpu_proofs.conformance.difference import Difference
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.draws import Case
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import Model
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.oplist import Operation
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

_LARGEST: Final = 32768  # bytes of a request
Works = Callable[[list[Operation]], list[Operation] | None]
"""Returns those of the operations that it takes for a difference to show, None if none shows."""
Trial = Callable[[list[Operation]], int | None]
"""Runs operations; returns how many it took until a difference showed, or None."""


def run_case(
    library: Library, case: Case, model: Model, *, judge: bool = False, every: bool = True
) -> tuple[int, Difference] | None:
    """Run a case on both; return the first difference and after how many operations it showed.

    Without `every` states are compared after the last operation only, which is much faster.
    """
    try:
        pair = Pair(library, case.geometry, model, judge=judge)
    except KernelStopped as stopped:
        return 0, Difference("stopped", str(stopped), "boots")
    try:
        found = pair.boot_difference()
        if found is not None:
            return 0, found
        for number, operation in enumerate(case.operations, 1):
            states = every or number == len(case.operations)
            found = pair.step(number, operation, states=states)
            if found is not None:
                return number, found
    finally:
        pair.close()
    return None


def shrink(geometry: Geometry, operations: list[Operation], trial: Trial, budget: float) -> Case:
    """Return a case from which no operation can be left out, as far as `budget` seconds allow.

    Leaves out stretches, longest first, merges allocations, then makes sizes, alignments and
    flags plain.
    """
    deadline = time.monotonic() + budget

    def works(candidate: list[Operation]) -> list[Operation] | None:
        if time.monotonic() > deadline:
            return None
        sound = _sound(candidate)
        taken = trial(sound)
        return None if taken is None else sound[:taken]

    best = works(operations) or operations
    before = len(best) + 1
    while len(best) < before:
        before = len(best)
        best = _left_out(best, works)
        best = _merged(best, works)
    for index in range(len(best)):
        for simpler in _simpler(best[index]):
            smaller = works([*best[:index], simpler, *best[index + 1 :]])
            if smaller is not None and len(smaller) == len(best):
                best = smaller
                break
    return Case(geometry, _renumbered(best))


def _left_out(best: list[Operation], works: Works) -> list[Operation]:
    """Leave out stretches, halving their length down to single operations."""
    length = max(len(best) // 2, 1)
    while True:
        before = start = len(best)
        while start > 0:
            start = max(start - length, 0)
            smaller = works(best[:start] + best[start + length :])
            if smaller is not None:
                best = smaller
                start = min(start, len(best))
        if length == 1 and len(best) == before:
            return best
        length = max(length // 2, 1)


def _merged(best: list[Operation], works: Works) -> list[Operation]:
    """Put one allocation in the place of two that follow each other."""
    index = 0
    while index < len(best) - 1:
        first, second = best[index : index + 2]
        size = first[2] + second[2]
        smaller = None
        if first[0] == second[0] == "a" and first[3:] == second[3:] and size <= _LARGEST:
            merged = (*first[:2], size, *first[3:])
            smaller = works([*best[:index], merged, *best[index + 2 :]])
        if smaller is None:
            index += 1
        else:
            best = smaller
    return best


def _sound(operations: list[Operation]) -> list[Operation]:
    """Return the operations without frees of what was never allocated."""
    held: set[int] = set()
    kept: list[Operation] = []
    for operation in operations:
        kind, handle = operation[:2]
        if kind == "f":
            if handle not in held:
                continue
            held.remove(handle)
        elif kind == "a":
            held.add(handle)
        kept.append(operation)
    return kept


def _simpler(operation: Operation) -> Iterator[Operation]:
    """Yield plainer forms of an operation, the plainest first."""
    kind, arg, size, align, reserved, flags = operation
    if kind != "a":
        return
    sizes = dict.fromkeys(s for s in (4, 1024, 4096, 8192, size) if s <= size)
    for smaller in sizes:
        for plain in ((4, False, gfp.KERNEL), (4, False, flags), (align, reserved, flags)):
            candidate = (kind, arg, smaller, *plain)
            if candidate != operation:
                yield candidate


def _renumbered(operations: list[Operation]) -> list[Operation]:
    """Return the operations with handles from 1 on."""
    numbers: dict[int, int] = {}
    renamed: list[Operation] = []
    for kind, arg, *rest in operations:
        number = numbers.setdefault(arg, len(numbers) + 1) if kind in "af" else arg
        renamed.append((kind, number, *rest))  # type: ignore[arg-type]
    return renamed

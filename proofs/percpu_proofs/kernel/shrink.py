"""Making a list of operations short that shows a difference, and its numbers small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Final

from percpu_proofs.explore.shrink import Program, Small, simpler, smaller
from percpu_proofs.explore.shrink import shrink as shrink_by
from percpu_proofs.kernel.draws import Case
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.library import Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.run.difference import Difference
from percpu_proofs.run.operations import Operation, renumbered
from percpu_spec.geometry import Geometry

_MOST: Final = 12  # differences that are shown

Trial = Callable[[list[Operation]], int | None]
"""Runs operations; returns how many it took until a difference showed, or None."""


Differences = tuple[Difference, ...]
"""Those that show behind an operation, the first of them first."""


def run_case(
    library: Library,
    case: Case,
    model: ModelVariant,
    *,
    judge: bool = False,
    every: bool = True,
    hasty: bool = False,
) -> tuple[int, Differences] | None:
    """Run a case on both up to the first difference; return after how many operations, and all.

    None if there is no difference.

    Without `every` states are compared after the last operation only, which is much faster.
    hasty: as of a Kernel. Raises HandleError.
    """
    try:
        pair = Pair(library, case.geometry, model, judge=judge, hasty=hasty)
    except KernelStopped as stopped:
        return 0, (Difference("stopped", str(stopped), "boots"),)
    with closing(pair):
        number, found = pair.run(case.operations, every=every)
        if found is None:
            return None
        return number, (found, *_beside(pair, found))


def _beside(pair: Pair, found: Difference) -> Iterator[Difference]:
    """Yield what else differs where a difference was found."""
    if found.field == "stopped":
        return
    try:
        yield from (other for other in islice(pair.differences(), _MOST) if other != found)
    except KernelStopped:
        return


def shrink(
    geometry: Geometry, operations: Sequence[Operation], trial: Trial, tries: int
) -> Small[Case]:
    """Return a case from which no operation can be left out, as far as so many tries allow.

    Stretches are left out, allocations merged, sizes, alignments and flags made plain.
    """

    def shows(program: Program) -> Program | None:
        taken = trial(list(program.setup))
        return None if taken is None else Program(program.setup[:taken])

    whole = Program(tuple(operations))
    small = shrink_by(
        shows(whole) or whole, lambda best: chain(smaller(best), simpler(best)), shows, tries
    )
    return Small(Case(geometry, renumbered(small.best.setup)), small.stopped)

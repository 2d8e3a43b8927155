"""Cases on model and kernel: up to the first difference, behind it, and made small.

Behind a difference both go on and the kernel is judged by itself. They may agree again, as where a
patch moves a threshold: then the lists hold equal chunks in the same order, all hints and maps are
equal, and every area lies in the same place. Numbers of chunks and counts of what was done since
boot need not be equal any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from typing import Final

from percpu_proofs.explore.shrink import Program, ShrinkResult, simpler, smaller
from percpu_proofs.explore.shrink import shrink as shrink_by
from percpu_proofs.kernel.draws import Case
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.library import Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.run.difference import Difference
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.operations import Operation, renumbered, text_of
from percpu_spec.geometry import Geometry

_gauges = attrgetter("live_pages", "charged", "objcg_refs")
_MOST: Final = 12  # differences that are shown

Trial = Callable[[list[Operation]], int | None]
"""Runs operations; returns how many it took until a difference showed, or None."""


def run_case(
    library: Library,
    case: Case,
    model: ModelVariant,
    *,
    judge: bool = False,
    every: bool = True,
    hasty: bool = False,
) -> tuple[int, tuple[Difference, ...]] | None:
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
) -> ShrinkResult[Case]:
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
    return ShrinkResult(Case(geometry, renumbered(small.best.setup)), small.stopped)


@dataclass(frozen=True, slots=True)
class Parting:
    """What became of a case in which model and kernel have parted."""

    at: int  # the operation after which they first differed, from 1; 0: at boot
    operations: int  # that both did behind it
    alike: int  # after how many of these they agreed
    again: int | None  # the first operation after which they did
    by: str  # that operation
    stopped: str  # why the kernel did not do all of them
    left: int  # operations that it did not do


def go_on(pair: Pair, at: int, operations: Sequence[Operation]) -> Parting:
    """Let both do the operations behind a difference; see after each whether they agree again."""
    alike, again, stopped = 0, None, ""
    done = 0
    for operation in operations:
        try:
            pair.do(at + done + 1, operation)
            pair.state.read()
        except KernelStopped as reason:
            stopped = str(reason)
            break
        except HandleError:  # a handle whose allocation failed on one side only
            break
        done += 1
        pair.judge_alone()
        if agree(pair):
            alike += 1
            again = again or at + done
    by = "" if again is None else text_of(operations[again - at - 1])
    return Parting(at, done, alike, again, by, stopped, len(operations) - done)


def agree(pair: Pair) -> bool:
    """Return whether both states, as read last, are alike but for numbers and counts."""
    model, state = pair.driver.allocator, pair.state
    ours, theirs = pair.placed(), state.placed()
    if [slot for slot, _ in ours] != [slot for slot, _ in theirs]:
        return False
    if (
        _gauges(state.env) != _gauges(model.env)
        or state.work_pending != model.work_pending
        or not pair.same_totals()
        or not all(pair.same_chunk(b, a) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    ):
        return False
    place = {chunk.id: at for at, (_, chunk) in enumerate(ours)}
    place_there = {chunk.id: at for at, (_, chunk) in enumerate(theirs)}
    return {
        handle: area and (place[area[0].id], area[1])
        for handle, area in pair.driver.handles.items()
    } == {
        handle: area and (place_there.get(area[0]), area[1]) for handle, area in pair.areas.items()
    }

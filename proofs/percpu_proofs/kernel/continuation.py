"""A case behind the first difference: model and kernel both go on, the kernel is judged by itself.

They may agree again, as where a patch moves a threshold: then the lists hold equal chunks in the
same order, all hints and maps are equal, and every area lies in the same place. Numbers of chunks
and counts of what was done since boot need not be equal any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.operations import Operation, text_of

_gauges = attrgetter("live_pages", "charged", "objcg_refs")


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

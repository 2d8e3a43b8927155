"""One call of a method in a case: its contract is asked, and others make moves in its gaps.

They free an area, or allocate atomically, as the case chooses. The moves that are left are chosen
when a gap is reached, so cases differ only where they can.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from percpu_contracts.contract import marks_of
from percpu_contracts.evaluate import Contract
from percpu_contracts.lock_guard import gap_misuse
from percpu_proofs.prove.small.case import BrokenError, ask, claim, walk
from percpu_proofs.prove.small.history import memo
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap, Kind, Steps
from percpu_spec.gfp import ATOMIC

IN_GAPS = (
    "; in the gaps others free an area that begins at a page, or take a page atomically, {moves} "
    "times at most"
)
"""The bound of an obligation with moves in its gaps."""


class Adversary:
    """Others with so many moves, and the judge of every gap, before and after a move."""

    def __init__(self, scene: Scene, moves: int = 0, unsettled: Iterable[Chunk] = ()) -> None:
        self.scene = scene
        self.left = moves
        self.unsettled = list(unsettled)
        self.areas = [(chunk, page) for chunk in scene.chunks for page in range(chunk.nr_pages)]
        monitor = scene.allocator.monitor
        monitor.history.concurrent, monitor.alone = moves > 0, not moves

    def __call__(self, gap: Gap) -> None:
        """Judge the state in a gap, make a move or none, and judge again."""
        scene = self.scene
        if scene.allocator.lock:
            raise BrokenError(f"{': '.join(gap_misuse(gap.last))}: {gap.name}")
        unsettled = self.unsettled
        if gap.kind is Kind.FILL and gap.chunk is not None:
            unsettled = [*unsettled, gap.chunk]
        scene.judge(unsettled=unsettled)
        move = scene.choose.number(2 + len(self.areas)) if self.left else 0
        if move:
            self.left -= 1
            if move == 1:
                self._allocate()
            else:
                self._free(*self.areas[move - 2])
            scene.judge(unsettled=unsettled)

    def _allocate(self) -> None:
        """Take a page atomically."""
        page = self.scene.geometry.page
        area = walk(self.scene.allocator.alloc_percpu(page, 4, False, ATOMIC))
        if area is not None:
            chunk, off = area
            hole = chunk.populated.find(0, off // page, -(-(off + page) // page))
            claim("POP-2", hole < 0, "an atomic request got memory without pages")

    def _free(self, chunk: Chunk, page: int) -> None:
        """Free the area that begins at a page, if there is one."""
        allocator, bit = self.scene.allocator, page * self.scene.size.bits
        alive = any(chunk is other for other in allocator.chunks())
        if alive and chunk.alloc_map[bit] and chunk.bound_map[bit]:
            walk(allocator.free_percpu((chunk, bit * self.scene.geometry.granule)))


def call(
    scene: Scene,
    name: str,
    *args: Any,
    only: Iterable[str] = (),
    in_gap: Callable[[Gap], None] | None = None,
) -> Any:
    """Make one call of a method, judge it by its contract, and return its result.

    In its gaps in_gap judges; unless told the state is judged there, nothing else running.
    """
    return MethodCall(scene, name, *args, only=only).run(in_gap)


@memo
def _contract(cls: Any, name: str, only: tuple[str, ...]) -> Contract:
    """Return what is asked of a method: what it requires, and the promises of some clauses.

    Those are the ones named, else those that the variant is held to. The notes come last.
    """
    beyond = {*cls.EXPECTED, *cls.NOT_APPLICABLE}
    marks = [
        mark
        for mark in marks_of(cls, name)
        if mark.level == "full"
        and mark.clause
        and (mark.kind != "ensure" or (mark.clause in only if only else mark.clause not in beyond))
    ]
    notes = [mark for mark in marks_of(cls, name) if mark.is_note]
    # the function itself: its own notes are made when its contract has been asked
    return Contract(getattr(cls.__base__, name), [*marks, *notes])


class MethodCall:
    """One call of a method on a scene's allocator, with its contract asked before and after.

    only names the clauses whose promises are asked; without it, all are that the variant is held
    to. A state that the contract does not allow is vacuous.
    """

    def __init__(self, scene: Scene, name: str, *args: Any, only: Iterable[str] = ()) -> None:
        self._scene = scene
        self._monitor = scene.allocator.monitor
        self._contract = _contract(type(scene.allocator), name, tuple(only))
        self._values = self._contract.values((scene.allocator, *args), {})
        self._old = self._contract.enter(self._values)
        assume(not self._monitor.violations)

    def run(self, in_gap: Callable[[Gap], None] | None = None) -> Any:
        """Make the call, judge it, and return its result; see call."""
        function, guard = self._contract.function, self._monitor.guard
        if inspect.isgeneratorfunction(function):
            steps = function(*self._values)
            if self._scene.guarded:
                steps = self._watched(steps)
            result = walk(steps, in_gap or Adversary(self._scene))
        else:
            if self._scene.guarded:
                guard.begin(self._scene.allocator, None, None)
            result = function(*self._values)
            guard.inside = False
        self.judge(result)
        return result

    def _watched(self, steps: Steps[Any]) -> Steps[Any]:
        """Let the guard watch steps, and nothing between them."""
        guard = self._monitor.guard
        while True:
            guard.begin(self._scene.allocator, None, None)
            try:
                gap = next(steps)
            except StopIteration as stop:
                return stop.value
            finally:
                guard.inside = False
            yield gap

    def judge(self, result: Any) -> None:
        """Ask what is promised of a result now, and make the notes. Raises BrokenError."""
        ask(*self._monitor.last)
        self._contract.leave(self._values, self._old, result)
        for violation in self._monitor.violations.values():
            ask(violation.clause, violation.first_message)

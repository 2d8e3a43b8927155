"""What others may do in a gap: free an area, or allocate atomically, as the case chooses.

The moves that are left are chosen when a gap is reached, so cases differ only where they can.
"""

from __future__ import annotations

from collections.abc import Iterable

from percpu_contracts.lock_guard import gap_misuse
from percpu_proofs.prove.small.judging import Wrong, walk
from percpu_proofs.prove.small.scene import Scene
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap, Kind
from percpu_spec.gfp import ATOMIC

IN_GAPS = (
    "; in the gaps others free an area that begins at a page, or take a page atomically, {moves} "
    "times at most"
)
"""The bound of an obligation with moves in its gaps."""


class Adversary:
    """Others with so many moves, and the judge of every gap, before and after a move."""

    def __init__(self, scene: Scene, moves: int, unsettled: Iterable[Chunk] = ()) -> None:
        self.scene = scene
        self.left = moves
        self.unsettled = list(unsettled)
        self.held = [(chunk, page) for chunk in scene.made for page in range(chunk.nr_pages)]
        monitor = scene.allocator.monitor
        monitor.history.concurrent, monitor.alone = moves > 0, not moves

    def __call__(self, gap: Gap) -> Wrong:
        """Judge the state in a gap, make a move or none, and judge again."""
        scene = self.scene
        if scene.allocator.lock:
            clause, misuse = gap_misuse(gap.last)
            return f"{clause}: {misuse}: {gap.name}"
        waiting = self.unsettled
        if gap.kind is Kind.FILL and gap.chunk is not None:
            waiting = [*waiting, gap.chunk]
        wrong = scene.wrong(unsettled=waiting)
        if wrong is not None or not self.left:
            return wrong
        move = scene.choose.number(2 + len(self.held))
        if move == 0:
            return None
        self.left -= 1
        return self._move(move) or scene.wrong(unsettled=waiting)

    def _move(self, move: int) -> Wrong:
        scene = self.scene
        allocator, choose = scene.allocator, scene.choose
        with choose.plain():
            if move == 1:
                steps = allocator.alloc_percpu(scene.geometry.page, 4, False, ATOMIC)
                area, wrong = walk(steps, lambda gap: None)
                if area is not None:
                    chunk, off = area
                    page = scene.geometry.page
                    if chunk.populated.find(0, off // page, -(-(off + page) // page)) >= 0:
                        return "POP-2: an atomic request got memory without pages"
                return wrong
            chunk, page = self.held[move - 2]
            bit = page * scene.size.bits
            alive = any(chunk is other for other in allocator.chunks())
            if alive and chunk.alloc_map[bit] and chunk.bound_map[bit]:
                _, wrong = walk(
                    allocator.free_percpu((chunk, bit * scene.geometry.granule)), lambda gap: None
                )
                return wrong
        return None

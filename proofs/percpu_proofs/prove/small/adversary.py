"""What others may do in a gap: free an area, or allocate atomically, as the case chooses.

The moves that are left are chosen when a gap is reached, so cases differ only where they can.
"""

from __future__ import annotations

from collections.abc import Iterable

from percpu_contracts.lock_guard import gap_misuse
from percpu_proofs.prove.small.case import BrokenError, claim, walk
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

    def __init__(self, scene: Scene, moves: int = 0, unsettled: Iterable[Chunk] = ()) -> None:
        self.scene = scene
        self.left = moves
        self.unsettled = list(unsettled)
        self.areas = [(chunk, page) for chunk in scene.made for page in range(chunk.nr_pages)]
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

"""A compiled kernel that tells which chunks its searches examine, for what a search costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from percpu_contracts.history import History
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.instance import Kernel, Library
from percpu_proofs.kernel.tree import Tree, copy_tree
from percpu_proofs.kernel.views import CompiledState, KernelChunk
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import Operation
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL

_SOURCE: Final = "mm/percpu.c"
_FIND: Final = re.compile(
    r"^static int pcpu_find_block_fit\(struct pcpu_chunk \*(\w+),[^)]*\)\s*\{", re.MULTILINE
)
_WORK: Final = ("b", 0, 0, 0, False, 0)
_Area = tuple[KernelChunk, int]


def compile_examined(tree: Tree, into: Path, stub: Path | None = None) -> Library:
    """Compile a tree that tells, its lines where they were. Raises InputError as compile_tree."""
    copy = copy_tree(tree, into / "examined")
    path = copy.top / _SOURCE
    text, count = _FIND.subn(r"\g<0> percpu_examine(\1);", path.read_text())
    if count != 1:
        expected = "pcpu_find_block_fit(struct pcpu_chunk *chunk, ...), to count its calls"
        raise InputError(tree.top / _SOURCE, None, expected)
    path.write_text(text)
    return compile_tree(copy, into, stub=stub)


class ExaminedKernel:
    """A compiled allocator with the history that COST-1 speaks of (a BurstSubject)."""

    def __init__(self, library: Library, geometry: Geometry) -> None:
        self.geometry = geometry
        self.history = History()
        self._kernel = Kernel(library, geometry)
        self._state = CompiledState(self._kernel)
        self._handles: dict[_Area, int] = {}
        self._allocations = 0

    def close(self) -> None:
        """Give everything back."""
        self._kernel.close()

    @property
    def work_pending(self) -> bool:
        """Whether balance work has been asked for and not begun."""
        return self._state.work_pending

    def chunks(self) -> Iterator[KernelChunk]:
        """Yield the chunks that serve dynamic requests."""
        return iter(self._state.listed())

    def balance(self) -> None:
        """Run the balance work."""
        self._apply(_WORK)

    def alloc(self, size: int, align: int, *, gfp: int = KERNEL) -> _Area | None:
        """Allocate bytes; return the chunk and the offset in bytes, None if that fails."""
        lib, full = self._kernel.lib, self.geometry.unit
        free = {chunk.id for chunk in self._state.listed() if chunk.free_bytes == full}
        isolated = {chunk.id for chunk in self._state.listed() if chunk.isolated}
        self._allocations += 1
        lib.percpu_nr_examined = 0
        result = self._kernel.apply(("a", self._allocations, size, align, False, gfp))
        for number in lib.percpu_examined[0 : lib.percpu_nr_examined]:
            chunk = self._state.find(number)
            if chunk is not None:  # else it was made meanwhile, for a request that may sleep
                self.history.examine(chunk, number in free - isolated)
        self._look()
        if not result.ok:
            return None
        area = self._state.chunk(result.chunk), result.off
        self.history.back_in_use(area[0])
        self._handles[area] = self._allocations
        return area

    def free(self, area: _Area) -> None:
        """Free an area."""
        self._apply(("f", self._handles.pop(area), 0, 0, False, 0))

    def _apply(self, operation: Operation) -> None:
        self._kernel.apply(operation)
        self._look()

    def _look(self) -> None:
        """Read the state anew, and take from the change what the history is about."""
        before = {chunk: (chunk.populated, chunk.isolated) for chunk in self._state.listed()}
        self._state.read()
        live = set(self._state.listed())
        for chunk, (populated, isolated) in before.items():
            if chunk not in live:
                self.history.destroyed(chunk)
            elif any(map(int.__gt__, populated, chunk.populated)) and chunk.isolated:
                self.history.released(chunk, ())
            elif isolated and not chunk.isolated:
                self.history.back_in_use(chunk)

"""What the fixes of `reference` cost: work counted, not timed, one fix at a time and all together.

Counted are the blocks' hints read, the bits of allocation maps walked over, and calls of the
functions that keep the hints; so the figures repeat exactly and carry over to the kernel's C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any, cast

from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import OperationList
from percpu_reference import build
from percpu_reference.balance import Balance
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator, fixes
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES, Reference, with_fixes
from percpu_spec.geometry import Geometry

STEP = 64  # operations between two looks at the memory held


@dataclass(slots=True)
class Cost:
    """Work done so far."""

    blocks: int = 0  # times that a block's hints were reached
    updates: int = 0  # calls of block_update
    block_refreshes: int = 0
    chunk_refreshes: int = 0
    chunks: int = 0  # examined by a search
    scans: int = 0  # searches of a map for the next set or clear bit
    bits: int = 0  # walked over by those

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


class CountedMap(bytearray):
    """An allocation map that counts the bits that searches walk over."""

    cost: Cost

    def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        """Find as a bytearray does."""
        stop = len(self) if end is None else end
        at = super().find(sub, start, stop)
        self.cost.scans += 1
        self.cost.bits += (stop if at < 0 else at + 1) - start
        return at

    def rfind(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        """Find as a bytearray does."""
        stop = len(self) if end is None else end
        at = super().rfind(sub, start, stop)
        self.cost.scans += 1
        self.cost.bits += stop - (start if at < 0 else at)
        return at


class CountedBlocks(list[Block]):
    """A chunk's blocks that count how often one is reached."""

    cost: Cost

    def __getitem__(self, index: Any, /) -> Any:
        """Return a block, or the blocks that a loop is about to visit."""
        found = super().__getitem__(index)
        self.cost.blocks += len(found) if isinstance(found, list) else 1
        return found


class Counting(Balance):
    """Counts what a variant does; stands before it among the bases."""

    __slots__ = ("cost",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cost = Cost()
        super().__init__(*args, **kwargs)

    def setup_first_chunk(self) -> None:
        """Boot, and count from then on."""
        super().setup_first_chunk()
        self._count(self.first_chunk)
        if self.reserved_chunk is not None:
            self._count(self.reserved_chunk)

    def alloc_chunk(self, chunk_type: int = 0) -> Chunk | None:
        """Return a chunk's metadata."""
        chunk = super().alloc_chunk(chunk_type)
        if chunk is not None:
            self._count(chunk)
        return chunk

    def _count(self, chunk: Chunk) -> None:
        bits = chunk.alloc_map = CountedMap(chunk.alloc_map)
        blocks = chunk.md_blocks = CountedBlocks(chunk.md_blocks)
        bits.cost = blocks.cost = self.cost

    def block_update(self, block: Block, start: int, end: int) -> None:
        """Enter a run into a block's hints."""
        self.cost.updates += 1
        super().block_update(block, start, end)

    def block_refresh_hint(self, chunk: Chunk, index: int) -> None:
        """Rescan a block."""
        self.cost.block_refreshes += 1
        super().block_refresh_hint(chunk, index)

    def chunk_refresh_hint(self, chunk: Chunk, full_scan: bool) -> None:
        """Recompute a chunk's hints."""
        self.cost.chunk_refreshes += 1
        super().chunk_refresh_hint(chunk, full_scan)

    def find_block_fit(self, chunk: Chunk, alloc_bits: int, align: int, pop_only: bool) -> int:
        """Search a chunk by its hints."""
        self.cost.chunks += 1
        return super().find_block_fit(chunk, alloc_bits, align, pop_only)


@dataclass(frozen=True, slots=True)
class FixCost:
    """What one combination of fixes did over a list of operations."""

    name: str
    operations: int  # allocations and frees
    cost: Cost
    works: int  # balance work asked for
    pages: int  # populated at the end, per unit
    peak: int  # most pages populated at one time

    def per_operation(self) -> dict[str, float]:
        """Return each count of work by operation."""
        return {name: count / self.operations for name, count in asdict(self.cost).items()}


def combinations() -> dict[str, type[Allocator]]:
    """Return linux_6_12, it with each fix alone, with all those of hints, and with all."""
    found: dict[str, type[Allocator]] = {"linux_6_12": Linux612}
    for fix in (fixes.ChunkRelativeEnd, *FIXES):
        found[fix.NAME] = with_fixes(fix)
    found["L2 to L5"] = with_fixes(*(fix for fix in FIXES if fix.NAME.startswith("L")))
    found["reference"] = Reference
    return found


def measure(
    listed: OperationList,
    geometry: Geometry,
    variants: dict[str, type[Allocator]],
    limit: int | None = None,
) -> Iterator[FixCost]:
    """Yield what each variant does over the first `limit` operations of a list."""
    chosen = listed.operations[:limit]
    count = sum(kind in "af" for kind, *_ in chosen)
    for name, variant in variants.items():
        counted = type(f"Counted{variant.__name__}", (Counting, variant), {"__slots__": ()})
        allocator = cast("Counting", build(counted, geometry))
        driver = Driver(allocator)
        before = replace(allocator.cost)
        peak = 0
        for start in range(0, len(chosen), STEP):
            driver.run(listed, start, min(start + STEP, len(chosen)))
            peak = max(peak, allocator.nr_populated)
        yield FixCost(
            name,
            count,
            allocator.cost - before,
            allocator.env.balance_requests,
            allocator.nr_populated,
            peak,
        )


COLUMNS = ("variant", *(field.name.replace("_", " ") for field in fields(Cost)))


def rows(costs: Iterable[FixCost]) -> Iterator[list[str]]:
    """Yield a table's cells, in the order of COLUMNS: work by operation."""
    for each in costs:
        yield [each.name, *(f"{value:.2f}" for value in each.per_operation().values())]

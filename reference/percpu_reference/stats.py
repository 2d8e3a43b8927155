"""Allocator statistics, as the kernel shows them in percpu_stats (STAT-1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from percpu_reference.chunk import Chunk


@dataclass(slots=True)
class Stats:
    """Counts over the allocator's lifetime; sizes in bytes (struct percpu_stats)."""

    min_alloc_size: int  # starts at the unit size
    nr_alloc: int = 0
    nr_dealloc: int = 0
    nr_cur_alloc: int = 0
    nr_max_alloc: int = 0
    nr_chunks: int = 0
    nr_max_chunks: int = 0
    max_alloc_size: int = 0

    def area_alloc(self, chunk: Chunk, size: int) -> None:
        """Count an area of size bytes in chunk."""
        self.nr_alloc += 1
        self.nr_cur_alloc += 1
        self.nr_max_alloc = max(self.nr_max_alloc, self.nr_cur_alloc)
        self.min_alloc_size = min(self.min_alloc_size, size)
        self.max_alloc_size = max(self.max_alloc_size, size)
        chunk.nr_alloc += 1
        chunk.max_alloc_size = max(chunk.max_alloc_size, size)

    def area_dealloc(self, chunk: Chunk) -> None:
        """Count an area of chunk as freed."""
        self.nr_dealloc += 1
        self.nr_cur_alloc -= 1
        chunk.nr_alloc -= 1

    def chunk_alloc(self) -> None:
        """Count a new chunk."""
        self.nr_chunks += 1
        self.nr_max_chunks = max(self.nr_max_chunks, self.nr_chunks)

    def chunk_dealloc(self) -> None:
        """Count a destroyed chunk."""
        self.nr_chunks -= 1

    def clone(self) -> Stats:
        """Return an independent copy."""
        return replace(self)

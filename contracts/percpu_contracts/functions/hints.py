"""Contracts of the functions that keep hints."""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import hints
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_contracts.registry import Predicate
from percpu_spec.counts import counted
from percpu_spec.definitions import is_free
from percpu_spec.geometry import Geometry
from percpu_spec.views import BlockView


def hints_before(block: BlockView) -> tuple[int, int, int, int]:
    """Return contig_hint and scan_hint with their starts."""
    return block.contig_hint, block.contig_hint_start, block.scan_hint, block.scan_hint_start


def enters_run(
    self: ModelView, block: BlockView, start: int, end: int, OLD: Any
) -> str | None:
    """Every hint is a run known before, or the one entered, alone or with the hints that it meets;
    none is forgotten for a shorter (HINT-1).
    """
    contig, contig_start, scan, scan_start = OLD.hints
    known = {(contig, contig_start), (scan, scan_start), (end - start, start)}
    first, last = start, end
    for size, at in ((scan, scan_start), (contig, contig_start)):
        if size and at <= last and first <= at + size:
            first, last = min(first, at), max(last, at + size)
            known.add((last - first, first))
    if (block.contig_hint, block.contig_hint_start) not in known:
        return (
            f"contig_hint of {counted(block.contig_hint, 'bit')} at {block.contig_hint_start} "
            "is no run"
        )
    if block.scan_hint and (block.scan_hint, block.scan_hint_start) not in known:
        return (
            f"scan_hint of {counted(block.scan_hint, 'bit')} at {block.scan_hint_start} is no "
            "run"
        )
    if block.contig_hint < max(contig, end - start):
        return (
            f"contig_hint {block.contig_hint} after a run of {end - start} on "
            f"{counted(contig, 'bit')}"
        )
    return None


def is_ordered(self: ModelView, block: BlockView) -> str | None:
    """The scan hint lies behind the contig hint exactly when they are equal (HINT-4)."""
    return hints.hint_is_ordered(block)


def moves_first_free(self: ModelView, block: BlockView, start: int) -> str | None:
    """first_free is not behind the run entered (HINT-2)."""
    if block.first_free <= start:
        return None
    return f"first_free {block.first_free} behind a free run at {start}"


def block_is_sound(self: ModelView, chunk: LinkedChunk, index: int) -> str | None:
    """The rescanned block claims only free runs (HINT-1)."""
    return hints.block_hints_are_sound(chunk, index, self.geometry)


def scanned_block_is_sound(self: ModelView, chunk: LinkedChunk, bit_off: int) -> str | None:
    """The block that the run was entered into claims only free runs (HINT-1)."""
    return hints.block_hints_are_sound(chunk, bit_off // self.geometry.block_bits, self.geometry)


def chunk_is_sound(self: ModelView, chunk: LinkedChunk) -> str | None:
    """The chunk's hints claim only free runs (HINT-1)."""
    return hints.chunk_hint_is_sound(chunk, self.geometry)


def touched(geometry: Geometry, bit_off: int, bits: int) -> range:
    """Return the blocks under a range of bits."""
    size = geometry.block_bits
    return range(bit_off // size, (bit_off + bits - 1) // size + 1)


def _first_wrong(
    holds: Predicate, self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int
) -> str | None:
    asked = (holds(chunk, i, self.geometry) for i in touched(self.geometry, bit_off, bits))
    return next((wrong for wrong in asked if wrong is not None), None)


def blocks_are_sound(self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int) -> str | None:
    """Every block touched claims only free runs (HINT-1)."""
    return _first_wrong(hints.block_hints_are_sound, self, chunk, bit_off, bits)


def lefts_are_exact(self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int) -> str | None:
    """left_free and first_free of every block touched are exact (HINT-2)."""
    return _first_wrong(hints.block_left_is_exact, self, chunk, bit_off, bits)


def rights_are_exact(self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int) -> str | None:
    """right_free of every block touched is exact (HINT-3)."""
    return _first_wrong(hints.block_right_is_exact, self, chunk, bit_off, bits)


def free_under(self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int) -> int:
    """Return how many blocks under the bits would be free but for these bits."""
    size = self.geometry.block_bits
    end = bit_off + bits
    return sum(
        is_free(chunk.alloc_map, index * size, max(bit_off, index * size))
        and is_free(chunk.alloc_map, min(end, (index + 1) * size), (index + 1) * size)
        for index in touched(self.geometry, bit_off, bits)
    )


def counts_used_pages(
    self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int, OLD: Any
) -> str | None:
    """The count of empty pages fell by those that the allocation began to use (POP-1)."""
    wanted = OLD.empties - free_under(self, chunk, bit_off, bits)
    found = chunk.nr_empty_pop_pages
    return None if found == wanted else f"nr_empty_pop_pages {found}, expected {wanted}"


def counts_emptied_pages(
    self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int, OLD: Any
) -> str | None:
    """The count of empty pages rose by those that the free emptied (POP-1)."""
    wanted = OLD.empties + free_under(self, chunk, bit_off, bits)
    found = chunk.nr_empty_pop_pages
    return None if found == wanted else f"nr_empty_pop_pages {found}, expected {wanted}"

"""One value of a state changed, to another that a reader would take: every field, bit and list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_spec.views import HINTS

COUNTS = ("free_bytes", "nr_populated", "nr_empty_pop_pages", "start_offset", "end_offset")
FLAGS = ("immutable", "isolated")
GLOBALS = (
    "free_slot", "sidelined_slot", "to_depopulate_slot", "nr_slots", "nr_empty_pop_pages",
    "nr_populated",
)  # fmt: skip


class Mutation(NamedTuple):
    """A changed state: which field of what, and how, in words."""

    field: str
    how: str
    snapshot: Snapshot


def with_chunk(snapshot: Snapshot, old: ChunkSnapshot, new: ChunkSnapshot) -> Snapshot:
    """Return a state with a chunk in the place of another."""
    lists = tuple(tuple(new if c is old else c for c in chunks) for chunks in snapshot.lists)
    first = new if snapshot.first_chunk is old else snapshot.first_chunk
    reserved = new if snapshot.reserved_chunk is old else snapshot.reserved_chunk
    return replace(snapshot, lists=lists, first_chunk=first, reserved_chunk=reserved)


def of_state(state: KernelState) -> Iterator[Mutation]:
    """Yield the changes of the allocator's variables and lists, then those of every chunk."""
    snapshot = state.snapshot
    for name in GLOBALS:
        value = getattr(snapshot, name)
        for by in (-1, 1):
            if name.endswith("_slot") and not -1 < value + by < snapshot.nr_slots:
                continue  # refused as it is read
            changed = replace(snapshot, **{name: value + by})
            if name == "nr_slots":
                if by < 0:
                    continue  # refused too: to_depopulate_slot is the last
                changed = replace(changed, lists=(*snapshot.lists, ()))
            yield Mutation(name, f"{by:+}", changed)
    for slot, chunks in enumerate(snapshot.lists):
        for chunk in chunks:
            for to in (slot - 1, slot + 1):
                if 0 <= to < len(snapshot.lists):
                    yield Mutation("lists", f"slot {slot} to {to}", _moved(snapshot, chunk, to))
            if chunk is not snapshot.first_chunk:
                yield Mutation("lists", f"slot {slot}: lost", _moved(snapshot, chunk, None))
    for chunk, name in state.names.items():
        for field, how, new in of_chunk(chunk):
            yield Mutation(field, f"chunk {name}: {how}", with_chunk(snapshot, chunk, new))


def _moved(snapshot: Snapshot, chunk: ChunkSnapshot, to: int | None) -> Snapshot:
    lists = [tuple(c for c in chunks if c is not chunk) for chunks in snapshot.lists]
    if to is not None:
        lists[to] = (chunk, *lists[to])
    return replace(snapshot, lists=tuple(lists))


def of_chunk(chunk: ChunkSnapshot) -> Iterator[tuple[str, str, ChunkSnapshot]]:
    """Yield field, how it is changed, and the chunk: counters, hints, bits of every map."""
    for name in COUNTS:
        step = 1 if name.startswith("nr_") else 4
        for by in (-step, step):
            value = getattr(chunk, name) + by
            if value >= 0:
                yield name, f"{by:+}", replace(chunk, **{name: value})
    for name in FLAGS:
        yield name, "turned", replace(chunk, **{name: not getattr(chunk, name)})
    for name in HINTS:
        for by in (-1, 1):
            value = getattr(chunk.chunk_md, name) + by
            if 0 <= value <= chunk.chunk_md.nr_bits:
                md = replace(chunk.chunk_md, **{name: value})
                yield f"chunk_md.{name}", f"{by:+}", replace(chunk, chunk_md=md)
    for index, block in enumerate(chunk.md_blocks):
        for name in HINTS:
            for by in (-1, 1):
                value = getattr(block, name) + by
                if 0 <= value <= block.nr_bits:
                    blocks = list(chunk.md_blocks)
                    blocks[index] = replace(block, **{name: value})
                    how = f"block {index}: {by:+}"
                    yield f"md_blocks.{name}", how, replace(chunk, md_blocks=tuple(blocks))
    ends = sorted({at for start, size in chunk.areas.items()
                   for at in (start // 4, (start + size) // 4)})  # fmt: skip
    for at in ends:
        for bit in (at - 1, at):
            if 0 <= bit < len(chunk.alloc_map):
                yield _turned(chunk, "alloc_map", bit)
        if chunk.has_bounds:
            yield _turned(chunk, "bound_map", at)
    for page in range(chunk.nr_pages):
        yield _turned(chunk, "populated", page)


def _turned(chunk: ChunkSnapshot, name: str, at: int) -> tuple[str, str, ChunkSnapshot]:
    bits = bytearray(getattr(chunk, name))
    bits[at] ^= 1
    return name, f"bit {at}", replace(chunk, **{name: bits})

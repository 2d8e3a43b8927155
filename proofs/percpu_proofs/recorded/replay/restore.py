"""The model just booted, or in a recorded state."""

from __future__ import annotations

from percpu_contracts.contract import Level
from percpu_proofs.recorded.replay.stepper import with_search_log
from percpu_proofs.recorded.states.snapshot import BlockSnapshot, ChunkSnapshot, Snapshot
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator, build
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS

_COPIED = (
    "free_bytes", "immutable", "isolated", "start_offset", "end_offset", "nr_populated",
    "nr_empty_pop_pages",
)  # fmt: skip


def booted(
    variant: type[Allocator], geometry: Geometry, first_base: int, contracts: Level = "off"
) -> Allocator:
    """Return a model just booted, its first chunk at address `first_base`, its searches noted."""
    model = build(with_search_log(variant), geometry, contracts=contracts)
    moved = first_base - model.first_chunk.base_addr
    model.first_chunk.base_addr += moved
    if model.reserved_chunk is not None:
        model.reserved_chunk.base_addr += moved
    return model


def restored(variant: type[Allocator], snapshot: Snapshot, contracts: Level = "off") -> Allocator:
    """Return a model in a recorded state, nothing in progress; work is asked for if it says so.

    Boundaries within free memory are lost, which nothing reads (MAP-3).
    """
    model = booted(variant, snapshot.geometry, snapshot.first_chunk.base_addr, contracts)
    if snapshot.reserved_chunk is not None:
        model.reserved_chunk = _chunk(snapshot.reserved_chunk, model, -1)
    lists = model.nr_slots // model.chunk_types
    for head, recorded in zip(model.chunk_lists, snapshot.lists, strict=True):
        head.next = head.prev = head
        for one in recorded:
            first = one.base_addr == snapshot.first_chunk.base_addr
            chunk = _chunk(one, model, 0 if first else model.next_id)
            if first:
                model.first_chunk = chunk
            else:
                model.next_id += 1
                chunk.obj_exts = {} if model.has_vector(head.slot // lists) else None
            chunk.prev, chunk.next = head.prev, head
            head.prev.next = head.prev = chunk
    model.set_floats([snapshot.float_of(kind) for kind in range(snapshot.chunk_types)])
    model.nr_populated = snapshot.nr_populated
    model.atomic_alloc_failed = snapshot.atomic_alloc_failed
    model.async_enabled = snapshot.async_enabled
    model.work_pending = "pending" in snapshot.globals.get("work", "").split(",")
    return model


def _chunk(recorded: ChunkSnapshot, model: Allocator, chunk_id: int) -> Chunk:
    chunk = model.new_chunk(chunk_id, recorded.nr_pages, recorded.base_addr)
    chunk.alloc_map[:] = recorded.alloc_map
    chunk.bound_map[:] = recorded.bound_map
    chunk.populated[:] = recorded.populated
    _fill(chunk.chunk_md, recorded.chunk_md)
    for block, hints in zip(chunk.md_blocks, recorded.md_blocks, strict=True):
        _fill(block, hints)
    for name in _COPIED:
        setattr(chunk, name, getattr(recorded, name))
    return chunk


def _fill(block: Block, hints: BlockSnapshot) -> None:
    for name in HINTS:
        setattr(block, name, getattr(hints, name))

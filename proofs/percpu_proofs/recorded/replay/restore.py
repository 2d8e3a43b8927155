"""The model just booted, or in a recorded state."""

from __future__ import annotations

from percpu_contracts.contract import Level
from percpu_proofs.recorded.replay.stepper import with_search_log
from percpu_proofs.recorded.states.snapshot import BlockSnapshot, ChunkSnapshot, Snapshot
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator, build
from percpu_spec.geometry import Geometry


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
    chunk.free_bytes = recorded.free_bytes
    chunk.immutable = recorded.immutable
    chunk.isolated = recorded.isolated
    chunk.start_offset = recorded.start_offset
    chunk.end_offset = recorded.end_offset
    chunk.nr_populated = recorded.nr_populated
    chunk.nr_empty_pop_pages = recorded.nr_empty_pop_pages
    return chunk


def _fill(block: Block, hints: BlockSnapshot) -> None:
    block.scan_hint = hints.scan_hint
    block.scan_hint_start = hints.scan_hint_start
    block.contig_hint = hints.contig_hint
    block.contig_hint_start = hints.contig_hint_start
    block.left_free = hints.left_free
    block.right_free = hints.right_free
    block.first_free = hints.first_free

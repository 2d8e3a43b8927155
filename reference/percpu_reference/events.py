"""The allocator's trace events (include/trace/events/percpu.h) as a typed stream.

Sizes, alignments and offsets in bytes; pointers are relative to the first chunk's base address.
"""

from __future__ import annotations

from typing import NamedTuple


class AllocPercpu(NamedTuple):
    """An area was handed out."""

    reserved: bool
    is_atomic: bool
    size: int
    align: int
    base_addr: int
    off: int
    ptr: int
    bytes_alloc: int
    gfp: int


class AllocPercpuFail(NamedTuple):
    """A legal request failed."""

    reserved: bool
    is_atomic: bool
    size: int
    align: int


class FreePercpu(NamedTuple):
    """An area was freed."""

    base_addr: int
    off: int
    ptr: int


class CreateChunk(NamedTuple):
    """A chunk was created."""

    base_addr: int


class DestroyChunk(NamedTuple):
    """A chunk is about to be destroyed."""

    base_addr: int


Event = AllocPercpu | AllocPercpuFail | FreePercpu | CreateChunk | DestroyChunk

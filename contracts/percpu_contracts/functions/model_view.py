"""What conditions on functions ask of the allocator, beyond the state that views show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from percpu_contracts.monitor import Monitor
from percpu_spec.views import AllocatorView, ChunkView


class EnvironmentView(Protocol):
    """Counters of the allocator's surroundings. Pages are backing pages of all units."""

    live_pages: int
    creates: int
    charged: int
    destroys: int
    objcg_refs: int
    balance_requests: int


class LinkedChunk(ChunkView, Protocol):
    """A chunk with its place on a list and its object vector."""

    next: Any
    prev: Any
    obj_exts: dict[int, object] | None


class ModelView(AllocatorView, Protocol):
    """A running allocator: locks, requests and the monitor on top of its state."""

    BLOCKING: ClassVar[int]
    CHARGES_VECTOR: ClassVar[bool]
    CHECKS_FREES: ClassVar[bool]

    lock: bool
    alloc_mutex: bool
    async_enabled: bool
    work_pending: bool
    atomic_alloc_failed: bool
    quiescent: bool
    env: EnvironmentView
    chunk_lists: list[Any]
    monitor: Monitor

    def is_atomic(self, gfp: int) -> bool:
        """Return whether a request with these flags must not sleep."""

    def chunk_slot(self, chunk: Any) -> int:
        """Return the slot that a chunk's hints ask for."""

    def chunks(self) -> Iterable[LinkedChunk]:
        """Return every live chunk, the reserved one too."""

"""What callers may do in a search: a few operations that reach much."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from percpu_contracts.history import History
from percpu_proofs.run.operations import Operation, parse_operations
from percpu_reference.chunk import Chunk
from percpu_reference.own_state import Name, own_state
from percpu_reference.variants import Allocator

WORK: Operation = ("b", 0, 0, 0, False, 0)


@dataclass(frozen=True)
class Alphabet:
    """Requests, each `SIZE ALIGN FLAGS`, and faults, each an operation such as `P 1`.

    Beside them every area held can be freed.
    """

    requests: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @cached_property
    def _parsed(self) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        where = Path("alphabet")
        requests = parse_operations(where, [f"a 0 {text}" for text in self.requests])
        faults = parse_operations(where, self.faults).operations if self.faults else []
        return tuple(requests.operations), tuple(faults)

    def operations(self, held: Mapping[int, object], handle: int) -> Iterator[Operation]:
        """Yield what can be done with these handles held; an allocation takes `handle`."""
        requests, faults = self._parsed
        for kind, _, size, align, reserved, flags in requests:
            yield kind, handle, size, align, reserved, flags
        for other, area in held.items():
            if area is not None:
                yield ("f", other, 0, 0, False, 0)
        yield from faults

    def __str__(self) -> str:
        """In words: `4096 aligned 4 (A)`, flags as in the operation language."""
        words = []
        for text in self.requests:
            size, align, flags = text.split()
            words.append(f"{size}" + (f"/{align}" if align != "4" else "")
                         + (f" {flags}" if flags != "-" else ""))
        faults = f"; faults {', '.join(self.faults)}" if self.faults else ""
        return f"requests of {', '.join(words)} bytes{faults}"


def state_key(allocator: Allocator, history: History | None = None) -> bytes:
    """Return a digest equal for allocators at rest that will behave alike, whatever the handles.

    With a history, what COST-1, TLB-1 and BAL-3 ask of it counts too. Chunks go by their place, not
    by how many were made before them.
    """
    reserved = allocator.reserved_chunk
    listed = [(head.slot, chunk) for head in allocator.chunk_lists for chunk in head]
    names: dict[Chunk | None, int] = {chunk: number for number, (_, chunk) in enumerate(listed)}
    names[reserved] = -1

    def name(chunk: Chunk) -> object:
        """Return a chunk's place; of one that is gone, which can only be compared, its id."""
        return names.get(chunk, ("gone", chunk.id))

    lists = [(slot, _chunk(chunk, name), chunk is allocator.first_chunk) for slot, chunk in listed]
    past: Any = None
    if history is not None:
        past = (
            sorted(names[chunk] for chunk in history.depopulated if chunk in names),
            sorted((names[chunk], page) for chunk, page in history.stale if chunk in names),
            history.runs,
        )
    whole: Any = (
        allocator.nr_empty_pop_pages,
        allocator.own_state(name),
        allocator.work_pending,
        allocator.atomic_alloc_failed,
        allocator.env.faults(),
        past,
        lists,
        None if reserved is None else _chunk(reserved, name),
    )
    # version 2 of the format has no references, so equal values have equal bytes
    return hashlib.blake2b(marshal.dumps(whole, 2), digest_size=16).digest()


def _chunk(chunk: Chunk, name: Name) -> tuple[object, ...]:
    return (
        chunk.isolated,
        bytes(chunk.alloc_map),
        bytes(chunk.populated),
        chunk.chunk_md.as_list(),
        [block.as_list() for block in chunk.md_blocks],
        None if chunk.obj_exts is None else sorted(chunk.obj_exts),
        () if type(chunk) is Chunk else own_state(chunk, Chunk, name),
    )

"""A model's state against a state read out of a kernel's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_spec.views import HINTS, AllocatorView, ChunkView

_GLOBALS = ("nr_empty_pop_pages", "nr_populated", "atomic_alloc_failed")
_COUNTERS = ("free_bytes", "nr_populated", "nr_empty_pop_pages", "isolated", "immutable")

WHAT = ("lists", "areas", "populated", "hints", "counters", "globals")
"""What is compared. `lists` is the slot of every chunk and the order in it."""


class StateDifference(NamedTuple):
    """One thing that differs: one of WHAT, the chunk's address (0: global), and both values."""

    what: str
    chunk: int
    detail: str


def differences(model: AllocatorView, kernel: Snapshot) -> Iterator[StateDifference]:
    """Yield everything in which the model differs from the recorded state.

    Hints are compared all seven, stale ones included. Boundary bits are not: the recording has
    none.
    """
    yield from _values("globals", 0, _GLOBALS, model, kernel)
    mine: dict[int, ChunkView] = {}
    for slot in range(max(model.nr_slots, kernel.nr_slots)):
        ours = [_address(c) for c in model.slot_chunks(slot)] if slot < model.nr_slots else []
        theirs = [c.base_addr for c in kernel.slot_chunks(slot)] if slot < kernel.nr_slots else []
        if ours != theirs:
            yield StateDifference("lists", 0, f"slot {slot}: {_hex(ours)}, kernel {_hex(theirs)}")
        if slot < model.nr_slots:
            mine.update((_address(c), c) for c in model.slot_chunks(slot))
    if model.reserved_chunk is not None:
        mine[_address(model.reserved_chunk)] = model.reserved_chunk
    for chunk in kernel.chunks():
        ours_chunk = mine.pop(chunk.base_addr, None)
        if ours_chunk is None:
            yield StateDifference("lists", chunk.base_addr, "no such chunk in the model")
        else:
            yield from _chunk(ours_chunk, chunk, chunk.base_addr)
    for base in mine:
        yield StateDifference("lists", base, "no such chunk in the kernel")


def _address(chunk: Any) -> int:
    address: int = chunk.base_addr  # which no clause speaks of, and no view has
    return address


def _hex(addresses: list[int]) -> str:
    return "[" + " ".join(f"{a:x}" for a in addresses) + "]"


def _chunk(ours: ChunkView, theirs: ChunkView, base: int) -> Iterator[StateDifference]:
    yield from _values("counters", base, _COUNTERS, ours, theirs)
    for what, name, where in (
        ("areas", "alloc_map", "at bit "), ("populated", "populated", "")
    ):  # fmt: skip
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), -1)
            yield StateDifference(what, base, f"first {where}{first}")
    yield from _values("hints", base, HINTS, ours.chunk_md, theirs.chunk_md, "chunk ")
    for index, blocks in enumerate(zip(ours.md_blocks, theirs.md_blocks, strict=False)):
        yield from _values("hints", base, HINTS, *blocks, f"block {index} ")


def _values(
    what: str, base: int, names: Sequence[str], ours: object, theirs: object, of: str = ""
) -> Iterator[StateDifference]:
    for name in names:
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            yield StateDifference(what, base, f"{of}{name} {a}, kernel {b}")


def counted(found: list[StateDifference]) -> dict[str, int]:
    """Return how many differences there are of each kind, zeros included."""
    counts = Counter(difference.what for difference in found)
    return {what: counts[what] for what in WHAT}

"""One value of a kernel's state changed: a clause sees it, or such a state is legal, and why."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from state_mutations import Mutation, of_state
from test_state_judged import STATES, of_reads, state_paths

from percpu_proofs import data
from percpu_proofs.live.verdicts import KernelStateJudge
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.saved_state import read_state
from percpu_proofs.recorded.states.snapshot import BlockSnapshot, ChunkSnapshot

README = data.folder("") / "README.md"


class Change(NamedTuple):
    """A chunk before and after a change; the hints of the block, or of the chunk, that changed."""

    old: ChunkSnapshot
    new: ChunkSnapshot
    before: BlockSnapshot
    after: BlockSnapshot
    bits: bytearray  # of the map, of what the hints are about


def bits_of(change: Change, start: int, length: int) -> bytearray:
    return change.bits[start : start + length]


def lower_bound(change: Change) -> bool:
    """contig_hint and scan_hint say that their runs are free, not that they are the longest."""
    md = change.after
    return not any(bits_of(change, md.contig_hint_start, md.contig_hint)) and not any(
        bits_of(change, md.scan_hint_start, md.scan_hint)
    )


def full(change: Change) -> bool:
    return 0 not in change.bits


def between_areas(change: Change) -> bool:
    """Used bits on both sides of the boundary bit that changed: one area or two."""
    at = next(i for i, (a, b) in enumerate(zip(change.old.bound_map, change.new.bound_map,
                                               strict=True)) if a != b)  # fmt: skip
    return 0 < at < len(change.bits) and bool(change.bits[at - 1] and change.bits[at])


def always(change: Change) -> bool:
    return True


ARGUED: dict[str, Callable[[Change], bool]] = {
    "chunk_md.left_free": always,
    "chunk_md.right_free": always,
    "chunk_md.scan_hint": lower_bound,
    "chunk_md.scan_hint_start": lower_bound,
    "chunk_md.contig_hint": lower_bound,
    "chunk_md.contig_hint_start": lower_bound,
    "md_blocks.scan_hint": lower_bound,
    "md_blocks.scan_hint_start": lower_bound,
    "md_blocks.contig_hint": lower_bound,
    "md_blocks.contig_hint_start": lower_bound,
    "md_blocks.first_free": full,
    "bound_map": between_areas,
    "start_offset": lambda c: not c.old.has_bounds,
    "end_offset": lambda c: not c.old.has_bounds,
    "lists": lambda c: c.old.chunk_md.contig_hint * 4 < 16,
}
"""Fields whose change no clause need see, and where. README.md of the data says why."""


def change_of(state: KernelState, mutation: Mutation) -> Change:
    """Return what one change did to the one chunk that it is about."""
    names = {name: chunk for chunk, name in state.names.items()}
    if mutation.field == "lists":
        moved = state.snapshot.lists[int(mutation.how.split()[1].rstrip(":"))]
        old = min(moved, key=lambda c: c.chunk_md.contig_hint)
        return Change(old, old, old.chunk_md, old.chunk_md, old.alloc_map)
    old = names[mutation.how.split()[1].rstrip(":")]
    news = [c for c in mutation.snapshot.chunks() if c.base_addr == old.base_addr
            and (c.slot < 0) == (old.slot < 0)]  # fmt: skip
    (new,) = news
    block = mutation.how.partition("block ")[2].partition(":")[0]
    if not block:
        return Change(old, new, old.chunk_md, new.chunk_md, old.alloc_map)
    size = state.snapshot.geometry.block_bits
    bits = old.alloc_map[int(block) * size : (int(block) + 1) * size]
    return Change(old, new, old.md_blocks[int(block)], new.md_blocks[int(block)], bits)


def unseen(state: KernelState, most: int) -> tuple[int, list[Mutation]]:
    """Judge up to so many changes of each field; return how many, and those that none sees."""
    judge = KernelStateJudge()

    def findings(one: KernelState) -> set[tuple[str, str]]:
        return {(v.clause, w) for v in judge.verdicts(one).values() for w in v.found}

    before = findings(state)
    fields: dict[str, list[Mutation]] = defaultdict(list)
    for mutation in of_state(state):
        fields[mutation.field].append(mutation)
    draw = random.Random(1)
    chosen = [m for found in fields.values() for m in draw.sample(found, min(most, len(found)))]
    return len(chosen), [
        m for m in chosen if not findings(replace(state, snapshot=m.snapshot)) - before
    ]


def check(state: KernelState, most: int) -> int:
    count, found = unseen(state, most)
    for mutation in found:
        argued = ARGUED.get(mutation.field)
        assert argued is not None and argued(change_of(state, mutation)), mutation[:2]
    return count


def test_a_changed_value_is_seen_or_legal() -> None:
    assert check(read_state(STATES / "612_4.boot.txt.gz"), 3) > 60


def all_states() -> list[Path]:
    return [*sorted(STATES.glob("reads*.json.gz")), *state_paths()]


@pytest.mark.deep
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", all_states(), ids=lambda path: path.name)
def test_thousands_of_changes_are_seen_or_legal(path: Path) -> None:
    state = of_reads(path) if path.name.startswith("reads") else read_state(path)
    assert check(state, 60) > 600


def test_what_is_not_seen_is_explained() -> None:
    text = README.read_text()
    for field in ARGUED:
        assert f"`{field.rpartition('.')[2]}`" in text

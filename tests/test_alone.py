"""For each clause a planted bug that it alone catches, or why none can be."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from depth import deep_unless
from seeded_bugs import cast_for, plant, repaired
from workloads import Scene, in_scopes, play, scenes

from percpu_contracts.attach import checked
from percpu_contracts.monitor import Monitor
from percpu_contracts.registry import CONTRACTS
from percpu_proofs.bugs import BUGS
from percpu_reference.variants import Allocator
from percpu_reference.variants.reference import without

ALONE = {
    "ACC-1": "obj_full_size-1",
    "ACC-2": "alloc_percpu-29",
    "API-1": "alloc_percpu-3",
    "API-3": "is_atomic-1",
    "API-6": "alloc_percpu-20",
    "API-7": "alloc_percpu-27",
    "API-8": "alloc_percpu-31",
    "API-9": "alloc_percpu-32",
    "BAL-2": "reference check_freed_chunk-3",
    "BAL-3": "balance_workfn-1",
    "BAL-4": "ask_when_low-1",
    "BAL-5": "alloc_failed-1",
    "BAL-6": "balance_free-6",
    "BAL-7": "reference balance_workfn-6",
    "COST-1": "search_lists_for-1",
    "FIT-1": "reference check_block_hint-1",
    "FIT-2": "next_hint-3",
    "FIT-3": "alloc_area-17",
    "FLT-1": "isolate_chunk-3",
    "GFP-1": "ask-2",
    "GFP-2": "ask-1",
    "HINT-2": "next_hint-1",
    "HINT-3": "reference without L2",
    "HINT-4": "reference block_refresh_hint-6",
    "HINT-7": "alloc_area-7",
    "ISO-1": "depopulate_empty-6",
    "ISO-2": "isolate_chunk-4",
    "ISO-3": "search_lists_for-10",
    "ISO-4": "search_lists_for-11",
    "LIST-1": "chunk_move-1",
    "LIST-2": "reference without R3",
    "LIST-4": "chunk_relocate-1",
    "LOCK-1": "km.create_chunk-3",
    "LOCK-2": "alloc_percpu-9",
    "LOCK-3": "populate_area-5",
    "MAP-2": "alloc_area-6",
    "MAP-3": "alloc_first_chunk-8",
    "MAP-5": "alloc_chunk-1",
    "POP-3": "alloc_first_chunk-3",
    "POP-4": "populate_chunk-1",
    "POP-5": "km.create_chunk-1",
    "RCL-1": "should_reclaim_chunk-3",
    "RCL-4": "depopulate_empty-2",
    "RCL-6": "depopulate_empty-8",
    "RCL-7": "depopulate_empty-9",
    "SLOT-1": "size_to_slot-2",
    "SLOT-2": "setup_slots-1",
    "STAT-1": "free_area-7",
    "TLB-1": "depopulate_empty-5",
    "TLB-2": "populate_chunk-5",
}
"""A seeded bug by its name, planted in linux_6_12 or in `reference`, or a fix that is left out."""


class Together(NamedTuple):
    """A bug whose clause is never broken alone: with which, and why."""

    bug: str
    others: set[str]
    why: str


TOGETHER = {
    "API-4": Together("alloc_percpu-12", {"API-2"}, "the caller frees what it was given"),
    "API-5": Together("alloc_percpu-2", {"API-3"}, "who populates was not taken for atomic"),
    "BAL-1": Together("reference without R2", {"RCL-3"}, "pages not counted are left behind"),
    "HINT-1": Together("block_update-5", {"FIT-2"}, "a hint that claims too much misleads"),
    "HINT-5": Together("reference next_md_free_region-4", {"HINT-6"}, "HINT-6 says more"),
    "HINT-6": Together("reference without L5", {"HINT-5"}, "in a chunk it is HINT-5 and more"),
    "HINT-8": Together("block_update_hint_free-7", {"POP-1"}, "empty pages are counted by hints"),
    "LIST-3": Together("chunk_refresh_hint-3", {"COST-1"}, "a fully free chunk is searched early"),
    "MAP-1": Together("alloc_area-1", {"API-4"}, "what was taken wrongly is handed out"),
    "MAP-4": Together("free_area-5", {"MAP-2"}, "bytes freed wrongly are counted wrongly"),
    "POP-1": Together("block_update_hint_alloc-13", {"FLT-1"}, "the float sums the counters"),
    "POP-2": Together("alloc_percpu-15", {"POP-1"}, "an unpopulated page in use is miscounted"),
    "RCL-2": Together("alloc_first_chunk-1", {"MAP-5"}, "a chunk not immutable has no such shape"),
    "RCL-3": Together("reference balance_workfn-4", {"BAL-2"}, "free chunks wait there, too"),
    "RCL-5": Together("should_reclaim_chunk-1", {"RCL-2"}, "who is isolated loses pages"),
}


def planted(name: str) -> type[Allocator]:
    """Return the variant with the bug of a name in the tables."""
    base, _, bug = name.rpartition(" ")
    if base.endswith("without"):
        return without(bug)
    known = BUGS[bug]
    bugged = plant(known.function, known.text, known.instead)
    return repaired(bugged) if base else bugged


def broken(bugged: type[Allocator], among: tuple[Scene, ...] | None = None) -> set[str]:
    """Return the clauses that a variant breaks in scenes, those that it declares apart."""
    found: set[str] = set()
    for scene in scenes() if among is None else among:
        cls = cast_for(scene, bugged)
        if cls is not None:
            apart = {"POP-5"} if scene.geometry.backing == "vm" else set()
            monitor = Monitor((), apart | set(cls.NOT_APPLICABLE), strict=False)
            play(checked(cls, "full"), scene, monitor)
            found |= monitor.violations.keys() - cls.EXPECTED.keys()
    return found


def test_every_clause_has_its_bug() -> None:
    """API-2 is for callers to break."""
    assert sorted([*ALONE, *TOGETHER, "API-2"]) == sorted(CONTRACTS.asks())


@pytest.mark.parametrize(
    "clause", deep_unless(lambda clause: clause in ("ISO-3", "RCL-7", "LOCK-3"), list(ALONE))
)
def test_a_bug_that_one_clause_alone_catches(clause: str) -> None:
    among = in_scopes() if clause == "GFP-1" else None
    assert broken(planted(ALONE[clause]), among) == {clause}


@pytest.mark.parametrize("clause", deep_unless(lambda clause: clause == "MAP-1", list(TOGETHER)))
def test_a_bug_that_several_catch(clause: str) -> None:
    bug, others, why = TOGETHER[clause]
    assert {clause, *others} <= broken(planted(bug)), why

"""Rows for test_predicates: clause, predicate, good arguments, bad arguments, message."""

from __future__ import annotations

from plain_state import SMALL as G
from plain_state import allocator

from percpu_contracts.clauses import (
    accounting,
    api,
    balance,
    cost,
    fit,
    limits,
    locks,
    maps,
    reclaim,
    tlb,
)
from percpu_contracts.clauses.cost import SearchVisit
from percpu_contracts.registry import Predicate
from percpu_spec.gfp import FS, KERNEL, NOFS
from percpu_spec.steps import PAGES, MemoryRequest

THREE = G.with_changes("unit=96,dyn=32")
"""Units of three pages."""


def examined(*kinds: str) -> list[SearchVisit]:
    return [SearchVisit(k == "depopulated", k == "free") for k in kinds]


OPERATIONS: list[tuple[str, Predicate, tuple[object, ...], tuple[object, ...], str]] = [
    ("API-1", api.illegal_is_refused, (G, 0, 4, False, False), (G, 0, 4, True, True), "was served"),
    ("API-1", api.illegal_is_refused, (G, 4, 4, True, True), (G, 4, 24, False, True), "changed"),
    ("API-2", api.wrong_free_is_refused, (False, True), (True, True), "changed the state"),
    ("API-2", api.wrong_free_is_refused, (False, True), (False, False), "without a warning"),
    ("GFP-1", limits.request_keeps_to, (FS, MemoryRequest(PAGES, NOFS)),
     (FS, MemoryRequest(PAGES, KERNEL)),
     "pages: asked for with KERNEL by who must do without FS"),
    ("API-3", api.flags_decide_blocking, (True, True), (True, False), "allow blocking"),
    ("API-3", api.flags_decide_blocking, (False, False), (False, True), "forbid"),
    ("API-5", api.atomic_only_takes, (False, 0, 0), (False, 0, 1), "0 pages and 1 chunk"),
    ("API-5", api.atomic_only_takes, (True, 2, 1), (False, 2, 0), "2 pages"),
    ("API-6", api.area_is_cleared, ({(0, 8, 8), (1, 0, 32)}, 8, 8, G),
     ({(0, 8, 8), (1, 8, 4)}, 8, 8, G), "not cleared on CPU 1"),
    ("API-7", api.reserved_is_kept, (True, True), (True, False), "a reserved request"),
    ("API-7", api.reserved_is_kept, (False, False), (False, True), "an ordinary request"),
    ("API-8", api.wait_is_not_given_up, (False,), (True,), "__GFP_NOFAIL gave up"),
    ("API-9", api.failure_has_a_cause, (8, True), (8, False), "of 8 bytes failed, refused nothing"),
    ("MAP-4", maps.free_returns_area, (8, 8), (12, 8), "freed 12 bytes of an area of 8"),
    ("RCL-1", reclaim.float_stays_high, (9, 4, G), (9, 3, G), "fell from 9 to 3"),
    ("RCL-1", reclaim.float_stays_high, (3, 3, G), (3, 2, G), "fell from 3 to 2"),
    ("BAL-1", balance.population_raises_float, (1, 3, 2), (1, 1, 2), "from 1 to 1"),
    ("BAL-3", balance.work_drains, (3, 2), (4, 2), "after 3 runs with 2 chunks"),
    ("BAL-3", balance.creations_end, (2 * 5, 2, G), (2 * 5 + 1, 2, G), "has created 11 chunks"),
    ("BAL-4", balance.low_float_asks, (2, False, G), (1, False, G), "float 1 page, below 2"),
    ("BAL-5", balance.atomic_failure_asks, (True, True), (True, False), "no request"),
    ("BAL-5", balance.atomic_failure_asks, (True, True), (False, True), "no mark"),
    ("BAL-5", balance.mark_is_answered, (1, 2, True, False), (4, 5, True, True), "still set"),
    ("BAL-5", balance.mark_is_answered, (4, 4, False, False), (4, 4, True, False), "from 4 to 4"),
    ("BAL-7", balance.float_is_topped_up, (4, G), (3, G), "leaves 3 empty pages, fewer than 4"),
    ("BAL-7", balance.float_is_topped_up, (3, THREE), (2, THREE), "leaves 2 empty pages, fewer th"),
    ("BAL-7", balance.float_rises_as_wanted, (1, 4, False, G), (1, 5, False, G), "4 were wanted"),
    ("BAL-7", balance.float_rises_as_wanted, (5, 9, True, G), (5, 10, True, G), "9 were wanted"),
    ("COST-1", cost.depopulated_come_late, (examined("", "depopulated", "free"),),
     (examined("depopulated", ""),), "an ordinary chunk examined at place 1, after a depopulated"),
    ("COST-1", cost.depopulated_come_late, (examined("", "free", "free"),),
     (examined("free", "depopulated"),), "after a fully free"),
    ("TLB-1", tlb.no_stale_translation, ([4096], {8192}), ([4096, 8192], {8192}), "0x2000"),
    ("ACC-1", accounting.charge_is_owed, (160, [32, 8], G), (128, [32, 8], G), "owe 160"),
    ("ACC-2", accounting.success_is_charged, (True,), (False,), "in no object vector"),
    ("TLB-2", tlb.failed_map_is_flushed, (True,), (False,), "without a flush"),
    ("FIT-3", fit.hit_is_served, (allocator().busy, 0, 7, 1, G),
     (allocator().busy, 10, 4, 1, G), "gave up, with 4 bits free at 10"),
    ("FIT-1", fit.miss_is_genuine, (allocator().busy, 17), (allocator().busy, 16), "16 bits"),
    ("FIT-2", fit.hit_is_genuine, (allocator().busy, 10, 5, 4, False, G),
     (allocator().busy, 0, 9, 1, False, G), "no area of 9 bits aligned to 1 in bits 0..17"),
    ("FIT-2", fit.hit_is_genuine, (allocator().busy, 16, 8, 8, True, G),
     (allocator().busy, 24, 4, 1, True, G), "in an unpopulated page"),
    ("LOCK-1", locks.lock_is_held, (True,), (False,), "without pcpu_lock"),
    ("LOCK-2", locks.may_sleep, (True, False), (True, True), "with pcpu_lock held"),
    ("LOCK-2", locks.may_sleep, (True, False), (False, False), "without pcpu_alloc_mutex"),
    ("LOCK-1", locks.lock_changes_hands, (False, True), (True, True), "taken while held"),
    ("LOCK-1", locks.lock_changes_hands, (True, False), (False, False), "released, not held"),
    ("LOCK-1", locks.lock_is_taken_once, (False,), (True,), "with no gap between"),
    ("LOCK-1", locks.lock_is_released, (False,), (True,), "behind the last lock section"),
    ("LOCK-2", locks.no_gap_is_locked, (False,), (True,), "in a gap with pcpu_lock held"),
    ("LOCK-2", locks.mutex_is_taken_once, (False,), (True,), "with no gap between"),
    ("LOCK-2", locks.mutex_changes_hands, (False, True, False, True), (True, True, False, True),
     "taken while held"),
    ("LOCK-2", locks.mutex_changes_hands, (True, False, True, True), (False, False, False, True),
     "not held is released"),
    ("LOCK-2", locks.mutex_changes_hands, (False, True, False, True), (False, True, True, True),
     "with pcpu_lock held"),
    ("LOCK-2", locks.mutex_changes_hands, (True, False, False, True), (True, False, False, False),
     "by a step that does not hold it"),
]  # fmt: skip

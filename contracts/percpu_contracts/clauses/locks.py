"""What each lock protects. Kernel: pcpu_lock, pcpu_alloc_mutex and the lockdep assertions."""

from __future__ import annotations

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.definitions import is_populated
from percpu_spec.geometry import Geometry
from percpu_spec.steps import AreaExtent, Step
from percpu_spec.views import AllocatorView


@states("LOCK-1", Scope.LOCK)
def lock_is_held(lock: bool, what: str = "index data change") -> str | None:
    """Index data change only under pcpu_lock; what: which of them, in words."""
    return None if lock else f"{what} without pcpu_lock"


@states("LOCK-2", Scope.LOCK)
def may_sleep(mutex: bool, lock: bool) -> str | None:
    """Backing changes under pcpu_alloc_mutex, with pcpu_lock released."""
    if lock:
        return "a sleeping step with pcpu_lock held"
    return None if mutex else "backing changes without pcpu_alloc_mutex"


@states("LOCK-1", Scope.LOCK)
def lock_changes_hands(held: bool, taken: bool) -> str | None:
    """pcpu_lock is taken when it is free and released when it is held."""
    if held == taken:
        return "pcpu_lock is taken while held" if taken else "pcpu_lock is released, not held"
    return None


@states("LOCK-1", Scope.LOCK)
def lock_is_taken_once(released: bool) -> str | None:
    """pcpu_lock is not taken again in a step that released it: others could have run between.

    A step is what lies between two gaps, so every place where others run must be a gap.
    """
    return "pcpu_lock is released and taken again, with no gap between" if released else None


@states("LOCK-1", Scope.LOCK)
def lock_is_released(lock: bool) -> str | None:
    """pcpu_lock is not held where only flags and requests for work are left to do."""
    return "pcpu_lock is still held behind the last lock section" if lock else None


@states("LOCK-2", Scope.LOCK)
def no_gap_is_locked(lock: bool) -> str | None:
    """Nobody waits or sleeps with pcpu_lock held."""
    return "a step stands in a gap with pcpu_lock held" if lock else None


@states("LOCK-2", Scope.LOCK)
def mutex_changes_hands(held: bool, taken: bool, lock: bool, own: bool) -> str | None:
    """pcpu_alloc_mutex is taken when it is free, and by no one with pcpu_lock; the holder alone
    releases it. own: nobody else holds it.
    """
    if held == taken:
        return "pcpu_alloc_mutex is taken while held" if taken else "a mutex not held is released"
    if taken and lock:
        return "pcpu_alloc_mutex is taken with pcpu_lock held"
    return None if own else "pcpu_alloc_mutex is released by a step that does not hold it"


@states("LOCK-2", Scope.LOCK)
def mutex_is_taken_once(dropped: bool) -> str | None:
    """pcpu_alloc_mutex is not taken again in a step that released it: as with pcpu_lock."""
    return "pcpu_alloc_mutex is released and taken again, with no gap between" if dropped else None


@states("LOCK-3", Scope.STEP, When.STEP)
def placed_area_keeps_mutex(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """From placing an area to the last of its pages a blocking allocation holds the mutex."""
    waiting = [
        (area, held)
        for area, held in step.waiting
        if not area_is_settled(area, allocator.geometry)
    ]
    for area, held in waiting:
        if not held:
            return f"area at byte {area.off} awaits its pages without pcpu_alloc_mutex"
    return None if waiting else NOT_ASKED


def area_is_settled(area: AreaExtent, geometry: Geometry) -> bool:
    """Return whether an area that was placed has all its pages, or was given up."""
    at, end = area.off // geometry.granule, (area.off + area.size) // geometry.granule
    return not area.chunk.alloc_map[at] or is_populated(area.chunk, at, end, geometry)

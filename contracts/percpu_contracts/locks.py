"""What each lock protects. Kernel: pcpu_lock, pcpu_alloc_mutex and the lockdep assertions."""

from __future__ import annotations

from percpu_contracts.binding import states


@states("LOCK-1")
def lock_is_held(lock: bool, what: str = "index data change") -> str | None:
    """Index data change only under pcpu_lock; what: which of them, in words."""
    return None if lock else f"{what} without pcpu_lock"


@states("LOCK-2")
def may_sleep(mutex: bool, lock: bool) -> str | None:
    """Backing changes under pcpu_alloc_mutex, with pcpu_lock released."""
    if lock:
        return "a sleeping step with pcpu_lock held"
    return None if mutex else "backing changes without pcpu_alloc_mutex"


@states("LOCK-1")
def lock_changes_hands(held: bool, taken: bool) -> str | None:
    """pcpu_lock is taken when it is free and released when it is held."""
    if held == taken:
        return "pcpu_lock is taken while held" if taken else "pcpu_lock is released, not held"
    return None


@states("LOCK-1")
def lock_is_taken_once(released: bool) -> str | None:
    """pcpu_lock is not taken again in a step that released it: others could have run between.

    A step is what lies between two gaps, so every place where others run must be a gap.
    """
    return "pcpu_lock is released and taken again, with no gap between" if released else None


@states("LOCK-1")
def lock_is_released(lock: bool) -> str | None:
    """pcpu_lock is not held where only flags and requests for work are left to do."""
    return "pcpu_lock is still held behind the last lock section" if lock else None


@states("LOCK-2")
def no_gap_is_locked(lock: bool) -> str | None:
    """Nobody waits or sleeps with pcpu_lock held."""
    return "a step stands in a gap with pcpu_lock held" if lock else None


@states("LOCK-2")
def mutex_changes_hands(held: bool, taken: bool, lock: bool, own: bool) -> str | None:
    """pcpu_alloc_mutex is taken when it is free, and by no one with pcpu_lock; the holder alone
    releases it. own: nobody else holds it.
    """
    if held == taken:
        return "pcpu_alloc_mutex is taken while held" if taken else "a mutex not held is released"
    if taken and lock:
        return "pcpu_alloc_mutex is taken with pcpu_lock held"
    return None if own else "pcpu_alloc_mutex is released by a step that does not hold it"

"""What each lock protects. Kernel: pcpu_lock, pcpu_alloc_mutex and the lockdep assertions."""

from __future__ import annotations

from percpu_contracts.binding import states


@states("LOCK-1")
def lock_is_held(lock: bool) -> str | None:
    """Index data change only under pcpu_lock."""
    return None if lock else "index data change without pcpu_lock"


@states("LOCK-2")
def may_sleep(mutex: bool, lock: bool) -> str | None:
    """Backing changes under pcpu_alloc_mutex, with pcpu_lock released."""
    if lock:
        return "a sleeping step with pcpu_lock held"
    return None if mutex else "backing changes without pcpu_alloc_mutex"

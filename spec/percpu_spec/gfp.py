"""Allocation flags, as far as the percpu allocator reads them (API-3).

The bits are the model's own; only their combinations matter. A request may block exactly when it
carries DIRECT_RECLAIM; kernels before 6.15 (and stable ones without its fix) ask for all of KERNEL.
"""

from __future__ import annotations

from typing import Final

HIGH: Final = 1 << 0
IO: Final = 1 << 1
FS: Final = 1 << 2
DIRECT_RECLAIM: Final = 1 << 3
KSWAPD_RECLAIM: Final = 1 << 4
NOWARN: Final = 1 << 5
NOFAIL: Final = 1 << 6
NORETRY: Final = 1 << 7
ACCOUNT: Final = 1 << 8

RECLAIM: Final = DIRECT_RECLAIM | KSWAPD_RECLAIM
KERNEL: Final = RECLAIM | IO | FS
NOFS: Final = RECLAIM | IO
NOIO: Final = RECLAIM
ATOMIC: Final = HIGH | KSWAPD_RECLAIM
NOWAIT: Final = KSWAPD_RECLAIM  # from 6.7 on its users get NOWARN with it


def may_block(gfp: int, needed: int = DIRECT_RECLAIM) -> bool:
    """Return whether a request carries all the flags needed to sleep (API-3).

    >>> may_block(NOFS), may_block(NOFS, KERNEL), may_block(NOWAIT)
    (True, False, False)
    """
    return gfp & needed == needed


def allow_blocking(gfp: int) -> bool:
    """Return whether a request with these flags may sleep (gfpflags_allow_blocking)."""
    return bool(gfp & DIRECT_RECLAIM)

"""Allocation flags, as far as the percpu allocator reads them (API-3) and hands them on (GFP-1).

The bits are the model's own; only their combinations matter. A request may block exactly when it
carries DIRECT_RECLAIM; kernels before 6.15 (and stable ones without its fix) ask for all of KERNEL.
Two bits above the flags stand for what is no flag of a request: that its task is in a scope without
I/O, or without file systems (memalloc_noio_save, memalloc_nofs_save).
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
SCOPE_NOIO: Final = 1 << 16
SCOPE_NOFS: Final = 1 << 17

RECLAIM: Final = DIRECT_RECLAIM | KSWAPD_RECLAIM
KERNEL: Final = RECLAIM | IO | FS
NOFS: Final = RECLAIM | IO
NOIO: Final = RECLAIM
ATOMIC: Final = HIGH | KSWAPD_RECLAIM
NOWAIT: Final = KSWAPD_RECLAIM  # from 6.7 on its users get NOWARN with it

NAMES: Final = {
    "HIGH": HIGH, "IO": IO, "FS": FS, "DIRECT_RECLAIM": DIRECT_RECLAIM,
    "KSWAPD_RECLAIM": KSWAPD_RECLAIM, "NOWARN": NOWARN, "NOFAIL": NOFAIL, "NORETRY": NORETRY,
    "ACCOUNT": ACCOUNT,
}  # fmt: skip
"""The flags by their names in the kernel, without __GFP_ in front."""


def forbidden(gfp: int) -> int:
    """Return the flags that a task's scope takes from all that it asks for; 0 outside of one.

    >>> forbidden(KERNEL), forbidden(KERNEL | SCOPE_NOFS) == FS
    (0, True)
    """
    if gfp < SCOPE_NOIO:
        return 0
    return IO | FS if gfp & SCOPE_NOIO else FS


def current_gfp_context(gfp: int) -> int:
    """Return the flags of a request once its task's scope is applied to them.

    >>> current_gfp_context(KERNEL | SCOPE_NOIO) == NOIO
    True
    """
    return gfp & ~(SCOPE_NOIO | SCOPE_NOFS | forbidden(gfp)) if gfp >= SCOPE_NOIO else gfp


def denied(gfp: int) -> int:
    """Return which of I/O and file systems a request's flags, or its task's scope, forbid (GFP-1).

    >>> denied(NOFS) == FS, denied(KERNEL | SCOPE_NOIO) == IO | FS
    (True, True)
    """
    return (IO | FS) & ~current_gfp_context(gfp)


def flag_words(gfp: int) -> str:
    """Return flags in words.

    >>> flag_words(KERNEL | NOWARN), flag_words(NOFS), flag_words(0)
    ('KERNEL NOWARN', 'NOFS', '0')
    """
    words = []
    for name, group in (("KERNEL", KERNEL), ("NOFS", NOFS), ("NOIO", NOIO)):
        if gfp & KERNEL == group:
            words, gfp = [name], gfp & ~group
            break
    return " ".join([*words, *(name for name, flag in NAMES.items() if gfp & flag)]) or "0"


def may_block(gfp: int, needed: int = DIRECT_RECLAIM) -> bool:
    """Return whether a request carries all the flags needed to sleep (API-3).

    >>> may_block(NOFS), may_block(NOFS, KERNEL), may_block(NOWAIT)
    (True, False, False)
    """
    return current_gfp_context(gfp) & needed == needed


def allow_blocking(gfp: int) -> bool:
    """Return whether a request with these flags may sleep (gfpflags_allow_blocking)."""
    return bool(gfp & DIRECT_RECLAIM)

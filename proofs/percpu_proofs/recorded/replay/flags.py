"""Allocation flags as the kernel prints them, turned into the model's."""

from __future__ import annotations

from typing import Final

from percpu_spec import gfp

_NAMED: Final = {
    "GFP_KERNEL": gfp.KERNEL,
    "GFP_KERNEL_ACCOUNT": gfp.KERNEL,
    "GFP_USER": gfp.KERNEL,
    "GFP_HIGHUSER": gfp.KERNEL,
    "GFP_HIGHUSER_MOVABLE": gfp.KERNEL,
    "GFP_TRANSHUGE": gfp.KERNEL,
    "GFP_TEMPORARY": gfp.KERNEL,
    "GFP_NOFS": gfp.NOFS,
    "GFP_NOIO": gfp.NOIO,
    "GFP_ATOMIC": gfp.ATOMIC,
    "GFP_NOWAIT": gfp.NOWAIT,
    "__GFP_HIGH": gfp.HIGH,
    "__GFP_IO": gfp.IO,
    "__GFP_FS": gfp.FS,
    "__GFP_RECLAIM": gfp.RECLAIM,
    "__GFP_DIRECT_RECLAIM": gfp.DIRECT_RECLAIM,
    "__GFP_KSWAPD_RECLAIM": gfp.KSWAPD_RECLAIM,
    "__GFP_NOWARN": gfp.NOWARN,
    "__GFP_NOFAIL": gfp.NOFAIL,
    "__GFP_NORETRY": gfp.NORETRY,
}


def model_flags(printed: str | None, atomic: bool) -> int:
    """Return the model's flags for a printed request.

    `atomic` is the kernel's own decision, printed beside the flags; it stands where no flags are
    printed (kernels before 5.19, failures) or only a number. Charging is left out: traces do not
    tell which requests were charged, and no placement depends on it.

    >>> model_flags("GFP_USER|__GFP_NOWARN|__GFP_ACCOUNT", False) == gfp.KERNEL | gfp.NOWARN
    True
    """
    if printed is None or printed.startswith("0x"):
        return gfp.NOWAIT if atomic else gfp.KERNEL
    flags = 0
    for name in printed.split("|"):
        flags |= _NAMED.get(name, 0)
    return flags

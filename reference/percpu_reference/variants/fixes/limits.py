"""A caller's limits hold for all that is asked for on its behalf: a form of trees (R5)."""

from __future__ import annotations

from percpu_reference.environment import Task
from percpu_reference.operations import Operations
from percpu_spec.gfp import denied


class LimitsHandedOn(Operations):
    """pcpu_alloc: a chunk is created and pages are populated in a scope of the caller's limits.

    The caller's flags are passed on for pages and a chunk's metadata alone. Areas of addresses,
    page tables and the array of pages are asked for with GFP_KERNEL, so a request with GFP_NOFS or
    GFP_NOIO can enter the reclaim that it forbids, with pcpu_alloc_mutex held. A scope around both
    calls takes the flags away from whatever is asked for inside, and leaves other requests as they
    are: "preserve NOFS/NOIO scope during chunk create and populate", linux-mm, May 2026. It is no
    fix of `reference`, as no clause needs it.
    """

    __slots__ = ()

    def task_of(self, gfp: int) -> Task:
        """Return how a caller asks for memory: within its limits, in all that it asks for."""
        return super().task_of(gfp)._replace(forbids=denied(gfp))

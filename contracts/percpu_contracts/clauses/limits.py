"""What requests for memory may do while they wait. Kernel: pcpu_alloc, pcpu_balance_workfn."""

from __future__ import annotations

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec import gfp
from percpu_spec.steps import HANDED, MemoryRequest, Step
from percpu_spec.views import AllocatorView


@states("GFP-1")
def request_keeps_to(denied: int, request: MemoryRequest) -> str | None:
    """A request carries none of the flags that who makes it must do without."""
    if not request.gfp & denied:
        return None
    return (
        f"{request.kind}: asked for with {gfp.flag_words(request.gfp)} by who must do without "
        f"{gfp.flag_words(denied)}"
    )


@states("GFP-1", Scope.STEP, When.STEP)
def callers_limits_reach_backing(
    step: Step, allocator: AllocatorView, history: History
) -> str | None:
    """What an allocation asks for keeps to its task's scope, and pages and charges to its flags."""
    return _kept(step) if step.kind == "a" else NOT_ASKED


@states("GFP-2", Scope.STEP, When.STEP)
def work_is_limited(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """What the balance work asks for does without I/O and file systems."""
    return _kept(step) if step.kind == "b" else NOT_ASKED


def _kept(step: Step) -> str | None:
    if not (step.denied or step.handed) or not step.requests:
        return NOT_ASKED
    for request in sorted(step.requests):
        handed = step.handed if request.kind in HANDED else 0
        wrong = request_keeps_to(step.denied | handed, request)
        if wrong is not None:
            return wrong
    return None

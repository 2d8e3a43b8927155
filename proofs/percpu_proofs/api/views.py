"""What may be judged and drawn: anything with the fields of a view, and what has one inside."""

from __future__ import annotations

from typing import Any

from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.run.inputs import InputError
from percpu_spec.views import AllocatorView

_SOME = ("geometry", "slot_chunks", "owned_chunks", "nr_empty_pop_pages", "first_chunk")


def view_of(given: object) -> AllocatorView:
    """Return the view that something is, or has as `allocator` or `snapshot`. Raises InputError."""
    found: Any = given
    if (kernel := kernel_of(given)) is not None:
        found = kernel.snapshot
    elif hasattr(given, "allocator"):
        found = given.allocator
    if not all(hasattr(found, name) for name in _SOME):
        expected = "an allocator, a state, or any AllocatorView (percpu_spec.views)"
        raise InputError("view", None, expected, type(given).__name__)
    view: AllocatorView = found
    return view


def kernel_of(given: object) -> KernelState | None:
    """Return a real kernel's state, if that is what something is or has as `kernel`."""
    found = getattr(given, "kernel", given)
    return found if isinstance(found, KernelState) else None

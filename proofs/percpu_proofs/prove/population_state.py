"""Whether the backing pages held are those counted (POP-4)."""

from __future__ import annotations

from percpu_contracts.functions.operations import counts_pages
from percpu_proofs.prove.scene import Scene


def pages_are_held(scene: Scene) -> str | None:
    """Return what is wrong with the backing pages held, were the step alone."""
    history = scene.allocator.monitor.history
    concurrent, history.concurrent = history.concurrent, False
    wrong = counts_pages(scene.allocator)
    history.concurrent = concurrent
    return wrong and f"POP-4: {wrong}"

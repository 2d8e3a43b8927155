"""What must hold: clauses, the views they are stated over, and the plain definitions.

It is also where the public API is had: `import percpu_spec as ps`, then `ps.allocator`, `ps.check`,
`ps.draw`, `ps.explain`, `ps.review`, `ps.read_state` (percpu_proofs.api).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for tools alone: at run time nothing here imports what stands above it
    from percpu_proofs.api import allocator, check, draw, explain, read_state, review

__all__ = ["allocator", "check", "draw", "explain", "read_state", "review"]


def __getattr__(name: str) -> Any:
    """Forward the names of the API when they are asked for; the specification needs none of it."""
    if name in __all__:
        return getattr(import_module("percpu_proofs.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""What must hold: clauses, the views they are stated over, and the plain definitions.

It is also where the public API is had: `import percpu_spec as ps`, then `ps.allocator`, `ps.check`,
`ps.draw`, `ps.explain`, `ps.review`, `ps.read_state` (percpu_proofs.api).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for tools alone: at run time nothing here imports what stands above it
    from percpu_proofs.api import (
        allocator as allocator,
    )
    from percpu_proofs.api import (
        check as check,
    )
    from percpu_proofs.api import (
        draw as draw,
    )
    from percpu_proofs.api import (
        explain as explain,
    )
    from percpu_proofs.api import (
        read_state as read_state,
    )
    from percpu_proofs.api import (
        review as review,
    )

_API = ("allocator", "check", "draw", "explain", "read_state", "review")


def __getattr__(name: str) -> Any:
    """Forward the names of the API when they are asked for; the specification needs none of it."""
    if name in _API:
        return getattr(import_module("percpu_proofs.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])

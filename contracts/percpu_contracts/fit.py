"""Whether a search finds what is there. Kernel: pcpu_find_block_fit, pcpu_find_zero_area."""

from __future__ import annotations

from percpu_spec.definitions import longest_run
from percpu_spec.views import ChunkView

from percpu_contracts.binding import states


@states("FIT-1")
def miss_is_genuine(chunk: ChunkView, bits: int) -> str | None:
    """A request of `bits` without alignment missed in a chunk where no run fits."""
    longest = longest_run(chunk)
    return None if longest < bits else f"request of {bits} bits missed a run of {longest} bits"

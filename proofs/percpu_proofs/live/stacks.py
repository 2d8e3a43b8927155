"""Where a stack stands in the allocator: the model's gap that it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from percpu_proofs.recorded.traces.functions import is_inside
from percpu_reference.gaps import BALANCE_CREATE, CREATE, MUTEX

SPINS, RELEASES = "waits for pcpu_lock", "releases pcpu_lock"
_INSIDE = ("pcpu_", "free_percpu")
_FILE = "(mm/percpu"  # behind functions whose lines are known
_GAPS = (
    ("pcpu_reclaim_populated", ("flush_tlb", "on_each_cpu", "smp_call", "pcpu_post_unmap"),
     "reclaim: flush the TLB"),
    ("pcpu_reclaim_populated", ("pcpu_depopulate_chunk",), "reclaim: release pages"),
    ("pcpu_balance_populated", ("pcpu_populate_chunk",), "balance: populate"),
    ("pcpu_balance_populated", ("pcpu_create_chunk",), BALANCE_CREATE.name),
    ("pcpu_balance_free", ("pcpu_destroy_chunk",), "balance: destroy a chunk"),
    ("pcpu_balance_free", ("pcpu_depopulate_chunk",), "balance: release a free chunk"),
    ("pcpu_alloc", ("pcpu_populate_chunk",), "alloc: populate"),
    ("pcpu_alloc", ("pcpu_create_chunk",), CREATE.name),
    ("pcpu_", ("mutex_lock",), MUTEX.name),
    *((function, ("spin_lock", "queued_spin_lock"), SPINS) for function in _INSIDE),
    *((function, ("spin_unlock",), RELEASES) for function in _INSIDE),
)  # fmt: skip
"""A function of the allocator, what it has called (by their beginnings), and the gap that it is."""


def place_of_stack(frames: Sequence[str]) -> str:
    """Return where a stack stands, in words; empty for one that is not in the allocator.

    frames: functions with their lines, innermost first. Shown are those of the allocator, what the
    innermost of them has called, and who has called it.

    >>> place_of_stack(["mutex_lock", "pcpu_alloc_noprof (mm/percpu.c:1782)", "bpf_map_alloc"])
    'mutex_lock < pcpu_alloc_noprof (mm/percpu.c:1782) < bpf_map_alloc [wait for pcpu_alloc_mutex]'
    """
    inside = [n for n, frame in enumerate(frames) if is_inside(frame) or _FILE in frame]
    if not inside:
        return ""
    shown = " < ".join(frames[max(inside[0] - 1, 0) : inside[-1] + 2])
    gap = _gap(frames, inside)
    return f"{shown} [{gap}]" if gap else shown


def _gap(frames: Sequence[str], inside: Sequence[int]) -> str:
    for function, called, gap in _GAPS:
        places = [place for place in inside if frames[place].startswith(function)]
        if places and any(_calls(frame, called) for frame in frames[: places[-1]]):
            return gap
    return ""


def _calls(frame: str, names: Sequence[str]) -> bool:
    return frame.lstrip("_").removeprefix("raw_").startswith(tuple(names))


def changing_cpus(stacks: Mapping[str, str]) -> list[str]:
    """Return the CPUs that may hold pcpu_lock: they are in the allocator, and in none of its gaps.

    >>> changing_cpus({"CPU 1": "pcpu_alloc [waits for pcpu_lock]", "CPU 2": "pcpu_alloc_area < f"})
    ['CPU 2']
    """
    return [who for who, stack in stacks.items() if who.startswith("CPU") and stack[-1:] != "]"]

"""The machines of the variants: which actions each has, as changes to another."""

from __future__ import annotations

from typing import Any

from percpu_spec.protocol import (
    allocation,
    balancing,
    freeing,
    reclaiming,
    reviewed,
    shrinking,
)
from percpu_spec.protocol.clauses import (
    INVARIANT,
    STEPS,
    isolation_stays_high,
    population_raises_float,
    sidelined_is_drained,
)
from percpu_spec.protocol.machine import ActionFunction, Machine

_ACTIONS: tuple[Any, ...] = (
    allocation.miss,
    allocation.work,
    allocation.leave,
    allocation.create,
    allocation.area,
    allocation.area_ready,
    allocation.area_hole,
    allocation.fill_next,
    allocation.fill_done,
    allocation.fill_fail,
    freeing.free,
    freeing.free_isolating,
    balancing.take,
    balancing.drain_begin,
    balancing.drain_end,
    balancing.destroy,
    reclaiming.release_begin,
    reclaiming.release_end,
    reclaiming.flush_begin,
    reclaiming.flush_end,
    reclaiming.sideline,
    reclaiming.reintegrate,
    balancing.populate_begin,
    balancing.populate_next,
    balancing.populate_end,
    balancing.populate_fail,
)
LINUX_6_12 = Machine(
    "linux_6_12", {action.__name__: action for action in _ACTIONS}, INVARIANT, STEPS
)

REFERENCE = LINUX_6_12.changed(
    "reference",
    {
        # R1: only drained chunks are sidelined
        "sideline": reclaiming.sideline_drained,
        "rescan": reclaiming.rescan,
        # R2: balance work populates no isolated chunk
        "populate_end": balancing.populate_end_rejoining,
        "populate_next": balancing.populate_next_rejoining,
        # R4: a failed population makes the checks of a free
        "fill_fail": allocation.fill_fail_listed,
        "fill_fail_isolating": allocation.fill_fail_isolating,
    },
    clauses={"RCL-3": sidelined_is_drained},
    steps={
        "populate_end": ("BAL-1", population_raises_float),
        "populate_next": ("BAL-1", population_raises_float),
    },
)

LINUX_5_12 = LINUX_6_12.changed(
    "linux_5_12",
    {"free": freeing.free_always},
    without=(
        "free_isolating",
        "release_begin",
        "release_end",
        "flush_begin",
        "flush_end",
        "sideline",
        "reintegrate",
    ),
)
"""Types of chunks are not told apart here, nor their floats: it has the sum."""

RFC_1 = LINUX_5_12.changed(
    "rfc_1",
    {
        "free_unmoved": shrinking.free_unmoved,
        "release_begin": shrinking.shrink_begin,
        "release_end": shrinking.shrink_end,
        "relist": shrinking.relist,
        "fill_fail_flushing": shrinking.fill_fail_flushing,
        "populate_fail_flushing": shrinking.populate_fail_flushing,
    },
    clauses={
        "ISO-1": shrinking.shrunk_is_owned,
        "LIST-1": shrinking.has_one_place,
        "LIST-3": shrinking.free_list_is_free,
    },
)
RFC_SERIES = RFC_1.changed("rfc_series")
"""Which chunks are shrunk, and when, is nothing that the machine knows."""

RFC_1_REVIEWED = RFC_1.changed(
    "rfc_1_reviewed",
    {
        "release_begin": reviewed.shrink_begin_marking,
        "sideline": reviewed.sideline_shrunk,
        # the float counts isolated chunks: what can befall one
        "area": reviewed.with_full_float(allocation.area),
        "area_ready": reviewed.with_full_float(allocation.area_ready),
        "area_hole": reviewed.with_full_float(allocation.area_hole),
        "free": reviewed.with_full_float(freeing.free_always),
        "release_end": reviewed.with_full_float(shrinking.shrink_end),
        "populate_next": reviewed.with_full_float(balancing.populate_next),
        "populate_end": reviewed.with_full_float(balancing.populate_end),
    },
    without=("free_unmoved", "relist"),
    clauses={
        "LIST-3": reviewed.free_list_exact,
        "ISO-2": reviewed.isolated_is_apart,
        "FILLED": reviewed.filled_is_live,
        "RESERVED": reviewed.reserved_is_whole,
        "FLOAT": reviewed.float_is_full_sum,
    },
    unkept=("FLT-1", "RCL-1", "RCL-2", "TLB-1", "STALE"),
)
"""What the review's requests mend and what they leave: its invariant is kept, `unkept` is not."""

MACHINES = {
    machine.name: machine
    for machine in (LINUX_5_12, RFC_1, RFC_SERIES, RFC_1_REVIEWED, LINUX_6_12, REFERENCE)
}
"""The machine of each variant."""


def of_any_policy(machine: Machine) -> Machine:
    """Return the machine with the choice of chunks to isolate left open, within RCL-1 and RCL-5.

    Its invariant is kept all the same. Which chunks, pages and lists are taken first, and how many
    pages at once, no machine says.
    """
    if "free_isolating" not in machine.actions:
        return machine
    chosen: dict[str, ActionFunction] = {
        "free": freeing.free_chosen if "RCL-3" in machine.clauses else freeing.free_always,
        "free_isolating_chosen": freeing.free_isolating_chosen,
    }
    if "fill_fail_isolating" in machine.actions:
        chosen["fill_fail"] = allocation.fill_fail
        chosen["fill_fail_isolating_chosen"] = allocation.fill_fail_isolating_chosen
    return machine.changed(
        f"{machine.name} of any policy",
        chosen,
        steps={name: ("RCL-1", isolation_stays_high) for name in chosen if "isolating" in name},
    )


def on_km(machine: Machine) -> Machine:
    """Return the machine with the km backing: chunks are born whole, and no free isolates one."""
    isolates = "free_isolating" in machine.actions
    return machine.changed(
        f"{machine.name} on km",
        {
            "create": allocation.create_populated,
            "free": freeing.free_always if isolates else machine.actions["free"],
        },
        without=tuple(name for name in machine.actions if "isolating" in name),
    )

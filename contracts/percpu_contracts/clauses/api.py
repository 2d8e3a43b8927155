"""What the caller is promised and asked for. Kernel: pcpu_alloc, free_percpu."""

from __future__ import annotations

from collections.abc import Collection

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    area_size,
    is_legal,
    rounded_align,
    rounded_size,
    served_range,
)
from percpu_spec.geometry import Geometry
from percpu_spec.steps import Step
from percpu_spec.views import AllocatorView, ChunkView


@states("API-1")
def illegal_is_refused(
    geometry: Geometry, size: int, align: int, allocated: bool, changed: bool
) -> str | None:
    """An illegal size or alignment, in bytes, is refused without a change of state."""
    if is_legal(geometry, size, align) or not (allocated or changed):
        return None
    what = "was served" if allocated else "changed the state"
    return f"illegal request of {counted(size, 'byte')} aligned to {counted(align, 'byte')} {what}"


@states("API-2")
def free_names_area(chunk: ChunkView, off: int, geometry: Geometry) -> str | None:
    """A free names the start, in bytes, of a live area. Broken by the caller only."""
    if area_size(chunk, off, geometry) is not None:
        return None
    return f"free at byte {off}: no live area starts there"


@states("API-2")
def wrong_free_is_refused(changed: bool, warned: bool) -> str | None:
    """Where a kernel refuses a free that names no live area, it warns and changes nothing."""
    if changed:
        return "a free that names no live area changed the state"
    return None if warned else "a free that names no live area was refused without a warning"


@states("API-2", Scope.STEP, When.STEP)
def refusal_is_clean(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """A step that refuses a free warns and changes nothing (`wrong_free_is_refused`)."""
    return NOT_ASKED if step.refusal is None else wrong_free_is_refused(*step.refusal)


@states("API-3")
def flags_decide_blocking(may_block: bool, blocked: bool) -> str | None:
    """An allocation takes the sleeping path exactly when its flags allow to block.

    Which flags it takes to allow it is a rule of the kernel's time (`gfp.may_block`).
    """
    if may_block == blocked:
        return None
    return f"flags {'allow' if may_block else 'forbid'} blocking, against what was done"


@states("API-4")
def area_fits_request(
    chunk: ChunkView, off: int, size: int, align: int, geometry: Geometry
) -> str | None:
    """The area at byte `off` has the rounded size, the alignment asked for, and is served."""
    wanted, step = rounded_size(geometry, size), rounded_align(geometry, align)
    found = area_size(chunk, off, geometry)
    if found != wanted:
        return (
            f"request of {counted(size, 'byte')}: area of {found} bytes at byte {off}, "
            f"expected {wanted}"
        )
    first, behind = served_range(chunk, geometry)
    if off % step or off < first * geometry.granule or off + wanted > behind * geometry.granule:
        return f"area of {wanted} bytes at byte {off}: misaligned for {step} or outside the chunk"
    return None


@states("API-5")
def atomic_only_takes(may_block: bool, pages_added: int, chunks_added: int) -> str | None:
    """An allocation that may not block populates no page and creates no chunk."""
    if may_block or not (pages_added or chunks_added):
        return None
    return (
        f"atomic allocation added {counted(pages_added, 'page')} and "
        f"{counted(chunks_added, 'chunk')}"
    )


@states("API-6")
def area_is_cleared(
    cleared: Collection[tuple[int, int, int]], off: int, size: int, geometry: Geometry
) -> str | None:
    """Every CPU's copy was cleared before hand-out: `cleared` has (cpu, byte offset, bytes)."""
    for cpu in range(geometry.cpus):
        if not any(c == cpu and at <= off and off + size <= at + n for c, at, n in cleared):
            return f"area of {size} bytes at byte {off}: not cleared on CPU {cpu}"
    return None


@states("API-7")
def reserved_is_kept(reserved: bool, from_reserved: bool) -> str | None:
    """With a reserved chunk, reserved requests and no others are served from it."""
    if reserved == from_reserved:
        return None
    return f"{'a reserved' if reserved else 'an ordinary'} request is served from the wrong chunk"


@states("API-8")
def wait_is_not_given_up(gave_up: bool) -> str | None:
    """A request that must not fail goes on waiting when its task is killed."""
    return "a request with __GFP_NOFAIL gave up its wait" if gave_up else None


@states("API-9")
def failure_has_a_cause(size: int, refused: bool) -> str | None:
    """A legal blocking request that failed was refused memory, a charge, or its wait."""
    if refused:
        return None
    return f"a blocking request of {counted(size, 'byte')} failed, refused nothing"

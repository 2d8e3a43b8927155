"""Rows for test_predicates: clause, predicate about steps, a good step, its breakage, message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from plain_state import Allocator, Chunk

from percpu_contracts.clauses import (
    api,
    balance,
    isolation,
    limits,
    lists,
    locks,
    population,
    reclaim,
    tlb,
)
from percpu_contracts.history import History
from percpu_contracts.registry import Predicate
from percpu_reference.gaps import Gap, Kind
from percpu_spec import gfp
from percpu_spec.steps import AREAS, PAGES, TABLES, AreaExtent, Deed, DeedRange, MemoryRequest, Step

Make = Callable[[Allocator, History], Step]
"""Return a good step that has led to the state. It and the history may be changed."""

Break = Callable[[Allocator, History, Step], Step]
"""Return the step as a bug would have it; the state and the history may be changed."""


def step(kind: str, s: Allocator, *did: DeedRange, **known: Any) -> Step:
    """Return a step of an operation that found the chunks where they are."""
    places = {chunk: number for number in s.lists for chunk in s.lists[number]}
    fields = {"left": None, "stand": None, "floats": (4,), "places": places}
    return Step(kind, did=did, **{**fields, **known})


def stand(chunk: Chunk, kind: Kind, start: int = 1, end: int = 3) -> Any:
    return Gap("a gap", chunk, start, end, kind)  # type: ignore[arg-type]


def doing(operation: str, deed: Deed, name: str, start: int = 1, **known: Any) -> Make:
    """Return the making of a step that has done something to two pages or bits of a chunk."""
    return lambda s, history: step(
        operation, s, DeedRange(deed, getattr(s, name), start, start + 2), **known
    )


def put(field: str, value: Any) -> Break:
    """Return a breakage that changes a field of the step."""
    return lambda s, history, step: replace(step, **{field: value})


def setting(name: str, **values: Any) -> Break:
    """Return a breakage that sets fields of a chunk, or of the allocator."""

    def change(s: Allocator, history: History, step: Step) -> Step:
        for field, value in values.items():
            setattr(getattr(s, name) if name else s, field, value)
        return step

    return change


def moved(name: str, target: int) -> Break:
    """Return a breakage in which the step has put a chunk on another list, or on none (-1)."""

    def change(s: Allocator, history: History, step: Step) -> Step:
        chunk = getattr(s, name)
        for chunks in s.lists.values():
            if chunk in chunks:
                chunks.remove(chunk)
        if target >= 0:
            s.slot_chunks(target).append(chunk)
        return step

    return change


def found(name: str, number: int) -> Break:
    """Return a breakage in which the step has found a chunk on another list."""
    return lambda s, history, step: replace(step, places={**step.places, getattr(s, name): number})


def asking(operation: str, denied: int, flags: int) -> Make:
    """Return the making of a step that asks for pages, and must do without some flags."""
    return lambda s, h: step(operation, s, denied=denied, requests=[MemoryRequest(PAGES, flags)])


def handing_out(s: Allocator, history: History) -> Step:
    """A busy chunk's page 1, released and flushed before, is handed out."""
    history.given_back.add((s.busy, 1))
    return step("a", s, area=AreaExtent(s.busy, 32, 8))


def draining(s: Allocator, history: History) -> Step:
    """Reclaim has drained the sidelined chunk, which waited on to_depopulate."""
    before = step("b", s, left=stand(s.side, Kind.RELEASE))
    return replace(before, places={**before.places, s.side: s.to_depopulate_slot})


def listed_again(s: Allocator, history: History, step: Step) -> Step:
    s.side.isolated = False
    return moved("side", 4)(s, history, step)


def releasing(s: Allocator, history: History) -> Step:
    """Reclaim stands before the release of pages of a chunk on to_depopulate."""
    s.nr_empty_pop_pages = 4
    gap = stand(s.side, Kind.RELEASE)
    before = step("b", s, stand=gap, standing=[gap])
    return moved("side", s.to_depopulate_slot)(s, history, before)


def isolating(s: Allocator, history: History) -> Step:
    """A free has taken a page out of the float."""
    s.nr_empty_pop_pages = 4
    return step("f", s, floats=(5,))


def filling(s: Allocator, history: History) -> Step:
    """A blocking allocation is about to populate page 3 of the busy chunk."""
    s.busy.alloc_map[24] = 1
    return step("a", s, waiting=[(AreaExtent(s.busy, 96, 8), True)])


def second_free(s: Allocator, history: History) -> Step:
    """One of two fully free chunks has been taken off the list."""
    before = step("b", s, stand=stand(s.busy, Kind.DRAIN))
    moved("busy", -1)(s, history, before)
    return replace(before, places={**before.places, s.busy: s.free_slot})


STEPS: list[tuple[str, Predicate, Make, Break, str]] = [
    ("ISO-1", isolation.released_are_hidden, releasing, moved("side", 6), "released is on list 6"),
    ("ISO-1", isolation.released_are_hidden, doing("b", Deed.RELEASED, "side"),
     put("exposed", "a chunk whose pages are being released is on list 6"), "is on list 6"),
    ("ISO-3", isolation.served_is_back, doing("a", Deed.PLACED, "busy"),
     setting("busy", isolated=True), "leaves the chunk that serves it isolated"),
    ("ISO-4", isolation.none_is_served_from_to_depopulate, doing("a", Deed.PLACED, "busy"),
     found("busy", 8), "served from a chunk on to_depopulate"),
    ("LIST-2", lists.freed_chunk_is_on_its_list, lambda s, h: step("f", s, freed=s.busy),
     moved("busy", 0), "after a free the chunk is on list 0, not 4"),
    ("LOCK-3", locks.placed_area_keeps_mutex, filling,
     lambda s, h, step: replace(step, waiting=[(step.waiting[0][0], False)]),
     "area at byte 96 awaits its pages without pcpu_alloc_mutex"),
    ("API-2", api.refusal_is_clean, lambda s, h: step("f", s, refusal=(False, True)),
     put("refusal", (True, True)), "changed the state"),
    ("API-2", api.refusal_is_clean, lambda s, h: step("f", s, refusal=(False, True)),
     put("refusal", (False, False)), "without a warning"),
    ("GFP-1", limits.callers_limits_reach_backing, asking("a", gfp.FS, gfp.NOFS),
     put("requests", [MemoryRequest(AREAS, gfp.KERNEL)]), "vm areas: asked for with KERNEL by who"),
    ("GFP-1", limits.callers_limits_reach_backing, asking("a", gfp.IO | gfp.FS, gfp.NOIO),
     put("requests", [MemoryRequest(TABLES, gfp.NOFS)]), "page tables: asked for with NOFS by who"),
    ("GFP-2", limits.work_is_limited, asking("b", gfp.IO | gfp.FS, gfp.NOIO | gfp.NORETRY),
     put("requests", [MemoryRequest(PAGES, gfp.KERNEL)]), "pages: asked for with KERNEL by who"),
    ("BAL-1", balance.work_raises_float, doing("b", Deed.POPULATED, "busy", floats=(0,)),
     setting("", nr_empty_pop_pages=1), "populated 2 pages, the float went from 0 to 1"),
    ("BAL-4", balance.success_asks_when_low,
     lambda s, h: step("a", s, area=AreaExtent(s.busy, 32, 8), floats=(1,)),
     put("asked", False), "float 1 page, below 2"),
    ("BAL-6", balance.one_free_chunk_is_spared, second_free, moved("free", -1), "leaves no fully"),
    ("POP-2", population.used_pages_are_kept, doing("b", Deed.RELEASED, "busy", 2),
     lambda s, h, step: replace(step, did=[DeedRange(Deed.RELEASED, s.busy, 1, 3)]),
     "page 1 was released with allocated bit 8"),
    ("POP-2", population.used_pages_are_kept, handing_out,
     lambda s, h, step: replace(step, standing=[stand(s.busy, Kind.RELEASE)]),
     "handed out while pages 1..3 of its chunk are being released"),
    ("POP-2", population.used_pages_are_kept, handing_out,
     lambda s, h, step: (s.busy.populated.__setitem__(1, 0), step)[1], "page 1 is not populated"),
    ("RCL-1", reclaim.steps_keep_float, doing("b", Deed.RELEASED, "side", floats=(2,)),
     put("floats", (4,)), "float fell from 4 to 2"),
    ("RCL-1", reclaim.steps_keep_float, isolating, setting("", nr_empty_pop_pages=3),
     "from 5 to 3"),
    ("RCL-2", reclaim.immutable_is_spared, doing("b", Deed.RELEASED, "side"),
     setting("side", immutable=True), "pages 1..3 of an immutable chunk were released"),
    ("RCL-6", reclaim.release_is_affordable, releasing, setting("", nr_empty_pop_pages=3),
     "the float is 3 pages, below 4"),
    ("RCL-7", reclaim.drained_is_sidelined, draining, listed_again, "the float was 4 pages"),
    ("TLB-1", tlb.area_is_flushed, handing_out,
     lambda s, h, step: (h.stale.add((s.busy, 1)), step)[1], "before its old translation"),
]  # fmt: skip

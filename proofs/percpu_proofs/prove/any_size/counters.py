"""Lemmas about the counters of pages, and the list of a chunk."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.reclaim import members
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And, Implies, Not, within

ANY_COUNTS = "any counts, any number of pages, any map"


Step = Callable[[LemmaScene, Any, Any], None]
"""What is done, and claimed, with an allocator and a chunk."""


def _counted(step: Step) -> Callable[[LemmaScene], None]:
    """Return the lemma that in a step on one chunk the float and its weight change alike (FLT-1).

    So do all populated pages and the chunk's.
    """

    @functools.wraps(step)
    def scenario(s: LemmaScene) -> None:
        empties, floating = s.number("empties", None, None), s.number("float", None, None)
        isolated = bool(s.code(s.flag("isolated")))
        reserved = bool(s.code(s.flag("reserved")))
        s.assume(not (isolated and reserved))
        pages = s.size("pages")
        populated = s.bits("populated", pages)
        chunk = SimpleNamespace(
            nr_empty_pop_pages=s.code(empties),
            isolated=isolated,
            populated=s.map_of(pages, populated),
            nr_populated=s.code(s.number("populated pages", 0, None)),
            pages=pages,
            was=populated,
        )
        before = raw(chunk.nr_populated)
        moved: list[Any] = []
        allocator = s.allocator(
            Linux612,
            {
                "_chunk_move": lambda self, of, slot, front: moved.append((slot, front)),
                "chunk_relocate": lambda self, of, slot: moved.append(slot),
            },
            nr_empty_pop_pages=floating,
            nr_populated=before,
            reserved_chunk=chunk if reserved else None,
            to_depopulate_slot=9,
        )
        step(s, allocator, chunk)
        after = raw(chunk.nr_empty_pop_pages)
        float_after = raw(allocator.nr_empty_pop_pages)
        weight = 0 if isolated or reserved else empties
        weight_after = 0 if chunk.isolated or reserved else after
        total, own = raw(allocator.nr_populated), raw(chunk.nr_populated)
        s.outcome.update(empties=after, float=float_after, all=total, populated=own)
        s.outcome.update(isolated=chunk.isolated, moved=tuple(moved))
        s.claim("the float follows the chunk", float_after - floating == weight_after - weight)
        s.claim("all populated pages follow the chunk's", total == own)

    return scenario


@lemma("count-update", "FLT-1", "Slots.update_empty_pages", ANY_COUNTS)
@_counted
def updating(s: LemmaScene, allocator: Any, chunk: Any) -> None:
    """Empty pages, added or taken off, move the float as the chunk's weight in it."""
    nr = s.number("nr", None, None)
    was = raw(chunk.nr_empty_pop_pages)
    allocator.update_empty_pages(chunk, s.code(nr))
    s.claim("the chunk counts them", raw(chunk.nr_empty_pop_pages) == was + nr)


def _range(s: LemmaScene, chunk: Any, populated: bool) -> tuple[Any, Any]:
    first, last = s.number("first page", 0, chunk.pages), s.number("last page", 1, chunk.pages + 1)
    s.assume(first < last)
    s.everywhere(first, last, chunk.was if populated else lambda i: Not(chunk.was(i)))
    return first, last


def _booked(populates: bool) -> Callable[[LemmaScene], None]:
    """Return the lemma that pages entered as populated, or as released, are counted."""

    @_counted
    def scenario(s: LemmaScene, allocator: Any, chunk: Any) -> None:
        first, last = _range(s, chunk, not populates)
        p = s.number("page", 0, chunk.pages)
        was, pages = raw(chunk.nr_empty_pop_pages), raw(chunk.nr_populated)
        book = allocator.chunk_populated if populates else allocator.chunk_depopulated
        book(chunk, s.code(first), s.code(last))
        has = members(chunk.populated)
        s.outcome.update(has=has(p))
        inside = within(first, p, last)
        nr = last - first if populates else first - last
        s.claim("the range is entered", has(p) if populates else Not(has(p)), given=inside)
        same = And(Implies(has(p), chunk.was(p)), Implies(chunk.was(p), has(p)))
        s.claim("other pages stay", same, given=Not(inside))
        s.claim("the chunk's empty pages follow", raw(chunk.nr_empty_pop_pages) == was + nr)
        s.claim("the chunk's populated pages follow", raw(chunk.nr_populated) == pages + nr)

    return scenario


lemma(
    "count-populated", "POP-1", "Chunks.chunk_populated", ANY_COUNTS,
    "pages entered as populated are counted by chunk and float",
)(_booked(True))  # fmt: skip
lemma(
    "count-depopulated", "POP-1", "Chunks.chunk_depopulated", ANY_COUNTS,
    "pages entered as released are taken off by chunk and float",
)(_booked(False))  # fmt: skip


@lemma("count-isolate", "FLT-1", "Slots.isolate_chunk", ANY_COUNTS)
@_counted
def isolating(s: LemmaScene, allocator: Any, chunk: Any) -> None:
    """Isolation takes a chunk out of the float, once."""
    s.assume(allocator.reserved_chunk is None)
    allocator.isolate_chunk(chunk)
    s.claim("it is isolated", chunk.isolated)


@lemma("count-reintegrate", "FLT-1", "Slots.reintegrate_chunk", ANY_COUNTS)
@_counted
def reintegrating(s: LemmaScene, allocator: Any, chunk: Any) -> None:
    """Reintegration brings a chunk back into the float, once."""
    allocator.reintegrate_chunk(chunk)
    s.claim("it is not isolated", not chunk.isolated)


@lemma("relocate-moves", "LIST-4", "Slots.chunk_relocate", ANY_COUNTS)
def relocating(s: LemmaScene) -> None:
    """Relocation moves a chunk exactly if its slot changed, to the head if that grew."""
    slot, old = s.number("slot", 0, None), s.number("old slot", -1, None)
    isolated = bool(s.code(s.flag("isolated")))
    moved: list[tuple[Any, Any]] = []
    allocator = s.allocator(
        Linux612,
        {
            "chunk_slot": lambda self, chunk: s.code(slot),
            "_chunk_move": lambda self, chunk, to, front: moved.append((raw(to), raw(front))),
        },
    )
    allocator.chunk_relocate(SimpleNamespace(isolated=isolated), s.code(old))
    s.outcome.update(moved=tuple(moved))
    s.claim("an isolated chunk stays", not moved, given=isolated)
    s.claim("a chunk whose slot changed moves", bool(moved), given=And(not isolated, slot != old))
    s.claim("another stays", not moved, given=slot == old)
    for to, front in moved:
        ends = And(Implies(front, old < slot), Implies(old < slot, front))
        s.claim("it moves to its slot, to the head if that is higher", And(to == slot, ends))

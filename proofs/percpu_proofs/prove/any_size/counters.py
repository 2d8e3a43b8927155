"""Lemmas about the counters of pages, and the list that goes with them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.code import changes, names_of, raw
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.any_size.reclaim import members
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_reference.chunks import Chunks
from percpu_reference.slots import Slots
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And, Implies, Not, within


def _counted(s: LemmaScene, run: Callable[[Any, Any, LemmaScene], None]) -> None:
    """A step on one chunk: the float and the chunk's weight in it change alike (FLT-1)."""
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
    run(allocator, chunk, s)
    after = raw(chunk.nr_empty_pop_pages)
    float_after = raw(allocator.nr_empty_pop_pages)
    weight = 0 if isolated or reserved else empties
    weight_after = 0 if chunk.isolated or reserved else after
    s.outcome.update(empties=after, float=float_after, isolated=chunk.isolated, moved=tuple(moved))
    s.outcome.update(all=raw(allocator.nr_populated), populated=raw(chunk.nr_populated))
    s.claim("the float follows the chunk", float_after - floating == weight_after - weight)
    total, own = raw(allocator.nr_populated), raw(chunk.nr_populated)
    s.claim("all populated pages follow the chunk's", total == own)


def updating(s: LemmaScene) -> None:
    """Empty pages are added to a chunk, or taken off."""
    nr = s.number("nr", None, None)

    def run(allocator: Any, chunk: Any, s: LemmaScene) -> None:
        was = raw(chunk.nr_empty_pop_pages)
        allocator.update_empty_pages(chunk, s.code(nr))
        s.claim("the chunk counts them", raw(chunk.nr_empty_pop_pages) == was + nr)

    _counted(s, run)


def _range(s: LemmaScene, chunk: Any, populated: bool) -> tuple[Any, Any]:
    first, last = s.number("first page", 0, chunk.pages), s.number("last page", 1, chunk.pages + 1)
    s.assume(first < last)
    s.everywhere(first, last, chunk.was if populated else lambda i: Not(chunk.was(i)))
    return first, last


def _booked(populates: bool) -> Callable[[LemmaScene], None]:
    def run(allocator: Any, chunk: Any, s: LemmaScene) -> None:
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

    return lambda s: _counted(s, run)


def isolating(s: LemmaScene) -> None:
    """A chunk is isolated, once or again."""

    def run(allocator: Any, chunk: Any, s: LemmaScene) -> None:
        s.assume(allocator.reserved_chunk is None)
        allocator.isolate_chunk(chunk)
        s.claim("it is isolated", chunk.isolated)

    _counted(s, run)


def reintegrating(s: LemmaScene) -> None:
    """A chunk is reintegrated, isolated or not."""

    def run(allocator: Any, chunk: Any, s: LemmaScene) -> None:
        allocator.reintegrate_chunk(chunk)
        s.claim("it is not isolated", not chunk.isolated)

    _counted(s, run)


def relocating(s: LemmaScene) -> None:
    """A chunk is moved exactly if its computed slot changed and it is not isolated."""
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


def _step(
    id_: str,
    clause: str,
    says: str,
    scenario: Any,
    owner: type,
    function: str,
    bugs: dict[str, tuple[str, str]],
) -> Lemma:
    return Lemma(
        id_,
        clause,
        names_of(getattr(owner, function)),
        "any counts, any number of pages, any map",
        says,
        scenario,
        bugs=changes(owner, function, bugs),
    )


COUNTERS = (
    _step(
        "count-update",
        "FLT-1",
        "empty pages move the float as the chunk's weight in it",
        updating,
        Slots,
        "update_empty_pages",
        {
            "isolated chunks count": (" and not chunk.isolated", ""),
            "the reserved chunk counts": ("chunk is not self.reserved_chunk and ", ""),
            "the chunk does not count": ("    chunk.nr_empty_pop_pages += nr\n", "    pass\n"),
        },
    ),
    _step(
        "count-populated",
        "POP-1",
        "pages entered as populated are counted by chunk and float",
        _booked(True),
        Chunks,
        "chunk_populated",
        {
            "empty pages are not counted": ("self.update_empty_pages(chunk, nr)", "pass"),
            "the total is not counted": ("self.nr_populated += nr", "pass"),
            "the range is not entered": ('b"\\1" * nr', 'b"\\0" * nr'),
        },
    ),
    _step(
        "count-depopulated",
        "POP-1",
        "pages entered as released are taken off by chunk and float",
        _booked(False),
        Chunks,
        "chunk_depopulated",
        {
            "empty pages are added": (
                "self.update_empty_pages(chunk, -nr)",
                "self.update_empty_pages(chunk, nr)",
            ),
            "the chunk keeps its count": ("chunk.nr_populated -= nr", "pass"),
        },
    ),
    _step(
        "count-isolate",
        "FLT-1",
        "isolation takes a chunk out of the float, once",
        isolating,
        Slots,
        "isolate_chunk",
        {
            "every time": ("if not chunk.isolated:", "if True:"),
            "the float stays": ("self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages", "pass"),
        },
    ),
    _step(
        "count-reintegrate",
        "FLT-1",
        "reintegration brings a chunk back into the float, once",
        reintegrating,
        Slots,
        "reintegrate_chunk",
        {
            "every time": ("if chunk.isolated:", "if True:"),
            "the float stays": ("self.nr_empty_pop_pages += chunk.nr_empty_pop_pages", "pass"),
        },
    ),
    _step(
        "relocate-moves",
        "LIST-4",
        "relocation moves a chunk exactly if its slot changed, to the head if that grew",
        relocating,
        Slots,
        "chunk_relocate",
        {
            "isolated chunks move": ("if chunk.isolated:", "if False:"),
            "to the head if it shrank": ("oslot < nslot", "oslot > nslot"),
            "always": ("if oslot != nslot:", "if True:"),
        },
    ),
)

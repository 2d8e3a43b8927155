"""Lemmas about pages: reclaim's scan, the counters, lists and slots."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from percpu_proofs.lemmas.code import Bug
from percpu_proofs.lemmas.lemma import Lemma
from percpu_proofs.lemmas.scene import Scene
from percpu_proofs.lemmas.terms import Bits, raw
from percpu_reference.balance import Balance
from percpu_reference.chunks import Chunks
from percpu_reference.slots import Slots
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And, Implies, Not, Or, within


def _members(pages: Any) -> Callable[[Any], Any]:
    """Return the membership of a map as it is now."""
    return pages.has if isinstance(pages, Bits) else lambda p: bool(pages[p])


def _scanning(s: Scene) -> SimpleNamespace:
    """Return one turn of reclaim's scan, taken from any state of it, nothing else running.

    pages: how many; i: the page looked at; end: the last page of the pending range, -1 for none;
    empty and populated: pages before the turn; was, now: empty populated pages before and after.
    """
    pages = s.size("pages")
    i = s.number("i", -2, pages)
    end = s.number("end", -1, pages)
    count = s.number("count", None, None)
    floating = s.number("float", None, None)
    high = s.number("HIGH", 0, None)
    start, behind = s.number("freed_start", 0, pages + 1), s.number("freed_end", 0, pages + 1)
    populated = s.bits("populated", pages)
    n = s.size("block bits")
    blocks = s.blocks("block", pages, n, ("contig_hint",))

    def empty(p: Any) -> Any:
        return blocks.hint("contig_hint", p) == n

    def was(p: Any) -> Any:
        return And(within(0, p, pages), populated(p), empty(p))

    p = s.number("page", 0, pages)
    s.point(i + 1, end)
    # the counter is the number of empty populated pages, so it is positive if there is one (POP-1)
    s.assume(count >= 0)
    s.everywhere(0, pages, lambda q: Implies(was(q), count >= 1))
    # the pending range, and what lies behind: the scan's invariant
    s.assume(Implies(end != -1, And(i < end, i >= 0)))
    s.everywhere(0, pages, lambda q: Implies(And(end != -1, i < q, q <= end), was(q)))
    s.everywhere(0, pages, lambda q: Implies(And(i < q, Or(end == -1, q > end)), Not(was(q))))
    released: list[tuple[Any, Any]] = []
    chunk = SimpleNamespace(
        nr_pages=s.code(pages),
        nr_empty_pop_pages=s.code(count),
        populated=s.map_of(pages, populated),
        md_blocks=blocks,
        nr_populated=s.code(count),
        isolated=True,
    )

    def entered(self: Any, of: Any, first: Any, last: Any) -> None:
        released.append((raw(first), raw(last)))
        self.chunk_depopulated(of, first, last)

    allocator = s.allocator(
        Linux612,
        {
            "spin_lock": lambda self: None,
            "spin_unlock": lambda self: None,
            "depopulate_chunk": lambda self, of, first, last: None,
            "enter_released": entered,
        },
        nr_empty_pop_pages=floating,
        nr_populated=0,
        reserved_chunk=None,
        geometry=SimpleNamespace(empty_high=s.code(high)),
        block_bits=n,
    )
    how, locals_ = s.turn(
        Balance,
        "depopulate_empty",
        0,
        {
            "self": allocator,
            "chunk": chunk,
            "block_bits": n,
            "freed_start": start,
            "freed_end": behind,
            "end": end,
            "i": i,
        },
    )
    now = SimpleNamespace(**{key: raw(value) for key, value in locals_.items() if key})
    left = _members(chunk.populated)

    def is_left(q: Any) -> Any:
        return And(within(0, q, pages), left(q), empty(q))

    value = raw(chunk.nr_empty_pop_pages)
    s.outcome.update(how=how, i=now.i, end=now.end, released=tuple(released), count=value)
    s.outcome.update(start=now.freed_start, behind=now.freed_end, left=left(p))
    return SimpleNamespace(
        pages=pages, i=i, end=end, p=p, was=was, is_left=is_left, how=how, now=now, count=value,
        released=released, floating=floating, high=high, start=start, behind=behind,
    )  # fmt: skip


def visiting(s: Scene) -> None:
    """Every page is looked at once, from the last down."""
    t = _scanning(s)
    if t.how == "next":
        s.claim("the next page is the one before", t.now.i == t.i - 1, given=t.i > 0)
        s.claim("the scan ends with page 0", t.now.i < 0, given=t.i == 0)


def pending(s: Scene) -> None:
    """The pending range, and what is released of it, is empty and populated."""
    t = _scanning(s)
    for first, last in t.released:
        s.claim("a range released is not empty", And(first >= 0, first < last, last <= t.pages))
        s.claim(
            "what is released is empty and populated", t.was(t.p), given=within(first, t.p, last)
        )
    if t.how == "next":
        s.claim("no range is pending at the end", t.now.end == -1, given=t.now.i < 0)
        s.claim("the pending range is ahead", t.now.i < t.now.end, given=t.now.end != -1)
        s.claim(
            "the pending range is empty and populated",
            t.is_left(t.p),
            given=And(t.now.end != -1, t.now.i < t.p, t.p <= t.now.end),
        )


def draining(s: Scene) -> None:
    """Nothing empty is left behind."""
    t = _scanning(s)
    if t.how == "next":
        s.claim(
            "nothing empty is left behind the pending range",
            Not(t.is_left(t.p)),
            given=And(t.now.i < t.p, Or(t.now.end == -1, t.p > t.now.end)),
        )
    elif t.how == "return":
        s.claim("it stops only with the float below HIGH", t.floating < t.high)
    else:
        s.claim("nothing empty is left", Not(t.is_left(t.p)))


def spanning(s: Scene) -> None:
    """The span to be flushed has every page released."""
    t = _scanning(s)
    for first, last in t.released:
        low = And(t.now.freed_start <= first, last <= t.now.freed_end)
        s.claim("the span has the range", low)
    if t.how == "next":
        s.claim(
            "the span only grows",
            And(t.now.freed_start <= t.start, t.now.freed_end >= t.behind),
        )


def _counted(s: Scene, run: Callable[[Any, Any, Scene], None]) -> None:
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


def updating(s: Scene) -> None:
    """Empty pages are added to a chunk, or taken off."""
    nr = s.number("nr", None, None)

    def run(allocator: Any, chunk: Any, s: Scene) -> None:
        was = raw(chunk.nr_empty_pop_pages)
        allocator.update_empty_pages(chunk, s.code(nr))
        s.claim("the chunk counts them", raw(chunk.nr_empty_pop_pages) == was + nr)

    _counted(s, run)


def _range(s: Scene, chunk: Any, populated: bool) -> tuple[Any, Any]:
    first, last = s.number("first page", 0, chunk.pages), s.number("last page", 1, chunk.pages + 1)
    s.assume(first < last)
    s.everywhere(first, last, chunk.was if populated else lambda i: Not(chunk.was(i)))
    return first, last


def _booked(populates: bool) -> Callable[[Scene], None]:
    def run(allocator: Any, chunk: Any, s: Scene) -> None:
        first, last = _range(s, chunk, not populates)
        p = s.number("page", 0, chunk.pages)
        was, pages = raw(chunk.nr_empty_pop_pages), raw(chunk.nr_populated)
        book = allocator.chunk_populated if populates else allocator.chunk_depopulated
        book(chunk, s.code(first), s.code(last))
        has = _members(chunk.populated)
        s.outcome.update(has=has(p))
        inside = within(first, p, last)
        nr = last - first if populates else first - last
        s.claim("the range is entered", has(p) if populates else Not(has(p)), given=inside)
        same = And(Implies(has(p), chunk.was(p)), Implies(chunk.was(p), has(p)))
        s.claim("other pages stay", same, given=Not(inside))
        s.claim("the chunk's empty pages follow", raw(chunk.nr_empty_pop_pages) == was + nr)
        s.claim("the chunk's populated pages follow", raw(chunk.nr_populated) == pages + nr)

    return lambda s: _counted(s, run)


def isolating(s: Scene) -> None:
    """A chunk is isolated, once or again."""

    def run(allocator: Any, chunk: Any, s: Scene) -> None:
        s.assume(allocator.reserved_chunk is None)
        allocator.isolate_chunk(chunk)
        s.claim("it is isolated", chunk.isolated)

    _counted(s, run)


def reintegrating(s: Scene) -> None:
    """A chunk is reintegrated, isolated or not."""

    def run(allocator: Any, chunk: Any, s: Scene) -> None:
        allocator.reintegrate_chunk(chunk)
        s.claim("it is not isolated", not chunk.isolated)

    _counted(s, run)


def _slots(s: Scene) -> tuple[Any, Any]:
    unit = s.number("unit", 4, None)
    shift = s.number("shift", 1, None)
    allocator = s.allocator(
        Linux612,
        {"setup_lists": lambda self, last: None},
        unit_size=unit,
        geometry=SimpleNamespace(slot_base_shift=s.code(shift)),
    )
    allocator.setup_slots()
    return allocator, unit


def layout(s: Scene) -> None:
    """Where the slots are, and that a size's slot is one of the active ones or the free slot."""
    size = s.number("size", 1, None)
    allocator, unit = _slots(s)
    s.assume(size <= unit)
    slot = raw(allocator.size_to_slot(s.code(size)))
    sidelined, free = raw(allocator.sidelined_slot), raw(allocator.free_slot)
    last, slots = raw(allocator.to_depopulate_slot), raw(allocator.nr_slots)
    s.outcome.update(slot=slot, sidelined=sidelined, free=free, last=last, slots=slots)
    s.claim(
        "a part of a unit has an active slot", And(slot >= 1, slot < sidelined), given=size < unit
    )
    s.claim("a whole unit has the free slot", slot == free, given=size == unit)
    s.claim("sidelined, free, to_depopulate", And(sidelined < free, free < last, last + 1 == slots))


def ascending(s: Scene) -> None:
    """A larger run has no lower slot; one of twice the size has a higher one, above the lowest."""
    small, large = s.number("small", 1, None), s.number("large", 1, None)
    allocator, unit = _slots(s)
    s.assume(And(small <= large, large <= unit))
    low = raw(allocator.size_to_slot(s.code(small)))
    high = raw(allocator.size_to_slot(s.code(large)))
    s.outcome.update(low=low, high=high)
    s.claim("slots ascend", low <= high)
    s.claim("twice the size is a slot higher", low < high, given=And(low > 1, large >= 2 * small))


def relocating(s: Scene) -> None:
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


_SCAN = ("percpu_reference.balance.Balance.depopulate_empty",)
_ANY_SCAN = "any number of pages, any map, any turn of the scan, nothing else running"
_SLOTS = "percpu_reference.slots.Slots."


def _bug(function: str, old: str, new: str, owner: type = Balance) -> Bug:
    return Bug(owner, function, old, new)


def _scan(id_: str, clause: str, says: str, scenario: Any, **seeded: Bug) -> Lemma:
    named = {name.replace("_", " "): bug for name, bug in seeded.items()}
    return Lemma(id_, clause, says, _SCAN, _ANY_SCAN, scenario, seeded=named)


_E = "depopulate_empty"
SCAN = (
    _scan(
        "reclaim-visits-once",
        "RCL-4",
        "reclaim looks at every page once, from the last down",
        visiting,
        a_page_is_skipped=_bug(
            _E, "i -= 1\n                continue", "i -= 2\n                continue"
        ),
        a_page_is_looked_at_again=_bug(
            _E,
            "            end = -1\n        i -= 1",
            "            end = -1\n            i += 1\n        i -= 1",
        ),
    ),
    _scan(
        "reclaim-pending-is-empty",
        "POP-2",
        "the range that reclaim is to release is always empty and populated",
        pending,
        used_pages_too=_bug(
            _E,
            "chunk.md_blocks[i].contig_hint == block_bits and chunk.populated[i]",
            "chunk.populated[i]",
        ),
        a_page_more=_bug(
            _E,
            "self.enter_released(chunk, i + 1, end + 1)",
            "self.enter_released(chunk, i, end + 1)",
        ),
        the_range_stays_pending=_bug(_E, "            end = -1\n        i -= 1", "        i -= 1"),
    ),
    _scan(
        "reclaim-leaves-nothing",
        "RCL-4",
        "reclaim leaves nothing empty behind, unless the float falls below HIGH",
        draining,
        page_0_is_left=_bug(_E, "i -= 1  # the range reaches page 0: release it now", "break"),
        a_page_less=_bug(
            _E,
            "self.enter_released(chunk, i + 1, end + 1)",
            "self.enter_released(chunk, i + 1, end)",
        ),
        one_is_as_good_as_none=_bug(
            _E, "if chunk.nr_empty_pop_pages == 0:", "if chunk.nr_empty_pop_pages <= 1:"
        ),
    ),
    _scan(
        "reclaim-span-covers",
        "TLB-1",
        "the span that reclaim flushes has every page that it released",
        spanning,
        the_start_stays=_bug(
            _E, "freed_start = min(freed_start, i + 1)", "freed_start = max(freed_start, i + 1)"
        ),
        the_end_is_the_last_range_s=_bug(
            _E, "freed_end = max(freed_end, end + 1)", "freed_end = end + 1"
        ),
    ),
)


def _step(
    id_: str, clause: str, says: str, function: str, scenario: Any, seeded: dict[str, Bug]
) -> Lemma:
    return Lemma(
        id_,
        clause,
        says,
        (function,),
        "any counts, any number of pages, any map",
        scenario,
        seeded=seeded,
    )


COUNTERS = (
    _step(
        "count-update",
        "FLT-1",
        "empty pages move the float as the chunk's weight in it",
        _SLOTS + "update_empty_pages",
        updating,
        {
            "isolated chunks count": _bug(
                "update_empty_pages", " and not chunk.isolated", "", Slots
            ),
            "the reserved chunk counts": _bug(
                "update_empty_pages", "chunk is not self.reserved_chunk and ", "", Slots
            ),
            "the chunk does not count": _bug(
                "update_empty_pages", "    chunk.nr_empty_pop_pages += nr\n", "    pass\n", Slots
            ),
        },
    ),
    _step(
        "count-populated",
        "POP-1",
        "pages entered as populated are counted by chunk and float",
        "percpu_reference.chunks.Chunks.chunk_populated",
        _booked(True),
        {
            "empty pages are not counted": _bug(
                "chunk_populated", "self.update_empty_pages(chunk, nr)", "pass", Chunks
            ),
            "the total is not counted": _bug(
                "chunk_populated", "self.nr_populated += nr", "pass", Chunks
            ),
            "the range is not entered": _bug(
                "chunk_populated", 'b"\\1" * nr', 'b"\\0" * nr', Chunks
            ),
        },
    ),
    _step(
        "count-depopulated",
        "POP-1",
        "pages entered as released are taken off by chunk and float",
        "percpu_reference.chunks.Chunks.chunk_depopulated",
        _booked(False),
        {
            "empty pages are added": _bug(
                "chunk_depopulated",
                "self.update_empty_pages(chunk, -nr)",
                "self.update_empty_pages(chunk, nr)",
                Chunks,
            ),
            "the chunk keeps its count": _bug(
                "chunk_depopulated", "chunk.nr_populated -= nr", "pass", Chunks
            ),
        },
    ),
    _step(
        "count-isolate",
        "FLT-1",
        "isolation takes a chunk out of the float, once",
        _SLOTS + "isolate_chunk",
        isolating,
        {
            "every time": _bug("isolate_chunk", "if not chunk.isolated:", "if True:", Slots),
            "the float stays": _bug(
                "isolate_chunk",
                "self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages",
                "pass",
                Slots,
            ),
        },
    ),
    _step(
        "count-reintegrate",
        "FLT-1",
        "reintegration brings a chunk back into the float, once",
        _SLOTS + "reintegrate_chunk",
        reintegrating,
        {
            "every time": _bug("reintegrate_chunk", "if chunk.isolated:", "if True:", Slots),
            "the float stays": _bug(
                "reintegrate_chunk",
                "self.nr_empty_pop_pages += chunk.nr_empty_pop_pages",
                "pass",
                Slots,
            ),
        },
    ),
    _step(
        "relocate-moves",
        "LIST-4",
        "relocation moves a chunk exactly if its slot changed, to the head if that grew",
        _SLOTS + "chunk_relocate",
        relocating,
        {
            "isolated chunks move": _bug(
                "chunk_relocate", "if chunk.isolated:", "if False:", Slots
            ),
            "to the head if it shrank": _bug(
                "chunk_relocate", "oslot < nslot", "oslot > nslot", Slots
            ),
            "always": _bug("chunk_relocate", "if oslot != nslot:", "if True:", Slots),
        },
    ),
)

SLOTS = (
    Lemma(
        "slot-layout",
        "SLOT-2",
        "a size's slot is an active one, or the free one for a unit; sidelined, free and to_depopulate follow",
        (_SLOTS + "setup_slots", _SLOTS + "size_to_slot"),
        "any unit size, any lowest slot",
        layout,
        seeded={
            "sidelined is the last active slot": _bug(
                "setup_slots",
                "self._size_to_slot(self.unit_size) + 1",
                "self._size_to_slot(self.unit_size)",
                Slots,
            ),
            "a unit has an active slot": _bug(
                "size_to_slot", "return self.free_slot", "return self._size_to_slot(size)", Slots
            ),
            "small sizes have slot 0": _bug("_size_to_slot", "+ 2, 1)", "+ 2, 0)", Slots),
        },
    ),
    Lemma(
        "slots-ascend",
        "SLOT-1",
        "a larger run has no lower slot, one of twice the size a higher one",
        (_SLOTS + "size_to_slot",),
        "any unit size, any two sizes",
        ascending,
        seeded={
            "turned round": _bug(
                "_size_to_slot", "max(size.bit_length()", "max(9 - size.bit_length()", Slots
            ),
            "all alike": _bug("size_to_slot", "return self._size_to_slot(size)", "return 2", Slots),
        },
    ),
)
PAGES = (*SCAN, *COUNTERS, *SLOTS)

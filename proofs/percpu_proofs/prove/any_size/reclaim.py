"""Lemmas about reclaim's scan of a chunk, turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import Bits, raw
from percpu_reference.balance import Balance
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And, Implies, Not, Or, within

ANY_TURN = "any number of pages, any map, any turn of the scan, nothing else running"


def members(pages: Any) -> Callable[[Any], Any]:
    """Return the membership of a map as it is now."""
    return pages.has if isinstance(pages, Bits) else lambda p: bool(pages[p])


def _scanning(s: LemmaScene) -> SimpleNamespace:
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
        Balance, "depopulate_empty", 0,
        self=allocator, chunk=chunk, block_bits=n, freed_start=start, freed_end=behind,
        end=end, i=i,
    )  # fmt: skip
    now = SimpleNamespace(**{key: raw(value) for key, value in locals_.items() if key})
    left = members(chunk.populated)

    def is_left(q: Any) -> Any:
        return And(within(0, q, pages), left(q), empty(q))

    value = raw(chunk.nr_empty_pop_pages)
    s.outcome.update(how=how, i=now.i, end=now.end, released=tuple(released), count=value)
    s.outcome.update(start=now.freed_start, behind=now.freed_end, left=left(p))
    return SimpleNamespace(
        pages=pages, i=i, end=end, p=p, was=was, is_left=is_left, how=how, now=now, count=value,
        released=released, floating=floating, high=high, start=start, behind=behind,
    )  # fmt: skip


@lemma("reclaim-visits-once", "RCL-4", "Balance.depopulate_empty", ANY_TURN)
def visiting(s: LemmaScene) -> None:
    """Reclaim looks at every page once, from the last down."""
    t = _scanning(s)
    if t.how == "next":
        s.claim("the next page is the one before", t.now.i == t.i - 1, given=t.i > 0)
        s.claim("the scan ends with page 0", t.now.i < 0, given=t.i == 0)


@lemma("reclaim-pending-is-empty", "POP-2", "Balance.depopulate_empty", ANY_TURN)
def pending(s: LemmaScene) -> None:
    """The range that reclaim is to release is always empty and populated."""
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


@lemma("reclaim-leaves-nothing", "RCL-4", "Balance.depopulate_empty", ANY_TURN)
def draining(s: LemmaScene) -> None:
    """Reclaim leaves nothing empty behind, unless the float falls below HIGH."""
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


@lemma("reclaim-span-covers", "TLB-1", "Balance.depopulate_empty", ANY_TURN)
def spanning(s: LemmaScene) -> None:
    """The span that reclaim flushes has every page that it released."""
    t = _scanning(s)
    for first, last in t.released:
        low = And(t.now.freed_start <= first, last <= t.now.freed_end)
        s.claim("the span has the range", low)
    if t.how == "next":
        s.claim(
            "the span only grows",
            And(t.now.freed_start <= t.start, t.now.freed_end >= t.behind),
        )

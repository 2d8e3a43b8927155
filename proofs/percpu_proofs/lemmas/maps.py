"""Lemmas about frees and allocations in a chunk's map, and about refreshing a block."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from percpu_proofs.lemmas.blocks import entering
from percpu_proofs.lemmas.code import Bug
from percpu_proofs.lemmas.invariants import (
    EXACT,
    LEFT,
    LONGEST,
    ORDER,
    PASSES_NOTHING,
    RIGHT,
    SOUND,
    WHOLE,
    Invariant,
    any_free_run,
    arbitrary_block,
)
from percpu_proofs.lemmas.lemma import Lemma
from percpu_proofs.lemmas.reached import reached
from percpu_proofs.lemmas.scene import HINTS, Scene
from percpu_proofs.lemmas.scene import Hints as Seen
from percpu_proofs.lemmas.terms import raw
from percpu_reference.chunk import Block
from percpu_reference.hints import Hints
from percpu_reference.variants.fixes import RightEdgeKept, WholeFreedRun
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import Reference
from percpu_spec.protocol.operators import And, If, Implies, Not, Or, within


class _OneBlock:
    """A chunk's blocks, of which one is looked at."""

    def __init__(self, block: Any) -> None:
        self.block = block

    def __getitem__(self, index: Any) -> Any:
        return self.block


def _in_block(s: Scene, n: Any) -> tuple[Any, Any, Any, Any]:
    """Return an area within one block: its first bit, its length, its offset there, the block's base."""
    first = s.number("first", 0, None)
    _, off = s.divided(first, n)
    bits = s.number("bits", 1, n + 1)
    s.assume(off + bits <= n)
    s.bounded(first - off + n)
    return first, bits, off, first - off


def _chunk(s: Scene, block: Any, used: Any, length: Any) -> Any:
    whole = Block.__new__(Block)
    for name in HINTS:
        setattr(whole, name, 0)
    return SimpleNamespace(
        alloc_map=s.map_of(length, used), md_blocks=_OneBlock(block), chunk_md=whole
    )


def _any_block(s: Scene) -> tuple[Any, ...]:
    """Return an arbitrary block of a chunk and an area that is taken of it, and maps."""
    n = s.size("n")
    first, bits, off, base = _in_block(s, n)
    total = base + n
    old = s.bits("used", total)

    def before(i: Any) -> Any:
        return old(base + i)

    def after(i: Any) -> Any:
        return Or(before(i), within(off, i, off + bits))

    def used(i: Any) -> Any:
        return Or(old(i), within(first, i, first + bits))

    s.point(off + bits)
    s.everywhere(off, off + bits, lambda i: Not(before(i)))
    block = arbitrary_block(s, before, n)
    return n, first, bits, off, before, after, block, _chunk(s, block, used, total)


def _overlaps(h: Any, off: Any, bits: Any) -> Any:
    return And(off < h.contig_hint_start + h.contig_hint, off + bits > h.contig_hint_start)


def taking(kept: tuple[Invariant, ...]) -> Any:
    """Return the lemma about an area that is taken of a block beside its contig_hint."""

    def scenario(s: Scene) -> None:
        n, first, bits, off, before, after, block, chunk = _any_block(s)
        h = Seen(block)
        for invariant in dict.fromkeys((SOUND, LONGEST, *kept)):
            invariant.assume(s, h, before, n)
        s.assume(Implies(h.contig_hint == 0, h.contig_hint_start == n))
        s.assume(Not(_overlaps(h, off, bits)))
        claims = [invariant.claim(s, after, n) for invariant in kept]
        called: list[str] = []
        allocator = s.allocator(
            Linux612,
            {
                "block_refresh_hint": lambda self, chunk, index: called.append("refresh"),
                "chunk_refresh_hint": lambda self, chunk, full: None,
                "update_empty_pages": lambda self, chunk, nr: called.append("count"),
            },
            **s.blocks_of(n),
        )
        allocator.block_update_hint_alloc(chunk, s.code(first), s.code(bits))
        seen = Seen(block)
        s.outcome.update({name: getattr(seen, name) for name in HINTS}, called=tuple(called))
        s.claim("nothing is scanned and no page counted", not called)
        same = And(seen.contig_hint == h.contig_hint, seen.contig_hint_start == h.contig_hint_start)
        s.claim("contig_hint stays", same)
        for claim in claims:
            claim(seen)

    return scenario


def breaking(cls: type) -> Any:
    """Return the lemma that an area taken out of contig_hint leaves right_free exact."""

    def scenario(s: Scene) -> None:
        n, first, bits, off, before, after, block, chunk = _any_block(s)
        h = Seen(block)
        for invariant in EXACT:
            invariant.assume(s, h, before, n)
        s.assume(_overlaps(h, off, bits))
        right = RIGHT.claim(s, after, n)
        allocator = s.proved(
            cls,
            {
                "chunk_refresh_hint": lambda self, chunk, full: None,
                "update_empty_pages": lambda self, chunk, nr: None,
            },
            (Hints, "block_refresh_hint"),
            lambda self, chunk, index: _scanned(s, block, after, n),
            **s.blocks_of(n),
        )
        allocator.block_update_hint_alloc(chunk, s.code(first), s.code(bits))
        right(Seen(block))

    return scenario


def _scanned(s: Scene, block: Any, used: Any, n: Any) -> None:
    """Do what is known of a block's refresh (scan-meets-the-edge).

    right_free is exact, or 0 where the promoted scan_hint ends the block.
    """
    h = Seen(block)
    at_end = And(h.scan_hint > 0, h.scan_hint_start + h.scan_hint == n)
    edge = s.number("edge", 0, n + 1)
    exact = SimpleNamespace(right_free=edge)
    RIGHT.assume(s, exact, used, n)
    block.right_free = s.code(If(at_end, 0, edge))


def freeing(s: Scene) -> None:
    """An area is freed of a block."""
    n = s.size("n")
    attributes = s.blocks_of(n)
    first, bits, off, base = _in_block(s, n)
    total = base + n
    old = s.bits("used", total)

    def before(i: Any) -> Any:
        return old(base + i)

    def after(i: Any) -> Any:
        return And(before(i), Not(within(off, i, off + bits)))

    s.point(off - 1, off + bits, base + off - 1, base + off + bits)
    s.everywhere(off, off + bits, before)
    block = arbitrary_block(s, before, n)
    h = Seen(block)
    for invariant in (SOUND, WHOLE):
        invariant.assume(s, h, before, n)
    some = s.number("some bit", 0, n)
    s.assume(Implies(h.contig_hint == 0, before(some)))
    s.everywhere(0, n, lambda i: Implies(h.contig_hint == 0, before(i)))
    p = s.number("bit of the run", 0, n)
    s.point(base + p)

    def used(i: Any) -> Any:
        return And(old(i), Not(within(first, i, first + bits)))

    entered: list[Any] = []
    counted: list[Any] = []
    told: list[Any] = []
    allocator = s.allocator(
        Linux612,
        {
            "block_update": lambda self, of, a, b: entered.append((raw(a), raw(b))),
            "update_empty_pages": lambda self, chunk, nr: counted.append(raw(nr)),
            "chunk_update_hint_free": lambda self, chunk, a, b, start, end: told.append(
                (raw(start), raw(end))
            ),
        },
        **attributes,
    )
    allocator.block_update_hint_free(_chunk(s, block, used, total), s.code(first), s.code(bits))
    s.outcome.update(entered=tuple(entered), counted=tuple(counted), told=tuple(told))
    s.claim("one run is entered", len(entered) == 1)
    start, end = entered[0]
    s.point(start, start - 1, end, end - 1, base + start - 1, base + end)
    inside = And(start >= 0, start <= off, off + bits <= end, end <= n)
    s.claim("the run has the area and lies in the block", inside)
    s.claim("the run is free", Not(after(p)), given=within(start, p, end))
    s.claim("nothing free lies before the run", after(start - 1), given=start > 0)
    s.claim("nothing free lies behind it", after(end), given=end < n)
    s.claim(
        "the chunk is told the same run",
        told == entered if isinstance(n, int) else And(told[0][0] == start, told[0][1] == end),
    )
    whole = And(start == 0, end == n)
    s.claim(
        "a page is counted exactly if it became empty",
        And(whole, counted[0] == 1) if counted else Not(whole),
    )


def _scan(s: Scene, n: Any, used: Any) -> tuple[Any, Any, Any]:
    """Return an arbitrary scan at its loop's head: where it began looking, what it found, the block."""
    block = arbitrary_block(s, used, n, ends=False)
    begin = s.number("scanned to", 0, n + 1)
    start = s.number("found free", -1, n)
    s.assume(Or(start == -1, And(start >= begin, Not(used(start)))))
    s.everywhere(begin, n, lambda i: Implies(Or(start == -1, i < start), used(i)))
    s.point(begin - 1, start - 1, n - 1)
    s.assume(Implies(start > 0, used(start - 1)))
    return block, begin, start


def _turn(s: Scene, cls: type, n: Any, used: Any, block: Any, start: Any) -> Any:
    """Take one turn of the scan of block 0."""
    chunk = SimpleNamespace(alloc_map=s.map_of(n, used))
    return s.turn(
        Hints,
        "block_refresh_hint",
        0,
        {
            "self": s.allocator(cls, None, block_bits=n),
            "chunk": chunk,
            "block": block,
            "find": chunk.alloc_map.find,
            "base": 0,
            "limit": n,
            "start": start,
        },
    )


def scanning_edge(s: Scene) -> None:
    """A turn of a block's scan: right_free is 0 until the last run is met, and exact then."""
    n = s.size("n")
    used = s.bits("used", n)
    block, begin, start = _scan(s, n, used)
    s.assume(Seen(block).right_free == 0)
    right = RIGHT.claim(s, used, n)
    how, now = _turn(s, Linux612, n, used, block, start)
    h = Seen(block)
    s.outcome.update(how=how, right_free=h.right_free)
    if how == "return":
        right(h)
    elif how == "next":
        found = raw(now["start"])
        behind = raw(now["end"])
        s.outcome.update(start=found)
        s.point(found - 1, behind, behind - 1)
        s.claim("right_free is still 0", h.right_free == 0)
        s.claim("the scan goes on", behind > start)
        s.claim("the run ends there", used(behind), given=behind < n)
        s.claim("the next run is met where it begins", used(found - 1), given=found > 0)
    else:
        s.claim("the last bit is used, or was not looked at", used(n - 1), given=begin < n)
        s.claim("right_free is 0", h.right_free == 0)


def scanning_longest(s: Scene) -> None:
    """A turn of a block's scan: no run that ends before it is longer than contig_hint."""
    n = s.size("n")
    used = s.bits("used", n)
    block, begin, start = _scan(s, n, used)
    h = Seen(block)
    s.assume(Or(begin == 0, begin == n, used(begin), used(begin - 1)))
    s.every_run(0, begin, lambda x, y: Implies(y - x > h.contig_hint, s.some(used, x, y)))
    x, y = any_free_run(s, used, n, "a run")
    s.run(x, begin)
    s.point(x, y, begin)
    how, now = _turn(s, Linux612, n, used, block, start)
    after = Seen(block)
    s.outcome.update(how=how, contig_hint=after.contig_hint)
    limit = n
    if how == "next":
        limit = raw(now["end"])
        s.point(limit, limit - 1)
    s.claim(
        "no run scanned is longer than contig_hint", y - x <= after.contig_hint, given=y <= limit
    )


def telling(cls: type, entered: bool) -> Any:
    """Return the lemma that a free inside a block tells the chunk of the run it leaves.

    entered: ask what run is entered, by the lemmas about that; else what contig_hint is then.
    """

    def scenario(s: Scene) -> None:
        n = s.size("n", 2)
        count = s.number("blocks", 1, None)
        index = s.number("block", 0, count)
        base, total = index * n, count * n
        s.bounded(total)
        s.assume(And(base >= 0, base + n <= total))
        used = s.bits("used", total)
        start, end = s.number("start", 0, n), s.number("end", 1, n + 1)
        s.assume(And(start < end, end - start < n))
        s.everywhere(base + start, base + end, lambda i: Not(used(i)))
        s.point(base + start - 1, base + end)
        s.assume(Or(base + start == 0, used(base + start - 1)))
        s.assume(Or(base + end == total, used(base + end)))
        whole = arbitrary_block(s, used, total)
        h = Seen(whole)
        SOUND.assume(s, h, used, total)
        blocks = s.blocks("block", count, n, ("left_free", "right_free"))
        for edge, name, beside in ((start == 0, "right_free", -1), (end == n, "left_free", 1)):
            if not isinstance(n, int) or within(0, index + beside, count):
                s.assume(Implies(edge, blocks.hint(name, index + beside) == 0))
        chunk = SimpleNamespace(md_blocks=blocks, chunk_md=whole)
        told: list[Any] = []
        stubs = {"block_update": lambda self, of, a, b: told.append((raw(a), raw(b)))}
        allocator = s.allocator(cls, stubs if entered else None, **s.blocks_of(n))
        allocator.chunk_update_hint_free(
            chunk, s.code(index), s.code(index), s.code(start), s.code(end)
        )
        if entered:
            s.outcome.update(told=tuple(told))
            s.claim("one run is entered", len(told) == 1)
            s.claim("it is the run", And(told[0][0] == base + start, told[0][1] == base + end))
            return
        after = Seen(whole)
        s.outcome.update({name: getattr(after, name) for name in HINTS})
        s.claim("the chunk knows a run as long", after.contig_hint >= end - start)
        s.claim("contig_hint is not shorter than before", after.contig_hint >= h.contig_hint)

    return scenario


def merging(loop: int) -> Any:
    """Return the lemma about one turn of the walk over the neighbours of a freed run."""

    def scenario(s: Scene) -> None:
        n = s.size("n")
        count = s.number("blocks", 1, None)
        total = count * n
        s.bounded(total)
        s.blocks_of(n)
        used = s.bits("used", total)
        index = s.number("block", 0, count)
        edge = s.number("edge", 0, n + 1)
        bound = s.number("bound", 0, total + 1)
        back = loop == 0
        blocks = s.blocks("block", count, n, ("right_free" if back else "left_free",))
        # the walk so far: the bound is the block's own end, or ends at a used bit
        own = index * n if back else index * n + n
        s.assume(Implies(edge == n, bound == own))
        beyond = bound - 1 if back else bound
        in_map = within(0, beyond, total)
        s.point(beyond)
        s.assume(Implies(And(edge != n, in_map), used(beyond)))
        other = index - 1 if back else index + 1
        exists = other >= 0 if back else other < count
        if isinstance(n, int):
            if exists:
                known = blocks.hint("right_free" if back else "left_free", other)
                s.assume(known == _edge(used, other * n, n, not back))
        else:
            length = blocks.hint("right_free" if back else "left_free", other)
            lo = own - length if back else own
            s.assume(
                Implies(
                    exists,
                    And(within(0, length, n + 1), own - n >= 0 if back else own + n <= total),
                )
            )
            s.everywhere(lo, lo + length, lambda i: Implies(exists, Not(used(i))))
            wall = lo - 1 if back else lo + length
            s.point(wall)
            s.assume(Implies(And(exists, length < n), used(wall)))
        p = s.number("bit", 0, total)
        name = "first" if back else "behind"
        number = "s_index" if back else "e_index"
        how, now = s.turn(
            WholeFreedRun,
            "chunk_update_hint_free",
            loop,
            {"block_bits": n, "blocks": blocks, number: index, "edge": edge, name: bound},
        )
        limit, at, last = (raw(now[key]) for key in (name, number, "edge"))
        s.outcome.update(how=how, limit=limit, at=at, edge=last)
        outer = limit - 1 if back else limit
        s.point(outer)
        if how == "exit":
            s.claim(
                "the run is bounded by a used bit or the chunk's end",
                used(outer),
                given=within(0, outer, total),
            )
            return
        added = within(limit, p, bound) if back else within(bound, p, limit)
        s.claim("what is added is free", Not(used(p)), given=added)
        s.claim("one block a turn", at == other)
        s.claim(
            "a full edge goes on at the block's end",
            limit == (at * n if back else at * n + n),
            given=last == n,
        )
        s.claim(
            "another edge ends at a used bit",
            used(outer),
            given=And(last != n, within(0, outer, total)),
        )

    return scenario


def _edge(used: Any, base: int, n: int, left: bool) -> int:
    bits = [bool(used(base + i)) for i in range(n)]
    if not left:
        bits.reverse()
    return bits.index(True) if True in bits else n


_HINTS = "percpu_reference.hints.Hints."
_EDGE = (
    _HINTS + "block_update_hint_alloc",
    _HINTS + "block_refresh_hint",
    "percpu_reference.variants.fixes.right_edge.RightEdgeKept.block_refresh_hint",
)
_VALID = "from any state in which all of HINT-1 to HINT-6 holds"
_ANY = "any block size, any map, any offset"


def _bug(function: str, old: str, new: str, owner: type = Hints) -> Bug:
    return Bug(owner, function, old, new)


MAPS = (
    Lemma(
        "alloc-beside-contig",
        "HINT-1",
        "an area taken beside contig_hint leaves it as it is, free and the longest run",
        (_HINTS + "block_update_hint_alloc",),
        _ANY,
        taking((SOUND, LONGEST)),
        seeded={
            "a broken scan_hint stays": _bug(
                "block_update_hint_alloc",
                "if start < s_end and s_off < start + s_block.scan_hint:",
                "if start < s_end and s_off < start:",
            ),
            "contig_hint is cut": _bug(
                "block_update_hint_alloc",
                "        if s_off < s_block.left_free:",
                "        s_block.contig_hint -= 1\n        if s_off < s_block.left_free:",
            ),
        },
    ),
    Lemma(
        "alloc-keeps-edges",
        "HINT-2",
        "an area taken beside contig_hint leaves left_free and right_free exact",
        (_HINTS + "block_update_hint_alloc",),
        _ANY,
        taking((LEFT, RIGHT)),
        seeded={
            "left edge stays": _bug("block_update_hint_alloc", "s_block.left_free = s_off", "pass"),
            "right edge stays": _bug(
                "block_update_hint_alloc", "s_block.right_free = block_bits - s_end", "pass"
            ),
        },
    ),
    Lemma(
        "free-merges",
        "HINT-1",
        "a free inside a block enters the maximal run around it, and counts a page exactly if it became empty",
        (_HINTS + "block_update_hint_free",),
        _ANY,
        freeing,
        seeded={
            "the left neighbour is not seen": _bug(
                "block_update_hint_free", "start = start - base if start else 0", "start = s_off"
            ),
            "the right neighbour is not seen": _bug(
                "block_update_hint_free",
                "end = block_bits if end < 0 else end - e_base",
                "end = e_off",
            ),
            "an empty page is not counted": _bug(
                "block_update_hint_free",
                "if not start and e_off == block_bits:",
                "if not start and e_off > block_bits:",
            ),
        },
    ),
    *(
        Lemma(
            f"free-merges-{where}",
            "HINT-6",
            f"the run that a free tells the chunk is followed to its {where} end, block by block",
            ("percpu_reference.variants.fixes.freed_run.WholeFreedRun.chunk_update_hint_free",),
            "any block size, any number of blocks, any map",
            merging(loop),
            variant="reference",
            seeded={
                "the walk ends early": _bug("chunk_update_hint_free", old, new, WholeFreedRun),
                "the edge is not added": _bug(
                    "chunk_update_hint_free", added, "pass", WholeFreedRun
                ),
            },
        )
        for loop, where, old, new, added in (
            (
                0,
                "left",
                "while edge == block_bits and s_index:",
                "while edge == block_bits and s_index > 1:",
                "first -= edge",
            ),
            (
                1,
                "right",
                "e_index + 1 < len(blocks):",
                "e_index + 2 < len(blocks):",
                "behind += edge",
            ),
        )
    ),
    Lemma(
        "scan-meets-the-edge",
        "HINT-3",
        "a block's scan leaves right_free exact, unless it begins behind a hint that ends the block",
        (_HINTS + "block_refresh_hint",),
        "any block size, any map, any turn of the scan",
        scanning_edge,
        seeded={
            "the last run is cut": _bug(
                "block_refresh_hint",
                "self.block_update(block, start - base, self.block_bits)",
                "self.block_update(block, start - base, self.block_bits - 1)",
            ),
            "a bit is skipped": _bug(
                "block_refresh_hint",
                "start = find(0, end + 1, limit)",
                "start = find(0, end + 2, limit)",
            ),
        },
    ),
    Lemma(
        "scan-finds-the-longest",
        "HINT-6",
        "a block's scan leaves no run behind it that is longer than contig_hint",
        (_HINTS + "block_refresh_hint",),
        "any block size, any map, any turn of the scan",
        scanning_longest,
        seeded={
            "longer runs are skipped": _bug(
                "block_refresh_hint",
                "if end - start >= block.contig_hint:",
                "if end - start > block.contig_hint + 1:",
            ),
            "a run is cut": _bug(
                "block_refresh_hint",
                "self.block_update(block, start - base, end - base)",
                "self.block_update(block, start - base, end - base - 1)",
            ),
        },
    ),
    Lemma(
        "alloc-right-edge",
        "HINT-3",
        "an area taken out of contig_hint leaves right_free exact",
        _EDGE,
        f"any block size, {_VALID}",
        breaking(Reference),
        variant="reference",
        seeded={
            "the hint's edge is not kept": _bug(
                "block_refresh_hint", "block.right_free = scan", "pass", RightEdgeKept
            ),
            "any promoted hint counts": _bug(
                "block_refresh_hint", "if scan and end == block.nr_bits:", "if scan:", RightEdgeKept
            ),
        },
    ),
    Lemma(
        "free-tells-the-chunk",
        "HINT-5",
        "a free that leaves a run inside a block enters that run into the chunk, as a whole",
        (
            _HINTS + "chunk_update_hint_free",
            "percpu_reference.variants.fixes.freed_run.WholeFreedRun.chunk_update_hint_free",
        ),
        "any block size, any number of blocks, any map; a run that lies in the block",
        telling(Reference, True),
        variant="reference",
        seeded={
            "the start is forgotten": _bug(
                "chunk_update_hint_free",
                "first = s_index * block_bits + start",
                "first = s_index * block_bits + start + 1",
                WholeFreedRun,
            ),
            "relative to the block": _bug(
                "chunk_update_hint_free",
                "behind = e_index * block_bits + end",
                "behind = end",
                WholeFreedRun,
            ),
        },
    ),
)

REFUTED = (
    Lemma(
        "linux-block-update-ordered",
        "HINT-4",
        "a run entered into a block leaves scan_hint behind contig_hint exactly if as long",
        (_HINTS + "block_update",),
        f"any block size, {_VALID}",
        entering(Linux612, EXACT, (ORDER,)),
        expected="refuted",
        reached=reached("HINT-4", "block_update"),
    ),
    Lemma(
        "linux-alloc-right-edge",
        "HINT-3",
        "an area taken out of contig_hint leaves right_free exact",
        _EDGE[:2],
        f"any block size, {_VALID}",
        breaking(Linux612),
        expected="refuted",
        reached=reached("HINT-3", "block_refresh_hint"),
    ),
    Lemma(
        "linux-free-tells-the-chunk",
        "HINT-5",
        "after a free inside a block the chunk's contig_hint is not shorter than the run it left",
        (_HINTS + "chunk_update_hint_free",),
        "any block size, any number of blocks, any map, any chunk hints that are free runs",
        telling(Linux612, False),
        expected="refuted",
        reached=reached("HINT-5", "chunk_update_hint_free"),
    ),
    Lemma(
        "linux-update-passes-nothing",
        "FIT-1",
        "a run entered into a block leaves no run before scan_hint that is longer than it",
        (_HINTS + "block_update",),
        f"any block size, {_VALID}",
        entering(Linux612, EXACT, (PASSES_NOTHING,)),
        expected="refuted",
    ),
)
"""What linux_6_12 breaks: no invariant of its own is re-established by these functions."""

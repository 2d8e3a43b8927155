"""Lemmas about one block: what entering, taking and freeing a run does to its hints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.invariants import (
    EXACT,
    FIRST,
    LEFT,
    LONGEST,
    ORDER,
    PASSES_NOTHING,
    RIGHT,
    SOUND,
    WHOLE,
    HintTerms,
    Invariant,
    arbitrary_block,
)
from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.chunk import Block
from percpu_reference.hints import Hints
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import Reference
from percpu_spec.protocol.operators import And, If, Implies, Not, Or, within
from percpu_spec.views import HINTS

ANY_BLOCK = "any block or chunk size, any map, any hints of which this holds"
ANY_RUNS = (
    "any block or chunk size, any map, any hints that are whole free runs and of which HINT-4 and "
    "HINT-6 hold, with no longer run before scan_hint"
)
ANY_VALID = "any block size, from any state in which all of HINT-1 to HINT-6 holds"
ANY_AREA = "any block size, any map, any offset"


def freed_run(s: LemmaScene, n: Any) -> tuple[Any, Any, Any, Any]:
    """Return an arbitrary map, it with some bits freed, and the whole run they lie in then."""
    old = s.bits("used", n)
    start, end = s.number("start", 0, n), s.number("end", 1, n + 1)
    first, behind = s.number("first freed", 0, n), s.number("freed behind", 1, n + 1)
    s.assume(And(start <= first, first < behind, behind <= end))
    s.everywhere(first, behind, old)

    def used(i: Any) -> Any:
        return And(old(i), Not(within(first, i, behind)))

    s.everywhere(start, end, lambda i: Not(used(i)))
    s.point(start - 1, end, first - 1, behind)
    s.run(start, first)
    s.run(behind, end)
    s.assume(Or(start == 0, used(start - 1)))
    s.assume(Or(end == n, used(end)))
    return old, used, start, end


def entering(
    cls: type, assumed: Sequence[Invariant], claimed: Sequence[Invariant]
) -> Callable[[LemmaScene], None]:
    """Return the lemma that a freed run, entered into a block, keeps statements."""

    def scenario(s: LemmaScene) -> None:
        n = s.size("n")
        old, used, start, end = freed_run(s, n)
        block = arbitrary_block(s, old, n)
        for invariant in assumed:
            invariant.assume(s, HintTerms(block), old, n)
        claims = [invariant.claim(s, used, n) for invariant in claimed]
        s.allocator(cls).block_update(block, s.code(start), s.code(end))
        after = HintTerms(block)
        s.outcome.update(after.by_name())
        s.point(*after.by_name().values())
        for claim in claims:
            claim(after)

    return scenario


for _name, _clause, _says, _kept in (
    ("sound", "HINT-1", "contig_hint and scan_hint free and inside", (SOUND,)),
    ("edges", "HINT-2", "left_free, right_free and first_free exact", (LEFT, RIGHT, FIRST)),
    ("longest", "HINT-6", "contig_hint the longest run", (LONGEST,)),
):  # on linux_6_12: what holds although HINT-4 does not
    lemma(
        f"block-update-{_name}", _clause, "Hints.block_update", ANY_BLOCK,
        f"a run entered into a block leaves {_says}",
    )(entering(Linux612, _kept, _kept))  # fmt: skip

_RUNS = (SOUND, ORDER, LONGEST, PASSES_NOTHING, WHOLE)
for _name, _clause, _says, _assumed, _claimed in (
    ("ordered", "HINT-4", "scan_hint behind contig_hint exactly if as long", _RUNS, ORDER),
    ("keeps-runs", "HINT-1", "contig_hint and scan_hint free and inside", (SOUND,), SOUND),
    ("keeps-longest", "HINT-6", "contig_hint the longest run", _RUNS, LONGEST),
    ("passes-nothing", "HINT-6", "no run before scan_hint longer than it", _RUNS, PASSES_NOTHING),
    ("keeps-whole", "HINT-6", "contig_hint and scan_hint whole runs", _RUNS, WHOLE),
):  # all of them together are one invariant of `reference`, assumed and re-established
    lemma(
        f"block-update-{_name}", _clause,
        "Hints.block_update OrderedScanHint.block_update UnseededScanHint.block_update", ANY_RUNS,
        f"a run entered into a block leaves {_says}, if all that these lemmas claim held before",
        variant="reference",
    )(entering(Reference, _assumed, (_claimed,)))  # fmt: skip


class OneBlock:
    """A chunk's blocks, of which one is looked at."""

    def __init__(self, block: Any) -> None:
        self.block = block

    def __getitem__(self, index: Any) -> Any:
        return self.block


def _in_block(s: LemmaScene, n: Any) -> tuple[Any, Any, Any, Any]:
    """Return an area in one block: first bit, length, offset there, and the block's base."""
    first = s.number("first", 0, None)
    _, off = s.divide(first, n)
    bits = s.number("bits", 1, n + 1)
    s.assume(off + bits <= n)
    s.bounded(first - off + n)
    return first, bits, off, first - off


def _chunk(s: LemmaScene, block: Any, used: Any, length: Any) -> Any:
    whole = Block.__new__(Block)
    for name in HINTS:
        setattr(whole, name, 0)
    return SimpleNamespace(
        alloc_map=s.map_of(length, used), md_blocks=OneBlock(block), chunk_md=whole
    )


def _any_block(s: LemmaScene) -> tuple[Any, ...]:
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


def taking(invariants: tuple[Invariant, ...]) -> Any:
    """Return the lemma about an area that is taken of a block beside its contig_hint."""

    def scenario(s: LemmaScene) -> None:
        n, first, bits, off, before, after, block, chunk = _any_block(s)
        h = HintTerms(block)
        for invariant in dict.fromkeys((SOUND, LONGEST, *invariants)):
            invariant.assume(s, h, before, n)
        s.assume(Implies(h.contig_hint == 0, h.contig_hint_start == n))
        s.assume(Not(_overlaps(h, off, bits)))
        claims = [invariant.claim(s, after, n) for invariant in invariants]
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
        seen = HintTerms(block)
        s.outcome.update(seen.by_name(), called=tuple(called))
        s.claim("nothing is scanned and no page counted", not called)
        same = And(seen.contig_hint == h.contig_hint, seen.contig_hint_start == h.contig_hint_start)
        s.claim("contig_hint stays", same)
        for claim in claims:
            claim(seen)

    return scenario


def breaking(cls: type) -> Any:
    """Return the lemma that an area taken out of contig_hint leaves right_free exact."""

    def scenario(s: LemmaScene) -> None:
        n, first, bits, off, before, after, block, chunk = _any_block(s)
        h = HintTerms(block)
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
        right(HintTerms(block))

    return scenario


def _scanned(s: LemmaScene, block: Any, used: Any, n: Any) -> None:
    """Do what is known of a block's refresh (scan-meets-the-edge).

    right_free is exact, or 0 where the promoted scan_hint ends the block.
    """
    h = HintTerms(block)
    at_end = And(h.scan_hint > 0, h.scan_hint_start + h.scan_hint == n)
    edge = s.number("edge", 0, n + 1)
    exact = SimpleNamespace(right_free=edge)
    RIGHT.assume(s, exact, used, n)
    block.right_free = s.code(If(at_end, 0, edge))


@lemma("free-merges", "HINT-1", "Hints.block_update_hint_free", ANY_AREA)
def freeing(s: LemmaScene) -> None:
    """A free inside a block enters the maximal run around it, and counts a page if empty."""
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
    h = HintTerms(block)
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
    chunk_runs: list[Any] = []
    allocator = s.allocator(
        Linux612,
        {
            "block_update": lambda self, of, a, b: entered.append((raw(a), raw(b))),
            "update_empty_pages": lambda self, chunk, nr: counted.append(raw(nr)),
            "chunk_update_hint_free": lambda self, chunk, a, b, start, end: chunk_runs.append(
                (raw(start), raw(end))
            ),
        },
        **attributes,
    )
    allocator.block_update_hint_free(_chunk(s, block, used, total), s.code(first), s.code(bits))
    s.outcome.update(entered=tuple(entered), counted=tuple(counted), chunk_runs=tuple(chunk_runs))
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
        chunk_runs == entered
        if isinstance(n, int)
        else And(chunk_runs[0][0] == start, chunk_runs[0][1] == end),
    )
    whole = And(start == 0, end == n)
    s.claim(
        "a page is counted exactly if it became empty",
        And(whole, counted[0] == 1) if counted else Not(whole),
    )

lemma(
    "alloc-beside-contig", "HINT-1", "Hints.block_update_hint_alloc", ANY_AREA,
    "an area taken beside contig_hint leaves it as it is, free and the longest run",
)(taking((SOUND, LONGEST)))  # fmt: skip
lemma(
    "alloc-keeps-edges", "HINT-2", "Hints.block_update_hint_alloc", ANY_AREA,
    "an area taken beside contig_hint leaves left_free and right_free exact",
)(taking((LEFT, RIGHT)))  # fmt: skip
lemma(
    "alloc-right-edge", "HINT-3",
    "Hints.block_update_hint_alloc block_refresh_hint RightEdgeKept.block_refresh_hint",
    ANY_VALID, "an area taken out of contig_hint leaves right_free exact", variant="reference",
)(breaking(Reference))  # fmt: skip

"""Lemmas about the scan of a block, turn by turn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.blocks import OneBlock
from percpu_proofs.prove.any_size.invariants import (
    FIRST,
    PASSES_NOTHING,
    RIGHT,
    HintTerms,
    any_free_run,
    arbitrary_block,
    is_whole,
    run_is_free,
)
from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.hints import Hints
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And, If, Implies, Not, Or

ANY_TURN = "any block size, any map, any turn of the scan"


def _scan(s: LemmaScene, n: Any, used: Any) -> tuple[Any, Any, Any]:
    """Return an arbitrary scan at its loop's head: the block, where it looked from, its find."""
    block = arbitrary_block(s, used, n, ends=False)
    begin = s.number("scanned to", 0, n + 1)
    start = s.number("found free", -1, n)
    s.assume(Or(start == -1, And(start >= begin, Not(used(start)))))
    s.everywhere(begin, n, lambda i: Implies(Or(start == -1, i < start), used(i)))
    s.point(begin - 1, start - 1, n - 1)
    s.assume(Implies(start > 0, used(start - 1)))
    return block, begin, start


def _turn(s: LemmaScene, n: Any, used: Any, block: Any, start: Any) -> Any:
    """Take one turn of the scan of block 0."""
    bits = s.map_of(n, used)
    return s.turn(
        Hints, "block_refresh_hint", 0,
        self=s.allocator(Linux612, block_bits=n), chunk=SimpleNamespace(alloc_map=bits),
        block=block, find=bits.find, base=0, limit=n, start=start,
    )  # fmt: skip


@lemma(
    "scan-begins", "HINT-6", "Hints.block_refresh_hint",
    "any block size, any map, any scan_hint that is a whole run without a longer one before",
)  # fmt: skip
def beginning(s: LemmaScene) -> None:
    """A refresh begins its scan at a run, with no run before that is longer than contig_hint.

    It leaves what the turns of the scan assume.
    """
    n = s.size("n")
    used = s.bits("used", n)
    block = arbitrary_block(s, used, n)
    h = HintTerms(block)
    run_is_free(s, used, n, h.scan_hint_start, h.scan_hint)
    s.assume(is_whole(used, n, h.scan_hint_start, h.scan_hint))
    FIRST.assume(s, h, used, n)
    PASSES_NOTHING.assume(s, h, used, n)
    s.run(0, h.scan_hint_start)
    begin = If(h.scan_hint > 0, h.scan_hint_start + h.scan_hint, h.first_free)
    x, y = any_free_run(s, used, n, "a run")
    p = s.number("bit", 0, n)
    chunk = SimpleNamespace(md_blocks=OneBlock(block), alloc_map=s.map_of(n, used))
    allocator = s.allocator(Linux612, None, **s.blocks_of(n))
    now = s.entry(Hints, "block_refresh_hint", self=allocator, chunk=chunk, index=0)
    start, after = raw(now["start"]), HintTerms(block)
    s.outcome.update(start=start, contig_hint=after.contig_hint, right_free=after.right_free)
    s.point(start - 1)
    s.claim("right_free is 0", after.right_free == 0)
    s.claim("the scan begins at a free bit", Not(used(start)), given=start != -1)
    s.claim("at none before the hint's end", start >= begin, given=start != -1)
    s.claim("a run begins there", used(start - 1), given=start > 0)
    passed = And(begin <= p, Or(start == -1, p < start))
    s.claim("no free bit is passed over", used(p), given=passed)
    s.claim("no run before it is longer", y - x <= after.contig_hint, given=y <= begin)
    s.point(begin, begin - 1)
    edge = Or(begin == 0, begin == n, used(begin), used(begin - 1))
    s.claim("no run goes on over where it begins to look", edge)


@lemma("scan-meets-the-edge", "HINT-3", "Hints.block_refresh_hint", ANY_TURN)
def scanning_edge(s: LemmaScene) -> None:
    """A block's scan leaves right_free exact, unless a promoted hint ends the block.

    It is 0 until the last run is met, and exact then.
    """
    n = s.size("n")
    used = s.bits("used", n)
    block, begin, start = _scan(s, n, used)
    s.assume(HintTerms(block).right_free == 0)
    right = RIGHT.claim(s, used, n)
    how, now = _turn(s, n, used, block, start)
    h = HintTerms(block)
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


@lemma("scan-finds-the-longest", "HINT-6", "Hints.block_refresh_hint", ANY_TURN)
def scanning_longest(s: LemmaScene) -> None:
    """A block's scan leaves no run behind it that is longer than contig_hint."""
    n = s.size("n")
    used = s.bits("used", n)
    block, begin, start = _scan(s, n, used)
    h = HintTerms(block)
    s.assume(Or(begin == 0, begin == n, used(begin), used(begin - 1)))
    s.every_run(0, begin, lambda x, y: Implies(y - x > h.contig_hint, s.some(used, x, y)))
    x, y = any_free_run(s, used, n, "a run")
    s.run(x, begin)
    s.point(x, y, begin)
    how, now = _turn(s, n, used, block, start)
    after = HintTerms(block)
    s.outcome.update(how=how, contig_hint=after.contig_hint)
    limit = n
    if how == "next":
        limit = raw(now["end"])
        s.point(limit, limit - 1)
    s.claim(
        "no run scanned is longer than contig_hint", y - x <= after.contig_hint, given=y <= limit
    )

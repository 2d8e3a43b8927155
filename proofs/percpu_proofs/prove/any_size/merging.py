"""Lemmas about what a free tells the chunk: the run it left, followed over the blocks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.invariants import SOUND, HintTerms, arbitrary_block
from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.variants.fixes import WholeFreedRun
from percpu_reference.variants.reference import Reference
from percpu_spec.protocol.operators import And, Implies, Not, Or, within


def telling(cls: type, entered: bool) -> Any:
    """Return the lemma that a free inside a block tells the chunk of the run it leaves.

    entered: ask what run is entered, by the lemmas about that; else what contig_hint is then.
    """

    def scenario(s: LemmaScene) -> None:
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
        h = HintTerms(whole)
        SOUND.assume(s, h, used, total)
        blocks = s.blocks("block", count, n, ("left_free", "right_free"))
        for edge, name, beside in ((start == 0, "right_free", -1), (end == n, "left_free", 1)):
            if not isinstance(n, int) or within(0, index + beside, count):
                s.assume(Implies(edge, blocks.hint(name, index + beside) == 0))
        chunk = SimpleNamespace(md_blocks=blocks, chunk_md=whole)
        runs: list[Any] = []
        stubs = {"block_update": lambda self, of, a, b: runs.append((raw(a), raw(b)))}
        allocator = s.allocator(cls, stubs if entered else None, **s.blocks_of(n))
        allocator.chunk_update_hint_free(
            chunk, s.code(index), s.code(index), s.code(start), s.code(end)
        )
        if entered:
            s.outcome.update(runs=tuple(runs))
            s.claim("one run is entered", len(runs) == 1)
            s.claim("it is the run", And(runs[0][0] == base + start, runs[0][1] == base + end))
            return
        after = HintTerms(whole)
        s.outcome.update(after.by_name())
        s.claim("the chunk knows a run as long", after.contig_hint >= end - start)
        s.claim("contig_hint is not shorter than before", after.contig_hint >= h.contig_hint)

    return scenario


def merging(loop: int) -> Any:
    """Return the lemma about one turn of the walk over the neighbours of a freed run."""

    def scenario(s: LemmaScene) -> None:
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
        walk = {number: index, name: bound}
        how, now = s.turn(
            WholeFreedRun, "chunk_update_hint_free", loop,
            block_bits=n, blocks=blocks, edge=edge, **walk,
        )  # fmt: skip
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


for _loop, _where in enumerate(("left", "right")):
    lemma(
        f"free-merges-{_where}", "HINT-6", "WholeFreedRun.chunk_update_hint_free",
        "any block size, any number of blocks, any map",
        f"the run that a free tells the chunk is followed to its {_where} end, block by block",
        variant="reference",
    )(merging(_loop))  # fmt: skip
lemma(
    "free-tells-the-chunk", "HINT-5",
    "Hints.chunk_update_hint_free WholeFreedRun.chunk_update_hint_free",
    "any block size, any number of blocks, any map; a run that lies in the block",
    "a free that leaves a run inside a block enters that run into the chunk, as a whole",
    variant="reference",
)(telling(Reference, True))  # fmt: skip

"""Lemmas about one block: what entering, taking and freeing a run does to its hints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from percpu_proofs.prove.any_size.invariants import (
    FIRST,
    LEFT,
    LONGEST,
    ORDER,
    PASSES_NOTHING,
    RIGHT,
    SOUND,
    WHOLE,
    Invariant,
    arbitrary_block,
)
from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import HintTerms, LemmaScene
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import Reference
from percpu_spec.protocol.operators import And, Not, Or, within

ANY_BLOCK = "any block or chunk size, any map, any hints of which this holds"


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
ANY_RUNS = (
    "any block or chunk size, any map, any hints that are whole free runs and of which HINT-4 and "
    "HINT-6 hold, with no longer run before scan_hint"
)

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

"""Lemmas about one block: what entering, taking and freeing a run does to its hints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from percpu_proofs.prove.any_size.code import TextChange, changes, names_of
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
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.any_size.scene import HintTerms, LemmaScene
from percpu_reference.hints import Hints
from percpu_reference.variants.fixes import OrderedScanHint, UnseededScanHint
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import Reference
from percpu_spec.protocol.operators import And, Not, Or, within
from percpu_spec.views import HINTS

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
        s.outcome.update({name: getattr(after, name) for name in HINTS})
        s.point(*[getattr(after, name) for name in HINTS])
        for claim in claims:
            claim(after)

    return scenario


_UPDATE = names_of(Hints.block_update)


ENTERING = (
    Lemma(
        "block-update-sound",
        "HINT-1",
        _UPDATE,
        ANY_BLOCK,
        "a run entered into a block leaves contig_hint and scan_hint free and inside",
        entering(Linux612, (SOUND,), (SOUND,)),
        bugs=changes(Hints, "block_update", {
            "the start stays": (
                "block.contig_hint_start = start\n        block.contig_hint = contig\n",
                "block.contig_hint = contig\n",
            ),
            "a bit too long": ("contig = end - start", "contig = end - start + 1"),
            "scan_hint keeps its start": (
                "block.scan_hint_start = block.contig_hint_start\n",
                "pass\n",
            ),
        }),
    ),
    Lemma(
        "block-update-edges",
        "HINT-2",
        _UPDATE,
        ANY_BLOCK,
        "a run entered into a block leaves left_free, right_free and first_free exact",
        entering(Linux612, (LEFT, RIGHT, FIRST), (LEFT, RIGHT, FIRST)),
        bugs=changes(Hints, "block_update", {
            "left edge forgotten": ("if start == 0:", "if start == 1:"),
            "right edge forgotten": ("if end == block.nr_bits:", "if end > block.nr_bits:"),
            "first_free stays": ("if start < block.first_free:", "if start > block.first_free:"),
        }),
    ),
    Lemma(
        "block-update-longest",
        "HINT-6",
        _UPDATE,
        ANY_BLOCK,
        "a run entered into a block leaves contig_hint the longest run",
        entering(Linux612, (LONGEST,), (LONGEST,)),
        bugs=changes(Hints, "block_update", {
            "a longer run is passed over": ("if contig > hint:", "if contig > hint + 1:"),
            "contig_hint stays": (
                "        block.contig_hint = contig\n    elif contig == hint",
                "    elif contig == hint",
            ),
        }),
    ),
)
"""A freed run, on linux_6_12: what holds although HINT-4 does not."""

_FIXED = names_of(
    Hints.block_update, OrderedScanHint.block_update, UnseededScanHint.block_update
)
_RUNS = (SOUND, ORDER, LONGEST, PASSES_NOTHING, WHOLE)
ANY_RUNS = (
    "any block or chunk size, any map, any hints that are whole free runs and of which HINT-4 and "
    "HINT-6 hold, with no longer run before scan_hint"
)


def _inductive(
    name: str,
    clause: str,
    says: str,
    claimed: Invariant,
    seeded: dict[str, TextChange],
    assumed: Sequence[Invariant] = _RUNS,
) -> Lemma:
    return Lemma(
        f"block-update-{name}",
        clause,
        _FIXED,
        ANY_RUNS,
        f"a run entered into a block leaves {says}, if all that these lemmas claim held before",
        entering(Reference, assumed, (claimed,)),
        variant="reference",
        bugs=seeded,
    )


INDUCTIVE = (
    _inductive(
        "ordered",
        "HINT-4",
        "scan_hint behind contig_hint exactly if as long",
        ORDER,
        changes(OrderedScanHint, "block_update", {
            "a scan_hint behind stays": (
                "if hint > scan or scan_start >= start:",
                "if hint > scan:",
            ),
            "the better aligned run drops nothing": (
                "elif scan == hint and scan_start <= start:",
                "elif scan_start > start + 1 and False:",
            ),
        }),
    ),
    _inductive(
        "keeps-runs",
        "HINT-1",
        "contig_hint and scan_hint free and inside",
        SOUND,
        changes(Hints, "block_update", {
            "contig_hint begins late": (
                "start\n        block.contig_hint = contig",
                "start + 1\n        block.contig_hint = contig",
            ),
        }) | changes(OrderedScanHint, "block_update", {
            "scan_hint begins elsewhere": (
                "scan, scan_start = contig, start",
                "scan, scan_start = contig, hint_start + 1",
            ),
        }),
        (SOUND,),
    ),
    _inductive(
        "keeps-longest",
        "HINT-6",
        "contig_hint the longest run",
        LONGEST,
        changes(Hints, "block_update", {
            "a longer run is passed over": ("if contig > hint:", "if contig > hint + 1:"),
        }),
    ),
    _inductive(
        "passes-nothing",
        "HINT-6",
        "no run before scan_hint longer than it",
        PASSES_NOTHING,
        changes(UnseededScanHint, "block_update", {
            "a shorter run seeds scan_hint": ("not (scan and start <= scan_start)", "scan"),
        }),
    ),
    _inductive(
        "keeps-whole",
        "HINT-6",
        "contig_hint and scan_hint whole runs",
        WHOLE,
        changes(OrderedScanHint, "block_update", {
            "a former self stays": ("if hint > scan or scan_start >= start:", "if hint > scan:"),
        }),
    ),
)
"""All of them together are one invariant of `reference`, assumed and re-established."""

"""Lemmas that linux_6_12 refutes, each with its counterexample on the allocator."""

from __future__ import annotations

from percpu_proofs.prove.any_size.areas import breaking
from percpu_proofs.prove.any_size.blocks import entering
from percpu_proofs.prove.any_size.from_boot import area_taken, from_boot, run_entered, run_left
from percpu_proofs.prove.any_size.invariants import EXACT, ORDER, PASSES_NOTHING
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.any_size.merging import telling
from percpu_reference.variants.linux_6_12 import Linux612

_HINTS = "percpu_reference.hints.Hints."


_EDGE = (
    _HINTS + "block_update_hint_alloc",
    _HINTS + "block_refresh_hint",
    "percpu_reference.variants.fixes.right_edge.RightEdgeKept.block_refresh_hint",
)


_VALID = "from any state in which all of HINT-1 to HINT-6 holds"


_ANY = "any block size, any map, any offset"


REFUTED = (
    Lemma(
        "linux-block-update-ordered",
        "HINT-4",
        "a run entered into a block leaves scan_hint behind contig_hint exactly if as long",
        (_HINTS + "block_update",),
        f"any block size, {_VALID}",
        entering(Linux612, EXACT, (ORDER,)),
        expected="refuted",
        reached=from_boot("HINT-4", "block_update", run_entered),
    ),
    Lemma(
        "linux-alloc-right-edge",
        "HINT-3",
        "an area taken out of contig_hint leaves right_free exact",
        _EDGE[:2],
        f"any block size, {_VALID}",
        breaking(Linux612),
        expected="refuted",
        reached=from_boot("HINT-3", "block_update_hint_alloc", area_taken),
    ),
    Lemma(
        "linux-free-tells-the-chunk",
        "HINT-5",
        "after a free inside a block the chunk's contig_hint is not shorter than the run it left",
        (_HINTS + "chunk_update_hint_free",),
        "any block size, any number of blocks, any map, any chunk hints that are free runs",
        telling(Linux612, False),
        expected="refuted",
        reached=from_boot("HINT-5", "chunk_update_hint_free", run_left),
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

"""Every lemma, those that linux_6_12 refutes among them."""

from __future__ import annotations

from percpu_proofs.prove.any_size.areas import ANY_VALID, AREAS, breaking
from percpu_proofs.prove.any_size.blocks import ENTERING, INDUCTIVE, entering
from percpu_proofs.prove.any_size.code import names_of
from percpu_proofs.prove.any_size.counters import COUNTERS
from percpu_proofs.prove.any_size.from_boot import area_taken, from_boot, run_entered, run_left
from percpu_proofs.prove.any_size.invariants import EXACT, ORDER, PASSES_NOTHING
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.any_size.merging import MERGING, telling
from percpu_proofs.prove.any_size.reclaim import SCAN
from percpu_proofs.prove.any_size.scans import SCANS
from percpu_proofs.prove.any_size.slots import SLOTS
from percpu_reference.hints import Hints
from percpu_reference.variants.linux_6_12 import Linux612

BROKEN_BY_LINUX = (
    Lemma(
        "linux-block-update-ordered",
        "HINT-4",
        names_of(Hints.block_update),
        ANY_VALID,
        "a run entered into a block leaves scan_hint behind contig_hint exactly if as long",
        entering(Linux612, EXACT, (ORDER,)),
        expected="refuted",
        from_boot=from_boot("HINT-4", "block_update", run_entered),
    ),
    Lemma(
        "linux-alloc-right-edge",
        "HINT-3",
        names_of(Hints.block_update_hint_alloc, Hints.block_refresh_hint),
        ANY_VALID,
        "an area taken out of contig_hint leaves right_free exact",
        breaking(Linux612),
        expected="refuted",
        from_boot=from_boot("HINT-3", "block_update_hint_alloc", area_taken),
    ),
    Lemma(
        "linux-free-tells-the-chunk",
        "HINT-5",
        names_of(Hints.chunk_update_hint_free),
        "any block size, any number of blocks, any map, any chunk hints that are free runs",
        "after a free inside a block the chunk's contig_hint is not shorter than the run it left",
        telling(Linux612, False),
        expected="refuted",
        from_boot=from_boot("HINT-5", "chunk_update_hint_free", run_left),
    ),
    Lemma(
        "linux-update-passes-nothing",
        "FIT-1",
        names_of(Hints.block_update),
        ANY_VALID,
        "a run entered into a block leaves no run before scan_hint that is longer than it",
        entering(Linux612, EXACT, (PASSES_NOTHING,)),
        expected="refuted",
    ),
)
"""What linux_6_12 breaks: no invariant of its own is re-established by these functions."""

LEMMAS: tuple[Lemma, ...] = (
    *ENTERING,
    *INDUCTIVE,
    *AREAS,
    *SCANS,
    *MERGING,
    *BROKEN_BY_LINUX,
    *SCAN,
    *COUNTERS,
    *SLOTS,
)

"""Every unbounded claim: lemmas about functions, and the induction over the protocol."""

from __future__ import annotations

from functools import cache

from percpu_proofs.lemmas.actions import action_claims
from percpu_proofs.lemmas.areas import AREAS
from percpu_proofs.lemmas.blocks import ENTERING, INDUCTIVE
from percpu_proofs.lemmas.counters import COUNTERS
from percpu_proofs.lemmas.lemma import Lemma
from percpu_proofs.lemmas.machines import whole_claims
from percpu_proofs.lemmas.merging import MERGING
from percpu_proofs.lemmas.reclaim import SCAN
from percpu_proofs.lemmas.refuted import REFUTED
from percpu_proofs.lemmas.scans import SCANS
from percpu_proofs.lemmas.slots import SLOTS
from percpu_proofs.prove.claim import Claim

LEMMAS: tuple[Lemma, ...] = (
    *ENTERING,
    *INDUCTIVE,
    *AREAS,
    *SCANS,
    *MERGING,
    *REFUTED,
    *SCAN,
    *COUNTERS,
    *SLOTS,
)
"""The lemmas, those refuted for linux_6_12 among them."""


@cache
def claims() -> tuple[Claim, ...]:
    """Return every claim, by its own name."""
    return (*LEMMAS, *action_claims(), *whole_claims())

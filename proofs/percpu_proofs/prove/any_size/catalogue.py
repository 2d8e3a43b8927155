"""Every unbounded claim: lemmas about functions, and the induction over the protocol."""

from __future__ import annotations

from functools import cache

from percpu_proofs.prove.any_size.areas import AREAS
from percpu_proofs.prove.any_size.blocks import ENTERING, INDUCTIVE
from percpu_proofs.prove.any_size.counters import COUNTERS
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.any_size.merging import MERGING
from percpu_proofs.prove.any_size.reclaim import SCAN
from percpu_proofs.prove.any_size.refutations import REFUTED
from percpu_proofs.prove.any_size.scans import SCANS
from percpu_proofs.prove.any_size.slots import SLOTS
from percpu_proofs.prove.claim import Claim
from percpu_proofs.prove.protocol.claims import action_claims
from percpu_proofs.prove.protocol.machine_claims import whole_claims

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

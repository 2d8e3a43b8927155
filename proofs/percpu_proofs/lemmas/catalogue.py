"""Every unbounded claim: lemmas about functions, and the induction over the protocol."""

from __future__ import annotations

from functools import cache

from percpu_proofs.lemmas.actions import action_claims, whole_claims
from percpu_proofs.lemmas.blocks import ENTERING, INDUCTIVE
from percpu_proofs.lemmas.lemma import Lemma
from percpu_proofs.lemmas.maps import MAPS, REFUTED
from percpu_proofs.lemmas.pages import PAGES
from percpu_proofs.prove.claim import Claim

LEMMAS: tuple[Lemma, ...] = (*ENTERING, *INDUCTIVE, *MAPS, *REFUTED, *PAGES)
"""The lemmas, those refuted for linux_6_12 among them."""


@cache
def claims() -> tuple[Claim, ...]:
    """Return every claim, by its own name."""
    return (*LEMMAS, *action_claims(), *whole_claims())

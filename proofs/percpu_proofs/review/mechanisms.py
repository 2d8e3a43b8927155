"""The mechanisms by which a variant breaks a clause, each a finding with its own counterexample.

A variant declares a clause broken by findings, such as R1 and R2. What shows one of them breaks the
clause on the variant, and still with the fixes of the others on it; with its own fix too it does
not. Where the fix of another contains its own (L5 that of L1), that one is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from percpu_proofs.explore import alphabets
from percpu_proofs.explore.breadth import Breadth, Caught
from percpu_proofs.explore.hunt import Hunt
from percpu_proofs.explore.ladder import replayed
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.schedulers.replay import ImpossibleStepError
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.explore.sequences import Sequences
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.oplist import text_of
from percpu_reference.variants import variant_class
from percpu_reference.variants.composition import FINDINGS, findings_in, mended_by

_STEPS: Final = 20_000
"""Of a search of the schedules of one counterexample's operations."""
_LISTS: Final = 60_000
"""Steps of a search for a counterexample of one mechanism, in each plan."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One finding by which a variant breaks a clause."""

    variant: str
    clause: str
    finding: str

    @property
    def others(self) -> tuple[str, ...]:
        """The other findings of the clause whose fixes do not contain that of this one."""
        return tuple(
            name
            for name in findings_in(variant_class(self.variant).EXPECTED[self.clause])
            if name != self.finding and self.finding not in mended_by(name)
        )

    @property
    def alone(self) -> str:
        """The variant that breaks the clause by this mechanism alone, or by one it is part of."""
        return "+".join((self.variant, *self.others))

    @property
    def mended(self) -> str:
        """The same with the fix of this finding."""
        return f"{self.alone}+{self.finding}"

    def shown_by(self, token: Token) -> Token | None:
        """Return what of these operations shows it on the variant: the schedule may be another."""
        for one in _schedules(token, self.alone, self.clause):
            if _breaks(one, self.variant) and not self._breaks_mended(one):
                return replace(one, variant=self.variant)
        return None

    def _breaks_mended(self, token: Token) -> bool:
        return any(True for _ in _schedules(token, self.mended, self.clause))


def mechanisms(variant: str) -> Iterator[Mechanism]:
    """Yield those of clauses that a variant declares broken by several findings with fixes."""
    for clause, reason in variant_class(variant).EXPECTED.items():
        names = findings_in(reason)
        if len(names) > 1 and set(names) <= set(FINDINGS):
            yield from (Mechanism(variant, clause, name) for name in names)


def _breaks(token: Token, variant: str) -> bool:
    """Return whether a schedule is possible on a variant and breaks its clause there."""
    with suppress(ImpossibleStepError, KeyError):
        return any(
            token.clause == name
            for rung in replayed(replace(token, variant=variant))
            for name, _ in rung.broken
        )
    return False


def _schedules(token: Token, variant: str, clause: str) -> Iterator[Token]:
    """Yield the schedule of a token if it breaks a clause on a variant, and one that does."""
    token = replace(token, clause=clause, variant=variant)
    if _breaks(token, variant):
        yield token
    if token.schedule:
        found = search(token.scenario.start(variant), max_steps=_STEPS).findings.get(clause)
        if found is not None:
            yield replace(token, schedule=found.schedule)

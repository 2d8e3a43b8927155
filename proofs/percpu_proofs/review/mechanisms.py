"""The mechanisms by which a variant breaks a clause, each a finding with its own counterexample.

A variant declares a clause broken by findings, such as R1 and R2. What shows one of them breaks the
clause on the variant, and still with the fixes of the others on it; with its own fix too it does
not. Where the fix of another contains its own (L5 that of L1), that one is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from percpu_proofs.explore import fuzz, searches
from percpu_proofs.explore.breadth import Breadth, Hunt, ListFinding, Operations, Sequences
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.rerun import Rerun
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.explore.schedulers.fixed import ImpossibleStepError
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.explore.searches import ALONE, DRAWN, SMALL
from percpu_proofs.explore.shrink import fewer, minimise
from percpu_proofs.explore.token import Token, compact
from percpu_proofs.run.operations import text_of
from percpu_reference.variants import RELEASES, VARIANTS, base_of, variant_class
from percpu_reference.variants.composition import FINDINGS, findings_in, mended_by
from percpu_spec.counts import counted

_STEPS: Final = 20_000  # of a search of the schedules of one counterexample's operations
_ACTORS: Final = 4  # at once, at most, in a counterexample all schedules of which are tried
_FINE: Final = (searches.QUARTERS, searches.CRUMBS, searches.EDGES)


class MechanismExample(NamedTuple):
    """A counterexample of a mechanism on the variant, what is wrong, and how it was come by."""

    token: Token
    message: str
    how: str
    shortest: bool  # of all within the bound of a search


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One finding by which a variant breaks a clause."""

    variant: str
    clause: str
    finding: str

    @property
    def _others(self) -> tuple[str, ...]:
        """The other findings of the clause whose fixes do not contain that of this one."""
        return tuple(
            name
            for name in _findings(self.variant, self.clause)
            if name != self.finding and self.finding not in mended_by(name)
        )

    @property
    def others_fixed(self) -> str:
        """The variant with the fixes of the others."""
        return "+".join((self.variant, *self._others))

    @property
    def all_fixed(self) -> str:
        """The same with the fix of this finding."""
        return f"{self.others_fixed}+{self.finding}"

    def find(self, known: Sequence[tuple[Token, bool]]) -> tuple[MechanismExample | None, str]:
        """Return a counterexample, if there is one within the bound, and the bound in words.

        known: those of the clause that are known, each with whether it is the shortest.
        """
        bound = f"{len(known)} known counterexamples"
        for token, shortest in known:
            shown = self._schedule_of(token)
            if shown is not None:
                made = shown if shortest else self._small(shown)
                return self._example_of(made, "of those known", shortest=shortest), bound
        on_chunks = bool(fuzz.about_a_chunk(self.clause))
        for plan in searches.SEQUENCES if on_chunks else searches.HUNTS:
            if on_chunks and plan.alphabet.requests not in _FINE:
                continue
            plan = replace(plan, longest=plan.least)
            kind = "sequences" if on_chunks else "hunt"
            length = counted(plan.longest, "operation")
            bound += f"; {kind} {plan.name}, all lists of up to {length}"
            found = self._searched(Sequences if on_chunks else Hunt, plan)
            if found is not None:
                return self._example_of(found, f"{kind} {plan.name}", shortest=True), bound
        if on_chunks:
            bound += f"; {fuzz.LISTS:,} lists drawn of up to {fuzz.LENGTH} operations"
            drawn = self._by_draws()
            if drawn is not None:
                return self._example_of(drawn, "drawn, then made small", shortest=False), bound
        return None, bound

    def _example_of(self, token: Token, how: str, *, shortest: bool) -> MechanismExample:
        token = replace(compact(token), variant=self.variant)
        return MechanismExample(token, _breaks(token, self.variant) or "", how, shortest)

    def _schedule_of(self, token: Token) -> Token | None:
        """Return what of these operations shows it: the schedule may be another."""
        for one in _schedules(token, self.others_fixed, self.clause):
            broken = _breaks(one, self.variant) is not None
            if broken and not any(_schedules(one, self.all_fixed, self.clause)):
                return replace(one, variant=self.variant)
        return None

    def _small(self, token: Token) -> Token:
        """Return a counterexample with fewer operations, where one with its schedules shows it."""
        scenario = token.scenario
        if not token.schedule:
            return token
        small = minimise(scenario, self.others_fixed, self.clause, fewer, _STEPS)
        if small is None:
            return token
        made = Token.of(self.variant, self.clause, small.scenario, small.finding.schedule)
        shown = self._schedule_of(made)
        return token if shown is None else replace(shown, search=SMALL)

    def _searched(self, engine: type[Breadth], plan: searches.AlphabetPlan) -> Token | None:
        """Return the first of a search of the variant alone that shows it."""
        found: list[Token] = []

        def look(caught: ListFinding) -> None:
            token = token_of(caught, self.variant, plan.geometry, ALONE)
            shown = self._schedule_of(token) if caught.clause == self.clause else None
            if shown is not None:
                found.append(shown)
                raise EnoughError

        engine(self.others_fixed, plan, frozenset({self.clause}), on_broken=look).run()
        return found[0] if found else None

    def _by_draws(self) -> Token | None:
        """Return what shows it of lists that are drawn, made small."""

        def shows(operations: Operations) -> bool:
            return (
                bool(fuzz.first_breach(self.others_fixed, self.clause, operations))
                and bool(fuzz.first_breach(self.variant, self.clause, operations))
                and not fuzz.first_breach(self.all_fixed, self.clause, operations)
            )

        for operations in fuzz.drawn_lists(self.clause):
            last = fuzz.first_breach(self.others_fixed, self.clause, operations)
            if last and shows(operations[:last]):
                setup = tuple(map(text_of, fuzz.smallest_list(operations[:last], shows)))
                return Token(
                    self.variant, self.clause, KERNEL_32K, setup[:-1], setup[-1:], 1, (),
                    search=DRAWN,
                )
        return None


def token_of(caught: ListFinding, variant: str, geometry: str, search: str) -> Token:
    """Return what replays the operations by which a search broke a clause."""
    setup, actors = (tuple(map(text_of, part)) for part in (caught.setup, caught.actors))
    return Token(
        variant, caught.clause, geometry, setup, actors, 1, caught.schedule, search=search
    )


def mechanisms(variant: str) -> Iterator[Mechanism]:
    """Yield those of clauses that a variant, or what it extends, breaks by several with fixes."""
    for clause in variant_class(variant).EXPECTED:
        names = _findings(variant, clause)
        if len(names) > 1 and set(names) <= set(FINDINGS):
            yield from (Mechanism(variant, clause, name) for name in names)


def _findings(variant: str, clause: str) -> tuple[str, ...]:
    """Return the findings by which a variant is declared to break a clause.

    With those of the shipped variant that it extends: whether it mends one of them is looked for.
    """
    reasons = (variant_class(name).EXPECTED.get(clause, "") for name in with_base(variant))
    return tuple(dict.fromkeys(name for reason in reasons for name in findings_in(reason)))


def with_base(variant: str) -> tuple[str, ...]:
    """Return a variant behind the shipped one that it is compared with, if it is none itself."""
    return (variant,) if variant in VARIANTS | RELEASES else (base_of(variant), variant)


def _breaks(token: Token, variant: str) -> str | None:
    """Return what is wrong where a schedule is possible on a variant and breaks its clause."""
    with suppress(ImpossibleStepError, KeyError):
        for step in Rerun(token, variant_class(variant)).steps(lambda: None):
            if token.clause in step.broken:
                return step.broken[token.clause]
    return None


def _schedules(token: Token, variant: str, clause: str) -> Iterator[Token]:
    """Yield the schedule of a token if it breaks a clause on a variant, and one that does."""
    token = replace(token, clause=clause, variant=variant)
    if _breaks(token, variant) is not None:
        yield token
    if token.schedule and len(token.actors) <= _ACTORS:
        found = search(token.scenario.start(variant), max_steps=_STEPS).findings.get(clause)
        if found is not None:
            yield replace(token, schedule=found.schedule)


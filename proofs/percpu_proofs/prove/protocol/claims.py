"""The induction over the protocol as claims: of each action of a machine, and of whole machines.

A machine's start has its invariant, each action keeps it, and it implies the design.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import percpu_reference
from percpu_proofs import explore, refine
from percpu_proofs.prove import protocol as induction
from percpu_proofs.prove.claim import Claim, ProofAttempt, Result, State
from percpu_proofs.prove.protocol.induction import (
    SECONDS,
    InductionQuery,
    Proof,
    is_enabled_somewhere,
    prove_action,
    prove_implications,
    prove_initial,
)
from percpu_proofs.prove.protocol.races import NoRaceError, race
from percpu_proofs.refine.allocator import action_counts
from percpu_spec import protocol
from percpu_spec.protocol.clauses import (
    float_is_sum,
    float_stays_high,
    immutable_is_whole,
    population_raises_float,
    sidelined_is_drained,
    stale_is_unused,
)
from percpu_spec.protocol.design import DESIGN
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.transitions import Transition
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, REFERENCE, RFC_1_REVIEWED

Prover = Callable[[Machine, float], list[InductionQuery]]

ANY_NUMBER = "any number of chunks, pages and actors"


def _pairs(actions_of: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return each action of a table with what it stands behind."""
    return tuple((action, key) for key, names in actions_of.items() for action in names.split())


UNNEEDED = frozenset(
    _pairs({
        "the actor stands there": "miss work create area_ready area_hole destroy",
        "the area lies in the chunk": "area area_ready",
        "it ends there": "area_hole fill_next",
        "the hole is its": "fill_fail fill_fail_flushing fill_fail_isolating",
        "the chunk does not qualify for reclaim": "fill_fail free",
        "the float is not below HIGH": "release_begin",
        "the float was not below HIGH": "release_begin",
        "reclaim has flushed this chunk, or released nothing": "sideline reintegrate",
        "reclaim has flushed this chunk": "rescan",
        "the chunk has empty pages": "rescan",
        "the chunk is not fully free": "sideline rescan",
    })
)
"""Conditions of actions that no clause needs: all are proved of the action without it.

They say what the allocator does, which the refinement check asks, or follow from the invariant.
"""

NEEDED = frozenset(
    {
        ("reference", "free", "the chunk does not qualify for reclaim"),
        ("rfc_series", "free", "the chunk does not qualify for reclaim"),
        ("rfc_1", "destroy", "the actor stands there"),
        ("rfc_series", "destroy", "the actor stands there"),
        ("rfc_1_reviewed", "destroy", "the actor stands there"),
    }
)
"""Of these, what the invariant of one machine needs all the same."""

NEVER_SEEN = frozenset(
    {
        ("linux_5_12", "fill_next"),
        ("linux_5_12", "populate_next"),
        ("rfc_series", "fill_next"),
        *((variant, action)
          for variant in ("rfc_1", "rfc_series", "rfc_1_reviewed")
          for action in ("fill_fail_flushing", "populate_fail_flushing")),
    }
)  # fmt: skip
"""Actions that no concrete run here took; of these z3 alone says that they can happen."""

_PARTS = {
    "chunks": "the chunk",
    "actors": "the actor",
    "mutex": "the mutex",
    "floating": "the float",
}
_EFFECTS = {
    "chunks": "flush_end",
    "actors": "release_end sideline",
    "actors mutex": "miss work leave",
    "chunks floating": "area free free_isolating",
    "chunks actors floating": "area_hole fill_next fill_fail fill_fail_flushing "
    "fill_fail_isolating drain_end reintegrate populate_next populate_end",
    "chunks actors mutex floating": "area_ready fill_done",
}
"""Parts of the state, and the actions that must change them, or a clause breaks."""

_MORE_EFFECTS = {
    "chunks": "sideline",
    "chunks actors": "release_begin",
    "chunks floating": "release_end",
}
"""More that actions of these names must change in rfc_1_reviewed, where they do other things."""


def design_clauses(machine: Machine) -> str:
    """Return the clauses of the design that a machine is to keep, RCL-1 by its steps."""
    steps = {clause for clause, _ in machine.steps.values()} & {"RCL-1"}
    return ", ".join(sorted({*DESIGN} & machine.clauses.keys() | steps))


def without_effect(machine: Machine, action: str, part: str) -> Machine:
    """Return a machine whose action leaves a part of the state as it was."""
    original = machine.actions[action]

    @functools.wraps(original)
    def weaker(s: Any, *given: Any) -> Transition:
        when, then = original(s, *given)
        return Transition(when, lambda: then()._replace(**{part: getattr(s, part)}))

    return machine.changed(f"{machine.name}, {action} leaves {part}", {action: weaker})


def conditions(machine: Machine, action: str) -> list[str]:
    """Return the names of an action's conditions."""
    proof = Proof(machine, SECONDS)
    function = machine.actions[action]
    when, _ = function(proof.state, *proof.parameters(function))
    return list(when)


def result_of(
    prove: Prover, machine: Machine, timeout: float, belongs: Callable[[str], bool] = bool
) -> Result:
    """Return what z3's answers amount to: refuted by one that failed, open by one unknown.

    belongs: which clauses are meant.
    """
    attempt = ProofAttempt()
    queries = [query for query in prove(machine, timeout) if belongs(query.clause)]
    attempt.paths = len(queries)
    failed = [f"{query} {query.model}" for query in queries if query.state == "failed"]
    unknown = [str(query) for query in queries if query.state == "unknown"]
    if failed:
        return attempt.result("refuted", "; ".join(failed))
    if unknown or not queries:
        return attempt.result("not confirmed", "; ".join(unknown))
    slowest = max(queries, key=lambda query: query.seconds)
    return attempt.result("confirmed", f"slowest: {slowest}")


@dataclass(frozen=True)
class ActionClaim(Claim):
    """That an action keeps every clause of the invariant, or one clause more."""

    machine: Machine
    action: str
    extra: str = ""  # a clause that is no part of the machine's invariant
    engine = "induction"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on; the action fires, and races run, on the allocator."""
        return (protocol, induction, refine, explore, percpu_reference)

    def check(self, timeout: float) -> Result:
        """Prove that the action keeps each clause; turn a failure into a race."""
        result = self._prove(self.machine, timeout)
        if result.state != "refuted" or self.extra or self.variant not in ("rfc_1", "rfc_series"):
            return result
        return self._with_races(result)

    def _with_races(self, result: Result) -> Result:
        """Return the failure with a race for each clause that has one; without any, no result."""
        attempt = ProofAttempt()
        races: list[str] = []
        misses: list[str] = []
        for clause in dict.fromkeys((*DESIGN, "RCL-1", "LIST-3")):
            if f"{self.action}, {clause}" not in result.message:
                continue
            try:
                races.append(str(race(self.variant, self.action, clause)))
            except NoRaceError as wrong:
                misses.append(str(wrong))
        state: State = "refuted" if races else "not confirmed"
        seconds = result.seconds + attempt.seconds
        return Result(state, seconds, result.paths, " | ".join((*races, *misses)))

    def check_twin(self, timeout: float) -> Result:
        """Refute that the action never happens: z3 has a case, and in a concrete run it fires."""
        attempt = ProofAttempt()
        attempt.paths = 1
        times = action_counts(self.variant)[self.action]
        possible = is_enabled_somewhere(self.machine, self.action, timeout)
        seen = times > 0 or (self.variant, self.action) in NEVER_SEEN
        return attempt.result("refuted" if possible and seen else "confirmed", f"{times} times")

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove it of the action without a condition, or without a part of its effect."""
        for part, name in _PARTS.items():
            if bug == f"{name} stays":
                return self._prove(without_effect(self.machine, self.action, part), timeout)
        condition = bug.removeprefix("without «").removesuffix("»")
        return self._prove(self.machine.weakened(self.action, condition), timeout)

    def _prove(self, machine: Machine, timeout: float) -> Result:
        return result_of(
            lambda machine, seconds: prove_action(machine, self.action, seconds),
            machine,
            timeout,
            lambda clause: not self.extra or clause.split()[0] == self.extra,
        )


def _bugs(variant: str, machine: Machine, action: str) -> tuple[str, ...]:
    """Return an action without a condition that is needed, or without a part of its effect."""
    guards = [
        f"without «{name}»"
        for name in conditions(machine, action)
        if (action, name) not in UNNEEDED or (variant, action, name) in NEEDED
    ]
    effects = _pairs(_EFFECTS)
    if variant == RFC_1_REVIEWED.name:
        effects += _pairs(_MORE_EFFECTS)
    parts = [part for name, parts in effects if name == action for part in parts.split()]
    return (*guards, *(f"{_PARTS[part]} stays" for part in parts))


def _claim(
    machine: Machine, action: str, expected: State = "confirmed", extra: str = ""
) -> ActionClaim:
    variant = machine.name.split(",")[0]
    function = inspect.unwrap(machine.actions[action])
    return ActionClaim(
        "-".join(filter(None, (variant, action, extra.lower()))).replace("_", "-"),
        extra or design_clauses(machine),
        (f"{function.__module__}.{function.__name__}",),
        ANY_NUMBER,
        machine,
        action,
        extra,
        variant=variant,
        expected=expected,
        bugs=() if expected == "refuted" else _bugs(variant, machine, action),
    )


_STRICTER_LINUX = LINUX_6_12.changed(
    "linux_6_12",
    clauses={"RCL-3": sidelined_is_drained},
    steps={
        "populate_end": ("BAL-1", population_raises_float),
        "populate_next": ("BAL-1", population_raises_float),
    },
)
"""linux_6_12 held to what only reference keeps."""

NOT_INDUCTIVE = _pairs({
    "RCL-3": "sideline populate_end populate_next",
    "BAL-1": "populate_end populate_next",
})
"""Where linux_6_12 breaks a clause that reference keeps; every other clause is inductive for it."""

_STRICTER_REVIEWED = RFC_1_REVIEWED.changed(
    "rfc_1_reviewed",
    clauses={"FLT-1": float_is_sum, "RCL-2": immutable_is_whole, "TLB-1": stale_is_unused},
    steps={"release_end": ("RCL-1", float_stays_high)},
)
"""rfc_1_reviewed held to what the review's requests leave broken."""

NOT_ASKED_FOR = _pairs({
    "FLT-1": "release_begin release_end free area area_ready area_hole populate_end populate_next",
    "TLB-1": "area area_ready area_hole",
    "RCL-1": "release_end",
    "RCL-2": "release_end",
})
"""Where rfc_1_reviewed breaks them; all else in its invariant, ISO-1 and POP-2 too, is kept."""

FAILING = ("free", "release_end")
"""Actions of the posting that break a clause on the allocator too.

`relist` breaks some only from states to which the allocator was not brought.
"""


@functools.cache
def action_claims() -> tuple[ActionClaim, ...]:
    """Return the claims about actions."""
    inductive = [
        _claim(machine, action)
        for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED)
        for action in machine.actions
    ]
    broken = [
        _claim(machine, action, "refuted", clause)
        for machine, table in (
            (_STRICTER_LINUX, NOT_INDUCTIVE), (_STRICTER_REVIEWED, NOT_ASKED_FOR),
        )
        for action, clause in table
    ]
    of_posting = [
        _claim(MACHINES[variant], action, "refuted")
        for variant in ("rfc_1", "rfc_series")
        for action in FAILING
    ]
    return (*inductive, *broken, *of_posting)


@dataclass(frozen=True)
class WholeClaim(Claim):
    """A claim about a machine as a whole: its start, or what its invariant implies."""

    machine: Machine
    prove: Prover
    twin: Prover
    broken: Machine  # one that the proof must not hold of
    engine = "induction"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        return (protocol, induction)

    def check(self, timeout: float) -> Result:
        """Prove it."""
        return result_of(self.prove, self.machine, timeout)

    def check_twin(self, timeout: float) -> Result:
        """Refute what is false of the machine."""
        return result_of(self.twin, self.machine, timeout)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove it of the broken machine."""
        return result_of(self.prove, self.broken, timeout)


def _impossible(machine: Machine, seconds: float) -> list[InductionQuery]:
    """Return the proof that no state keeps the invariant: false, or the assumptions clash."""
    proof = Proof(machine, seconds)
    proof.assume()
    return [proof.ask("invariant", "no state has it", False)]


def _initial_twin(machine: Machine, seconds: float) -> list[InductionQuery]:
    nothing = machine.changed(machine.name, clauses={"NONE": lambda s: s.mutex != s.world.nobody})
    return [o for o in prove_initial(nothing, seconds) if o.clause == "NONE"]


def _without_clause(machine: Machine, clause: str) -> Machine:
    left = {name: f for name, f in machine.clauses.items() if name != clause}
    return Machine(f"{machine.name} without {clause}", machine.actions, left, machine.steps)


def _whole_claim(
    machine: Machine, what: str, prove: Prover, twin: Prover, broken: Machine
) -> WholeClaim:
    return WholeClaim(
        f"{machine.name.replace('_', '-')}-{what}",
        design_clauses(machine),
        ("percpu_spec.protocol.state.start_state", "percpu_spec.protocol.design.DESIGN"),
        ANY_NUMBER,
        machine,
        prove,
        twin,
        broken,
        variant=machine.name,
        bugs=(broken.name,),
    )


def whole_claims() -> tuple[WholeClaim, ...]:
    """Return the claims about machines as wholes."""
    claims: list[WholeClaim] = []
    for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED):
        held = machine.changed(
            "a held mutex", clauses={"HELD": lambda s: s.mutex != s.world.nobody}
        )
        weaker = _without_clause(machine, "POP-2")
        claims += [
            _whole_claim(machine, "boot", prove_initial, _initial_twin, held),
            _whole_claim(machine, "invariant-implies", prove_implications, _impossible, weaker),
        ]
    return tuple(claims)

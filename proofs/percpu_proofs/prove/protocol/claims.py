"""The induction over the protocol as claims: one for each action of a machine."""

from __future__ import annotations

import functools
import inspect
import time
from dataclasses import dataclass
from typing import Any

import percpu_reference
from percpu_proofs import explore, refine
from percpu_proofs.prove import protocol as induction
from percpu_proofs.prove.claim import Claim, Result, State
from percpu_proofs.prove.protocol.induction import (
    SECONDS,
    InductionQuery,
    Proof,
    is_enabled_somewhere,
    prove_action,
)
from percpu_proofs.prove.protocol.races import NoRaceError, race
from percpu_proofs.refine.allocator import fired
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

ANY_NUMBER = "any number of chunks, pages and actors"

UNNEEDED = frozenset(
    {
        ("miss", "the actor stands there"),
        ("work", "the actor stands there"),
        ("create", "the actor stands there"),
        ("area", "the area lies in the chunk"),
        ("area_ready", "the actor stands there"),
        ("area_ready", "the area lies in the chunk"),
        ("area_hole", "the actor stands there"),
        ("area_hole", "it ends there"),
        ("fill_next", "it ends there"),
        ("fill_fail", "the hole is its"),
        ("fill_fail", "the chunk does not qualify for reclaim"),
        ("fill_fail_flushing", "the hole is its"),
        ("fill_fail_isolating", "the hole is its"),
        ("free", "the chunk does not qualify for reclaim"),
        ("destroy", "the actor stands there"),
        ("release_begin", "the float is not below HIGH"),
        ("release_begin", "the float was not below HIGH"),
        ("sideline", "reclaim has flushed this chunk, or released nothing"),
        ("sideline", "the chunk is not fully free"),
        ("reintegrate", "reclaim has flushed this chunk, or released nothing"),
        ("rescan", "reclaim has flushed this chunk"),
        ("rescan", "the chunk has empty pages"),
        ("rescan", "the chunk is not fully free"),
    }
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
    "miss": "actors mutex",
    "work": "actors mutex",
    "leave": "actors mutex",
    "area": "chunks floating",
    "area_ready": "chunks actors mutex floating",
    "area_hole": "chunks actors floating",
    "fill_next": "chunks actors floating",
    "fill_done": "chunks actors mutex floating",
    "fill_fail": "chunks actors floating",
    "fill_fail_flushing": "chunks actors floating",
    "fill_fail_isolating": "chunks actors floating",
    "free": "chunks floating",
    "free_isolating": "chunks floating",
    "drain_end": "chunks actors floating",
    "release_end": "actors",
    "flush_end": "chunks",
    "sideline": "actors",
    "reintegrate": "chunks actors floating",
    "populate_next": "chunks actors floating",
    "populate_end": "chunks actors floating",
}
"""Parts of the state that an action must change, or a clause breaks."""

_MORE_EFFECTS = {
    "release_begin": "chunks actors",
    "release_end": "chunks floating",
    "sideline": "chunks",
}
"""Those that actions of these names must change in rfc_1_reviewed, where they do other things."""


def clauses_kept(machine: Machine) -> str:
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


def result_of(found: list[InductionQuery], seconds: float) -> Result:
    """Return what z3's answers amount to: refuted by one that failed, open by one unknown."""
    failed = [o for o in found if o.state == "failed"]
    unknown = [o for o in found if o.state == "unknown"]
    if failed:
        return Result("refuted", seconds, len(found), "; ".join(f"{o} {o.model}" for o in failed))
    if unknown or not found:
        return Result("not confirmed", seconds, len(found), "; ".join(map(str, unknown)))
    slowest = max(found, key=lambda o: o.seconds)
    return Result("confirmed", seconds, len(found), f"slowest: {slowest}")


@dataclass(frozen=True)
class ActionClaim(Claim):
    """That an action keeps every clause of the invariant, or the one clause asked in addition."""

    machine: Machine
    action: str
    asked: str = ""  # a clause that is no part of the machine's invariant
    engine = "induction"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on; the action fires, and races run, on the allocator."""
        return (protocol, induction, refine, explore, percpu_reference)

    def check(self, timeout: float) -> Result:
        """Prove that the action keeps each clause; turn a failure into a race."""
        result = self._prove(self.machine, timeout)
        if result.state != "refuted" or self.asked or self.variant not in ("rfc_1", "rfc_series"):
            return result
        return self._with_races(result)

    def _with_races(self, result: Result) -> Result:
        """Return the failure with a race for each clause that has one; without any, no result."""
        began = time.process_time()
        races: list[str] = []
        misses: list[str] = []
        for clause in dict.fromkeys((*DESIGN, "RCL-1", "LIST-3")):
            if f"{self.action}, {clause}" not in result.message:
                continue
            try:
                races.append(str(race(self.variant, self.action, clause)))
            except NoRaceError as wrong:
                misses.append(str(wrong))
        seconds = result.seconds + time.process_time() - began
        state: State = "refuted" if races else "not confirmed"
        return Result(state, seconds, result.paths, " | ".join((*races, *misses)))

    def check_twin(self, timeout: float) -> Result:
        """Refute that the action never happens: z3 has a case, and in a concrete run it fires."""
        began = time.process_time()
        times = fired(self.variant)[self.action]
        possible = is_enabled_somewhere(self.machine, self.action, timeout)
        seen = times > 0 or (self.variant, self.action) in NEVER_SEEN
        seconds = time.process_time() - began
        return Result("refuted" if possible and seen else "confirmed", seconds, 1, f"{times} times")

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove it of the action without a condition, or without a part of its effect."""
        for part, name in _PARTS.items():
            if bug == f"{name} stays":
                return self._prove(without_effect(self.machine, self.action, part), timeout)
        condition = bug.removeprefix("without «").removesuffix("»")
        return self._prove(self.machine.weakened(self.action, condition), timeout)

    def _prove(self, machine: Machine, timeout: float) -> Result:
        began = time.process_time()
        found = prove_action(machine, self.action, timeout)
        if self.asked:
            found = [o for o in found if o.clause.split()[0] == self.asked]
        return result_of(found, time.process_time() - began)


def _bugs(variant: str, machine: Machine, action: str) -> tuple[str, ...]:
    """Return an action without a condition that is needed, or without a part of its effect."""
    guards = [
        f"without «{name}»"
        for name in conditions(machine, action)
        if (action, name) not in UNNEEDED or (variant, action, name) in NEEDED
    ]
    parts = _EFFECTS.get(action, "").split()
    if variant == RFC_1_REVIEWED.name:
        parts += _MORE_EFFECTS.get(action, "").split()
    return (*guards, *(f"{_PARTS[part]} stays" for part in parts))


def _claim(
    machine: Machine, action: str, expected: State = "confirmed", asked: str = ""
) -> ActionClaim:
    variant = machine.name.split(",")[0]
    function = inspect.unwrap(machine.actions[action])
    return ActionClaim(
        "-".join((variant, action, *([asked.lower()] if asked else []))).replace("_", "-"),
        asked or clauses_kept(machine),
        (f"{function.__module__}.{function.__name__}",),
        ANY_NUMBER,
        machine,
        action,
        asked,
        variant=variant,
        expected=expected,
        bugs=() if expected == "refuted" else _bugs(variant, machine, action),
    )


_LINUX_ASKED = LINUX_6_12.changed(
    "linux_6_12",
    clauses={"RCL-3": sidelined_is_drained},
    steps={
        "populate_end": ("BAL-1", population_raises_float),
        "populate_next": ("BAL-1", population_raises_float),
    },
)
"""linux_6_12 held to what only reference keeps."""

NOT_INDUCTIVE = (
    ("sideline", "RCL-3"),
    ("populate_end", "RCL-3"),
    ("populate_next", "RCL-3"),
    ("populate_end", "BAL-1"),
    ("populate_next", "BAL-1"),
)
"""Where linux_6_12 breaks a clause that reference keeps; every other clause is inductive for it."""

_REVIEWED_ASKED = RFC_1_REVIEWED.changed(
    "rfc_1_reviewed",
    clauses={"FLT-1": float_is_sum, "RCL-2": immutable_is_whole, "TLB-1": stale_is_unused},
    steps={"release_end": ("RCL-1", float_stays_high)},
)
"""rfc_1_reviewed held to what the review's requests leave broken."""

LEFT_BROKEN = (
    *((action, "FLT-1") for action in (
        "release_begin", "release_end", "free", "area", "area_ready", "area_hole", "populate_end",
        "populate_next",
    )),
    *((action, "TLB-1") for action in ("area", "area_ready", "area_hole")),
    ("release_end", "RCL-1"),
    ("release_end", "RCL-2"),
)  # fmt: skip
"""Where rfc_1_reviewed breaks them; all else in its invariant, ISO-1 and POP-2 too, is kept."""

FAILING = ("free", "release_end")
"""Actions of the posting that break a clause on the allocator too; see also BROKEN_ALONE."""

BROKEN_ALONE = ("relist",)
"""Actions that break a clause from states to which the allocator was not brought."""


@functools.cache
def action_claims() -> tuple[ActionClaim, ...]:
    """Return the claims about actions."""
    kept = [
        _claim(machine, action)
        for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED)
        for action in machine.actions
    ]
    asked = [
        _claim(machine, action, "refuted", clause)
        for machine, broken in ((_LINUX_ASKED, NOT_INDUCTIVE), (_REVIEWED_ASKED, LEFT_BROKEN))
        for action, clause in broken
    ]
    posted = [
        _claim(MACHINES[variant], action, "refuted")
        for variant in ("rfc_1", "rfc_series")
        for action in FAILING
    ]
    return (*kept, *asked, *posted)

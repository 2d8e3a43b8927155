"""The induction as claims: action by action, what no clause needs, races from failures."""

from __future__ import annotations

from functools import cache

import pytest
from depth import deep_unless
from workloads import SMALL

from percpu_proofs.explore.judges import StepJudge
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.token import read_token
from percpu_proofs.explore.world import World
from percpu_proofs.prove.protocol.claims import (
    FAILING,
    NEEDED,
    NOT_INDUCTIVE,
    UNNEEDED,
    ActionClaim,
    action_claims,
    conditions,
    whole_claims,
)
from percpu_proofs.prove.protocol.induction import prove_action
from percpu_proofs.prove.protocol.races import NoRaceError, kinds_of_failure, race
from percpu_proofs.refine.allocator import run_randomly, with_machine
from percpu_proofs.refine.checker import StepMismatch
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, REFERENCE, RFC_1_REVIEWED

SECONDS = 600.0  # of CPU time: far more than any takes
ACTIONS = {claim.id: claim for claim in action_claims()}
WHOLE = {claim.id: claim for claim in whole_claims()}
SHOWN = (
    "linux-6-12-area",
    "linux-6-12-release-begin",
    "reference-sideline",
    "reference-rescan",
    "rfc-1-reviewed-sideline",
)
NOT_KEPT = [claim.id for claim in ACTIONS.values() if claim.expected == "refuted"]


def test_every_action_has_its_claim() -> None:
    for machine in (LINUX_6_12, REFERENCE, RFC_1_REVIEWED):
        kept = {c.action for c in ACTIONS.values() if c.machine is machine}
        assert kept == set(machine.actions)
        assert len(kept) >= 20


@pytest.mark.parametrize("name", deep_unless(lambda name: name == "reference-rescan", SHOWN))
def test_action_is_claimed_with_twin_and_bugs(name: str) -> None:
    claim = ACTIONS[name]
    assert claim.check(SECONDS).state == "confirmed"
    assert claim.check_twin(SECONDS).state == "refuted"
    assert claim.bugs
    assert {claim.check_bug(bug, SECONDS).state for bug in claim.bugs} == {"refuted"}


@pytest.mark.parametrize("claim", ACTIONS.values(), ids=list(ACTIONS))
def test_every_kept_action_has_bugs(claim: ActionClaim) -> None:
    assert bool(claim.bugs) is (claim.expected == "confirmed")


@pytest.mark.parametrize("name", deep_unless(lambda name: "reviewed" in name, NOT_KEPT))
def test_what_is_not_inductive(name: str) -> None:
    result = ACTIONS[name].check(SECONDS)
    assert result.state == "refuted", result.message


@pytest.mark.parametrize(("action", "clause"), NOT_INDUCTIVE)
def test_reference_keeps_what_linux_does_not(action: str, clause: str) -> None:
    found = [o for o in prove_action(REFERENCE, action) if o.clause.split()[0] == clause]
    assert [o.state for o in found] == ["proved"]


@cache
def not_proved(machine: str, action: str) -> set[str]:
    return {str(o) for o in prove_action(MACHINES[machine], action) if o.state != "proved"}


@pytest.mark.parametrize(
    ("action", "condition"),
    deep_unless(lambda action, _: action in ("rescan", "fill_fail_isolating"), sorted(UNNEEDED)),
)
def test_condition_that_no_clause_needs(action: str, condition: str) -> None:
    """Nowhere but where it is said: without it as much is proved of the action as with it."""
    met = 0
    for name, machine in MACHINES.items():
        if action not in machine.actions or condition not in conditions(machine, action):
            continue
        met += 1
        weak = machine.weakened(action, condition)
        less = {str(o) for o in prove_action(weak, action) if o.state != "proved"}
        needed = (machine.name, action, condition) in NEEDED
        assert bool(less - not_proved(name, action)) == needed, name
    assert met


@pytest.mark.parametrize("name", WHOLE)
def test_whole_claim(name: str) -> None:
    claim = WHOLE[name]
    assert claim.check(SECONDS).state == "confirmed"
    assert claim.check_twin(SECONDS).state == "refuted"
    assert claim.check_bug(claim.bugs[0], SECONDS).state == "refuted"


RACES = [
    ("rfc_1", "free", "LIST-1"),
    ("rfc_1", "free", "ISO-1"),
    ("rfc_1", "release_end", "RCL-1"),
    ("rfc_1", "release_end", "RCL-2"),
    ("rfc_series", "free", "LIST-1"),
    ("rfc_series", "free", "ISO-1"),
    ("rfc_series", "release_end", "RCL-1"),
]


@pytest.mark.parametrize(
    ("variant", "action", "clause"), deep_unless(lambda _v, _a, clause: clause == "RCL-2", RACES)
)
def test_failing_action_becomes_a_race(variant: str, action: str, clause: str) -> None:
    found = race(variant, action, clause)
    assert found.kind in kinds_of_failure(MACHINES[variant], action, clause)
    assert found.run[-1].action == action
    assert action in found.actions
    token = read_token(str(found.token))
    world = World(token.scenario.start(variant))
    result = Exploration("all")
    for number, actor in enumerate(token.schedule, 1):
        assert clause not in result.findings
        StepJudge(result).step(world, actor, token.schedule[:number])
    assert result.findings[clause].message == found.message


def test_no_race_where_the_allocator_cannot() -> None:
    with pytest.raises(NoRaceError, match="on the machine alone"):
        race("rfc_series", "release_end", "RCL-2")  # it never marks an immutable chunk
    with pytest.raises(NoRaceError, match="z3 has no case"):
        race("rfc_1", "area", "LIST-1")
    assert "relist" not in FAILING


def test_dropped_action_is_missed_by_the_refinement() -> None:
    fired = run_randomly(with_machine(Linux612, LINUX_6_12), SMALL, 1, 1500)
    assert len(fired) >= 20
    for action in fired:
        machine = LINUX_6_12.changed("less", without=(action,))
        with pytest.raises(StepMismatch):
            run_randomly(with_machine(Linux612, machine), SMALL, 1, 1500)

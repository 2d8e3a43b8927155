"""The explorer: ways to search that agree, counterexamples that are found, small and replayable."""

from __future__ import annotations

import inspect
import json
import random
import re
import sys
from functools import cache
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless

from percpu_contracts.registry import SEARCH
from percpu_proofs.bench import explorers
from percpu_proofs.cli import main
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.explore import modes
from percpu_proofs.explore import token as tokens
from percpu_proofs.explore.modes import Spread, Strategy, cross_check, sample, search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers import depth_first
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.shrink import minimise
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.explore.world import World
from percpu_proofs.run.inputs import InputError
from percpu_reference import VARIANTS
from percpu_reference.balance import Balance
from percpu_reference.gaps import Gap

SMALL = SCENARIOS["reclaim-free"]
PINNED = deep_unless(
    lambda s, variant: variant in ("linux_6_12", "reference") or s.verdicts[variant].states < 600,
    [(s, variant) for s in SCENARIOS.values() for variant in s.verdicts],
)


@cache
def searched(name: str, variant: str) -> Exploration:
    return search(SCENARIOS[name].start(variant), "matching", refine=True)


@pytest.mark.parametrize(("scenario", "variant"), PINNED, ids=lambda p: getattr(p, "name", p))
def test_scenarios_have_their_verdict_and_their_states(scenario: Scenario, variant: str) -> None:
    result = searched(scenario.name, variant)
    assert result.complete
    assert (result.states, set(result.findings)) == scenario.verdicts[variant]
    assert result.refined == result.steps


def gaps_of(variant: str) -> set[str]:
    """Return the names of the gaps that the code of a variant has."""
    classes = [cls for cls in VARIANTS[variant].__mro__ if cls is not object]
    modules = {sys.modules[cls.__module__] for cls in classes}
    texts = [inspect.getsource(module) for module in modules]
    names = {name for text in texts for name in re.findall(r'\bGap\(\s*"([^"]+)"', text)}
    for module in modules:
        names |= {value.name for value in vars(module).values() if isinstance(value, Gap)}
    return names


@pytest.mark.parametrize(
    "variant",
    deep_unless(
        lambda variant: variant in ("linux_6_12", "reference"),
        ["linux_5_12", "rfc_series", "linux_6_12", "reference"],
    ),
)
def test_scenarios_reach_every_gap(variant: str) -> None:
    met = {gap for s in SCENARIOS.values() for gap in searched(s.name, variant).situations}
    missing = gaps_of(variant) - met
    assert missing == UNREACHED.get(variant, set())


RECLAIM = {"reclaim: release pages", "reclaim: flush the TLB"}
UNREACHED = {"linux_5_12": RECLAIM, "rfc_series": RECLAIM}
"""Gaps of functions that a variant inherits and does not call."""


def test_every_clause_is_asked_in_some_scenario() -> None:
    """But for hints of partly used pages, which lists of operations and drawn programs reach.

    And for refusals of frees, which linux_6_12 does not make (test_wrong_frees).
    """
    asked = {c for s in SCENARIOS.values() for c in searched(s.name, "linux_6_12").witnessed}
    assert set(SEARCH.asks()) - asked == {
        "API-2", "HINT-1", "HINT-2", "HINT-3", "HINT-6", "HINT-7",
    }  # fmt: skip


def test_a_clause_without_its_situation_is_not_asked() -> None:
    result = searched("no-room", "linux_6_12")
    assert "TLB-1" not in result.witnessed and "RCL-1" not in result.witnessed
    assert result.witnessed["LIST-1"] > 0


@pytest.mark.parametrize(
    "variant",
    deep_unless(
        lambda variant: variant != "linux_5_12",
        ["linux_5_12", "rfc_series", "linux_6_12", "reference"],
    ),
)
def test_all_modes_agree(variant: str) -> None:
    compared = cross_check(SMALL.start(variant), 100_000)
    every, commuting, reduced, matched = compared.results
    assert all(r.complete for r in compared.results)
    assert compared.differences == []
    assert every.schedules == matched.schedules and every.steps == matched.covered
    assert reduced.schedules <= commuting.schedules <= every.schedules
    assert reduced.steps <= commuting.steps and matched.steps < every.steps


def test_reduction_leaves_out_most_of_what_only_swaps() -> None:
    every = search(SMALL.start("linux_6_12"), "all")
    reduced = search(SMALL.start("linux_6_12"), "dpor")
    assert (every.schedules, reduced.schedules) == (290, 99)


@pytest.mark.parametrize("name", ["reuse", "two-waiters", "no-memory", "second-free"])
def test_reduction_finds_what_matching_finds(name: str) -> None:
    matched = searched(name, "linux_6_12")
    reduced = search(SCENARIOS[name].start("linux_6_12"), "dpor")
    assert reduced.complete and reduced.schedules < matched.schedules
    assert reduced.findings.keys() == matched.findings.keys()
    assert reduced.witnessed.keys() == matched.witnessed.keys()


def test_a_reduction_that_takes_too_much_to_commute_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(depth_first, "CONFLICTS", [0] * len(depth_first.CONFLICTS))
    monkeypatch.setattr(depth_first, "commute", lambda one, other: True)
    compared = cross_check(SMALL.start("linux_6_12"), 100_000)
    assert any("dpor" in line for line in compared.differences)


def test_reduction_knows_what_every_step_touches() -> None:
    """What a step changed lies within what was said of it before."""
    start = SCENARIOS["reclaim-frees"].start("reference")
    seen = set()
    for seed in range(40):
        world, chance = World(start), random.Random(seed)
        while enabled := world.enabled():
            actor = chance.choice(enabled)
            before = depth_first.StepContext(world, actor)
            world.step(actor)
            touched = depth_first.touched(world, actor, before)
            assert touched & ~before.footprint == 0
            seen.add(touched)
    assert len(seen) > 4


def test_counterexample_is_minimal_and_replays_from_its_token() -> None:
    scenario = SCENARIOS["reclaim-frees"]
    small = minimise(scenario, "linux_6_12", "RCL-3")
    assert small is not None
    assert small.operations < len(scenario.setup) + len(scenario.actors)
    assert small.preemptions == 1 and not small.stopped
    assert [actor[0] for actor in small.scenario.actors] == ["f"]
    s = small.scenario
    token = Token.of("linux_6_12", "RCL-3", s, small.finding.schedule)
    again = read_token(str(token))
    assert again == token
    assert [name for step in of_schedule(again).steps for name, _ in step.broken] == ["RCL-3"]


def test_a_token_is_taken_from_a_mail_and_what_is_none_names_all_forms() -> None:
    token = Token("linux_6_12", "RCL-3", SMALL.geometry, SMALL.setup, SMALL.actors, 1, ())
    assert read_token(f"{token}.") == read_token(f"> {token}\n") == token
    run = CliRunner().invoke
    for word in ("R1", "> R1"):
        said = run(main, ["replay", word]).stderr
        assert all(form in said for form in ("p2....", "t2....", "NAME@FILE")), said
    for word in ("x" * 60, f"{token}z", f"t2.{'x' * 60}"):
        said = run(main, ["replay", word]).stderr
        assert f"{word[:37]}..." in said and word[:38] not in said, said


def test_a_stale_token_is_refused_with_both_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    token = str(Token("linux_6_12", "RCL-3", SMALL.geometry, SMALL.setup, SMALL.actors, 1, ()))
    then = tokens.variant_hash("linux_6_12")
    monkeypatch.setattr(tokens, "variant_hash", lambda variant: "0123456789ab")
    with pytest.raises(InputError) as error:
        read_token(token)
    assert then in str(error.value) and "0123456789ab" in str(error.value)


WHOLE = str(Token("linux_6_12", "RCL-3", SMALL.geometry, SMALL.setup, SMALL.actors, 1, (0, 1)))
DAMAGED = [
    "", "p2.", "p2.AAAA", "nonsense", WHOLE[:-1], WHOLE[:-3], f"{WHOLE}A", f"{WHOLE}AA",
    WHOLE.replace("p2", "t2"),
    *(f"{WHOLE[:at]}{'B' if WHOLE[at] == 'A' else 'A'}{WHOLE[at + 1 :]}" for at in (3, 5, 20)),
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_token_is_bad_input(text: str) -> None:
    result = CliRunner().invoke(main, ["replay", text])
    assert result.exit_code == 2
    assert "token" in result.output and "Traceback" not in result.output


def test_explore_and_replay_speak_json() -> None:
    explored = CliRunner().invoke(main, ["explore", "reclaim-frees", "--json"])
    assert explored.exit_code == 0
    found = json.loads(explored.output)
    assert found["states"] == 3054 and found["schedules"] == 2553000 and found["complete"]
    replayed = CliRunner().invoke(main, ["replay", found["violations"]["RCL-3"]["token"], "--json"])
    assert replayed.exit_code == 0
    assert json.loads(replayed.output)["broken"] == ["RCL-3"]


def test_unknown_scenario_lists_those_there_are() -> None:
    result = CliRunner().invoke(main, ["explore", "nonsense"])
    assert result.exit_code == 2 and "reclaim-frees" in result.output


def test_a_variant_is_a_balance() -> None:
    assert all(issubclass(cls, Balance) for cls in VARIANTS.values())


@pytest.mark.parametrize("strategy", ["uniform", "pct"])
def test_random_schedules_find_it_too_and_repeat_by_seed(strategy: Strategy) -> None:
    start = SCENARIOS["reclaim-frees"].start("linux_6_12")
    first = sample(start, 200, seed=7, strategy=strategy)
    again = sample(start, 200, seed=7, strategy=strategy)
    assert first.schedules == 200 and not first.complete
    assert first.findings["RCL-3"].schedule == again.findings["RCL-3"].schedule


def test_parts_of_a_search_add_up_to_it() -> None:
    whole = search(SMALL.start("linux_6_12"), "all", refine=True)
    parts = Spread(2).every_schedule(SMALL, "linux_6_12", refine=True)
    for name in ("schedules", "steps", "covered", "refined", "depth", "complete"):
        assert getattr(parts, name) == getattr(whole, name), name
    assert parts.situations == whole.situations
    assert parts.witnessed.keys() == whole.witnessed.keys()  # a state is judged once in each part
    assert parts.findings.keys() == whole.findings.keys() == {"RCL-3"}
    assert len(parts.findings["RCL-3"].schedule) == len(whole.findings["RCL-3"].schedule)


def test_parts_stop_at_their_share() -> None:
    parts = Spread(2).every_schedule(SCENARIOS["reclaim-frees"], "linux_6_12", max_steps=2000)
    assert not parts.complete and 1000 < parts.steps < 3000


def test_draws_do_not_depend_on_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "_SHARE", 40)
    options: dict[str, Any] = {"seed": 3, "strategy": "pct", "depth": 3}
    one, two = (Spread(jobs).drawn(SMALL, "linux_6_12", 100, **options) for jobs in (1, 2))
    assert one.schedules == two.schedules == 100 and not two.complete
    assert (one.steps, one.witnessed, one.findings) == (two.steps, two.witnessed, two.findings)


def test_only_what_has_parts_is_shared() -> None:
    result = CliRunner().invoke(main, ["explore", "reclaim-free", "--jobs", "2"])
    assert result.exit_code == 2 and "--mode all" in result.output


def test_rates_say_what_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorers, "STEPS", 3000)
    monkeypatch.setattr(explorers, "SHARED_STEPS", 3000)
    monkeypatch.setattr(explorers, "_frontrun", lambda variant: None)
    every, shared, matched, small = (r.as_json() for r in explorers.measure("linux_6_12"))
    assert every["steps"] == 3001 and every["schedules"] > 500
    assert "processes" in shared["way"] and shared["schedules"] > 300
    assert every["states"] == 0 and matched["states"] > 500
    assert (small["schedules"], small["steps"]) == (290, 1073)
    assert small["schedules_per_second"] > 100


EQUAL_REQUESTS = Scenario(
    "equal requests", "", ("a 1 28672 4 -",),
    ("a 2 4096 4 A", "a 3 4096 4 A", "a 4 4096 4 A", "f 1", "f 3"), works=1,
)  # fmt: skip


def test_equal_requests_are_told_apart_where_an_actor_frees_one() -> None:
    """What one of them leads to is not what the other does: one of the areas is freed by handle."""
    matched = search(EQUAL_REQUESTS.start("linux_6_12"), "matching")
    assert matched.complete
    assert matched.findings.keys() == {"RCL-3"}


@pytest.mark.deep
def test_every_schedule_of_equal_requests_breaks_as_much() -> None:
    every = search(EQUAL_REQUESTS.start("linux_6_12"), "commuting")
    assert every.complete
    assert every.findings.keys() == {"RCL-3"}

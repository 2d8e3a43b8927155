"""Each mechanism of a clause has its own counterexample, found with the fixes of the others on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from depth import deep_unless

from percpu_proofs.explore import breadth, fuzz
from percpu_proofs.explore.breadth import ListFinding, Sequences
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.rerun import broken_by
from percpu_proofs.explore.scenario import KERNEL_32K, Program
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers.fixed import ImpossibleStepError
from percpu_proofs.explore.search import EnoughError
from percpu_proofs.explore.searches import SEQUENCES
from percpu_proofs.explore.shrink import resized, shrink
from percpu_proofs.explore.token import Token, compact
from percpu_proofs.review.job import Job, run
from percpu_proofs.review.jobs import mechanism_jobs
from percpu_proofs.review.matrix import matrix
from percpu_proofs.review.mechanisms import Mechanism, mechanisms
from percpu_reference.variants import UnknownVariantError, base_of, variant_class, variant_name
from percpu_reference.variants.composition import findings_in, mended_by
from percpu_reference.variants.linux_6_12 import Linux612

CRUMBS = Token(
    "linux_7_1", "HINT-5", KERNEL_32K, ("a 1 28656 4 -", "a 2 4 4 -"), ("f 2",), 1, ()
)
WHOLE_RUN = Token(
    "linux_7_1", "HINT-5", KERNEL_32K,
    ("a 1 2048 4 -", "a 2 2048 4 -", "a 3 4096 4 -", "a 4 2048 4 -", "a 5 18432 4 -", "f 3", "f 2"),
    ("f 4",), 1, (),
)  # fmt: skip
REJOIN = Token(
    "linux_7_1", "RCL-3", KERNEL_32K, ("a 1 8192 4 -", "a 2 28672 4 -", "a 3 4096 4 -"),
    ("a 4 8192 4 -", "f 2"), 1, (1, 2, 1, 2, 2, 0, 0),
)  # fmt: skip


def shows(mechanism: Mechanism, token: Token) -> bool:
    """Say whether a counterexample is one of its mechanism, asked of a run of its own."""
    try:
        alone = broken_by(token, variant_class(mechanism.others_fixed))
    except ImpossibleStepError:
        return False
    mended = broken_by(token, variant_class(mechanism.all_fixed), lenient=True)
    return mechanism.clause in broken_by(token) & alone - mended


def test_those_that_a_variant_names_are_looked_for() -> None:
    found = [(one.clause, one.finding, one.others_fixed) for one in mechanisms("linux_7_1")]
    assert found == [
        ("HINT-5", "L1", "linux_7_1+L2+L4"),  # the fix of L5 contains that of L1
        ("HINT-5", "L2", "linux_7_1+L1+L4+L5"),
        ("HINT-5", "L4", "linux_7_1+L1+L2+L5"),
        ("HINT-5", "L5", "linux_7_1+L1+L2+L4"),
        ("RCL-3", "R1", "linux_7_1+R2"),
        ("RCL-3", "R2", "linux_7_1+R1"),
    ]
    assert not list(mechanisms("reference"))


@pytest.mark.parametrize(
    ("finding", "known", "how"),
    deep_unless(
        lambda finding, *_: finding == "L1",
        [
            ("L1", [(CRUMBS, True)], "of those known"),
            ("L2", [(CRUMBS, True)], "sequences edges"),
            ("L4", [(CRUMBS, True)], "drawn, then made small"),
            ("L5", [(CRUMBS, True)], "drawn, then made small"),
        ],
    ),
)
def test_each_of_the_hints_has_its_own(
    finding: str, known: list[tuple[Token, bool]], how: str
) -> None:
    mechanism = Mechanism("linux_7_1", "HINT-5", finding)
    found, bound = mechanism.find(known)
    assert found is not None and found.how == how and "1 known counterexamples" in bound
    assert shows(mechanism, found.token)
    assert found.message and found.shortest == (how != "drawn, then made small")
    most = {"L1": 3, "L2": 4, "L4": 9, "L5": 8}[finding]
    assert len(found.token.setup) + len(found.token.actors) <= most


def test_what_its_own_fix_does_not_mend_is_of_another() -> None:
    """The variant with what L1 leaves is broken by L5 too."""
    both = [(WHOLE_RUN, True), (CRUMBS, True)]
    found = {name: Mechanism("linux_7_1", "HINT-5", name).find(both)[0] for name in ("L1", "L5")}
    assert {name: shown and shown.token for name, shown in found.items()} == {
        "L1": CRUMBS, "L5": WHOLE_RUN
    }  # fmt: skip


def test_a_race_of_reclaim_is_of_one_mechanism() -> None:
    found, _ = Mechanism("linux_7_1", "RCL-3", "R2").find([(REJOIN, True)])
    assert found is not None and found.token == REJOIN and found.shortest
    assert shows(Mechanism("linux_7_1", "RCL-3", "R2"), found.token)
    assert not shows(Mechanism("linux_7_1", "RCL-3", "R1"), found.token)


@pytest.mark.deep
def test_what_is_known_of_a_race_is_made_small() -> None:
    scenario = SCENARIOS["reclaim-free"]
    broken = search(scenario.start("linux_7_1")).findings["RCL-3"]
    token = Token.of("linux_7_1", "RCL-3", scenario, broken.schedule)
    found, _ = Mechanism("linux_7_1", "RCL-3", "R1").find([(REJOIN, True), (token, False)])
    assert found is not None and shows(Mechanism("linux_7_1", "RCL-3", "R1"), found.token)
    assert not shows(Mechanism("linux_7_1", "RCL-3", "R2"), found.token)
    assert len(found.token.setup) + len(found.token.actors) <= 6 and not found.shortest


def test_what_has_a_schedule_is_made_small_by_its_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its schedules are tried, so another order of steps alone makes it no smaller."""
    monkeypatch.setattr("percpu_proofs.explore.shrink.TRIES", 60)
    scenario = SCENARIOS["reclaim-free"]
    token = Token.of("linux_7_1", "RCL-3", scenario, (1, 0, 0, 1, 1, 2))
    small = Mechanism("linux_7_1", "RCL-3", "R1")._small(token)
    assert len(small.setup) + len(small.actors) <= 18 and small.search == "reduction"


def test_an_operation_less_may_take_another_size() -> None:
    def shows(program: Program) -> Program | None:
        taken = sum(operation[2] for operation in program.setup if operation[0] == "a")
        frees = sum(operation[0] == "f" for operation in program.setup)
        return program if taken >= 12288 and frees and len(program.setup) >= 2 else None

    setup = (*(("a", n, 4096, 4, False, 0) for n in (1, 2, 3)), ("f", 3, 0, 0, False, 0))
    small = shrink(Program(setup), resized, shows, 200)
    assert len(small.best.setup) == 2 and not small.stopped


def test_a_mechanism_that_is_not_found_is_told_with_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzz, "LISTS", 3)
    monkeypatch.setattr("percpu_proofs.review.mechanisms._FINE", ())
    (first,) = (
        job for job in mechanism_jobs([run(Job("linux_7_1", "sequences", "limits"))])
        if job.what == "HINT-5 L5"
    )  # fmt: skip
    outcome = run(first)
    assert not outcome.examples and "3 lists drawn" in outcome.reach
    cell = next(c for c in matrix(["linux_7_1"], [outcome]) if c.clause == "HINT-5")
    assert cell.as_json()["mechanisms"] == {"L5": None}
    assert cell.as_json()["mechanism_bounds"] == {"L5": outcome.reach}
    assert cell.verdict == "unchecked" and not cell.evidence  # it says nothing of the clause


def test_handles_are_numbered_as_they_are_named() -> None:
    token = replace(CRUMBS, setup=("a 7 8 4 -", "f 7"), actors=("a 3 8 4 -", "a 7 8 4 -"))
    small = compact(token)
    assert small.setup == ("a 1 8 4 -", "f 1") and small.actors == ("a 2 8 4 -", "a 1 8 4 -")


# variants with fixes on them


def test_a_variant_is_named_with_fixes() -> None:
    cls = variant_class("6.12+R1+L5")
    assert issubclass(cls, Linux612) and cls is variant_class("linux_6_12+L5+R1")
    assert cls.EXPECTED["RCL-3"] == "R2" and cls.EXPECTED["HINT-5"] == "L2, L4"
    assert "BAL-1" not in variant_class("linux_6_12+R2").EXPECTED
    assert base_of("linux_7_1+R1") == "linux_7_1"
    assert variant_name("6.14+L1") == "linux_6_13+L1"
    assert variant_name("6.14.0-rc1+") == "linux_6_13"  # as a changed tree calls itself
    assert mended_by("L5") == {"L1", "L5"} and findings_in("no flush") == ()
    for name, says in (("linux_7_1+R9", "R9: expected some of L1"), ("5.2+R1", "from 5.9 on")):
        with pytest.raises(UnknownVariantError, match=says):
            variant_class(name)


# what the search for them rests on


def test_the_first_state_is_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are come to again from it, where those in between are not kept any more."""
    plan = replace(next(p for p in SEQUENCES if p.name == "limits"), longest=2, least=2)
    whole = Sequences("linux_7_1", plan)
    whole.run()
    monkeypatch.setattr(breadth, "_MOST_SAVED", 2)
    search = Sequences("linux_7_1", plan)
    search.run()
    assert (search.steps, search.states) == (whole.steps, whole.states)


def test_who_looks_at_counterexamples_may_end_a_search() -> None:
    seen: list[str] = []

    def look(caught: ListFinding) -> None:
        seen.append(caught.clause)
        raise EnoughError

    crumbs = next(plan for plan in SEQUENCES if plan.name == "crumbs")
    search = Sequences("linux_7_1", crumbs, on_broken=look)
    search.run()
    assert seen == list(search.findings) and not search.complete


def test_lists_that_are_drawn_break_what_they_are_for() -> None:
    assert fuzz.about_a_chunk("HINT-5") and not fuzz.about_a_chunk("RCL-3")
    drawn = list(zip(range(4), fuzz.drawn_lists("HINT-5"), strict=False))
    assert drawn == list(zip(range(4), fuzz.drawn_lists("HINT-5"), strict=False))
    broken = [fuzz.first_breach("linux_7_1", "HINT-5", operations) for _, operations in drawn]
    assert any(broken)
    assert not any(fuzz.first_breach("reference", "HINT-5", operations) for _, operations in drawn)

"""What `percpu-spec prove` rests on: obligations, their engines, their bugs, the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import icontract
import pytest
from click.testing import CliRunner
from distributed import LocalCluster

from percpu_contracts.contract import marked_names
from percpu_proofs.choices import Choices, Replay, every_case
from percpu_proofs.cli import main
from percpu_proofs.prove import assignment, contracts_off, ledger, symbolic
from percpu_proofs.prove.catalogue import all_obligations, assigned_bugs, claims, without_claim
from percpu_proofs.prove.claims import SymbolicClaim
from percpu_proofs.prove.claims import by_symbols as check
from percpu_proofs.prove.dependencies import reachable, source_hash, sources_of
from percpu_proofs.prove.enumeration import enumerate_cases, most_bits
from percpu_proofs.prove.obligation import Obligation, Size
from percpu_proofs.prove.reach import GEOMETRY, REACHED
from percpu_proofs.prove.sampling import sample_cases
from percpu_proofs.prove.scene import Scene
from percpu_proofs.seeded import BUGS
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import ATOMIC

OBLIGATIONS = {obligation.id: obligation for obligation in all_obligations()}
QUICK = (
    "areas-are-zeroed",
    "balance-alone",
    "counted-round-trip",
    "created-chunk-is-listed",
    "destroy-on-vm",
    "float-stays-high",
    "flush-clears",
    "free-by-block-hints-reference",
    "km-is-never-reclaimed",
    "metadata-fit",
    "reclaim-with-two-moves",
    "reserved-stays-off",
    "slot-layout",
)
"""Obligations of few paths, proved here by symbols; `percpu-spec prove` proves all."""


# engines


@pytest.mark.parametrize("name", QUICK)
def test_symbols_confirm_and_the_twin_is_refuted(name: str) -> None:
    obligation = OBLIGATIONS[name]
    assert check(obligation, 60).state == "confirmed"
    assert check(obligation, 60, twin=True).state == "refuted"
    bug = BUGS[assigned_bugs()[name][0]]
    assert check(obligation, 60, cls=bug.planted(obligation.variant)).state == "refuted"


@pytest.mark.parametrize("name", [o.id for o in OBLIGATIONS.values() if not o.symbols[1]])
def test_every_case_of_the_small_size(name: str) -> None:
    obligation = OBLIGATIONS[name]
    found = enumerate_cases(obligation, obligation.small, 60)
    assert found.state == ("refuted" if obligation.refuted else "confirmed"), found.message
    assert found.paths > 0
    assert most_bits(obligation) <= obligation.symbols[0]  # what CrossHair's own command gives it


@pytest.mark.parametrize("name", sorted(assigned_bugs()))
def test_a_seeded_bug_is_refuted_by_cases(name: str) -> None:
    obligation = OBLIGATIONS[name]
    size = obligation.large if obligation.symbols[1] else obligation.small
    bug = BUGS[assigned_bugs()[name][0]]
    cls = bug.planted(obligation.variant)
    assert enumerate_cases(obligation, size, 60, cls=cls).state == "refuted"


def test_a_random_case_refutes_too() -> None:
    obligation = OBLIGATIONS["isolate-by-bits"]
    bugged = BUGS["isolate_chunk-1"].planted(obligation.variant)
    assert sample_cases(obligation, obligation.small, 100, cls=bugged).state == "refuted"
    assert sample_cases(obligation, obligation.small, 100).state == "not confirmed"


def test_contracts_are_enforced_beside_crosshair() -> None:
    """CrossHair's libraries switch icontract off when they are imported."""
    assert "crosshair.core_and_libs" in sys.modules

    @icontract.ensure(lambda result: result > 0)
    def broken() -> int:
        return 0

    def raises() -> bool:
        try:
            broken()
        except icontract.ViolationError:
            return True
        return False

    assert raises()
    with contracts_off():
        assert not raises()
    assert raises()
    assert check(OBLIGATIONS["slot-layout"], 60).state == "confirmed"
    assert raises()


def test_a_timeout_is_not_confirmed() -> None:
    obligation = OBLIGATIONS["relocate-by-bits"]
    by_symbols = check(obligation, 0.3)
    assert (by_symbols.state, "not every path" in by_symbols.message) == ("not confirmed", True)
    by_cases = enumerate_cases(obligation, obligation.large, 0.01)
    assert (by_cases.state, "not every case" in by_cases.message) == ("not confirmed", True)


def test_a_loop_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks no solver, so CrossHair alone would never stop it."""

    def endless(cls: type[Allocator], choose: Choices, size: Size) -> str | None:
        choose.number(2)
        while cls is bugged:
            pass
        return None

    monkeypatch.setattr(symbolic, "_PATH", 0.5)
    bugged = BUGS["isolate_chunk-1"].planted("linux_6_12")
    obligation = _odd(endless)
    assert check(obligation, 20).state == "confirmed"
    assert check(obligation, 0.5, cls=bugged).state == "not confirmed"
    assert enumerate_cases(obligation, obligation.large, 0.5, cls=bugged).state == "not confirmed"


def test_waiting_for_ones_own_lock_is_refuted() -> None:
    obligation = OBLIGATIONS["charged-round-trip-reference"]
    bugged = BUGS["alloc_percpu-26"]
    assert "balance_workfn" in bugged.instead  # which waits for the mutex that its caller holds
    assert check(obligation, 60, cls=bugged.planted(obligation.variant)).state == "refuted"


def _odd(judge: Any) -> Obligation:
    return replace(OBLIGATIONS["slot-layout"], id="odd", judge=judge)


def test_an_obligation_that_says_nothing_is_found_out() -> None:
    def says_nothing(cls: type[Allocator], choose: Choices, size: Size) -> str | None:
        from percpu_proofs.choices import VacuousError

        choose.number(2)
        raise VacuousError

    obligation = _odd(says_nothing)
    assert check(obligation, 20).state == "confirmed"
    assert check(obligation, 20, twin=True).state == "confirmed"
    assert enumerate_cases(obligation, obligation.small, 20, twin=True).state == "confirmed"


def test_engines_that_disagree_confirm_nothing() -> None:
    def by_engine(cls: type[Allocator], choose: Choices, size: Size) -> str | None:
        choose.number(2)
        return "seen by cases alone" if isinstance(choose, Replay) else None

    found = SymbolicClaim(_odd(by_engine), ()).check(20)
    assert found.state == "not confirmed"
    assert found.message.startswith("engines disagree: symbols confirmed, cases refuted")


def test_a_fault_of_the_function_is_not_a_proof() -> None:
    def raises(cls: type[Allocator], choose: Choices, size: Size) -> str | None:
        return str([][choose.number(2)])

    assert check(_odd(raises), 20).state == "refuted"


# what is claimed


def test_broken_requirement_of_a_callee_is_found() -> None:
    """A callee whose precondition is broken says nothing more, so its caller is to blame."""
    obligation = OBLIGATIONS["balance-alone"]
    (bugged,) = (
        bug
        for bug in BUGS.values()
        if bug.function == "balance_workfn" and bug.text == "self.alloc_mutex = True"
    )
    found = enumerate_cases(obligation, obligation.small, 20, cls=bugged.planted("linux_6_12"))
    assert found.state == "refuted" and "requires otherwise" in found.message


def test_what_symbols_refute_is_reached_from_boot() -> None:
    for claim in REACHED:
        if claim.expected == "refuted":
            found = claim.check(60)
            assert found.state == "refuted"
            assert _replayed(claim.clause, found.message.split(" after ")[1]), found.message


def _replayed(clause: str, steps: str) -> bool:
    """Run the operations of a counterexample under contracts and say whether they break a clause.

    Operations read `take 3 aligned to 1` (bits) and `free bit 4`.
    """
    allocator = build("linux_6_12", GEOMETRY, contracts="full", strict=False)
    for step in steps.split(", "):
        words = step.split()
        if words[0] == "take":
            size, align = 4 * int(words[1]), 4 * int(words[4])
            assert allocator.alloc(size, align, gfp=ATOMIC) is not None
        else:
            allocator.free((allocator.first_chunk, 4 * int(words[2])))
    assert allocator.monitor is not None
    return clause in allocator.monitor.violations


def test_bounds_of_the_obligations_do_not_shrink() -> None:
    """The bounds that the project promises; the ledger below holds every other."""
    sizes = {name: obligation.small for name, obligation in OBLIGATIONS.items()}
    bits = {name: size.pages * size.bits for name, size in sizes.items()}
    for name in ("zero-area-unaligned", "zero-area-aligned-to-2", "rescan-block"):
        assert bits[name] >= 8
    assert bits["alloc-across-blocks"] >= 6 and bits["free-across-blocks"] >= 6
    assert sizes["relocate-by-bits"] >= Size(3, 2) and sizes["relocate-by-pages"].pages >= 4
    assert sizes["reclaim-by-pages"].pages >= 4 and sizes["reclaim-by-bits"] >= Size(3, 2)
    assert sizes["reclaim-with-one-move"] >= Size(3, 1, 1)
    assert sizes["reclaim-with-two-moves"] >= Size(2, 1, 2)
    assert sizes["size-to-slot"].pages * sizes["size-to-slot"].bits * 4 >= 1024


def test_at_least_sixty_are_confirmed_by_symbols() -> None:
    confirmed = [
        line
        for line in ledger.committed().values()
        if line["engine"] == "crosshair" and line["state"] == "confirmed"
    ]
    assert len(confirmed) >= 60


def test_every_function_under_contract_has_a_claim() -> None:
    assert without_claim(claims()) == []
    fewer = [claim for claim in claims() if "slots.Slots.isolate_chunk" not in claim.functions]
    assert without_claim(fewer) == ["isolate_chunk"]


def test_functions_under_proof_exist() -> None:
    for claim in claims():
        for name in claim.functions:
            if name.startswith("percpu_"):  # of a lemma or an action: from the package on
                module, _, rest = name.rpartition(".")
                while module not in sys.modules:
                    module, _, more = module.rpartition(".")
                    rest = f"{more}.{rest}"
                assert attrgetter(rest)(sys.modules[module]) is not None, name
                continue
            module, cls, function = name.split(".")
            found = getattr(sys.modules[f"percpu_reference.{module}"], cls)
            assert function in vars(found), name


def test_every_claim_has_a_name_of_its_own() -> None:
    names = Counter(claim.id for claim in claims())
    assert set(names.values()) == {1}


def test_the_ledger_is_that_of_these_claims() -> None:
    """Nothing shrinks in silence: bounds, functions and bugs are those of the last full run."""
    then = ledger.committed()
    assert sorted(then) == sorted(claim.id for claim in claims())
    for claim in claims():
        line = then[claim.id]
        assert line["bound"] == claim.bound
        assert line["functions"] == list(claim.functions)
        assert line["bugs"] == sorted(claim.bugs)
        assert line["state"] == claim.expected
        assert line["twin"] == "refuted"


def test_every_seeded_bug_is_caught_by_some_obligation() -> None:
    """All but those that do nothing, or only what the kernel does not: contracts allow that."""
    caught = {bug for bugs in assigned_bugs().values() for bug in bugs}
    wanted = {name for name, bug in BUGS.items() if not (bug.legal or bug.same)}
    assert wanted <= caught


@pytest.mark.parametrize("name", ["locks-of-free", "pages-populated", "relocate-by-bits"])
def test_bugs_are_given_to_what_catches_them(name: str) -> None:
    """What bugs.json says is what trying finds (python -m percpu_proofs.prove.assignment)."""
    assert set(assigned_bugs()[name]) <= set(assignment.caught_by(name)[1])


def test_every_bug_caught_is_given_to_somebody() -> None:
    first, second, third = list(BUGS)[:3]
    given = assignment.assign({"a": [first, second], "b": [second, third], "c": [third], "d": []})
    assert {bug for bugs in given.values() for bug in bugs} == {first, second, third}
    assert given["a"] and given["b"] and given["c"] == [third] and not given["d"]


def test_every_obligation_has_a_bug_and_every_function_three() -> None:
    bugs = assigned_bugs()
    wanted = {name for name, obligation in OBLIGATIONS.items() if not obligation.refuted}
    assert wanted == {name for name, mine in bugs.items() if mine}
    refuted = {bug for mine in bugs.values() for bug in mine}
    seeded = Counter(BUGS[bug].function.removeprefix("km.") for bug in refuted)
    under_contract = marked_names(Linux612)
    assert all(seeded[name] for name in under_contract)
    assert sum(seeded[name] for name in under_contract) >= 3 * len(under_contract)


# the ledger and its cache


def _entry(name: str, **changes: Any) -> ledger.Entry:
    claim = next(claim for claim in claims() if claim.id == name)
    entry = ledger.Entry(
        claim.id, claim.clause, claim.variant, claim.functions, claim.engine, claim.bound,
        claim.expected, "confirmed", 5, 0.1, "", "refuted",
        dict.fromkeys(claim.bugs, "refuted"), 0.2, source_hash(claim.sources),
    )  # fmt: skip
    return replace(entry, **changes)


def test_an_entry_is_kept_until_its_source_changes(tmp_path: Path) -> None:
    claim = next(claim for claim in claims() if claim.id == "slot-layout")
    cache = ledger.Cache(tmp_path)
    assert cache.find(claim) is None
    cache.keep(_entry("slot-layout"))
    found = cache.find(claim)
    assert found is not None and found.cached and found.paths == 5
    cache.keep(_entry("slot-layout", source="another"))
    assert cache.find(claim) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "not confirmed"},
        {"state": "refuted"},
        {"twin": "confirmed"},
        {"bugs": {"setup_slots-1": "confirmed"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_not_as_expected_is_not_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    entry = _entry("slot-layout", **changes)
    assert not entry.as_expected
    ledger.Cache(tmp_path).keep(entry)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bound": "less"}, "bound is 'less'"),
        ({"state": "not confirmed"}, "state is 'not confirmed'"),
        ({"bugs": {}}, "bugs is []"),
    ],
)
def test_what_shrinks_is_said(changes: dict[str, Any], said: str) -> None:
    found = ledger.differences([_entry("slot-layout", **changes)], complete=False)
    assert len(found) == 1 and said in found[0]
    assert "slot-layout: gone" in ledger.differences([_entry("flags-decide")], complete=True)


def test_a_hash_follows_calls() -> None:
    found = reachable(Linux612, ("slots.Slots.isolate_chunk",))
    names = {f.__name__ for f in found if not isinstance(f, str)}
    assert {"isolate_chunk", "_chunk_move", "setup_slots"} <= names
    assert "reclaim_populated" not in names
    slot, free = OBLIGATIONS["slot-layout"], OBLIGATIONS["free-chunks-go"]
    assert source_hash(sources_of(slot)) != source_hash(sources_of(free))


# the command


def test_prove_names_near_matches() -> None:
    found = CliRunner().invoke(main, ["prove", "slot-layuot"])
    assert found.exit_code == 2
    assert "expected one of slot-layout" in found.output


def test_prove_says_what_was_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = ["prove", "slot-layout", "hint-3-from-boot-linux_6_12", "--jobs", "1", "--json"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    by_id = {line["id"]: line for line in found["claims"]}
    assert by_id["slot-layout"]["engine"] == "crosshair"
    assert by_id["slot-layout"]["state"] == "confirmed"
    assert by_id["slot-layout-enumerated"]["paths"] > by_id["slot-layout"]["paths"]
    assert by_id["hint-3-from-boot-linux_6_12"]["state"] == "refuted"
    assert "after take" in by_id["hint-3-from-boot-linux_6_12"]["message"]
    assert (found["planned"], found["done"], found["changed"]) == (3, 3, [])
    again = json.loads(CliRunner().invoke(main, command).stdout)
    assert all(line["cached"] for line in again["claims"])


def test_prove_fails_at_once_without_its_cluster() -> None:
    found = CliRunner().invoke(
        main, ["prove", "slot-layout", "--no-cache", "--dask", "tcp://127.0.0.1:1"]
    )
    assert found.exit_code == 2
    assert "tcp://127.0.0.1:1" in found.output


def test_prove_on_a_cluster() -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        found = CliRunner().invoke(
            main,
            ["prove", "slot-layout", "reserved-stays-off", "--no-cache", "--json",
             "--dask", cluster.scheduler_address],
        )  # fmt: skip
    assert found.exit_code == 0, found.output
    lines = json.loads(found.stdout)["claims"]
    assert [line["as_expected"] for line in lines] == [True] * 4
    assert not any(line["cached"] for line in lines)


def test_crosshair_checks_a_target_by_name() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("crosshair"), "check", "--analysis_kind", "icontract",
         "--per_condition_timeout", "30", "--report_all",
         "percpu_proofs.prove.targets.slot_layout"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "Confirmed over all paths" in run.stdout


def test_scenes_are_states_that_the_clauses_allow() -> None:
    """What an obligation starts from breaks nothing, so that what is found is the function's."""
    tried = 0
    for case in every_case():
        scene = Scene(Linux612, case, Size(2, 2), first_empty=case.number(3))
        scene.put(scene.chunk_of_used_bits())
        assert scene.wrong(hints_too=True) is None and scene.pages_wrong() is None
        tried += 1
    assert tried == 75

"""What `percpu-spec prove` rests on: obligations, their cases, their bugs, the ledger."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import assignment
import pytest
from click.testing import CliRunner
from depth import deep_unless
from distributed import LocalCluster

from percpu_contracts.contract import marked_names
from percpu_proofs.bugs import BUGS
from percpu_proofs.cli import main
from percpu_proofs.prove import ledger
from percpu_proofs.prove.catalogue import (
    all_obligations,
    assigned_bugs,
    claims,
    not_by_symbols,
    without_claim,
)
from percpu_proofs.prove.claim import Result
from percpu_proofs.prove.dependencies import reachable, source_hash
from percpu_proofs.prove.from_boot import CLAIMS_FROM_BOOT, GEOMETRY
from percpu_proofs.prove.small.case import Size
from percpu_proofs.prove.small.claims import SymbolicClaim
from percpu_proofs.prove.small.obligation import Obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run import processes as spread
from percpu_proofs.run.choices import Choices, ChoiceTape, assume, every_case
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import ATOMIC

GUARD = 600
"""CPU seconds: far more than any takes, whatever the machine."""
OBLIGATIONS = {obligation.id: obligation for obligation in all_obligations()}
MANY_CASES = (
    *("take-by-block-hints", "take-by-block-hints-reference", "take-by-chunk-hints"),
    *("alloc-in-a-block", "alloc-in-a-block-reference", "alloc-across-blocks"),
    *("free-in-a-block", "free-in-a-block-reference", "free-across-blocks", "free-asks-for-work"),
    *("longer-runs-lie-higher", "next-hint", "order-of-hints-reference"),
    *("update-block", "update-block-reference"),
)
assert set(MANY_CASES) <= OBLIGATIONS.keys()


# engines


@pytest.mark.parametrize("name", deep_unless(lambda name: name not in MANY_CASES, OBLIGATIONS))
def test_every_case_of_the_small_size(name: str) -> None:
    obligation = OBLIGATIONS[name]
    found = obligation.enumerate(GUARD, sizes=(obligation.small,))
    assert found.state == obligation.expected, found.message
    assert found.paths > 0


@pytest.mark.parametrize(
    "name",
    deep_unless(
        lambda name: name != "order-of-hints-reference",
        [name for name in sorted(assigned_bugs()) if name in OBLIGATIONS],
    ),
)
def test_a_seeded_bug_is_refuted_by_cases(name: str) -> None:
    bug = assigned_bugs()[name][0]
    assert OBLIGATIONS[name].check_bug(bug, GUARD).state == "refuted"


def test_a_guard_that_bites_says_so() -> None:
    found = OBLIGATIONS["relocate-by-bits"].check(0.01)
    assert found.state == "not confirmed"
    assert "the guard of 0 CPU seconds ended it" in found.message


def test_a_loop_without_end_is_stopped() -> None:
    def endless(cls: type[Allocator], choose: Choices, size: Size) -> None:
        while choose.bit():
            pass

    ones = ChoiceTape(draw=lambda count: 1)
    obligation = _odd(lambda cls, choose, size: endless(cls, ones, size))
    assert obligation.check(0.5).state == "not confirmed"


def test_waiting_for_ones_own_lock_is_refuted() -> None:
    obligation = OBLIGATIONS["charged-round-trip-reference"]
    bugged = BUGS["alloc_percpu-24"]
    assert "balance_workfn" in bugged.instead  # which waits for the mutex that its caller holds
    found = obligation.enumerate(GUARD, cls=bugged.planted(obligation.variant))
    assert found.state == "refuted"


def _odd(judge: Any) -> Obligation:
    return replace(OBLIGATIONS["slot-layout"], id="odd", judge=judge)


def test_an_obligation_that_says_nothing_is_found_out() -> None:
    def says_nothing(cls: type[Allocator], choose: Choices, size: Size) -> None:
        assume(choose.number(2) > 1)

    obligation = _odd(says_nothing)
    assert obligation.check(GUARD).state == "confirmed"
    assert obligation.check_twin(GUARD).state == "confirmed"


def test_a_fault_of_the_function_is_not_a_proof() -> None:
    def raises(cls: type[Allocator], choose: Choices, size: Size) -> None:
        print([][choose.number(2)])

    found = _odd(raises).check(GUARD)
    assert found.state == "refuted" and "IndexError" in found.message


# what is claimed


def test_broken_requirement_of_a_callee_is_found() -> None:
    """A callee whose precondition is broken says nothing more, so its caller is to blame."""
    obligation = OBLIGATIONS["balance-alone"]
    (bugged,) = (
        bug
        for bug in BUGS.values()
        if bug.function == "balance_workfn" and bug.text == "self.alloc_mutex = True"
    )
    found = obligation.enumerate(GUARD, cls=bugged.planted("linux_6_12"))
    assert found.state == "refuted" and "requires otherwise" in found.message


def test_what_cases_refute_is_reached_from_boot() -> None:
    for claim in CLAIMS_FROM_BOOT:
        if claim.expected == "refuted":
            found = claim.check(GUARD)
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


def test_the_small_size_is_asked_too_where_the_large_one_lacks_it() -> None:
    for obligation in OBLIGATIONS.values():
        for wanted in (obligation.small, obligation.large):
            assert any(
                all(n <= most for n, most in zip(wanted, size, strict=True))
                for size in obligation.sizes
            )
    assert OBLIGATIONS["reclaim-with-one-move"].sizes == (Size(3, 2, 1), Size(4, 1, 1))


def test_at_least_forty_are_confirmed_by_symbols() -> None:
    confirmed = [
        line
        for line in ledger.committed().values()
        if line["engine"] == "crosshair" and line["state"] == "confirmed"
    ]
    assert len(confirmed) >= 40


def test_every_function_under_contract_has_a_claim() -> None:
    assert without_claim(claims()) == []
    fewer = [claim for claim in claims() if "slots.Slots.isolate_chunk" not in claim.functions]
    assert without_claim(fewer) == ["isolate_chunk"]


def test_every_function_is_judged_by_symbols_or_says_why_not() -> None:
    by_symbols = {claim.function for claim in claims() if isinstance(claim, SymbolicClaim)}
    assert by_symbols.isdisjoint(not_by_symbols())
    assert by_symbols | not_by_symbols().keys() == set(marked_names(Linux612))
    assert all(not_by_symbols().values())


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
    wanted = {name for name, bug in BUGS.items() if not (bug.aside or bug.same)}
    assert wanted <= caught


@pytest.mark.parametrize(
    "name",
    deep_unless(
        lambda name: name == "relocate-by-bits",
        ["locks-of-free", "pages-populated", "relocate-by-bits"],
    ),
)
def test_bugs_are_given_to_what_catches_them(name: str) -> None:
    """What bugs.json says is what trying finds (python tests/assignment.py)."""
    assert set(assigned_bugs()[name]) <= set(assignment.caught_by(name)[1])


def test_every_bug_caught_is_given_to_somebody() -> None:
    first, second, third = list(BUGS)[:3]
    given = assignment.assign({"a": [first, second], "b": [second, third], "c": [third], "d": []})
    assert {bug for bugs in given.values() for bug in bugs} == {first, second, third}
    assert given["a"] and given["b"] and given["c"] == [third] and not given["d"]


def test_every_obligation_has_a_bug_and_every_function_three() -> None:
    bugs = assigned_bugs()
    wanted = {
        claim.id
        for claim in claims()
        if isinstance(claim, Obligation | SymbolicClaim) and claim.expected != "refuted"
    }
    assert wanted == {name for name, mine in bugs.items() if mine}
    refuted = {bug for mine in bugs.values() for bug in mine}
    seeded = Counter(BUGS[bug].function.removeprefix("km.") for bug in refuted)
    under_contract = marked_names(Linux612)
    assert all(seeded[name] for name in under_contract)
    assert sum(seeded[name] for name in under_contract) >= 3 * len(under_contract)


# the ledger and its cache


def _entry(name: str, **changes: Any) -> ledger.LedgerEntry:
    claim = next(claim for claim in claims() if claim.id == name)
    entry = ledger.LedgerEntry(
        claim.id, claim.clause, claim.variant, claim.functions, claim.engine, claim.bound,
        claim.expected, "confirmed", 5, 0.1, "", "refuted",
        dict.fromkeys(claim.bugs, "refuted"), 0.2, source_hash(claim.sources),
    )  # fmt: skip
    return replace(entry, **changes)


def test_an_entry_is_kept_until_its_source_changes(tmp_path: Path) -> None:
    claim = next(claim for claim in claims() if claim.id == "slot-layout")
    cache = ledger.EntryCache(tmp_path)
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
    ledger.EntryCache(tmp_path).keep(entry)
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
    then = ledger.committed()["slot-layout"]
    entry = _entry("slot-layout", paths=then["cases"], **changes)
    found = ledger.ledger_changes([entry], complete=False)
    assert len(found) == 1 and said in found[0]
    assert "slot-layout: gone" in ledger.ledger_changes([_entry("flags-decide")], complete=True)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("", 0),
        ("state", 1),
        ("twin", 1),
        ("bugs", 1),
        ("function", 1),
        ("ledger", 1),
        ("gone", 1),
        ("interrupted", 130),
    ],
)
def test_the_exit_status_tells(
    wrong: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing that must not be lets `prove` fail, and alone is enough."""
    then = {"slot-layout": ledger.committed()["slot-layout"]}
    changes: dict[str, dict[str, Any]] = {
        "state": {"state": "not confirmed"}, "twin": {"twin": "confirmed"},
        "bugs": {"bugs": {"setup_slots-1": "confirmed"}}, "ledger": {"bound": "less"},
    }  # fmt: skip
    entry = _entry("slot-layout", paths=then["slot-layout"]["cases"], **changes.get(wrong, {}))
    if wrong == "gone":
        then["flags-decide"] = ledger.committed()["flags-decide"]
    elif wrong != "ledger":  # what else is wrong is not told by the ledger
        then = ledger.summary([entry])
    claim = next(claim for claim in claims() if claim.id == "slot-layout")
    missing = ["alloc_area"] if wrong == "function" else []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ledger, "committed", lambda: then)
    proving = sys.modules["percpu_proofs.commands.prove"]  # the package has the command's name
    monkeypatch.setattr(proving, "select", lambda names: [claim])
    monkeypatch.setattr(proving, "without_claim", lambda wanted: missing)
    monkeypatch.setattr(proving, "spread", lambda *_, **__: ([entry], wrong == "interrupted"))
    done = CliRunner().invoke(main, ["prove", "--json"])
    assert done.exit_code == code, done.output


def test_an_entry_has_what_the_checks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin that is not refuted, or a bug that is not, is in the entry as it came out."""

    class Vacuous:
        id = clause = variant = engine = bound = "none"
        expected = "confirmed"
        functions, sources, bugs = (), (), ("one",)

        def check(self, timeout: float, bug: str = "") -> Result:
            return Result("confirmed", 0.0)

        check_twin = check

        def check_bug(self, bug: str, timeout: float) -> Result:
            return Result("confirmed", 0.0)

    monkeypatch.setattr(ledger, "claims", lambda: [Vacuous()])
    entry = ledger.prove(ledger.ClaimTask("none", 1.0))
    assert (entry.twin, entry.bugs) == ("confirmed", {"one": "confirmed"})
    assert not entry.as_expected


def test_a_hash_follows_calls() -> None:
    found = reachable(Linux612, ("slots.Slots.isolate_chunk",))
    names = {f.__name__ for f in found if not isinstance(f, str)}
    assert {"isolate_chunk", "_chunk_move", "setup_slots"} <= names
    assert "reclaim_populated" not in names
    slot, free = OBLIGATIONS["slot-layout"], OBLIGATIONS["free-chunks-go"]
    assert source_hash(slot.sources) != source_hash(free.sources)


@pytest.mark.parametrize("bad", ["a file", "full", "gone while it works"])
def test_entries_that_cannot_be_kept_are_told_once(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work goes on, nothing half written stays, and what was kept before is still found."""
    folder = tmp_path / "percpu-spec" / "prove"
    if bad == "a file":
        folder.parent.write_text("")
    elif bad == "full":
        full = Path.write_text

        def write_text(path: Path, text: str, encoding: str) -> int:
            full(path, text[:9], encoding)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_text", write_text)
    else:
        folder.mkdir(parents=True)
        (folder / "slot-layout.json").mkdir()  # in the place of a file
        (folder / "slot-layout.json/x").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entries = [_entry("slot-layout", paths=446), _entry("size-to-slot-by-symbols")]
    proving = sys.modules["percpu_proofs.commands.prove"]

    def spread(*_: object, keep: Callable[[ledger.LedgerEntry], None], **__: object) -> Any:
        for entry in entries:
            keep(entry)
        return entries, False

    monkeypatch.setattr(proving, "spread", spread)
    monkeypatch.setattr(ledger, "committed", lambda: ledger.summary(entries))
    done = CliRunner().invoke(main, ["prove", *(entry.id for entry in entries), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["claims"]) == 2
    told = "percpu-spec: results are not kept: " + str(folder)
    assert done.stderr.startswith(told) and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.rglob("*.part"))


# the command


def test_prove_names_near_matches() -> None:
    found = CliRunner().invoke(main, ["prove", "slot-layuot"])
    assert found.exit_code == 2
    assert "expected one of slot-layout" in found.output


def test_prove_says_what_was_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ["slot-layout", "size-to-slot-by-symbols", "hint-3-from-boot-linux_6_12"]
    command = ["prove", *names, "--jobs", "1", "--json"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    by_id = {line["id"]: line for line in found["claims"]}
    assert by_id["slot-layout"]["engine"] == "enumeration"
    assert by_id["slot-layout"]["state"] == "confirmed"
    assert by_id["size-to-slot-by-symbols"]["engine"] == "crosshair"
    assert by_id["size-to-slot-by-symbols"]["state"] == "confirmed"
    assert by_id["hint-3-from-boot-linux_6_12"]["state"] == "refuted"
    assert "after take" in by_id["hint-3-from-boot-linux_6_12"]["message"]
    assert (found["planned"], found["done"], found["changed"]) == (3, 3, [])
    again = json.loads(CliRunner().invoke(main, command).stdout)
    assert all(line["cached"] for line in again["claims"])


def test_prove_fails_at_once_without_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_CONNECT", 0.5)
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
    assert [line["as_expected"] for line in lines] == [True] * 2
    assert not any(line["cached"] for line in lines)


def test_scenes_are_states_that_the_clauses_allow() -> None:
    """What an obligation starts from breaks nothing, so that what is found is the function's."""
    tried = 0
    for case in every_case():
        scene = Scene(Linux612, case, Size(2, 2), first_empty=case.number(3))
        scene.put(scene.chunk_of_used_bits())
        scene.judge(hints_too=True)
        scene.judge_pages()
        tried += 1
    assert tried == 75

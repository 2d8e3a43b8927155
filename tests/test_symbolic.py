"""CrossHair on the annotated functions: in process, and by its own command with the plugin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import bugged_classes
import pytest
from bugged_classes import PLANTED
from click.testing import CliRunner
from crosshair.copyext import CopyMode, deepcopyext
from crosshair.statespace import AnalysisMessage, MessageType
from depth import deep_unless

from percpu_contracts.violations import ClauseViolation
from percpu_contracts.whole_state import WholeState
from percpu_proofs.cli import main
from percpu_proofs.prove.catalogue import claims
from percpu_proofs.prove.crosshair_arguments import OPTION, PLUGIN, plugin_last
from percpu_proofs.prove.small import symbolic
from percpu_proofs.prove.small.claims import SymbolicClaim
from percpu_proofs.prove.small.subjects import ENTRIES
from percpu_proofs.run.choices import ChoiceTape
from percpu_reference import build, checked
from percpu_spec.geometry import Geometry

CLAIMS = {claim.id: claim for claim in claims() if isinstance(claim, SymbolicClaim)}
QUICK = (
    "size-to-slot-by-symbols",
    "isolate-chunk-by-symbols",
    "isolate-chunk-by-symbols-reference",
    "update-empty-pages-by-symbols",
    "destroy-chunk-by-symbols",
    "balance-create-by-symbols",
    "reclaim-populated-by-symbols",
)
"""Claims of few paths; `percpu-spec prove` judges all."""

GUARD = 600
"""CPU seconds: far more than any takes, whatever the machine."""

CROSSHAIR = Path(sys.executable).with_name("crosshair")


LONG = ("balance-create", "isolate-chunk", "reclaim-populated", "update-empty-pages")


@pytest.mark.parametrize("name", deep_unless(lambda name: not name.startswith(LONG), QUICK))
def test_symbols_confirm_and_the_twin_is_refuted(name: str) -> None:
    claim = CLAIMS[name]
    found = claim.check(GUARD)
    assert found.state == "confirmed", found.message
    assert claim.check_twin(GUARD).state == "refuted"
    for bug in claim.bugs:
        assert claim.check_bug(bug, GUARD).state == "refuted"


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("variant", ["linux_6_12", "reference"])
def test_the_evaluator_agrees_in_drawn_cases(variant: str, name: str) -> None:
    """What CrossHair is given can be made of plain numbers, and the contract holds of it there."""
    cls = {"linux_6_12": checked.Linux612Full, "reference": checked.ReferenceFull}[variant]
    assert symbolic.sample(cls, name, 20) is None


# of sizes up to 1 GiB too few are drawn
@pytest.mark.parametrize("name", sorted(set(PLANTED) - {"SizeToSlot"}))
def test_a_drawn_case_shows_the_bug_too(name: str) -> None:
    """A bug is refuted without CrossHair, so what that finds is not of its own making."""
    assert symbolic.sample(getattr(bugged_classes, name), PLANTED[name], 2000) is not None


def test_an_expected_violation_is_refuted() -> None:
    found = CLAIMS["enter-populated-by-symbols"].check(GUARD)
    assert found.state == "refuted"
    assert "the float went from" in found.message


def test_engines_that_disagree_confirm_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "sample", lambda cls, name, tries: "RCL-1: seen in a case alone")
    found = CLAIMS["isolate-chunk-by-symbols"].check(GUARD)
    assert found.state == "not confirmed"
    assert found.message.startswith("engines disagree: symbols confirmed, a case refuted: RCL-1")


def test_a_limit_counts_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(symbolic.LIMITS, "max_iterations", 3)
    found = CLAIMS["chunk-relocate-by-symbols"].check(GUARD)
    assert (found.state, found.paths) == ("not confirmed", 3)
    assert "The search ended after 3 paths, as many as it may try." in found.message


def test_a_guard_that_bites_says_so() -> None:
    found = CLAIMS["chunk-relocate-by-symbols"].check(0.2)
    assert found.state == "not confirmed"
    assert "CPU seconds" in found.message


def test_a_guard_within_a_path_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """CrossHair makes of what the guard raises there a finding of its own."""

    def analyze(self: symbolic.Promises) -> list[AnalysisMessage]:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGPROF)
        return [AnalysisMessage(MessageType.EXEC_ERR, "NotDeterministic", "", 0, 0, "")]

    monkeypatch.setattr(symbolic.Promises, "analyze", analyze)
    found = CLAIMS["chunk-relocate-by-symbols"].check(GUARD)
    assert found.state == "not confirmed"
    assert "CPU seconds" in found.message


def test_contracts_are_enforced_beside_crosshair() -> None:
    """CrossHair switches icontract off when it is imported; ours are not icontract's to ask."""
    assert "crosshair.core_and_libs" in sys.modules
    allocator = build("linux_6_12", Geometry(), contracts="full")
    with pytest.raises(ClauseViolation, match="RCL-5"):
        allocator.spin_lock()
        allocator.isolate_chunk(allocator.first_chunk)


def test_what_symbols_are_given_is_made_of_plain_numbers_too() -> None:
    largest = ChoiceTape(draw=lambda count: count - 1)
    allocator, (chunk,) = ENTRIES["isolate_chunk"].given(checked.Linux612Full, largest)
    assert chunk in list(allocator.chunks())
    assert not hasattr(type(allocator).isolate_chunk, "__postconditions__")


def test_what_a_path_copies_does_not_grow_with_what_was_judged_before() -> None:
    """CrossHair copies the arguments on every path: no memory of all allocators is part of them."""
    memo: dict[int, object] = {}
    given = ENTRIES["chunk_move"].given(checked.Linux612Full, ChoiceTape(draw=lambda count: 0))
    deepcopyext(given, CopyMode.BEST_EFFORT, memo)
    before = len(memo)
    run = build("linux_6_12", Geometry())
    assert all(run.alloc(64 * n, 4 * n) for n in (1, 2, 4, 8))
    assert not list(WholeState(given[0].monitor.not_applicable).broken(run))
    memo.clear()
    deepcopyext(given, CopyMode.BEST_EFFORT, memo)
    assert len(memo) == before


# CrossHair's own command


def _check(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    return subprocess.run(
        [CROSSHAIR, "check", "--analysis_kind", "icontract", *arguments, OPTION, PLUGIN],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_command_confirms_each_promise_and_says_what_it_does_not_judge() -> None:
    run = _check(
        "percpu_reference.checked.Linux612Full.isolate_chunk",
        "percpu_reference.checked.ReferenceFull.size_to_slot",
        "percpu_reference.checked.Linux612Full.enter_populated",
        "percpu_reference.checked.Linux612Full.alloc_area",
        "percpu_reference.checked.Rfc1Fast",
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    confirmed = [line for line in lines if "Confirmed over all paths." in line]
    assert len(confirmed) == 4
    assert any("Linux612Full.isolate_chunk, RCL-1: Isolation does not take" in c for c in confirmed)
    assert any("[any size up to a unit, a unit of any size up to 1 GiB]" in c for c in confirmed)
    rest = [line for line in lines if line not in confirmed]
    assert any("Not confirmed, as declared: balance work populated" in line for line in rest)
    assert any("Linux612Full.alloc_area: bits of the maps would" in line for line in rest)
    assert any("Rfc1Fast.any function: chunks of 2 types" in line for line in rest)
    assert len(rest) == 3


@pytest.mark.parametrize("names", [("IsolateChunk", "SizeToSlot", "ReclaimPopulated")])
def test_the_command_refutes_a_planted_bug(names: tuple[str, ...]) -> None:
    run = _check(*(f"bugged_classes.{name}.{PLANTED[name]}" for name in names))
    assert run.returncode == 1, run.stderr
    for name in names:
        about = f" {name}.{PLANTED[name]}"
        (line, *_) = [line for line in run.stdout.splitlines() if about in line]
        assert ": error: " in line and " when calling " in line


def test_a_limit_on_the_command_line_holds() -> None:
    run = _check(
        "--per_condition_timeout", "0.2", "percpu_reference.checked.Linux612Full.chunk_populated"
    )
    assert run.returncode == 0, run.stderr
    assert "Not confirmed. The guard of 0.2 CPU seconds ended the search after" in run.stdout


@pytest.mark.deep
def test_the_command_judges_every_class() -> None:
    run = _check("percpu_reference.checked")
    assert run.returncode == 0, run.stdout[-2000:]
    confirmed = [line for line in run.stdout.splitlines() if "Confirmed over all paths." in line]
    for name in ("Linux612Full", "ReferenceFull"):
        said = [line.split(f" {name}.") for line in confirmed]
        mine = {parts[1].split(":")[0] for parts in said if len(parts) > 1}
        assert len(mine) >= 30
        assert {entry.split(",")[0] for entry in mine} >= ENTRIES.keys() - {"enter_populated"}


@pytest.mark.deep
def test_the_command_refutes_a_bug_in_every_function() -> None:
    assert PLANTED.keys() == {
        "".join(word.title() for word in name.split("_"))
        for name in ENTRIES
        if name != "enter_populated"
    }
    run = _check(*(f"bugged_classes.{name}.{function}" for name, function in PLANTED.items()))
    assert run.returncode == 1, run.stderr
    for name, function in PLANTED.items():
        assert any(
            ": error: " in line and f" {name}.{function}" in line
            for line in run.stdout.splitlines()
        ), name


def test_prove_prints_the_plugin() -> None:
    found = CliRunner().invoke(main, ["prove", "--plugin"])
    assert (found.exit_code, found.output) == (0, f"{PLUGIN}\n")
    assert Path(PLUGIN).is_file()


@pytest.mark.parametrize("asked", ["--plugin", "size-to-slot-by-symbols"])
def test_without_crosshair_a_line_says_what_to_install(asked: str) -> None:
    code = "import sys; sys.modules['crosshair'] = None; from percpu_proofs.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "prove", asked],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1 and "pip install crosshair-tool" in run.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["check", OPTION, PLUGIN, "m", "--x", "1"], ["check", "m", "--x", "1", OPTION, PLUGIN]),
        (["check", "m", OPTION, PLUGIN], ["check", "m", OPTION, PLUGIN]),
        (["check", OPTION, PLUGIN, "--", "m"], ["check", OPTION, PLUGIN, "--", "m"]),
        (["check", OPTION, "other.py", "m"], ["check", OPTION, "other.py", "m"]),
    ],
)
def test_our_plugin_swallows_no_target(given: Any, wanted: Any) -> None:
    assert plugin_last(given) == wanted


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    """Installed, CrossHair finds our entry point, and the plugin may stand before the target."""
    folder = tmp_path / "percpu_spec-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: percpu-spec\nVersion: 0\n")
    entry = "[crosshair.plugin]\npercpu-spec = percpu_proofs.prove.crosshair_arguments\n"
    (folder / "entry_points.txt").write_text(entry)
    path = os.pathsep.join([*sys.path, str(tmp_path)])
    run = subprocess.run(
        [CROSSHAIR, "check", "--analysis_kind", "icontract", OPTION, PLUGIN,
         "percpu_reference.checked.Linux612Full.size_to_slot"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "Confirmed over all paths." in run.stdout

"""Failed allocations of a run: how many, which first, why in the kernel's words; --every."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from percpu_contracts.contract import Level
from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.run import failures
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.failures import FailedOperations
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.runner import RunReport, run_list
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import VARIANTS, build
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

HERE = Path("here.ops")
VXLAN = Geometry(unit=262144, static=221184, reserved=8192, dyn=28672, cpus=128)
SMALL = Geometry(unit=32768, static=4096, reserved=4096, dyn=20480, cpus=2, memcg=True)


def burst(count: int, size: int = 40) -> list[str]:
    return [f"a {number} {size} 8 A" for number in range(1, count + 1)]


def ran(
    lines: list[str], geometry: Geometry, *, every: int = 0, contracts: Level = "fast",
    variant: str = "linux_6_12",
) -> RunReport:  # fmt: skip
    listed = parse_operations(HERE, lines)
    planned = len(listed.operations)
    report = RunReport(str(HERE), "list", variant, contracts, geometry, planned, every)
    run_list(listed, report)
    return report


def failed_of(report: RunReport) -> dict[str, Any]:
    failed: dict[str, Any] = report.as_json()["failed"]
    return failed


CAUSES = [
    (["a 1 0 8 -"], failures.illegal(0, 8)),
    (["a 1 32769 1 -"], failures.illegal(32772, 4)),  # as rounded, which is what is printed
    (["a 1 8 24 A"], failures.illegal(8, 24)),
    (["a 1 4096 8 R", "a 2 4 4 R"], failures.RESERVED),
    (["a 1 4096 8 R", "a 2 4 4 AR"], failures.RESERVED),
    (["a 1 20480 8 A", "a 2 4 4 A"], failures.ATOMIC),
    (["C 1", "a 1 20484 4 -"], failures.CREATE),
    (["Z 1", "a 1 20484 4 -"], failures.CREATE),
    (["P 1", "a 1 20484 4 -"], failures.POPULATE),
    (["M 1", "a 1 20484 4 O"], failures.POPULATE),
    (["H 1", "a 1 8 8 G"], failures.CHARGE),
    (["H 1", "a 1 8 8 AG"], failures.CHARGE),
    (["K 1", "a 1 8 8 -"], failures.KILLED),
    (["K 1", "a 1 8 8 G"], failures.KILLED),
]


@pytest.mark.parametrize(("lines", "reason"), CAUSES)
@pytest.mark.parametrize("contracts", ["off", "fast", "full"])
def test_the_reason_is_the_kernels(lines: list[str], reason: str, contracts: Level) -> None:
    report = ran(["# first", *lines], SMALL, contracts=contracts, variant="linux_7_1")
    failed = failed_of(report)
    assert failed["first"]["reason"] == reason
    assert failed["count"] == 1
    assert failed["first"]["operation"] == len(lines)
    assert failed["first"]["line"] == len(lines) + 1
    assert failed["first"]["text"] == lines[-1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_tells(variant: str) -> None:
    for lines, reason in CAUSES:
        if "O" not in lines[-1]:  # which may not sleep in some
            failed = failed_of(ran(lines, SMALL, contracts="off", variant=variant))
            assert failed["first"]["reason"] == reason, (variant, lines)


def test_a_reason_goes_with_its_own_request() -> None:
    lines = ["a 1 20480 8 A", "a 2 4 4 A", "a 3 0 4 A", "K 1", "a 4 4 4 -", "P 1", "a 5 4 4 -"]
    rows = failed_of(ran(lines, SMALL))["by_size"]
    assert [(row["size"], row["flags"], row["reason"]) for row in rows] == [
        (4, "A", failures.ATOMIC),
        (0, "A", failures.illegal(0, 4)),
        (4, "-", failures.KILLED),
        (4, "-", failures.POPULATE),
    ]


def test_by_size_and_flags() -> None:
    lines = ["a 1 20480 8 A", *(f"a {n} 8 4 A" for n in (2, 3)), "a 4 8 4 AW", "a 5 8 8 A", "f 2"]
    report = ran(lines, SMALL)
    assert [(r["size"], r["align"], r["flags"], r["count"], r["of"])
            for r in failed_of(report)["by_size"]] == [
        (8, 4, "A", 2, 2), (8, 4, "AW", 1, 1), (8, 8, "A", 1, 1),
    ]  # fmt: skip
    assert report.allocations == 5


@pytest.mark.parametrize(
    ("every", "count", "first"),
    [(0, 5284, 717), (200, 0, None), (400, 84, 717), (500, 1188, 717), (800, 2427, 717)],
)
def test_work_after_every_so_many(every: int, count: int, first: int | None) -> None:
    failed = failed_of(ran(burst(6000), VXLAN, every=every, contracts="off"))
    assert failed["count"] == count
    assert (failed["first"] or {}).get("operation") == first


def test_work_runs_only_when_asked_for() -> None:
    report = ran([f"a {n} 4 4 A" for n in range(1, 100)], VXLAN, every=7)
    assert report.works == 0
    assert ran(burst(6000), VXLAN, every=200, contracts="off").works == 14


def test_what_the_list_says_of_work_stays() -> None:
    lines = [*burst(717), "B", *(f"a {n} 40 8 A" for n in range(718, 900))]
    assert failed_of(ran(lines, VXLAN))["count"] == 1


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


SIZES = "unit=262144,static=221184,reserved=8192,dyn=28672,cpus=128"


def test_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "burst.ops"
    path.write_text("\n".join(["# one", *burst(3000)]) + "\n")
    result = invoke("run", path, "--geometry", SIZES)
    assert result.exit_code == 0, result.output
    assert "716 of 3000 served, 2284 failed" in result.output
    assert "operation 717" in result.output
    assert "burst.ops:718, a 717 40 8 A): atomic alloc failed, no space left" in (
        " ".join(result.output.split())
    )
    found = json.loads(invoke("run", path, "--geometry", SIZES, "--every", 200, "--json").output)
    assert found["failed"] == {"count": 0, "first": None, "by_size": []}
    assert (found["every"], found["allocations"], found["operations"]) == (200, 3000, 3000)
    assert "3000, all served" in invoke("run", path, "--geometry", SIZES, "--every", 200).output


def test_work_of_ones_own_and_what_was_recorded() -> None:
    vector = data.folder("vectors") / "24-reserved-u64-c4-r8.jsonl.gz"
    plain = json.loads(invoke("run", vector, "--json").output)
    worked = json.loads(invoke("run", vector, "--every", 3, "--json").output)
    assert plain["recorded_checksum"] is not None
    assert worked["recorded_checksum"] is None
    assert any("--every" in note for note in worked["notes"])
    assert worked["ok"]
    result = invoke("run", data.folder("boot61_2"), "--every", 3)
    assert (result.exit_code, "--every: expected" in result.output) == (2, True)


class ForgetsPopulation(FailedOperations):
    """Takes whatever fails for want of room for want of a chunk."""

    def with_causes(self, cls: Any) -> Any:
        derived: Any = super().with_causes(cls)

        class Forgets(derived):  # type: ignore[valid-type, misc]
            def undo_area(self, chunk: Chunk, off: int) -> Steps[None]:
                yield from cls.undo_area(self, chunk, off)

        return Forgets


class KeepsCauses(FailedOperations):
    """Does not forget the reason of the request before."""

    def note(self, number: int, operation: Any) -> None:
        kept = list(self.causes)
        super().note(number, operation)
        self.causes += kept


@pytest.fixture(params=[ForgetsPopulation, KeepsCauses])
def bugged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("percpu_proofs.run.runner.FailedOperations", request.param)
    yield


@pytest.mark.usefixtures("bugged")
def test_these_tests_see_bugs() -> None:
    with pytest.raises(AssertionError):
        for lines, reason in CAUSES:
            test_the_reason_is_the_kernels(lines, reason, "off")
        test_a_reason_goes_with_its_own_request()


def test_telling_changes_nothing() -> None:
    listed = parse_operations(HERE, [line for lines, _ in CAUSES[3:10:3] for line in lines[:1]])
    plain = build(Linux612, SMALL)
    told = build(Linux612, SMALL, around=FailedOperations(listed, SMALL).with_causes)
    for allocator in (plain, told):
        Driver(allocator).run(listed)
    assert cast("Any", told).env == plain.env

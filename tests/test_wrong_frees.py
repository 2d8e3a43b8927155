"""Frees that API-2 forbids: refused and judged where that is defined, else the caller's error."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from depth import deep_unless
from kernel_bugs import Bug, seeded
from kernel_trees import FOUND, MISSING, run_task, tree_of
from searched_trees import SOURCE, changed, outcome_of
from seeded_bugs import plant

from percpu_proofs.cli import main
from percpu_proofs.explore.fuzz import Fuzz
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import parse_scenario
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.differential import CaseTask
from percpu_proofs.kernel.model import probe
from percpu_proofs.kernel.search.plans import UNNAMED
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.run.driver import Driver, HandleError
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.state_record import Recorder
from percpu_reference import build
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

HERE = Path("x.ops")
EIGHT = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
TREE = pytest.mark.skipif(not FOUND, reason=MISSING)


class Refusing(Linux612):
    """What a variant of 7.0 changes: one line."""

    __slots__ = ()

    CHECKS_FREES: ClassVar[bool] = True


LINES = (
    "a 1 4096 4 -", "a 2 64 4 -", "w 2 8", "w 1 4092", "f 2", "d 2", "a 3 8 4 -", "d 2",
    "s 40", "s 70000", "f 1", "d 1",
)  # fmt: skip
SAID = [
    "a free of 8 bytes into byte 4096 of chunk 0",
    "a free of 4092 bytes into byte 0 of chunk 0",
    "a second free of byte 4096 of chunk 0",
    "a second free of byte 4096 of chunk 0, where another area is now: not carried out",
    "a free of the static variable at byte 40: not carried out",
    "a free of pointer 70000, which is in no chunk: not carried out",
    "a second free of byte 0 of chunk 0",
]
"""What LINES frees wrongly; what no kernel refuses is never carried out."""


def machine_after(cls: type[Allocator], lines: Sequence[str], **more: Any) -> Driver:
    machine = Driver(build(cls, EIGHT, contracts="full", stats=True, **more))
    machine.run(parse_operations(HERE, lines))
    return machine


@pytest.mark.parametrize(("cls", "become"), [(Linux612, "not carried"), (Refusing, "refused by")])
def test_each_is_the_callers_error(cls: type[Allocator], become: str) -> None:
    machine = machine_after(cls, LINES)
    said = [error.said for error in machine.errors]
    for expected, found in zip(SAID, said, strict=True):
        assert found.startswith(expected) and (become in found or "not carried out" in expected)
    refused = sum("refused" in each for each in said)
    assert (machine.allocator.env.warnings, refused) == ((4, 4) if become[0] == "r" else (0, 0))
    monitor = machine.allocator.monitor
    assert monitor is not None and not monitor.violations.keys() - cls.EXPECTED.keys()
    plain = machine_after(cls, [line for line in LINES if line[0] in "af"])
    assert Recorder(machine.allocator).read().crc == Recorder(plain.allocator).read().crc


def test_where_it_is_refused_the_clause_is_asked() -> None:
    for cls, count in ((Linux612, 2), (Refusing, 4)):  # before each free; at each refusal
        monitor = machine_after(cls, LINES).allocator.monitor
        assert monitor is not None
        assert monitor.asked()["API-2"] == count


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a 1 64 4 -", "d 1"], "d HANDLE of a handle that was freed (f) and not allocated"),
        (["d 1"], "handle 1 has not been freed"),
        (["a 1 64 4 -", "f 1", "a 1 64 4 -", "d 1"], "handle 1 has not been freed"),
        (["w 1 4"], "w HANDLE OFFSET of a handle that was allocated, the off"),
        (["a 1 64 4 -", "w 1 64"], "the area of handle 1 has 64 bytes"),
        (["s 5000"], "found 'pointer 5000: static is 1 to 4095, no chunk is from 32768 on'"),
        (["s 0"], "found 'pointer 0: static is 1 to 4095, no chunk is from 32768 on'"),
        (["a 1 64 4 -", "w 1 3"], "an offset of at least 4"),
    ],
)
def test_what_is_no_such_free_is_bad_input(lines: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        machine_after(Linux612, lines)
    assert said in str(caught.value) and caught.value.line == len(lines)


def test_a_null_pointer_may_be_freed_twice() -> None:
    machine = machine_after(Refusing, ["a 1 32768 4 A", "f 1", "d 1", "a 2 32772 4 -", "w 2 8"])
    assert not machine.errors


@pytest.mark.parametrize("level", ["off", "fast", "full"])
def test_run_says_so(tmp_path: Path, level: str) -> None:
    listed = tmp_path / "list.ops"
    listed.write_text("\n".join(LINES) + "\n")
    sizes = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"
    options = ["run", str(listed), "--geometry", sizes, "--contracts", level]
    result = CliRunner().invoke(main, [*options, "--json"])
    assert result.exit_code == 0, result.output
    errors = json.loads(result.stdout)["callers_errors"]
    assert [error["operation"] for error in errors] == [3, 4, 6, 8, 9, 10, 12]
    text = " ".join(CliRunner().invoke(main, options).output.split())
    assert f"{listed}:3, w 2 8): a free of 8 bytes into" in text


SCENARIO = "setup\n  a 1 4096 4 -\n  a 2 64 4 -\n  a 3 64 4 -\n  f 3\nactors\n  f 2\n  d 2\n  d 3\n"


@pytest.mark.parametrize("mode", ["matching", "commuting", "all"])
@pytest.mark.parametrize("cls", [Linux612, Refusing])
def test_explored_in_every_order(
    monkeypatch: pytest.MonkeyPatch, cls: type[Allocator], mode: Any
) -> None:
    monkeypatch.setitem(build.__globals__["VARIANTS"], "tried", cls)
    start = parse_scenario(Path("x.txt"), SCENARIO).start("tried")
    result = search(start, mode)
    assert not result.findings and result.complete
    become = "refused by the allocator" if cls is Refusing else "not carried out"
    assert result.callers_errors == {
        f"a second free of byte 4096 of chunk 0: {become}",
        f"a second free of byte 4160 of chunk 0: {become}",
    }
    assert bool(result.witnessed["API-2"]) is (cls is Refusing)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("setup\n  a 1 64 4 -\nactors\n  d 1\n", "a handle freed before"),
        ("actors\n  w 1 4\n", "a handle allocated before"),
    ],
)
def test_a_scenario_names_what_is_no_such_free(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_scenario(Path("x.txt"), text)


BROKEN = {
    "silent": ("refuse_free", "self.env.warnings += 1", "pass", "without a warning"),
    "asks for work": ("refuse_free", "self.env.warnings += 1",
                      "self.env.warnings += 1; self.schedule_balance_work()", "changed the state"),
    "marks a failure": ("refuse_free", "self.env.warnings += 1",
                        "self.env.warnings += 1; self.atomic_alloc_failed = True",
                        "changed the state"),
}  # fmt: skip
"""Refusals that are none, each caught by API-2 alone."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_refusal_that_is_none_is_a_breach(name: str) -> None:
    function, text, bug, said = BROKEN[name]
    bugged = type("Bugged", (plant(function, text, bug),), {"__slots__": (), "CHECKS_FREES": True})
    machine = machine_after(bugged, LINES[:6], strict=False)
    monitor = machine.allocator.monitor
    assert monitor is not None
    broken = monitor.violations.keys() - Linux612.EXPECTED.keys()
    assert broken == {"API-2"}
    assert said in monitor.violations["API-2"].first_message


def test_a_check_that_looks_at_one_map_alone_is_a_breach() -> None:
    text = "chunk.alloc_map[bit] and chunk.bound_map[bit]"
    bugged = type(
        "Bugged", (plant("is_start", text, "chunk.alloc_map[bit]"),),
        {"__slots__": (), "CHECKS_FREES": True},
    )  # fmt: skip
    monitor = machine_after(bugged, LINES[:3], strict=False).allocator.monitor
    assert monitor is not None and "API-2" in monitor.violations


@pytest.mark.parametrize("cls", [Linux612, Refusing])
def test_drawn_programs_have_them(monkeypatch: pytest.MonkeyPatch, cls: type[Allocator]) -> None:
    monkeypatch.setitem(build.__globals__["VARIANTS"], "tried", cls)
    fuzz = Fuzz("tried", EIGHT, seed=3, least=40, most=40)
    fuzz.run()
    assert fuzz.callers_errors > 5
    assert fuzz.findings.keys() <= cls.EXPECTED.keys()
    assert bool(fuzz.judged["API-2"])  # of other frees, too


# compiled code

CHECK = Bug(
    "a check", "pcpu_free_area", r"bit_off = off / PCPU_MIN_ALLOC_SIZE;",
    "bit_off = off / PCPU_MIN_ALLOC_SIZE; if (!test_bit(bit_off, chunk->alloc_map) || "
    "!test_bit(bit_off, chunk->bound_map)) return 0;",
)  # fmt: skip
REFUSE = Bug(
    "a refusal", "free_percpu", r"size = pcpu_free_area\(chunk, off\);",
    "size = pcpu_free_area(chunk, off); if (!size) { "
    "spin_unlock_irqrestore(&pcpu_lock, flags); WARN_ON_ONCE(1); return; }",
)  # fmt: skip
"""6.12 made to refuse as 7.0 does, in our own words; statistics are not compiled in."""

UNDONE = {
    "no warning": (r"WARN_ON_ONCE\(1\); return;", "return;", "without a warning"),
    "no check": (r"if \(!test_bit\(bit_off, chunk->alloc_map\) \|\|", "if (0 &&", "changed"),
    "a byte is lost": (
        r"chunk->bound_map\)\) return 0;",
        "chunk->bound_map)) { chunk->free_bytes -= 4; return 0; }", "changed the state",
    ),
}  # fmt: skip
"""Edits of the refusal: what stands there instead, and what API-2 says of it."""


def refusing(text: str) -> str:
    return seeded(seeded(text, CHECK), REFUSE)


def undone(name: str) -> Any:
    anchor, instead, _ = UNDONE[name]
    return lambda text: re.sub(anchor, instead, refusing(text), count=1)


@TREE
@pytest.mark.deep
def test_a_tree_that_refuses_is_compared_and_searched(tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", refusing)
    library = compile_tree(tree, tmp_path)
    model = probe(library)
    assert model.variant().CHECKS_FREES
    assert "a free that names no live area is refused (7.0, by backport)" in model.declared
    done = run_task(CaseTask(library, model, 1, False, schedules=40))
    assert done.differing_schedule is None
    done = run_task(CaseTask(library, model, 1, False, cases=4, operations=600))
    assert done.differing_case is None
    assert all(done.kinds[kind] for kind in "dws")
    plain = compile_tree(tree_of(FOUND[-1]), tmp_path)
    assert not probe(plain).variant().CHECKS_FREES
    done = run_task(CaseTask(plain, probe(plain), 1, False, cases=2, operations=600))
    assert done.differing_case is None and done.kinds["d"]


@TREE
@pytest.mark.deep
def test_a_search_asks_for_the_refusal(tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", refusing)
    assert CompiledTree(tree, tmp_path / "plain").refuses
    outcome = outcome_of(tree, tmp_path / "out", UNNAMED)
    assert outcome.complete and outcome.asked["API-2"]
    assert outcome.examples.keys() <= Linux612.EXPECTED.keys()
    unchanged = CompiledTree(tree_of(FOUND[-1]), tmp_path / "unchanged")
    assert not unchanged.refuses


@TREE
@pytest.mark.parametrize("name", deep_unless(lambda name: name == "no warning", UNDONE))
def test_an_edit_of_the_refusal_is_a_breach(name: str, tmp_path: Path) -> None:
    outcome = outcome_of(changed(tmp_path / "tree", undone(name)), tmp_path / "out", UNNAMED)
    example = outcome.examples["API-2"]
    assert UNDONE[name][2] in example.message
    assert example.trace.operations[-1][0] in "dw"
    assert example.length <= 3


@TREE
@pytest.mark.deep
def test_review_reports_what_a_patch_does_to_the_refusal(tmp_path: Path) -> None:
    base = changed(tmp_path / "tree", refusing)
    patched = undone("no warning")((tree_of(FOUND[-1]).top / SOURCE).read_text())
    patch = tmp_path / "p.patch"
    text = (base.top / SOURCE).read_text()
    lines = unified_diff(
        text.splitlines(True), patched.splitlines(True), f"a/{SOURCE}", f"b/{SOURCE}"
    )
    patch.write_text("".join(lines))
    options = ["review", "--source", str(base.top), "--search", "unnamed", "--json"]
    result = CliRunner().invoke(main, [*options, "--patch", str(patch)])
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["changes"]["new"] == ["API-2"]


@TREE
@pytest.mark.deep
def test_a_tree_without_a_refusal_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(SCENARIO)
    top = str(tree_of(FOUND[-1]).top)
    result = CliRunner().invoke(main, ["explore", str(path), "--source", top, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["callers_errors"] == ["d 2: not carried out", "d 3: not carried out"]
    assert not found["violations"] and found["complete"]


def test_handles_named_wrongly_are_callers_errors() -> None:
    machine = Driver(build(Linux612, EIGHT))
    with pytest.raises(HandleError):
        machine.apply(1, ("d", 1, 0, 0, False, 0))

"""The public API: `import percpu_spec as ps`, as its docstrings and README have it."""

from __future__ import annotations

import inspect
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import percpu_spec as ps
from percpu_contracts.contract import Level
from percpu_contracts.violations import ClauseViolation, MisuseError
from percpu_proofs import api, data
from percpu_proofs.api.model import AllocatorRun
from percpu_proofs.cli import main
from percpu_proofs.explain.lookup import UnknownWordError
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import VARIANTS, UnknownVariantError
from percpu_reference.variants.linux_7_1 import Linux71
from percpu_spec.catalogue import UnknownClauseError, clauses
from percpu_spec.geometry import Geometry

SMALL = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"


def filled(variant: str = "linux_7_1", **given: Any) -> AllocatorRun:
    """An allocator with one full chunk, one of empty pages beside a used one, and one sidelined."""
    made = ps.allocator(variant, geometry=SMALL, **given)
    areas = [made.alloc(4096) for _ in range(22)]
    for area in areas[7:19]:
        made.free(area)
    return made


def test_the_specification_forwards_and_imports_nothing() -> None:
    assert set(ps.__all__) <= set(dir(ps)) and set(ps.__all__) < set(api.__all__)
    assert all(getattr(ps, name) is getattr(api, name) for name in ps.__all__)
    with pytest.raises(AttributeError, match="no attribute 'alocator'"):
        ps.alocator  # type: ignore[attr-defined]  # noqa: B018
    text = "import sys, percpu_spec, percpu_spec.views; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert "percpu_proofs" not in done.stdout and "percpu_contracts" not in done.stdout


def test_everything_public_is_documented() -> None:
    for name in api.__all__:
        thing = getattr(api, name)
        assert inspect.getdoc(thing), name
        for method, value in vars(thing).items() if inspect.isclass(thing) else ():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{method}"


# an allocator


def test_an_allocator_is_driven_by_hand() -> None:
    made = ps.allocator("7.1", contracts="full", geometry=SMALL)
    area = made.alloc(4094, atomic=True)
    assert area is not None and (area.size, area.off % 8) == (4096, 0)
    assert repr(area) == "<area of 4096 bytes at byte 0 of chunk 0>"
    assert made.alloc(32768, atomic=True) is None
    made.free(area)
    made.free(None)
    made.run("a 1 64 64 AG; f 1").balance()
    assert (made.operations, made.variant, dict(made.violations)) == (7, "linux_7_1", {})
    assert "linux_7_1, after operation 7: all chunks" in repr(made)
    ElementTree.fromstring(made._repr_html_())


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ps.allocator("6.99"), UnknownVariantError, "6.19 is the last"),
        (lambda: ps.allocator(geometry="unit=5"), InputError, "geometry: expected sizes"),
        (lambda: ps.allocator(contracts="fats"), InputError, "one of off, fast, full"),
        (lambda: ps.allocator(7.1), InputError, "variant: expected"),
        (lambda: ps.allocator(geometry=5), InputError, "geometry: expected"),
        (lambda: ps.allocator().alloc(-1), InputError, "size: expected a number of bytes"),
        (lambda: ps.allocator().alloc(8, True), InputError, "align: expected a number"),
        (lambda: ps.allocator().free(12345678), InputError, "area: expected"),
        (lambda: ps.allocator().run(None), InputError, "operations: expected"),
        (lambda: ps.explain(None), InputError, "word: expected"),
        (lambda: ps.read_state(None), InputError, "what: expected"),
        (lambda: ps.review(7.1), InputError, "variants: expected"),
        (lambda: ps.allocator().alloc(8, flags="AX"), InputError, "flags: expected flags -"),
        (lambda: ps.allocator().run("a 1 8 8 -\nf 2"), ValueError, "operations:2: handle 2"),
        (lambda: ps.allocator().run("x"), InputError, "operations:1: expected an operation"),
        (lambda: ps.check(ps.allocator(), "HINT-55"), UnknownClauseError, "HINT-5"),
        (lambda: ps.check(ps.allocator(), ["L1"]), UnknownClauseError, "L1: no such clause"),
        (lambda: ps.check(ps.allocator(), []), InputError, "a list of ids"),
        (lambda: ps.check(ps.allocator(), [5]), InputError, "a list of ids"),
        (lambda: ps.check(3), InputError, "any AllocatorView"),
        (lambda: ps.draw(ps.allocator(), 9), InputError, "one of 0 -1"),
        (lambda: ps.read_state("612_4.bot"), InputError, "612_4.boot"),
        (lambda: ps.read_state("percpu_stats.txt"), InputError, "a readable file"),
        (lambda: ps.explain("flaot"), UnknownWordError, "no entry 'flaot'; near: float"),
        (lambda: ps.review(), InputError, "at least one variant"),
        (lambda: ps.review("7.1", searches=["crums"]), InputError, "searches: expected one of"),
        (lambda: ps.review(source="x", searches=["crums"]), InputError, "one of crumbs"),
        (lambda: ps.review(source="missing"), InputError, "missing"),
        (lambda: ps.review("7.1", source="x"), InputError, "not both"),
        (lambda: ps.review(patches=["x"]), InputError, "source="),
    ],
)
def test_what_is_wrong_is_said(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert says in str(raised.value)


@pytest.mark.parametrize("contracts", ["off", "fast", "full"])
@pytest.mark.parametrize("variant", ["linux_6_12", "linux_7_1"])
def test_a_wrong_free_is_the_callers_error(variant: str, contracts: Level) -> None:
    """A second free, also of a place that is another's now, and a free of another's area."""
    one, other = filled(variant, contracts=contracts), filled(variant, contracts=contracts)
    first = one.alloc(64)
    one.free(first)
    with pytest.raises(MisuseError, match="API-2: a free of <area"):
        one.free(first)
    second = one.alloc(64)
    assert first is not None and first == second
    for wrong in (first, other.alloc(64)):
        with pytest.raises(MisuseError, match="API-2: a free of <area"):
            one.free(wrong)
    one.free(second)
    undeclared = [v for run in (one, other) for v in run.violations.values() if not v.expected]
    assert not undeclared


def test_clauses_are_asked_by_any_spelling_and_several_at_once() -> None:
    made = ps.allocator()
    assert ps.check(made, "hint-5").clause == ps.check(made, "HINT_5").clause == "HINT-5"
    assert list(ps.check(made, ["HINT-5", "flt1"])) == ["HINT-5", "FLT-1"]
    assert ps.check(made)["hint5"].clause == "HINT-5"


def test_contracts_stop_what_a_variant_does_not_declare() -> None:
    class Wrong(Linux71):
        EXPECTED = Linux71.EXPECTED

        def update_empty_pages(self, chunk: Any, nr: int) -> None:
            super().update_empty_pages(chunk, 0)

        def clear_area(self, chunk: Any, off: int, size: int) -> int:
            return 1

    with pytest.raises(ClauseViolation):
        ps.allocator(Wrong, contracts="full").alloc(28672)
    lenient = ps.allocator(Wrong, contracts="full", strict=False)
    lenient.alloc(28672)
    verdicts = ps.check(lenient)
    assert not verdicts and verdicts.broken.keys() >= {"POP-1", "API-6"}
    assert verdicts["API-6"].reason == "by contracts, at 1 operation, first 1"
    assert not ps.check(lenient, "POP-1") and "broken" in repr(ps.check(lenient, "POP-1"))


# verdicts


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_judged(variant: str) -> None:
    made = filled(variant)
    made.balance()
    verdicts = ps.check(made)
    assert list(verdicts) == list(clauses()) and verdicts
    assert verdicts["FLT-1"].verdict in ("holds", "known")
    assert "MAP-2" in verdicts.holding and "speaks of operations" in verdicts.not_asked["API-1"]
    assert verdicts.known.keys() <= VARIANTS[variant].EXPECTED.keys()


def test_contracts_answer_for_operations() -> None:
    without, under = filled(), filled(contracts="full")
    assert ps.check(without, "API-4").verdict == "not asked"
    answer = ps.check(under, "API-4")
    assert answer and answer.reason == "asked 22 times by contracts"
    assert "not quiescent" in ps.check(under, "RCL-3").reason
    under.balance()
    assert ps.check(under, "RCL-3").verdict == "holds"


def test_a_plain_model_is_a_view_too() -> None:
    made = filled()
    assert dict(ps.check(made.allocator)) == dict(ps.check(made))
    assert ps.draw(made.allocator, 1).text == ps.draw(made, 1).text
    assert Geometry().with_changes(SMALL) == made.allocator.geometry


def test_a_kernels_state_is_judged_as_the_command_does() -> None:
    state = ps.read_state("612_4.removed60")
    printed = json.loads(CliRunner().invoke(main, ["state", "612_4.removed60", "--json"]).stdout)
    verdicts = ps.check(state)
    found = {name: v.verdict for name, v in verdicts.items()}
    assert found == {name: entry["verdict"] for name, entry in printed["clauses"].items()}
    assert list(verdicts.known) == ["HINT-5", "RCL-3"]
    assert verdicts["RCL-3"].found == ("a sidelined chunk keeps 2 empty populated pages",)
    assert state.release.startswith("6.12.117") and "80 pages" in repr(state)
    assert ps.check(state.allocator)["MAP-2"].verdict == "holds"


def test_drawings_are_text_and_svg(tmp_path: Path) -> None:
    for view, chunk in ((filled(), 1), (ps.read_state("61_2.removed"), 2)):
        whole, one = ps.draw(view), ps.draw(view, chunk)
        assert repr(one).startswith(f"chunk {chunk}") and "all chunks" in repr(whole)
        one.save(tmp_path / "one.svg")
        assert (tmp_path / "one.svg").read_text() == one._repr_html_()
        for drawing in (whole, one):
            assert ElementTree.fromstring(drawing.svg).tag.endswith("svg")


def test_a_meaning_is_what_the_command_prints() -> None:
    found = ps.explain("HINT-5")
    printed = CliRunner().invoke(main, ["explain", "HINT-5", "--json"]).stdout
    assert dict(found) == json.loads(printed) and found["id"] == "HINT-5"
    assert repr(found).startswith("HINT-5: The chunk's contig_hint is off by less than a page")
    assert "<b>HINT-5" in found._repr_html_() and "&gt;" in ps.explain("HINT-4")._repr_html_()


# the worked example


@pytest.mark.deep
def test_a_review_is_what_the_command_does() -> None:
    review = ps.review("linux_7_1", "reference", searches=["crumbs", "reclaim-frees"], jobs=1)
    assert review and review.partial and review["RCL-3"].verdict == "violated"
    assert review["reference", "RCL-3"].verdict == "holds"
    assert "linux_7_1 breaks RCL-3, as declared" in repr(review)
    assert [c.clause for c in review.broken] and review.changes == {"new": [], "mended": []}


@pytest.mark.deep
def test_the_worked_example_runs_to_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "percpu_proofs.data.example_api"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "linux_7_1 RCL-3 a sidelined chunk keeps 1 empty populated page" in done.stdout


def test_the_worked_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = data.folder("example_api.py")
    assert 35 <= len(path.read_text().split("\n")) <= 50
    runpy.run_path(str(path))["look"]()
    printed = capsys.readouterr().out
    for words in ("slot 16 to_depopulate", "RCL-3, Quiescent, reclaim has left nothing: not asked",
                  "atomic requests were served", "API-5, An atomic allocation only takes: holds",
                  "breaks what it is known for: HINT-5, RCL-3", "R1: Empty pages are left"):
        assert words in printed
    assert ElementTree.parse(tmp_path / "chunk7.svg").getroot().tag.endswith("svg")

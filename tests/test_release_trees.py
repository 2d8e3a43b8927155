"""Trees that do what another release does: which variant they choose, and that they equal it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from click.testing import CliRunner
from depth import deep_unless
from kernel_trees import FOUND, MISSING, run_task
from release_edits import (
    EDITS,
    EVERY_UNIT,
    INTERNAL,
    NO_SLEEP,
    NO_VECTOR,
    PRECHARGED,
    REFUSED,
    SOURCE,
    Change,
    chunk_end,
    edited,
    regions,
    replaced,
)

from percpu_proofs.cli import main
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.cases import Case, draw_case, run_case
from percpu_proofs.kernel.changes import counts_every_unit
from percpu_proofs.kernel.differential import CaseTask, Tally
from percpu_proofs.kernel.instance import BuildForm
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_reference import Allocator, build
from percpu_reference.chunk import Chunk
from percpu_reference.variants.linux_mm import LinuxMm
from percpu_spec.views import HINTS

hints_of = attrgetter(*HINTS)
pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
if not FOUND:
    warnings.warn(MISSING, stacklevel=1)


def compared(into: Path, *edits: Change) -> tuple[ModelVariant, Tally]:
    """Return the model that an edited tree chooses, and how the two compare."""
    library = compile_tree(edited(into / "tree", *edits), into, flags=("-O1",))
    model = probe(library)
    tally = run_task(CaseTask(library, model, 3, True, cases=2, operations=300))
    tally.add(run_task(CaseTask(library, model, 3, True, schedules=60)))
    return model, tally


@pytest.mark.parametrize(
    "name", deep_unless(lambda name: name == "linux_6_13", [*EDITS])
)
def test_a_tree_is_the_variant_whose_changes_it_has(name: str, tmp_path: Path) -> None:
    model, tally = compared(tmp_path, *EDITS[name])
    assert model.name == name
    assert model.declared == []
    assert not tally.differs, (tally.differing_case, tally.differing_schedule)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("name", "other"),
    [("linux_5_14", "linux_6_12"), ("linux_6_13", "linux_6_12"), ("linux_mm", "linux_7_1")],
)
def test_a_tree_differs_from_the_variant_before(name: str, other: str, tmp_path: Path) -> None:
    library = compile_tree(edited(tmp_path / "tree", *EDITS[name]), tmp_path, flags=("-O1",))
    model = probe(library, other)
    tally = Tally()
    for seed in range(12):
        if not tally.differs:
            tally.add(run_task(CaseTask(library, model, seed, False, cases=3, operations=500)))
    assert tally.differs


class EntersTheLongest(LinuxMm):
    """linux_mm that passes over runs which contig_hint is longer than, as before."""

    __slots__ = ()

    def next_md_free_region(self, chunk: Chunk, bit_off: int) -> tuple[int, int]:
        bit_off, bits = super().next_md_free_region(chunk, bit_off)
        while bits < chunk.chunk_md.contig_hint and bit_off + bits < chunk.map_bits:
            bit_off, bits = super().next_md_free_region(chunk, bit_off + bits + 1)
        return bit_off, bits


def _chunk_hints(variant: type[Allocator], case: Case) -> Iterator[list[tuple[int, ...]]]:
    machine = Driver(build(variant, case.geometry))
    for number, operation in enumerate(case.operations, 1):
        machine.apply(number, operation)
        yield [hints_of(chunk.chunk_md) for chunk in machine.allocator.chunks()]


@pytest.mark.deep
def test_linux_mm_enters_runs_of_any_length(tmp_path: Path) -> None:
    """Which shows where a promoted hint goes on behind its end: the tree says what is right."""
    cases = [draw_case(drawn(seed), BuildForm(), 1500) for seed in range(10, 20)]
    telling = [
        case
        for case in cases
        if any(ours != theirs for ours, theirs in zip(
            _chunk_hints(LinuxMm, case), _chunk_hints(EntersTheLongest, case), strict=True
        ))
    ]  # fmt: skip
    assert telling
    tree = edited(tmp_path / "tree", *EDITS["linux_mm"])
    library = compile_tree(tree, tmp_path, flags=("-O1",))
    assert all(run_case(library, case, probe(library)) is None for case in telling)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("edits", "name", "declared"),
    [
        (NO_SLEEP, "linux_5_17", []),
        (REFUSED, "linux_6_12", ["a free that names no live area is refused (7.0, by backport)"]),
        ((regions,), "linux_6_12", []),
        (
            (regions, chunk_end), "linux_6_12",
            ["the chunk is told where a run freed inside a block ends (L1) (mm 1/4, by backport)"],
        ),
    ],
    ids=["mainline 6.12", "refused", "regions", "L1"],
)  # fmt: skip
def test_backports_are_declared(
    edits: tuple[Change, ...], name: str, declared: list[str], tmp_path: Path
) -> None:
    model, tally = compared(tmp_path, *edits)
    assert (model.name, model.declared) == (name, declared)
    assert not tally.differs, (tally.differing_case, tally.differing_schedule)


def test_a_tree_behind_its_version_says_so(tmp_path: Path) -> None:
    tree = edited(tmp_path / "tree", NO_VECTOR)
    options = ["--backing", "vm", "--count", "300", "--jobs", "1", "--json"]
    result = CliRunner().invoke(main, ["conform", "kernel", "--source", str(tree.top), *options])
    found = json.loads(result.output)
    assert found["variant"] == "linux_5_14"
    assert found["declared_differences"] == [
        "requests without I/O may sleep (6.15, by backport)",
        "not as since 5.17, though this is " + tree.name + ": an accounted area pays for its part "
        "of the object vector",
    ]


HALF = replaced(INTERNAL, "extra_size += size /", "extra_size += size / 2 /")
"""An area pays for half of its part of the object vector: neither 5.16 nor 5.17."""


def test_a_tree_between_two_behaviours_is_bad_input(tmp_path: Path) -> None:
    tree = edited(tmp_path / "tree", HALF)
    with pytest.raises(InputError, match=r"a 1 32768 4 G: expected 65536 bytes charged as up to "):
        probe(compile_tree(tree, tmp_path, flags=("-O1",)))
    result = CliRunner().invoke(main, ["conform", "kernel", "--source", str(tree.top)])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "or 131072 as since 5.17 (an accounted area pays" in result.output
    assert "found '98304'" in result.output


@pytest.mark.deep
@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("!test_bit(bit_off, chunk->bound_map)", "a free into an area refused, a second free"),
        ("!test_bit(bit_off, chunk->alloc_map)", "a second free of an area refused, a free into"),
    ],
)
def test_a_tree_that_refuses_some_frees_alone_is_bad_input(
    test: str, said: str, tmp_path: Path
) -> None:
    some = replaced(SOURCE, "\t/* find end index */\n", f"\tif ({test})\n\t\treturn 0;\n")
    library = compile_tree(
        edited(tmp_path / "tree", some, REFUSED[1]), tmp_path, flags=("-O1",)
    )
    with pytest.raises(InputError, match=said):
        probe(library)


@pytest.mark.deep
def test_charges_of_whole_pages_and_counters_of_nodes_compile(tmp_path: Path) -> None:
    library = compile_tree(edited(tmp_path / "tree", *PRECHARGED), tmp_path, flags=("-O1",))
    model = probe(library)
    assert (model.name, model.declared) == ("linux_6_12", [])
    tally = run_task(CaseTask(library, model, 3, False, cases=2, operations=300))
    assert not tally.differs, tally.differing_case


def test_a_named_variant_is_taken_without_probes(tmp_path: Path) -> None:
    library = compile_tree(edited(tmp_path / "tree", HALF), tmp_path, flags=("-O1",))
    assert probe(library, "6.14").name == "linux_6_13"
    assert probe(library, "6.14").has is None
    assert probe(library, "6.14").declared == ["requests without I/O may sleep (6.15, by backport)"]


@pytest.mark.deep
def test_km_that_counts_every_unit_is_compared_on_one_cpu(tmp_path: Path) -> None:
    tree = edited(tmp_path / "tree", EVERY_UNIT)
    assert counts_every_unit(compile_tree(tree, tmp_path, BuildForm("km"), flags=("-O1",)))
    options = ["--backing", "km", "--count", "1200", "--jobs", "1", "--json"]  # of both forms
    result = CliRunner().invoke(main, ["conform", "kernel", "--source", str(tree.top), *options])
    found = json.loads(result.output)
    assert result.exit_code == found["mismatches"] == 0
    assert found["variant"] == "linux_6_12" and "(6.15); not: the float" in found["because"]
    assert any(said.startswith("km counts") for said in found["declared_differences"])

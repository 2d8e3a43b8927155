"""Probes of what a tree does: trees between two known behaviours are told, with what tells them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner
from depth import deep_unless
from kernel_trees import FOUND, MISSING, run_task, tree_of
from release_edits import (
    EDITS,
    KEPT_VECTOR,
    NO_SLEEP,
    NO_VECTOR,
    REFUSED,
    ROOT,
    SCOPE_WITHOUT_SLEEP,
    SLEEPS_WITH_IO,
    SLEEPS_WITHOUT_SCOPE,
    SOURCE,
    STARTS_OF_SET_HINTS,
    Change,
    chunk_end,
    edited,
    float_never_tested,
    float_tested_locked,
    float_tested_twice,
    hints_invariant,
    hints_that_stay,
    regions,
    replaced,
)

from percpu_proofs.cli import main
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.changes import CHANGES, SLEEPABLE, Value, on_model
from percpu_proofs.kernel.difference_report import moved_by
from percpu_proofs.kernel.differential import CaseTask
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.kernel.tree import MEMCONTROL, copy_tree, read_tree
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.state_record import Difference
from percpu_reference.chunk import Block
from percpu_reference.environment import Task as Asking
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants import Allocator, variant_class
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.linux_6_13 import Linux613
from percpu_reference.variants.linux_6_15 import Linux615
from percpu_reference.variants.linux_7_1 import Linux71
from percpu_reference.variants.linux_mm import LinuxMm, RegionHints

OF = {change.release: change for change in CHANGES}
HERE = Path("/some/tree")


def seen_of(release: str, variant: type[Allocator]) -> list[Value]:
    return [on_model(variant, one) for one in OF[release].probes]


# what the probes saw, alone


@pytest.mark.parametrize("release", OF)
def test_a_change_is_shown_by_some_of_its_probes(release: str) -> None:
    change = OF[release]
    old, new = (seen_of(release, variant_class(n)) for n in (change.before, change.since))
    assert old != new
    assert not change.judge(old) and change.judge(new)


@pytest.mark.parametrize("release", OF)
def test_probes_that_do_not_agree_are_told_with_the_tree(release: str) -> None:
    change = OF[release]
    old, new = (seen_of(release, variant_class(n)) for n in (change.before, change.since))
    mixed = set(product(*zip(old, new, strict=True))) - {tuple(old), tuple(new)}
    for found in mixed:
        with pytest.raises(InputError) as caught:
            change.judge(found, HERE)
        said = str(caught.value)
        assert said.startswith(f"{HERE}: a tree between two known behaviours, after ")
        lacks = next(n for n, f in enumerate(found) if f == old[n] != new[n])
        assert f"after {change.probes[lacks].text}: expected {new[lacks]} " in said
        assert f"as since {release} ({change.what}), which it shows after" in said
        assert said.endswith(f"found '{found[lacks]}'")


@pytest.mark.parametrize("release", OF)
def test_a_number_of_no_release_is_told(release: str) -> None:
    change = OF[release]
    old, new = (seen_of(release, variant_class(n)) for n in (change.before, change.since))
    for at, number in product(range(len(new)), (old, new)):
        found = [*number]
        found[at] = 77
        with pytest.raises(InputError, match=r"found '77'$") as caught:
            change.judge(found, HERE)
        assert f"after {change.probes[at].text}: expected {old[at]} " in str(caught.value)


class FloatTestedTwice(Linux613):
    """6.13 half applied: both tests."""

    __slots__ = ()

    def schedule_balance_work(self) -> None:
        super().schedule_balance_work()
        super().schedule_balance_work()


class NoScope(Linux615):
    """6.15 without the scope of the work."""

    __slots__ = ()

    WORK: ClassVar[Asking] = UNLIMITED_WORK


class RunsApart(LinuxMm):
    """linux-mm, 4/4 in part: no run is entered with the hints that it meets."""

    __slots__ = ()

    def block_update(self, block: Block, start: int, end: int) -> None:
        block.first_free = min(block.first_free, start)
        block.left_free = end if start == 0 else block.left_free
        block.right_free = end - start if end == block.nr_bits else block.right_free
        self.enter_apart(block, start, end - start)


class RunsMet(LinuxMm):
    """linux-mm, 4/4 in part: runs that meet no hint are entered as before."""

    __slots__ = ()

    def enter_apart(self, block: Block, start: int, size: int) -> None:
        super(RegionHints, self).block_update(block, start, start + size)


@pytest.mark.parametrize(
    ("release", "variant"),
    [("6.13", FloatTestedTwice), (SLEEPABLE, NoScope), ("mm 4/4", RunsApart), ("mm 4/4", RunsMet)],
)
def test_a_model_with_a_part_of_a_change_is_between(
    release: str, variant: type[Allocator]
) -> None:
    with pytest.raises(InputError, match="between two known behaviours"):
        OF[release].judge(seen_of(release, variant))


@pytest.mark.parametrize(
    ("base", "mixin", "shown"),
    [(Linux71, ChunkRelativeEnd, {"mm 1/4"}), (Linux71, RegionHints, {"mm 4/4"})],
)
def test_one_patch_of_a_series_alone_is_known(
    base: type[Allocator], mixin: type, shown: set[str]
) -> None:
    alone = type("Alone", (mixin, base), {"__slots__": ()})
    assert {r for r in ("mm 1/4", "mm 4/4") if OF[r].judge(seen_of(r, alone))} == shown


# a difference of the comparison names the change that moved what differs


@pytest.mark.parametrize(
    ("field", "name", "said"),
    [
        ("x.nsched", "linux_6_13", "6.13 changed it (the float is tested as soon as an area is "
         "found, before its pages are populated); the model is as since that"),
        ("x.nsched", "linux_5_17", "the model is as before that"),
        ("x.charged", "linux_5_14", "5.17 changed it"),
        ("chunks[0].blk[1]", "linux_mm", "mm 4/4 changed it"),
    ],
)
def test_a_difference_names_the_change_that_moved_it(field: str, name: str, said: str) -> None:
    assert any(said in one for one in moved_by(Difference(field, 1, 2), ModelVariant(name)))


def test_a_difference_that_no_release_moved_names_none() -> None:
    assert moved_by(Difference("slots[3]", 1, 2), ModelVariant("linux_7_1")) == []


# compiled trees

TREE = pytest.mark.skipif(not FOUND, reason=MISSING)
BETWEEN: dict[str, tuple[tuple[Change, ...], str]] = {
    "6.13 tested twice": (
        (float_tested_twice,), "a 1 28672 4 -: expected 1 requests for balance work as before and",
    ),
    "6.13 never tested": (
        (float_never_tested,), "a 1 28672 4 -: expected 1 requests for balance work as before and",
    ),
    "7.1 without a test": ((float_never_tested, *REFUSED, ROOT), "found '0'"),
    "6.15 without the scope": (SLEEPS_WITHOUT_SCOPE, "expected 0 kinds of requests of the balance"),
    "6.15 the scope alone": (SCOPE_WITHOUT_SLEEP, "expected 1 such requests served, as since 6.15"),
    "6.15 file systems alone": ((SLEEPS_WITH_IO,), "such requests served"),
    "5.17 kept at a free": ((KEPT_VECTOR,), "a 1 32768 4 G; f 1: expected 0 bytes charged"),
    "mm 4/4 in part": ((regions, hints_that_stay), "as contig_hint and scan_hint of block 0"),
}  # fmt: skip
"""Edits of 6.12.117 that have a part of a change, and what is said of them."""


@TREE
@pytest.mark.parametrize("name", deep_unless(lambda n: n.endswith("twice"), BETWEEN))
def test_a_tree_with_a_part_of_a_change_is_told(name: str, tmp_path: Path) -> None:
    edits, said = BETWEEN[name]
    tree = edited(tmp_path / "tree", *edits)
    with pytest.raises(InputError) as caught:
        probe(compile_tree(tree, tmp_path, flags=("-O1",)))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tree.top}: a tree between two known behaviours")


@TREE
@pytest.mark.deep
def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    tree = edited(tmp_path / "tree", float_never_tested)
    result = CliRunner().invoke(main, ["conform", "kernel", "--source", str(tree.top)])
    assert result.exit_code == 2, result.output
    assert str(tree.top) in result.stderr and result.stderr.count("\n") == 1


@TREE
@pytest.mark.deep
def test_a_search_takes_such_a_tree_by_its_version(tmp_path: Path) -> None:
    tree = edited(tmp_path / "tree", float_never_tested)
    searched = CompiledTree(tree, tmp_path / "out")
    assert searched.model.name == "linux_6_12"
    assert searched.between.startswith(f"by its version alone; {tree.top}: a tree between two")


ALONE: dict[str, tuple[tuple[Change, ...], str, set[str]]] = {
    "5.17 reverted": ((NO_VECTOR,), "linux_5_14", set()),
    "6.13 on 5.17": ((float_tested_locked, *NO_SLEEP), "linux_6_13", set()),
    "7.0 on 5.17": ((*NO_SLEEP, *REFUSED), "linux_5_17", {"7.0"}),
    "7.1 on 5.17": ((*NO_SLEEP, ROOT), "linux_5_17", {"7.1"}),
    "mm 2/4 on 6.12": (STARTS_OF_SET_HINTS, "linux_6_12", set()),  # which no state shows
    "mm 1/4 on 6.12": ((regions, chunk_end), "linux_6_12", {"mm 1/4"}),
    "mm 4/4 on 6.12": ((regions, hints_invariant), "linux_6_12", {"mm 4/4"}),
    "7.1 without 5.17": (
        (*EDITS["linux_7_1"], NO_VECTOR), "linux_5_14", {"6.13", "7.0", "7.1"},
    ),
    "7.1 without 6.13": ((*REFUSED, ROOT), "linux_6_12", {"7.0", "7.1"}),
    "7.1 without 6.15": ((*EDITS["linux_7_1"], *NO_SLEEP), "linux_6_13", {"7.0", "7.1"}),
    "7.1 without 7.0": ((float_tested_locked, ROOT), "linux_6_15", {"7.1"}),
    "linux-mm without 1/4": (
        tuple(e for e in EDITS["linux_mm"] if e is not chunk_end), "linux_7_1", {"mm 4/4"},
    ),
}  # fmt: skip
"""Each change alone on another tree, or taken back: the variant, and what is more than it."""


@TREE
@pytest.mark.deep
@pytest.mark.parametrize("name", ALONE)
def test_one_change_more_or_less_is_a_backport(name: str, tmp_path: Path) -> None:
    edits, variant, more = ALONE[name]
    library = compile_tree(edited(tmp_path / "tree", *edits), tmp_path, flags=("-O1",))
    model = probe(library)
    assert (model.name, set(model.backports)) == (variant, more)
    tally = run_task(CaseTask(library, model, 3, True, cases=1, operations=300))
    tally.add(run_task(CaseTask(library, model, 3, True, schedules=20)))
    assert not tally.differs, (tally.differing_case, tally.differing_schedule)


# what the rest of the kernel gives a task of the root group


def with_header(into: Path, text: str) -> Path:
    copy_tree(tree_of(FOUND[-1]), into)
    (into / MEMCONTROL).write_text(text)
    return into


@TREE
def test_the_trees_own_header_tells_of_the_root_group(tmp_path: Path) -> None:
    plain = read_tree(with_header(tmp_path / "plain", "struct obj_cgroup;\n"))
    assert not plain.root_objcg
    assert plain.root_group == (
        f"the stubs give its tasks no object cgroup: {MEMCONTROL} lacks obj_cgroup_is_root"
    )
    given = read_tree(with_header(tmp_path / "given", "bool obj_cgroup_is_root(void);\n"))
    assert given.root_objcg
    (tmp_path / "given" / MEMCONTROL).unlink()
    without = read_tree(tmp_path / "given")
    assert not without.root_objcg
    assert f"{SOURCE} lacks obj_cgroup_is_root; the tree has no {MEMCONTROL}" in without.root_group


@TREE
@pytest.mark.deep
def test_a_tree_that_lets_the_root_group_pay_is_between(tmp_path: Path) -> None:
    given = read_tree(with_header(tmp_path / "given", "bool obj_cgroup_is_root(void);\n"))
    library = compile_tree(given, tmp_path, flags=("-O1",))
    with pytest.raises(InputError, match="U 0; a 1 32768 4 G: expected 0 bytes charged, as since"):
        probe(library)


@TREE
@pytest.mark.deep
@pytest.mark.parametrize("header", ["struct obj_cgroup;\n", "bool obj_cgroup_is_root(void);\n"])
def test_whether_the_root_group_pays_is_tried(header: str, tmp_path: Path) -> None:
    """By another name too: the probe looks at what is charged, not at the text."""
    top = edited(tmp_path / "tree", ROOT, replaced(
        SOURCE, "obj_cgroup_is_root(objcg)", "!percpu_environment.has_objcg"
    )).top  # fmt: skip
    (top / MEMCONTROL).write_text(header)
    model = probe(compile_tree(read_tree(top), tmp_path, flags=("-O1",)))
    assert model.backports == {"7.1"}

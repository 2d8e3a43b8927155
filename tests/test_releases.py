"""The kernel's releases: which variant stands for which, and what each does that others do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from percpu_contracts.whole_state import WholeState
from percpu_proofs.cli import main
from percpu_proofs.explain.lookup import explain
from percpu_proofs.explain.names import stand_in_note
from percpu_proofs.kernel.cases import draw_case
from percpu_proofs.kernel.changes import CHANGES, HAS, SLEEPABLE, WORDS, nearest, with_changes
from percpu_proofs.kernel.instance import USUAL
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.sizes import geometry_with
from percpu_reference import build
from percpu_reference.variants import (
    RELEASES,
    SINCE,
    STABLE,
    UnknownVariantError,
    of_release,
    variant_class,
    variant_name,
)
from percpu_reference.variants.fixes import RightEdgeKept
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.linux_mm import LinuxMm
from percpu_reference.variants.reference import with_fixes
from percpu_spec import releases as written
from percpu_spec.catalogue import REFINE, findings
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NOFS

SMALL = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2, memcg=True)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("5.10", "linux_5_12"), ("5.13.19", "linux_5_12"), ("5.14", "linux_5_14"),
        ("5.16.10", "linux_5_14"), ("5.17", "linux_5_17"), ("5.19.17", "linux_5_17"),
        ("6.1", "linux_5_17"), ("6.1.158", "linux_5_17"), ("6.1.159", "linux_6_12"),
        ("6.1.192", "linux_6_12"), ("6.6.116", "linux_5_17"), ("6.6.117", "linux_6_12"),
        ("6.8.12", "linux_5_17"), ("6.11", "linux_5_17"), ("6.12", "linux_6_12"),
        ("6.12.0", "linux_5_17"), ("6.12.58", "linux_5_17"), ("6.12.59", "linux_6_12"),
        ("6.12.117", "linux_6_12"), ("6.13", "linux_6_13"), ("6.14.3", "linux_6_13"),
        ("6.15", "linux_6_15"), ("6.19", "linux_6_15"), ("7.0", "linux_7_0"),
        ("7.1.5", "linux_7_1"), ("8.3", "linux_7_1"),
    ],
)  # fmt: skip
def test_a_release_is_the_newest_variant_that_is_not_newer(release: str, name: str) -> None:
    assert variant_name(release) == of_release(release + "-cloud") == name
    assert variant_class(release) is variant_class(name)


def test_a_release_that_is_newer_than_all_is_told_once() -> None:
    said = "9.9 is newer than what is known (7.1); linux_7_1 stands in for it"
    assert said in explain("9.9")["says"]
    assert stand_in_note("7.1.9") == stand_in_note("9.9.py") == ""


@pytest.mark.parametrize("release", ["5.2", "4.19.3", "3.0"])
def test_a_release_before_all_variants_is_refused(release: str) -> None:
    assert of_release(release) == ""
    with pytest.raises(UnknownVariantError, match=f"'{release}': expected a release from 5.9 on"):
        variant_class(release)


@pytest.mark.parametrize("release", ["v6.14", "6.14-rc3", "6.14.0-12-generic", "6.13.7"])
def test_a_release_may_be_written_as_kernels_print_it(release: str) -> None:
    assert variant_name(release) == "linux_6_13"


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.12-rc3", "linux_5_17"), ("v6.12-rc7", "linux_5_17"), ("6.12+", "linux_6_12"),
        ("6.1.0-32-cloud-amd64", "linux_6_12"),  # of Debian, which does not tell the third number
        ("6.12.117+deb13-cloud-amd64", "linux_6_12"), ("6.6.87.2-microsoft", "linux_5_17"),
        ("6.8.0-45-generic", "linux_5_17"),
    ],
)  # fmt: skip
def test_a_stable_tree_is_told_by_its_third_number(release: str, name: str) -> None:
    assert variant_name(release) == of_release(release) == name


@pytest.mark.parametrize("release", ["6.20", "5.20", "06.14", "6.014", "6.\u0661\u0664", ""])
def test_a_release_that_never_was_is_refused(release: str) -> None:
    result = CliRunner().invoke(main, ["explore", "reuse", "--variant", release])
    assert result.exit_code == 2
    assert f"variant {release!r}: expected" in result.stderr


@pytest.mark.parametrize(
    ("asked", "said"),
    [("page=0", "0"), ("page=-4096", "-4096"), ("page=4097", "4097"), ("page=96K", "98304")],
)
def test_a_page_that_no_kernel_has_is_refused(asked: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.ops").write_text("a 1 64 4 -\n")
    result = CliRunner().invoke(main, ["run", str(tmp_path / "a.ops"), "--geometry", asked])
    assert result.exit_code == 2
    assert f"page={said}: expected one of 4096, 8192, " in result.stderr


@pytest.mark.parametrize("page", [8192, 16384, 65536])
def test_the_first_chunk_fills_pages_of_the_size_asked_for(page: int) -> None:
    sized = geometry_with(f"page={page}", Geometry())
    assert (sized.static + sized.reserved + sized.dyn) % page == 0
    assert geometry_with(f"page={page},dyn=20480", Geometry(unit=262144)).dyn == 20480


def test_every_variant_of_a_release_is_known_and_dated() -> None:
    assert {*RELEASES} - {"linux_mm"} == {*SINCE} - {"linux_5_12", "linux_6_12"}
    assert [*SINCE.values()] == sorted(SINCE.values())
    assert {*HAS} == {*RELEASES, "linux_6_12"}
    assert all(change.release in WORDS for change in CHANGES)
    for name, cls in RELEASES.items():
        assert name in (cls.__module__.rpartition(".")[2])


# what tells one release from the next


def after(name: str, *lines: str) -> Driver:
    machine = Driver(build(variant_class(name), SMALL, contracts="full"))
    for number, operation in enumerate(parse_operations(Path("x"), lines).operations, 1):
        machine.apply(number, operation)
    return machine


@pytest.mark.parametrize("name", HAS)
def test_an_area_pays_for_its_vector_from_5_17(name: str) -> None:
    vector = 8 * 32768 // 4 if "5.17" in HAS[name] else 0
    assert after(name, "a 1 32768 4 G").allocator.env.charged == 2 * 32768 + vector


@pytest.mark.parametrize("name", HAS)
def test_work_is_asked_for_before_population_from_6_13(name: str) -> None:
    early = "6.13" in HAS[name]
    # a whole new chunk: 7 pages float, 8 are owed until they are there
    assert after(name, "a 1 32768 4 -").allocator.env.balance_requests == early
    # and where the float is low at the end, all ask
    assert after(name, "a 1 28672 4 -").allocator.env.balance_requests == 1


@pytest.mark.parametrize("name", HAS)
def test_requests_without_io_sleep_from_6_15_and_by_backport(name: str) -> None:
    sleeps = SLEEPABLE in HAS[name]
    assert sleeps == (name not in ("linux_5_14", "linux_5_17", "linux_6_13"))
    allocator = after(name, "a 1 28672 4 -").allocator
    area = allocator.alloc(8192, 4, gfp=NOFS)
    assert (area is not None) == sleeps
    assert allocator.alloc(8192, 4, gfp=KERNEL) is not None


@pytest.mark.parametrize("name", HAS)
def test_wrong_frees_are_refused_from_7_0(name: str) -> None:
    assert ("7.0" in HAS[name]) == variant_class(name).CHECKS_FREES


@pytest.mark.parametrize("name", HAS)
def test_a_task_of_the_root_group_pays_nothing(name: str) -> None:
    assert after(name, "U 0", "a 1 32768 4 G").allocator.env.charged == 0


@pytest.mark.parametrize("name", HAS)
def test_a_run_freed_inside_a_block_reaches_the_chunk_in_linux_mm(name: str) -> None:
    lines = "a 1 4096 4 -", "a 2 2048 4 -", "a 3 2048 4 -", "a 4 20480 4 -", "f 3"
    chunk = after(name, *lines).allocator.first_chunk
    assert chunk.chunk_md.contig_hint == (512 if name == "linux_mm" else 0)


# the hints of linux-mm


@pytest.mark.parametrize("name", ["linux_6_12", "linux_mm"])
def test_an_equal_run_before_contig_hint_is_no_scan_hint_in_linux_mm(name: str) -> None:
    eighths = tuple(f"a {n} 512 4 -" for n in range(1, 9))
    block = after(name, *eighths, "f 5", "f 3").allocator.first_chunk.md_blocks[0]
    assert (block.contig_hint, block.contig_hint_start) == (128, 512)
    assert block.scan_hint == (0 if name == "linux_mm" else 128)


@pytest.mark.parametrize(
    ("freed", "hints"),
    [
        ((5, 7, 6), (384, 512, 0)),  # a run that closes a gap takes both hints in
        ((3, 5, 7), (128, 512, 128)),  # the farther of equal runs is scan_hint
        ((2, 5, 4), (256, 384, 0)),  # contig_hint grows to its left
        ((3, 4, 5, 7), (384, 256, 0)),
    ],
)
def test_a_run_is_entered_with_the_hints_that_it_meets(
    freed: tuple[int, ...], hints: tuple[int, int, int]
) -> None:
    eighths = tuple(f"a {n} 512 4 -" for n in range(1, 9))
    machine = after("linux_mm", *eighths, *(f"f {n}" for n in freed))
    block = machine.allocator.first_chunk.md_blocks[0]
    assert (block.contig_hint, block.contig_hint_start, block.scan_hint)[: len(hints)] == hints


def broken(cls: type, seeds: range) -> set[str]:
    found: set[str] = set()
    for seed in seeds:
        case = draw_case(drawn(f"release {seed}"), USUAL, 300)
        machine = Driver(build(cls, case.geometry))
        whole = WholeState(cls.NOT_APPLICABLE)
        for number, operation in enumerate(case.operations, 1):
            machine.apply(number, operation)
            allocator = machine.allocator
            found |= {c for c, _ in whole.broken(allocator, quiescent=allocator.quiescent)}
    return found


def test_hints_of_linux_mm_keep_their_order() -> None:
    seen = broken(LinuxMm, range(8))
    assert "HINT-4" in broken(Linux612, range(8))  # the draws reach what tells the two apart
    assert seen <= set(LinuxMm.EXPECTED) and "HINT-4" not in seen


@pytest.mark.deep
def test_right_edges_are_what_linux_mm_lacks_of_exact_hints() -> None:
    fixed = broken(with_fixes(RightEdgeKept, base=LinuxMm), range(40))
    assert not {c for c in fixed if c.startswith("HINT")}
    assert "HINT-3" in broken(LinuxMm, range(40))


@pytest.mark.parametrize("name", [n for n in HAS if n != "linux_6_12"])
def test_a_variant_of_a_release_holds_its_contracts(name: str) -> None:
    cls = variant_class(name)
    for seed in range(2):
        case = draw_case(drawn(f"{name} {seed}"), USUAL, 120)
        machine = Driver(build(cls, case.geometry, contracts="full"))
        for number, operation in enumerate(case.operations, 1):
            machine.apply(number, operation)  # raises for what is not declared


# which changes make which variant


@pytest.mark.parametrize("name", HAS)
def test_a_kernel_with_a_variants_changes_is_that_variant(name: str) -> None:
    assert nearest(HAS[name]) == name


@pytest.mark.parametrize(
    ("found", "name", "later"),
    [
        ({"5.17"}, "linux_5_17", set()),  # mainline 6.12, without the backport
        ({"5.17", SLEEPABLE}, "linux_6_12", set()),
        ({SLEEPABLE}, "linux_5_14", set()),
        ({"5.17", "7.0"}, "linux_5_17", {"7.0"}),
        ({"5.17", SLEEPABLE, "7.0"}, "linux_6_12", {"7.0"}),
        ({"5.17", "6.13", "7.0", "7.1"}, "linux_6_13", {"7.0", "7.1"}),  # 7.1 without 6.15
        ({"5.17", SLEEPABLE, "7.0", "7.1"}, "linux_6_12", {"7.0", "7.1"}),  # without 6.13
        ({"6.13", SLEEPABLE, "7.0", "7.1"}, "linux_5_14", {"6.13", "7.0", "7.1"}),
        ({"5.17", "6.13", "mm 1/4"}, "linux_6_13", {"mm 1/4"}),
        ({"6.13", SLEEPABLE}, "linux_5_14", {"6.13"}),
    ],
)
def test_later_changes_are_backports(found: set[str], name: str, later: set[str]) -> None:
    assert nearest(frozenset(found)) == name
    assert found - HAS[name] - {SLEEPABLE} == later
    model = ModelVariant(name, noio_sleeps=SLEEPABLE in found, backports=frozenset(later))
    cls = model.variant()
    assert ("5.17" in found) == cls.CHARGES_VECTOR
    assert ("6.13" in found) == cls.TESTS_FLOAT_LOCKED
    assert ("7.0" in found) == cls.CHECKS_FREES
    assert cls.is_atomic(cls.__new__(cls), NOFS) == (SLEEPABLE not in found)
    assert all(any(f"({r}, by backport)" in said for said in model.declared) for r in later)


def test_a_class_without_more_changes_is_itself() -> None:
    assert with_changes(Linux612, frozenset()) is Linux612
    assert ModelVariant("linux_6_13", noio_sleeps=False).variant() is variant_class("6.13")
    assert ModelVariant("linux_6_13", noio_sleeps=False).declared == []


# what is written down of them


def test_the_table_of_releases_says_what_the_variants_declare() -> None:
    assert [release.variant for release in written.RELEASES] == [*HAS]
    for release in written.RELEASES:
        assert release.breaks.keys() == variant_class(release.variant).EXPECTED.keys()


def test_what_a_release_mends_is_what_its_variant_no_longer_breaks() -> None:
    known = {name for name in findings() if name != REFINE}
    for release in written.RELEASES:
        reasons = ", ".join(variant_class(release.variant).EXPECTED.values())
        assert set(release.mends) == known - set(re.findall(r"\b[LR]\d\b", reasons))


def test_stable_trees_are_said_to_have_what_their_releases_have() -> None:
    first = ", ".join(f"{a}.{b}.{STABLE[a, b]}" for a, b in sorted(STABLE))
    assert first == written.BACKPORTED
    for release in written.RELEASES:
        assert (release.stable == written.BACKPORTED) == ("9a5b183941b5" in release.commit)
        assert re.fullmatch(r"[0-9a-f]{12}, .*", release.commit)


def test_the_guide_has_the_table_of_releases() -> None:
    readme = (Path(__file__).parents[1] / "proofs/guide/releases.md").read_text("utf-8")
    assert written.table() in readme
    assert written.KM in readme


def test_a_clause_is_explained_by_release() -> None:
    rows = explain("HINT-4")["by_release"]
    assert [row["variant"] for row in rows if row["breaks it"] == "no"] == ["linux_mm"]
    assert len(rows) == len(HAS)
    assert [row["mended"] for row in explain("HINT-5")["by_release"]][-2:] == ["", "L1, L4, L5"]
    trees = [row["searched tree"] for row in explain("HINT-5")["by_release"]]
    assert all(re.search(r" [0-9a-f]{12}|Debian's linux-source", tree) for tree in trees)
    assert explain("MAP-1")["by_release"] == []


@pytest.mark.parametrize(
    ("word", "variant", "said"),
    [
        ("6.14", "linux_6_13", "807655a3f611"), ("linux_6_13", "linux_6_13", "807655a3f611"),
        ("linux-mm", "linux_mm", "5ac0e55d0f19"), ("7.1.5", "linux_7_1", "d5aa8c1d136e"),
        ("6.6.117", "linux_6_12", "9a5b183941b5"), ("v5.19", "linux_5_17", "8c57c07741bf"),
    ],
)
def test_a_release_is_explained(word: str, variant: str, said: str) -> None:
    found = explain(word)
    assert variant in found["id"] and said in found["brought"]
    row = next(one for one in written.RELEASES if one.variant == variant)
    assert found["searched"] == row.searched and found["backports"] == row.stable
    after = {line["clause"]: line["after"] for line in found["breaks"]}
    assert after == {clause: f"{n} operations" for clause, n in row.breaks.items()}
    text = CliRunner().invoke(main, ["explain", word]).output
    assert said in text and "searched tree" in text


@pytest.mark.parametrize(
    "word", [*HAS, *(name.replace("_", "-") for name in HAS), "rfc-1", "linux_6-12"]
)
def test_a_name_may_be_written_with_hyphens(word: str) -> None:
    name = word.replace("-", "_")
    assert variant_name(word) == name and variant_class(word) is variant_class(name)
    assert variant_class(f"{word}+R1").__name__ == variant_class(f"{name}+R1").__name__
    for other in (f"{word}.py", "6.12.py", "6.12-mine.py", "lin-ux"):
        assert variant_name(other) == other


BARE = [f"{major}.{minor}" for major, minor in {*SINCE.values(), *STABLE, (6, 18), (8, 2)}]


@pytest.mark.parametrize("word", [*BARE, "v6.12", "6.12+", "6.12-rc1", "6.12.59", "linux_6_12"])
def test_a_bare_number_is_mainlines_or_it_is_said(word: str, tmp_path: Path) -> None:
    taken = word in ("6.12", "v6.12", "6.12+")
    said = (
        f"{word} alone is taken for linux_6_12 (6.1.159, 6.6.117, 6.12.59 and later of each): "
        "mainline's is 6.12.0, linux_5_17"
    )
    newer = "8.2 is newer than what is known (7.1); linux_7_1 stands in for it"
    if word in BARE and not taken:
        assert variant_name(word) == variant_name(f"{word}.0")
    assert (said in explain(word)["says"]) is taken
    assert ("mainline's is" in explain(word)["says"]) is taken
    listed = tmp_path / "x.ops"
    listed.write_text("a 1 64 8 -\n")
    for options, tells in (([], True), (["--json"], False)):
        result = CliRunner().invoke(main, ["run", str(listed), "--variant", word, *options])
        assert result.exit_code == 0, result.output
        told = said if taken else newer if word == "8.2" else ""
        assert result.stderr == (f"{told}\n" if told and tells else "")


def test_a_note_on_variants_is_told_once() -> None:
    given = ["--variant", "9.9", "--variant", "9.9", "--clause", "no-such"]
    assert CliRunner().invoke(main, ["review", *given]).stderr.count("9.9 is newer than") == 1


def test_of_several_variants_each_is_told_once() -> None:
    result = CliRunner().invoke(
        main, ["review", "--variant", "6.12", "--variant", "6.1", "--clause", "no-such"]
    )
    assert result.stderr.count("alone is taken for linux_6_12") == 1


@pytest.mark.parametrize("word", ["5.10", "reference", "rfc_1"])
def test_a_variant_of_no_row_is_explained_without_one(word: str) -> None:
    found = explain(word)
    assert "searched" not in found and found["title"]
    assert [line["clause"] for line in found["breaks"]] == [*variant_class(word).EXPECTED]


@pytest.mark.parametrize("word", ["5.2", "6.20", "linux_6_14", "linux-mn"])
def test_a_release_that_there_is_not_names_what_there_is(word: str) -> None:
    result = CliRunner().invoke(main, ["explain", word])
    assert result.exit_code == 2 and f"'{word}'" in result.stderr
    assert "release" in result.stderr or "linux_" in result.stderr


def test_a_finding_says_which_release_mends_it() -> None:
    assert explain("L4")["mended_in"] == "linux-mm, May 2026"
    assert explain("R1")["mended_in"] == "no release up to 7.1"


def test_trees_of_every_variant_were_compared() -> None:
    assert {*written.COMPARED.values()} == {*HAS}
    for tree, variant in written.COMPARED.items():
        assert (of_release(tree.split()[0]) or "linux_mm") == variant

"""`beside`: which steps C code has, which of them are the model's, and how both are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING, PATCHES, tree_of

from percpu_proofs.beside.alignment import align
from percpu_proofs.beside.comparison import (
    Comparison,
    ComparisonSources,
    compare,
    compare_all,
    texts_of,
)
from percpu_proofs.beside.kernel_code import functions
from percpu_proofs.beside.model_code import steps
from percpu_proofs.beside.pages import html_fragment, lines_of, page
from percpu_proofs.cli import main
from percpu_proofs.run.inputs import InputError
from percpu_reference.kernel_names import FILES, model_name
from percpu_reference.variants import MERGED, variant_class

OWN = Path(__file__).with_name("c") / "beside.c"
LINUX = variant_class(MERGED)
ARCHIVE = next((path for path in FOUND if "6.12" in path.name), None)
needs_tree = pytest.mark.skipif(ARCHIVE is None, reason=MISSING)


def own(variant: str = MERGED) -> ComparisonSources:
    return ComparisonSources(
        "0.1", {"mm/percpu.c": OWN.read_text()}, variant_class(variant), variant
    )


@cache
def linux() -> ComparisonSources:
    assert ARCHIVE is not None
    tree = tree_of(ARCHIVE)
    return ComparisonSources(tree.name, texts_of(tree), LINUX, MERGED)


def code(one: Comparison, words: str) -> tuple[str, bool]:
    """Return the model's lines beside a line of the kernel's, and whether they are aligned."""
    for pair in one.pairs:
        if any(words in line.text for line in pair.kernel):
            return " ".join(line.text.strip() for line in pair.model), pair.aligned
    raise AssertionError(words)


def test_the_functions_of_a_file_are_found_whatever_stands_around_them() -> None:
    assert list(functions(OWN.read_text())) == [
        "pcpu_shape_with_branches", "pcpu_twice", "pcpu_stub", "pcpu_reintegrate_chunk",
        "free_percpu", "pcpu_update_empty_pages",
    ]  # fmt: skip


def test_a_step_is_a_statement_or_the_head_of_one_and_a_jump_belongs_to_the_one_before() -> None:
    text = OWN.read_text()
    lines = text.split("\n")
    one = functions(text)["pcpu_shape_with_branches"]
    assert [" ".join(lines[s.first - 1 : s.last]).strip() for s in one.steps] == [
        "int first = 0, last;",
        "if (nr < 0) \t\tgoto out;",
        "else if (nr == 1) {",
        'pr_warn("; } %d\\n", nr);',
        "return;",
        "first = shape_of(nr);",
        "for (last = nr; last; last--)",
        "array[last] = ';';",
        "for_each_shape(nr, last)",
        "shape_done(last);",
        "for_each_shape_safe(nr, last) {",
        "nr--;",
        "} while (nr);",
        "switch (nr) {",
        "case 1:",
        "plain += 2; \t\tbreak;",
        "default:",
        "pointer->field <<= 1;",
        "++first;",
    ]
    assert "return bits" in lines[functions(text)["pcpu_twice"].steps[-1].first - 1]
    assert "work_hard" in lines[functions(text)["pcpu_stub"].steps[-1].first - 1]


def test_what_a_step_does_with_a_name_is_told() -> None:
    one = functions(OWN.read_text())["pcpu_shape_with_branches"]
    words = [{name: role.name for name, role in step.words.items()} for step in one.steps]
    assert words[7]["array"] == words[15]["plain"] == words[17]["field"] == "ASSIGNED"
    assert words[5] == {"first": "ASSIGNED", "shape_of": "CALLED", "nr": "READ"}
    assert words[11]["nr"] == words[18]["first"] == "ASSIGNED"


def test_any_beginning_of_a_file_can_be_read() -> None:
    lines = OWN.read_text().split("\n")
    for end in range(0, len(lines), 3):
        functions("\n".join(lines[:end]))


@pytest.mark.parametrize(
    ("function", "share"),
    [("reintegrate_chunk", 0.8), ("free_percpu", 0.75), ("update_empty_pages", 1.0)],
)
def test_steps_of_our_own_file_have_their_steps_in_the_model(function: str, share: float) -> None:
    assert compare(own(), function).share >= share


def test_a_step_beside_another_is_the_same_step_and_one_that_the_model_lacks_has_none() -> None:
    one = compare(own(), "free_percpu")
    assert code(one, "pcpu_free_area") == ("size = self.free_area(chunk, off)", True)
    assert code(one, "need_balance)") == ("if need_balance: yield ASK", True)
    assert not code(one, "polish_the_brass")[1]
    # cut out of free_percpu, so it stands in its place
    assert code(one, "pcpu_isolate_chunk") == ("self.isolate_chunk(chunk)", True)
    assert {line.part for pair in one.pairs for line in pair.model} >= {"check_freed_chunk", ""}


def test_a_step_at_another_place_is_found_and_marked() -> None:
    one = compare(own(), "update_empty_pages")
    assert [pair.elsewhere for pair in one.pairs] == [False, False, True]
    assert code(one, "chunk->nr_empty") == ("chunk.nr_empty_pop_pages += nr", True)


def test_each_line_of_the_kernel_is_shown_once_and_each_step_of_the_model() -> None:
    one = compare(own(), "free_percpu")
    text = OWN.read_text().split("\n")
    shown = [line.number for pair in one.pairs for line in pair.kernel]
    first, last = one.line, functions(OWN.read_text())["free_percpu"].last
    assert shown == [n for n in range(first, last + 1) if text[n - 1].strip()]
    model = steps(LINUX, "free_percpu", "free_percpu")
    rows = align(functions(OWN.read_text())["free_percpu"].steps, model)
    assert sorted(j for row in rows for j in row.right) == list(range(len(model)))


def test_a_sentence_stands_beside_the_step_that_it_speaks_of() -> None:
    one = compare(own(), "reintegrate_chunk")
    said = {s.split(":")[0]: pair for pair in one.pairs for s in pair.contract}
    assert said["requires LOCK-1"] is one.pairs[0]
    texts = {clause: pair.model[0].text.strip() for clause, pair in said.items()}
    assert texts["ensures FLT-1"] == "self.nr_empty_pop_pages += chunk.nr_empty_pop_pages"


def test_the_function_of_the_variant_is_shown_and_what_it_overrides() -> None:
    mine = compare(own("linux_5_12"), "update_empty_pages")
    assert mine.model != compare(own(), "update_empty_pages").model
    fixed = compare(own("reference"), "free_percpu")
    assert fixed.variant == "reference"


VARIANT = """\
from percpu_reference.variants.linux_6_12 import Linux612

class Mine(Linux612):
    def update_empty_pages(self, chunk, nr):
        self.count(chunk)
        super().update_empty_pages(chunk, nr)

    def count(self, chunk):
        chunk.tries = 1

    reintegrate_chunk = lambda self, chunk: None
"""


def test_a_variants_own_file_is_shown_with_what_it_calls_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(VARIANT)
    mine = own(str(file))
    one = compare(mine, "update_empty_pages")
    lines = [line for pair in one.pairs for line in pair.model]
    assert ("count", 9) in [(line.part, line.number) for line in lines]
    assert {line.part for line in lines} == {"", "count", "Slots.update_empty_pages"}
    assert code(one, "pcpu_nr_empty") == ("self.nr_empty_pop_pages += nr", True)
    with pytest.raises(InputError, match=r"mine.py:11: expected reintegrate_chunk written as a"):
        compare(mine, "reintegrate_chunk")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("pcpu_twice", "boot-time layout"),
        ("reintegrate", "near: (pcpu_)?reintegrate_chunk"),
        ("nonsense", "--all lists them"),
        ("quiescent", "ours: a view of the state"),
        ("isolate_chunk", "that Linux 0.1 has in mm/percpu.c"),
    ],
)
def test_what_model_or_tree_has_not_is_said(word: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        compare(own(), word)


def test_a_function_may_be_named_as_stacks_print_it() -> None:
    named = compare(own(), "free_percpu").function
    for word in ("free_percpu.isra.0", "free_percpu.part.0+0x1f/0x30"):
        assert compare(own(), word).function == named


@pytest.mark.parametrize("width", [76, 100, 160])
def test_text_keeps_to_its_width_and_leaves_no_code_out(width: int) -> None:
    one = compare(own(), "free_percpu")
    lines = list(lines_of(one, width))
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    joined = "".join("".join(lines).split())
    assert "polish_the_brass(chunk);" in joined
    assert "ensuresACC-1" in joined
    assert any("self.spin_lock()" in line and "spin_lock_irq" in line for line in lines) == (
        width >= 100
    )


def test_lines_of_a_patch_are_marked() -> None:
    text = OWN.read_text()
    before = text.replace("\tpolish_the_brass(chunk);\n", "")
    one = compare(replace(own(), base={"mm/percpu.c": before}), "free_percpu")
    added = [line.text.strip() for pair in one.pairs for line in pair.kernel if line.added]
    assert added == ["polish_the_brass(chunk);"]
    assert any("+" in line and "polish" in line for line in lines_of(one, 76))


def test_pages_are_escaped_and_linked() -> None:
    found = [compare(own(), name) for name in ("free_percpu", "update_empty_pages")]
    text = page(found)
    assert text.count('<section class="beside"') == 2
    assert 'href="#beside-pcpu_update_empty_pages"' in text
    assert "chunk-&gt;isolated" in text and "chunk->isolated" not in text
    fragment = html_fragment(found[1], link=lambda clause: f"#{clause}")
    assert '<a href="#FLT-1">FLT-1</a>' in fragment
    called = html_fragment(found[0], functions=["pcpu_should_reclaim_chunk"])
    assert "chunk-&gt;nr_pages &amp;&amp; <a href=" in called


@needs_tree
def test_the_command_shows_a_function_of_a_tree(tmp_path: Path) -> None:
    assert ARCHIVE is not None
    given = ["beside", "--source", str(tree_of(ARCHIVE).top), "--variant", MERGED]
    run = CliRunner().invoke
    shown = run(main, [*given, "isolate_chunk"]).output
    assert "beside Slots.isolate_chunk" in shown and "requires LOCK-1" in shown
    patch = PATCHES / "R1-sideline-drained.patch"
    told = run(main, [*given, "pcpu_reclaim_populated", "--patch", str(patch), "--json"]).output
    lines = [line for pair in json.loads(told)["pairs"] for line in pair["kernel"]]
    assert any(line["added"] for line in lines)
    assert run(main, [*given, "isolate_chunk", "--all"]).exit_code == 2
    assert run(main, given).exit_code == 2


BOUNDS = {
    # what the model does in its own words: memory, boot, charges, arithmetic in place
    "pcpu_setup_first_chunk": 0.1, "pcpu_alloc_first_chunk": 0.3, "pcpu_alloc_chunk": 0.25,
    "pcpu_create_chunk": 0.45, "pcpu_destroy_chunk": 0.25, "pcpu_depopulate_chunk": 0.2,
    "pcpu_alloc_pages": 0.2, "pcpu_free_pages": 0.0, "pcpu_post_unmap_tlb_flush": 0.0,
    "pcpu_memcg_pre_alloc_hook": 0.4, "pcpu_obj_full_size": 0.25,
    "pcpu_stats_chunk_dealloc": 0.3,
}  # fmt: skip
"""Functions of which less than half is the model's, and how much, as measured on 6.12."""


@needs_tree
def test_every_function_that_the_model_follows_has_its_share_of_steps_in_it() -> None:
    found = compare_all(linux())
    assert {one.function for one in found} == {n for names in FILES.values() for n in names}
    short = {
        one.function: one.share for one in found
        if one.share < BOUNDS.get(one.function, 0.5)
    }  # fmt: skip
    assert not short
    whole = [one for one in found if one.function not in BOUNDS]
    assert sum(o.aligned for o in whole) / sum(o.kernel_steps for o in whole) >= 0.75


ALIKE = {"pcpu_next_fit_region": "pcpu_next_md_free_region"}  # the kernel's two are one loop


@needs_tree
@pytest.mark.deep
def test_no_other_function_of_the_model_is_as_like_a_long_kernel_function_as_its_own() -> None:
    files = [file for file in FILES if "km" not in file]
    kernel = {
        name: functions(linux().texts[file])[name].steps
        for file in files for name in FILES[file] if name not in BOUNDS
    }  # fmt: skip
    model = {name: steps(LINUX, model_name(name), name) for name in kernel}
    for name, mine in kernel.items():
        if len(mine) < 12:
            continue
        shares = {
            other: sum(len(r.left) + len(r.right) for r in align(mine, theirs) if r.aligned)
            / (len(mine) + len(theirs))
            for other, theirs in model.items()
        }  # fmt: skip
        assert max(shares, key=lambda other: shares[other]) in (name, ALIKE.get(name))

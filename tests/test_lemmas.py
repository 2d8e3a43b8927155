"""Unbounded lemmas hold of the functions, bugs in those refute them, formulas are found."""

from __future__ import annotations

import ast
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from depth import deep_unless
from formula_check import check_formula

from percpu_proofs.bugs import NoSuchTextError, table
from percpu_proofs.prove.any_size.code import (
    TextChange,
    compile_function,
    entry_of,
    run_to_end,
    syntax_of,
    turn_of,
    twin_of,
)
from percpu_proofs.prove.any_size.counterexamples import NotReachedError, from_boot, update_inputs
from percpu_proofs.prove.any_size.lemma import Lemma
from percpu_proofs.prove.catalogue import all_lemmas
from percpu_reference import build
from percpu_reference.balance import Balance
from percpu_reference.chunk import Block
from percpu_reference.hints import Hints
from percpu_reference.variants.fixes import WholeFreedRun
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

LEMMAS = all_lemmas()
SECONDS = 600.0  # of CPU time: far more than any takes
LONG = (
    *("alloc-beside-contig", "alloc-keeps-edges", "alloc-right-edge", "linux-alloc-right-edge"),
    *("block-update-edges", "block-update-ordered", "block-update-passes-nothing", "scan-begins"),
    *("linux-free-tells-the-chunk", "linux-update-passes-nothing", "scan-meets-the-edge"),
    *("block-update-keeps-longest", "block-update-keeps-whole", "scan-finds-the-longest"),
    *("block-update-keeps-runs", "block-update-longest", "linux-block-update-ordered"),
)
"""Lemmas of many or hard paths."""
BY_NAME = {lemma.id: lemma for lemma in LEMMAS}
assert set(LONG) <= BY_NAME.keys()
REFUTED = {
    "linux-block-update-ordered": "HINT-4",
    "linux-alloc-right-edge": "HINT-3",
    "linux-free-tells-the-chunk": "HINT-5",
    "linux-update-passes-nothing": "FIT-1",
}
# paths for each of which z3 finds a case, where all would take long
SOME_PATHS = 6
TIED_BUGS = [
    (lemma.id, bug)
    for lemma in LEMMAS
    for bug in lemma.bugs
    if not lemma.id.startswith("block-update-keeps") and lemma.id != "alloc-right-edge"
]


quick_lemmas = pytest.mark.parametrize("name", deep_unless(lambda name: name not in LONG, BY_NAME))


def test_at_least_twelve_hold_and_four_are_refuted() -> None:
    assert sum(lemma.expected == "confirmed" for lemma in LEMMAS) >= 29
    assert {lemma.id for lemma in LEMMAS if lemma.expected == "refuted"} == set(REFUTED)
    assert all(len(lemma.bugs) >= 1 for lemma in LEMMAS if lemma.expected == "confirmed")
    names = [lemma.id for lemma in LEMMAS]
    assert len(set(names)) == len(names)
    assert {place.split()[0] for place, *_ in table("lemmas")} <= set(names)


@quick_lemmas
def test_lemma(name: str) -> None:
    lemma = BY_NAME[name]
    result = lemma.check(SECONDS)
    assert (result.state, result.paths > 0) == (lemma.expected, True), result.message


@quick_lemmas
def test_twin_is_refuted(name: str) -> None:
    result = BY_NAME[name].check_twin(SECONDS)
    assert result.state == "refuted", result.message


@pytest.mark.parametrize(
    ("name", "bug"),
    deep_unless(
        lambda name, bug: name not in LONG,
        [(name, bug) for name, lemma in BY_NAME.items() for bug in lemma.bugs],
    ),
)
def test_bug_is_refuted(name: str, bug: str) -> None:
    result = BY_NAME[name].check_bug(bug, SECONDS)
    assert result.state == "refuted", result.message
    assert "not so at" in result.message


@quick_lemmas
def test_formula_and_function_agree(name: str) -> None:
    found = check_formula(BY_NAME[name], tries=300, most_paths=SOME_PATHS)
    assert found.wrong == []
    assert found.enumerated + found.drawn + found.chosen > 3


@pytest.mark.parametrize(
    ("name", "bug"), deep_unless(lambda name, bug: name not in LONG, TIED_BUGS[::6])
)
def test_mutation_breaks_the_tie(name: str, bug: str) -> None:
    lemma = BY_NAME[name]
    seeded = lemma.bugs[bug]
    assert check_formula(lemma, tries=1, function_bug=seeded).wrong
    assert check_formula(lemma, tries=1, formula_bug=seeded).wrong


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("linux-block-update-ordered", "scan_hint of 3 bits at 1, contig_hint of 3 bits at 5"),
        ("linux-alloc-right-edge", "right_free 0, expected 3 bits"),
        ("linux-free-tells-the-chunk", "contig_hint 6, expected 7 bits, a run inside one block"),
    ],
)
def test_counterexample_is_reached_from_boot(name: str, broken: str) -> None:
    """The values of a call in a run from boot are a counterexample of the lemma itself."""
    lemma = BY_NAME[name]
    assert lemma.from_boot is not None
    found = lemma.from_boot(lemma)
    assert found.startswith("take ")
    assert broken in found
    assert "; at n 8, " in found


@pytest.mark.deep
def test_what_holds_is_refuted_by_no_call() -> None:
    """The same calls do not refute what the fixed functions keep."""
    ordered = BY_NAME["block-update-sound"]
    with pytest.raises(NotReachedError, match="HINT-4"):
        from_boot("HINT-4", "block_update", update_inputs, longest=3)(ordered)


def test_what_is_not_reached_is_not_refuted() -> None:
    lemma = BY_NAME["linux-alloc-right-edge"]
    nowhere = from_boot("HINT-3", "isolate_chunk", lambda *given: None, longest=2)
    unreached = replace(lemma, from_boot=nowhere)
    assert unreached.check(SECONDS).state == "not confirmed"


def test_no_time_proves_nothing() -> None:
    result = BY_NAME["block-update-sound"].check(0.0)
    assert result.state == "not confirmed"
    assert "no proof within" in result.message


def test_vacuous_lemma_has_no_twin() -> None:
    def impossible(s: Any) -> None:
        n = s.number("n", 0, None)
        s.assume(n < 0)
        s.claim("anything", n == 7)

    vacuous = Lemma("x", "", (), "", "", impossible)
    assert vacuous.check(SECONDS).state == "confirmed"
    assert vacuous.check_twin(SECONDS).state == "confirmed"  # which fails the claim


def test_false_lemma_is_refuted_with_a_case() -> None:
    def wrong(s: Any) -> None:
        n = s.size("n")
        s.claim("sizes are odd", n % 2 == 1)

    result = Lemma("x", "", (), "", "", wrong).check(SECONDS)
    assert (result.state, result.message[:27]) == ("refuted", "sizes are odd: not so at n ")


def test_bug_must_match_its_function() -> None:
    gone = TextChange(Hints, "block_update", "no such text", "")
    with pytest.raises(NoSuchTextError, match="is not there once"):
        syntax_of(Hints, "block_update", gone)
    with pytest.raises(NoSuchTextError, match="no base of"):
        twin_of(
            Linux612, TextChange(WholeFreedRun, "chunk_update_hint_free", "edge = end", "edge = 0")
        )


def reassembled(
    owner: type, name: str, given: dict[str, Any], bug: TextChange | None = None
) -> Any:
    """Run a function as the lemmas see it: what comes before, turn by turn, what comes behind.

    Return what it returns. Generators are run to their end.
    """
    function = syntax_of(owner, name, bug)
    loops = [n for n, statement in enumerate(function.body) if isinstance(statement, ast.While)]
    locals_ = dict(given)
    for number in range(len(loops)):
        entry = entry_of(owner, name, number, tuple(locals_), bug)
        locals_ = entry(**locals_)[1]
        how = "next"
        while how == "next":
            turn = turn_of(owner, name, number, tuple(locals_), bug)
            how, locals_ = run_to_end(turn(**locals_))
            locals_.pop("_once", None)
        if how == "return":
            return locals_[""]
    function.body = function.body[loops[-1] + 1 :] or [ast.Pass()]
    names = [ast.arg(name) for name in locals_]
    function.args = ast.arguments([], names, None, [], [], None, [])
    return compile_function(owner, function)(**locals_)


UNIT = Geometry(unit=256, static=24, reserved=0, dyn=232, cpus=1, page=32)


def worked(seed: int) -> tuple[Any, Random]:
    """Return an allocator with a chunk in use, blocks of 8 bits."""
    chance = Random(seed)
    allocator = build("linux_6_12", UNIT)
    held = [allocator.alloc(4 * chance.randint(1, 12), 4) for _ in range(30)]
    for area in held:
        if chance.random() < 0.6:
            allocator.free(area)
    return allocator, chance


@pytest.mark.parametrize("seed", range(12))
def test_cut_refresh_is_the_function(seed: int) -> None:
    allocator, chance = worked(seed)
    chunk = allocator.first_chunk
    twin = chunk.clone()
    index = chance.randrange(chunk.nr_pages)
    allocator.block_refresh_hint(chunk, index)
    reassembled(Hints, "block_refresh_hint", {"self": allocator, "chunk": twin, "index": index})
    assert twin.md_blocks[index].as_list() == chunk.md_blocks[index].as_list()


@pytest.mark.parametrize("seed", range(12))
def test_cut_walk_is_the_function(seed: int) -> None:
    chance = Random(seed)
    blocks = [Block(8) for _ in range(6)]
    for block in blocks:
        block.left_free = chance.choice((0, 3, 8))
        block.right_free = 8 if block.left_free == 8 else chance.choice((0, 2))
    index = chance.randrange(6)
    given = {"s_index": index, "e_index": index, "start": chance.choice((0, 3)), "end": 8}
    told: list[Any] = []
    allocator: Any = SimpleNamespace(
        block_bits=8, block_update=lambda md, start, end: told.append((start, end))
    )
    chunk: Any = SimpleNamespace(md_blocks=blocks, chunk_md=None)
    WholeFreedRun.chunk_update_hint_free(allocator, chunk, **given)
    reassembled(
        WholeFreedRun, "chunk_update_hint_free", {"self": allocator, "chunk": chunk, **given}
    )
    assert told[0] == told[1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("bug", [False, True])
def test_cut_scan_is_the_function(seed: int, bug: bool) -> None:
    chance = Random(seed)
    pages = [(chance.random() < 0.6, chance.random() < 0.7) for _ in range(8)]

    def run(whole: bool) -> Any:
        released: list[tuple[int, int]] = []
        chunk: Any = SimpleNamespace(
            nr_pages=8,
            nr_empty_pop_pages=sum(empty and populated for empty, populated in pages),
            populated=bytearray(populated for _, populated in pages),
            md_blocks=[SimpleNamespace(contig_hint=8 * empty) for empty, _ in pages],
        )
        allocator: Any = SimpleNamespace(
            block_bits=8,
            nr_empty_pop_pages=9,
            geometry=SimpleNamespace(empty_high=4),
            spin_lock=lambda: None,
            spin_unlock=lambda: None,
            depopulate_chunk=lambda chunk, start, end: None,
            enter_released=lambda chunk, start, end: released.append((start, end)),
        )
        if whole:
            steps = Balance.depopulate_empty(allocator, chunk)
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    return stop.value, released
        changed = (
            TextChange(Balance, "depopulate_empty", "while i >= 0:", "while i >= 8:")
            if bug
            else None
        )
        given = {"self": allocator, "chunk": chunk}
        return reassembled(Balance, "depopulate_empty", given, changed), released

    whole, cut = run(True), run(False)
    assert (whole == cut) is (not bug or whole[1] == [])

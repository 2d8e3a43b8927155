"""What a patch changes: verdicts on two trees, compared where both were searched as far."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_kernel_input import make_tree

import percpu_spec as ps
from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands import options as command_options
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.kernel.instance import USUAL, Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.search.accesses import Access, new_accesses
from percpu_proofs.kernel.search.compiled import RUNS, SearchPlan
from percpu_proofs.kernel.search.example import Retrace, TreeExample
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome
from percpu_proofs.kernel.search.plans import DRAWN, QUICK, UNNAMED, TreeSearch, search_named
from percpu_proofs.kernel.search.tree_token import TreeToken, bound_of, read_tree_token
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.kernel.tree import read_tree
from percpu_proofs.review import jobs
from percpu_proofs.review import trees as tree_review
from percpu_proofs.review.trees import TreeCell, changes_of_trees, verdicts
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations

WHOLE, CUT_OFF = {"pages": inf}, {"pages": 2.0}


def _example(clause: str, length: int, search: str = "pages") -> TreeExample:
    plan = search_named("pages").plan
    return TreeExample(clause, "", length, (), plan, Retrace((), ()), "", search)


def _cell(
    length: int | None, reach: dict[str, float], search: str = "pages"
) -> dict[str, TreeCell]:
    """Return the cells of a tree that breaks FLT-1 with so many operations, or not at all."""
    example = None if length is None else _example("FLT-1", length, search)
    verdict = "holds" if example is None else "violated"
    return {"FLT-1": TreeCell("FLT-1", verdict, example=example, reach=reach)}


@pytest.mark.parametrize(
    ("base", "patched", "where"),
    [
        (_cell(None, WHOLE), _cell(3, WHOLE), "new"),
        (_cell(3, WHOLE), _cell(None, WHOLE), "mended"),
        (_cell(3, WHOLE), _cell(2, WHOLE), "shorter"),
        (_cell(3, WHOLE), _cell(4, CUT_OFF), "longer"),
        (_cell(3, WHOLE), _cell(3, WHOLE), "unchanged"),
        (_cell(None, CUT_OFF), _cell(3, WHOLE), "open"),  # the base may break it further on
        (_cell(3, WHOLE), _cell(None, CUT_OFF), "open"),  # and so may the patched tree
        (_cell(None, CUT_OFF), _cell(3, WHOLE, "stops at accesses in pages"), "new"),
        (_cell(None, CUT_OFF), _cell(2, WHOLE), "new"),  # as far as that both came
        (_cell(2, WHOLE), _cell(None, CUT_OFF), "mended"),
        (_cell(None, WHOLE), _cell(None, WHOLE), None),
    ],
)  # fmt: skip
def test_a_clause_is_in_one_list(
    base: dict[str, TreeCell], patched: dict[str, TreeCell], where: str | None
) -> None:
    found = changes_of_trees(base, patched)
    lists = [name for name in found.__dataclass_fields__ if getattr(found, name)]
    assert lists == ([] if where is None else [where])


def _outcome(tree: str, *broken: str, search: str = "pages", length: int = 3) -> TreeOutcome:
    """Return what a search that came to its end brings home of a tree."""
    job = TreeJob(tree, Library(Path("none.so"), "6.12", USUAL), search_named(search))
    examples = {clause: _example(clause, length, search) for clause in broken}
    return TreeOutcome(job, Counter({"FLT-1": 9, "HINT-3": 9}), examples, complete=True)


def test_the_search_with_the_fewest_operations_speaks() -> None:
    outcomes = [
        _outcome("base", "FLT-1", length=5),
        _outcome("base", "FLT-1", search="pairs", length=3),
        _outcome("patched", "FLT-1", search="whole", length=2),
    ]
    cell = verdicts(outcomes, "base")["FLT-1"]
    assert cell.example is not None
    assert (cell.example.search, cell.example.length) == ("pairs", 3)
    assert cell.reach == {"pages": inf, "pairs": inf}
    assert verdicts(outcomes, "base")["HINT-3"].verdict == "holds"
    assert verdicts(outcomes, "base")["LIST-1"].verdict == "unchecked"


@pytest.mark.parametrize(
    ("outcomes", "interrupted", "code"),
    [
        ([_outcome("base", "HINT-3")], False, 0),  # as declared of linux_6_12
        ([_outcome("base", "HINT-3", "FLT-1")], False, 1),
        ([_outcome("base", "FLT-1"), _outcome("patched", "FLT-1")], False, 0),
        ([_outcome("base", "FLT-1"), _outcome("patched")], False, 0),  # mended
        ([_outcome("base"), _outcome("patched", "HINT-3")], False, 1),  # declared, and yet new
        ([_outcome("base"), _outcome("patched", "FLT-1")], False, 1),
        ([_outcome("base"), _outcome("patched", "FLT-1")], True, 130),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [["--json"], []])
def test_the_exit_status_tells(
    outcomes: list[TreeOutcome], interrupted: bool, code: int, options: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = list(dict.fromkeys(outcome.job.tree for outcome in outcomes))
    tree = read_tree(make_tree(tmp_path))
    trees = [CompiledTree(tree, tmp_path / name, name=name) for name in names]
    monkeypatch.setattr(CompiledTree, "model", ModelVariant())
    for library in ("library", "search_library"):
        monkeypatch.setattr(CompiledTree, library, lambda *_: outcomes[0].job.library)
    monkeypatch.setattr(command_options, "compiled_trees", lambda *_: nullcontext(trees))
    monkeypatch.setattr(tree_review, "jobs_for", lambda *_: [o.job for o in outcomes])
    for module in (jobs, tree_review):
        monkeypatch.setattr(module, "spread", lambda *_, **__: (outcomes, interrupted))
    patches = ["folder/some.patch"] if len(trees) > 1 else []
    patch = [word for path in patches for word in ("--patch", path)]
    done = CliRunner().invoke(main, ["review", "--source", "tree", *patch, *options])
    assert done.exit_code == code, done.output
    found = ps.review(source="tree", patches=patches)
    assert bool(found) == (code == 0) or interrupted
    assert found.trees == tuple(names) and found.partial == interrupted
    if options:
        said = json.loads(done.stdout)
        assert said["interrupted"] == interrupted and said["changes"] == found.changes
        broken = {c for c, cell in said["trees"][names[-1]].items() if cell["counterexample"]}
        assert broken == found.broken.keys() and found[names[0], "FLT-1"] is not None
    else:
        first = repr(found).splitlines()
        assert first and set(first) & set(done.output.splitlines())


def test_a_patch_that_ships_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_options, "compiled_trees", lambda source, patches, stub: patches)
    named, other = (
        command_options.TreeOptions(Path("tree"), (Path(name),), (), None)
        for name in ("R2-rejoin", "R2-rejon")
    )
    assert named.compiled() == [data.folder("patches") / "R2-rejoin.patch"]
    with pytest.raises(InputError, match="near: R2-rejoin"):
        other.compiled()


def test_accesses_that_a_patch_adds() -> None:
    one = Access("free_percpu", "mm/percpu.c:10", "free_bytes", False, False, False)
    moved = replace(one, line="mm/percpu.c:12")
    new = replace(one, line="mm/percpu.c:11", write=True)
    assert new_accesses([one], [moved, new]) == [new]
    assert new_accesses([], [moved, new]) == sorted([moved, new])


LOCKED = {"locked": True, "mutex": False}


@pytest.mark.parametrize(
    ("field", "write", "locks", "clause"),
    [
        ("populated", True, {"locked": False, "mutex": True}, "LOCK-1"),
        ("populated", True, LOCKED, "LOCK-2"),
        ("populated", True, {"locked": True, "mutex": True}, None),
        ("populated", False, LOCKED, None),
        ("free_bytes", True, LOCKED, None),
        ("free_bytes", False, {"locked": False, "mutex": False}, None),
        ("data", True, {"locked": False, "mutex": False}, None),
    ],
)
def test_the_clause_of_an_access(
    field: str, write: bool, locks: dict[str, bool], clause: str | None
) -> None:
    assert Access("f", "mm/percpu.c:1", field, write, **locks).clause == clause


TOKEN = TreeToken(
    "FLT-1", "6.12",
    SearchPlan(
        f"{KERNEL_32K},memcg=1", *(
            tuple(parse_operations(Path("list"), lines).operations)
            for lines in (["a 0 4096 8 AG", "a 0 8 4 R"], ["a 1 64 4 -", "f 1"])
        ),
        longest=4, together=2, works=3, waiting=True, failures=1, faults=("charge", "wait"),
        points=(1, 3), merge=True, raw=True, stops_at=(4096, 8192),
    ),
    (64, 0, 256 | 1, 130),
)  # fmt: skip


def test_a_token_says_all_of_its_plan() -> None:
    assert read_tree_token(str(TOKEN)) == TOKEN
    plain = replace(TOKEN, plan=SearchPlan(KERNEL_32K, TOKEN.plan.operations))
    assert read_tree_token(str(plain)) == plain
    bounded = replace(TOKEN, plan=replace(TOKEN.plan, most_states=77))  # of no use to a schedule
    assert str(bounded) == str(TOKEN)


@pytest.mark.parametrize("search", (*QUICK, *DRAWN, UNNAMED), ids=lambda search: search.name)
def test_the_token_of_a_named_search_is_short(search: TreeSearch) -> None:
    labels = (64, *[RUNS] * 3, 66 + RUNS, 32 + RUNS, 130 + RUNS, *[RUNS + 1] * 2, RUNS + 256)
    token = TreeToken("FLT-1", "6.12.117", search.plan, labels)
    again = read_tree_token(str(token))
    assert again.labels == labels and again.release == token.release
    assert again.plan == replace(search.plan, programs=0, most_states=again.plan.most_states)
    assert len(str(token)) <= 36 and f"search {search.name} of" in bound_of(again.plan)


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-9], lambda t: t.replace("t2.", "p2."), lambda t: "x" + t]
)
def test_a_token_that_is_none_is_bad_input(spoil: Callable[[str], str]) -> None:
    with pytest.raises(InputError, match="token"):
        read_tree_token(spoil(str(TOKEN)))

"""Words that can be asked: findings with their fixes, functions with their kernel's names."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING, tree_of

import percpu_reference
from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_reference import kernel_names
from percpu_reference.kernel_names import FILES, NAMED, OF_PATCHES, OURS, PART_OF, origin
from percpu_reference.variants import VARIANTS, fixes
from percpu_spec.catalogue import REFINE, ClauseError, clauses, findings, parse_findings, title

FIXES = {name: getattr(fixes, name) for name in fixes.__all__}
PATCHES = {path.name for path in data.folder("patches").iterdir()}


def read_json(word: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["explain", word, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# findings


@pytest.mark.parametrize("name", findings())
def test_a_finding_can_be_asked(name: str) -> None:
    found = read_json(name.lower())
    assert found["id"] == name and found["title"] == title(name)
    wanted = ("what", "function", "since", "reproduced", "breaks", "fix", "cost")
    assert all(found[key] for key in (wanted if name != REFINE else ("what", "breaks")))
    if name != REFINE:
        assert [entry["clause"] for entry in found["clauses"]] and found["fixes"]
        assert all(re.fullmatch(r"\+\d+ -\d+", p["lines"]) for p in found["patches"])
        assert "6.12.117" in found["reproduced"] and not re.search(r"\bnew\b", found["title"])
        function = found["function"].partition(",")[0]
        assert function in FILES["mm/percpu.c"] or function == "pcpu_alloc"
    text = CliRunner().invoke(main, ["explain", name])
    assert text.exit_code == 0
    for words in (found["title"], *(p["patch"] for p in found["patches"])):
        assert words in text.output


def test_every_finding_named_anywhere_exists() -> None:
    named = [reason for cls in VARIANTS.values() for reason in cls.EXPECTED.values()]
    named += [fix.NAME for fix in FIXES.values()]
    named += [finding for clause in clauses().values() for finding in clause.findings]
    ids = {found for text in named for found in re.findall(r"\b[LR]\d+\b", text)}
    assert ids == findings().keys() - {REFINE}


def test_clauses_and_findings_agree() -> None:
    for clause in clauses().values():
        breaking = tuple(f.id for f in findings().values() if clause.id in f.clauses)
        assert clause.findings == breaking
    assert all(c in clauses() for f in findings().values() for c in f.clauses)
    declared = VARIANTS["linux_6_12"].EXPECTED
    assert declared == {c: clauses()[c].known for c in declared}


def test_every_fix_and_patch_belongs_to_its_finding() -> None:
    fixed = {name: f.id for f in findings().values() for name in f.fixes}
    assert fixed.keys() == FIXES.keys()
    for name, finding in fixed.items():
        assert FIXES[name].NAME.split()[0] == finding
    patched = {name: f.id for f in findings().values() for name in f.patches}
    assert patched.keys() == PATCHES
    assert all(name.startswith(f"{finding}-") for name, finding in patched.items())


GOOD = """# Findings

## L1 — title

**What happens.** Words.

**Breaks.** HINT-5
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# Findings", "Findings", "findings.md:1"),
        ("## L1 — title", "## X1 — title", "findings.md:3: expected '## ID"),
        ("**What happens.** Words.", "", "expected What happens, Breaks"),
        ("**Breaks.**", "**Broken.**", "field 'Broken' unknown"),
        ("HINT-5", "", "none empty"),
    ],
)
def test_findings_off_their_form_are_refused(old: str, new: str, says: str) -> None:
    (found,) = parse_findings(GOOD)
    assert (found.id, found.clauses, found.fix) == ("L1", ("HINT-5",), None)
    with pytest.raises(ClauseError, match=re.escape(says)):
        parse_findings(GOOD.replace(old, new))


# functions


@pytest.mark.parametrize("word", ["isolate_chunk", "pcpu_isolate_chunk", "Slots.isolate_chunk"])
def test_a_function_can_be_asked_by_any_of_its_names(word: str) -> None:
    found = read_json(word)
    assert found["id"].startswith("Slots.isolate_chunk(self")
    assert found["kernel"] == "pcpu_isolate_chunk (mm/percpu.c)"
    says = [line["says"] for line in (*found["requires"], *found["ensures"])]
    for clause in ("LOCK-1: ", "RCL-5: ", "ISO-2: ", "FLT-1: ", "RCL-1: "):
        assert any(line.startswith(clause) and line.endswith(".") for line in says)
    text = CliRunner().invoke(main, ["explain", word]).output
    assert all(line in text for line in says)


def test_parts_and_overrides_are_told() -> None:
    whole = read_json("pcpu_reclaim_populated")
    assert whole["parts"] == "depopulate_empty, enter_released, sideline_chunk"
    part = read_json("depopulate_empty")
    assert part["kernel"] == "part of pcpu_reclaim_populated (mm/percpu.c)"
    assert {line["by"] for line in read_json("sideline_chunk")["overridden"]} == {"SidelineDrained"}
    assert {"KmBacking"} <= {line["by"] for line in read_json("create_chunk")["overridden"]}
    both = "pcpu_create_chunk (mm/percpu-vm.c, mm/percpu-km.c)"
    assert read_json("create_chunk")["kernel"] == both
    one, *others = (read_json(w) for w in ("pcpu_alloc", "pcpu_alloc_noprof", "alloc_percpu"))
    assert all(other | {"also": []} == one | {"also": []} for other in others)


def methods() -> Iterator[tuple[str, str]]:
    """Yield the classes of the reference modules with their public methods."""
    for module in pkgutil.iter_modules(percpu_reference.__path__, "percpu_reference."):
        if module.ispkg or module.name.endswith((".checked", ".events", ".gaps")):
            continue
        here = importlib.import_module(module.name)
        for cls in vars(here).values():
            if inspect.isclass(cls) and cls.__module__ == module.name:
                for name, value in vars(cls).items():
                    public = not name.startswith("_") and here is not kernel_names
                    if public and isinstance(value, type(methods) | property):
                        yield cls.__name__, name


def test_every_public_method_says_what_it_is_of() -> None:
    found = list(methods())
    assert len(found) > 80
    assert [place for place in found if place[1] != "of" and origin(place[1]) is None] == []


def test_no_name_is_said_of_nothing() -> None:
    from percpu_proofs.explain.lookup import _functions

    own = {name for _, name in methods()} | _functions().keys()
    assert not (NAMED.keys() | PART_OF.keys() | OURS.keys()) - own
    used = {found.function for name in own if (found := origin(name)) is not None}
    patched = {function for function, _ in OF_PATCHES.values()}
    assert not OF_PATCHES.keys() - own
    assert {function for names in FILES.values() for function in names} == used - patched - {""}


@pytest.mark.parametrize("file", FILES)
def test_kernel_functions_are_the_kernels(file: str) -> None:
    archives = [archive for archive in FOUND if "6.12" in archive.name]
    if not archives:
        pytest.skip(MISSING)
    text = (tree_of(archives[0]).top / file).read_text()
    for name in FILES[file]:
        assert re.search(rf"^[a-z][^;()]*\b{name}\(", text, re.M), name


# other words


@pytest.mark.parametrize(
    ("word", "title"),
    [("CreateChunk", "A chunk was created."), ("percpu_create_chunk", "A chunk was created."),
     ("FLUSH", "a kind of gap"), ("alloc: create a chunk", "a gap")],
)  # fmt: skip
def test_events_and_gaps_can_be_asked(word: str, title: str) -> None:
    assert read_json(word)["title"] == title


@pytest.mark.parametrize(
    ("word", "near"),
    [("HINT-55", "HINT-5"), ("hint55", "HINT-5"), ("L9", "L5"), ("isolate_chunks", "isolate_chunk"),
     ("pcpu_isolate", "pcpu_isolate_chunk"), ("refin", "REFINE"), ("xyzzy", "a function")],
)  # fmt: skip
def test_an_unknown_word_names_near_ones(word: str, near: str) -> None:
    result = CliRunner().invoke(main, ["explain", word, "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    assert f"no entry {word!r}" in said and near in said


@pytest.mark.parametrize(
    ("command", "near"),
    [
        (["prove", "HINT-55"], "hint-5"),
        (["review", "--variant", "linux_6_21"], "linux_6_12"),
        (["explore", "reclaim-fre"], "reclaim-free"),
        (["replay", "p2.x"], "a whole token"),
    ],
)
def test_other_commands_name_near_ones(command: list[str], near: str) -> None:
    result = CliRunner().invoke(main, [*command, "--json"])
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    assert near in said

"""Every word that a user has is explained: ours, the kernel's, and lines that somebody pastes."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING, tree_of

import percpu_reference
from percpu_contracts.contract import Level
from percpu_proofs import commands, data
from percpu_proofs.cli import main
from percpu_proofs.explain import messages, terms
from percpu_proofs.explain.lookup import UnknownWordError, explain
from percpu_proofs.explain.names import shipped
from percpu_proofs.explore.modes import MODES
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.token import examples
from percpu_proofs.live import verdicts
from percpu_proofs.prove import claim
from percpu_proofs.recorded.states.kernel_state import Stability
from percpu_proofs.review import job, matrix
from percpu_proofs.run.operations import FLAGS, SHAPES
from percpu_proofs.workload.fix_cost import COLUMNS
from percpu_reference.kernel_names import FILES
from percpu_reference.variants import RELEASES, VARIANTS
from percpu_spec.catalogue import MOMENTS, clauses, findings
from percpu_spec.glossary import GlossaryError, glossary, parse_terms
from percpu_spec.steps import Kind

PYTHON = {"bit_length", "c", "count", "find", "len", "max", "min", "sorted", "sum"}


def unknown(words: set[str]) -> list[str]:
    """Return the words that nothing is said of."""
    found = []
    for word in sorted(words):
        try:
            assert explain(word)["title"]
        except UnknownWordError:
            found.append(word)
    return found


# lines


def lines() -> list[tuple[str, str, str]]:
    text = Path(__file__).with_name("pasted_lines.txt").read_text()
    rows = [line.split(" | ", 2) for line in text.splitlines() if not line.startswith("#")]
    return [(row[0], row[1], row[2]) for row in rows]


@pytest.mark.parametrize(("what", "word", "line"), lines())
def test_a_pasted_line_is_explained(what: str, word: str, line: str) -> None:
    found = explain(line)
    assert found["id"].split("(")[0] == what
    assert word in json.dumps(found)
    assert not [one for one in found["also"] if one["id"] == found["id"]]


def test_every_message_of_the_artefacts_is_explained() -> None:
    folders = data.shared("artefacts")
    if not folders:
        pytest.skip("no ../shared/artefacts")
    texts = [line for path in folders[0].iterdir() for line in path.read_text().split("\n")[1:60]]
    form = re.compile(r"percpu|pcpu|illegal size|KCSAN|circular locking|^\w+ +: +\d", re.I)
    of_percpu = {t for t in texts if form.search(t) and not t.startswith("#")}
    assert len(of_percpu) > 80
    assert unknown(of_percpu) == []


def test_a_whole_report_is_one_answer() -> None:
    text = ("BUG: KCSAN: data-race in pcpu_alloc_noprof / pcpu_balance_workfn\npercpu: allocation "
            "failed, size=8 align=8 atomic=1, atomic alloc failed, no space left")
    found = explain(text)
    assert (found["id"], [one["id"] for one in found["also"]]) == ("failure", ["data race"])


def on_screen(message: messages.PrintedMessage) -> str:
    """Return a message as it is printed, with other values than it ever had."""
    return message.text.replace("\0", "7").replace("\1", "s").strip()


def every_message() -> Iterator[messages.PrintedMessage]:
    return messages.messages(messages.sources())


def of_clauses() -> list[messages.PrintedMessage]:
    """Return the messages of the contracts, whose sources come first."""
    own = takewhile(lambda m: m.module.startswith("percpu_contracts"), every_message())
    return [message for message in own if message.clauses]


def test_what_a_clause_prints_is_explained_by_it() -> None:
    """A part of the messages: the rest is asked with the deep tests."""
    for message in of_clauses()[::8]:
        if " " in on_screen(message):
            found = explain(f"broken {message.clauses[0]} {on_screen(message)}")
            told = [one for one in (found, *found["also"]) if one["id"] == "printed"]
            assert set(message.clauses) & {c["clause"] for one in told for c in one["clauses"]}


@pytest.mark.deep
def test_what_clauses_and_commands_print_is_explained() -> None:
    folders = ("live", "logs", "commands", "review")
    of_ours = [m for m in every_message() if m.module.split(".")[1] in folders]
    texts = {on_screen(m) for m in (*of_clauses(), *of_ours) if " " in on_screen(m)}
    assert len(texts) > 900
    assert unknown(set(sorted(texts)[::20])) == []


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        ("a sidelined chunk keeps 1 empty populated page", "RCL-3"),
        ("sidelined chunk keeps", "RCL-3"),
        ("chunks' counters sum to", "FLT-1"),
        ("  known     RCL-3    a sidelined chunk\n  keeps 9 empty populated pages  [R1]", "RCL-3"),
        ("chunk 3: contig_hint 9, expected 66 bits, a run inside one block", "HINT-5"),
        ("float 4, chunks' counters sum to 1 page", "FLT-1"),
        ("the reserved chunk is on list 7", "LIST-1"),
    ],
)
def test_a_message_is_known_with_other_numbers_or_in_part(line: str, clause: str) -> None:
    found = explain(line)
    assert (found["id"], found["clauses"][0]["clause"]) == ("printed", clause)


# words


def test_every_clause_finding_and_function_is_explained() -> None:
    names = {*clauses(), *findings(), *(f for functions in FILES.values() for f in functions)}
    names |= {name.removeprefix("pcpu_") for name in names}
    texts = [f"{c.kernel} {c.when} {c.since}" for c in clauses().values()]
    texts += [f.function or "" for f in findings().values()]
    names |= {name for text in texts for name in re.findall(r"\b_*pcpu_\w+", text)}
    assert unknown(names) == []


def test_every_function_of_a_tree_is_explained() -> None:
    archives = [archive for archive in FOUND if "6.12" in archive.name]
    if not archives:
        pytest.skip(MISSING)
    top = tree_of(archives[0]).top / "mm"
    text = "\n".join(path.read_text() for path in top.glob("percpu*.[ch]"))
    names = set(re.findall(r"^[a-z].*?\b(\w*(?:pcpu|percpu)_\w+)\(", text, re.M))
    constants = set(re.findall(r"^#define (PE?R?CPU_\w+)", text, re.M)) - {"PCPU_SETUP_BUG_ON"}
    assert len(names) > 90 and len(constants) >= 4
    assert unknown(names | constants) == []
    chunk = text.partition("struct pcpu_chunk {")[2].partition("\n}")[0]
    form = r"^\t(?:struct \w+|\w[\w ]*?)\s+\**(\w+)(?:\[\])?(?: \w+)?;"
    members = set(re.findall(form, chunk, re.M))
    assert {"list", "isolated", "nr_empty_pop_pages", "data"} <= members
    assert unknown(members) == []


def in_backticks() -> Iterator[str]:
    for entry in (*clauses().values(), *findings().values()):
        for text in (getattr(entry, name) for name in type(entry).__dataclass_fields__):
            for quoted in re.findall(r"`([^`]+)`", str(text)):
                if re.fullmatch(r"[\w.-]+", quoted):
                    yield quoted
                yield from re.findall(r"[a-z_]+(?=\()", quoted)


def test_what_clauses_and_findings_quote_is_explained() -> None:
    words = set(in_backticks())
    assert len(words) > 100
    assert unknown(words - PYTHON) == []


_HEADS = ("columns", "head", "names", "failed")  # what lists of them are called


@cache
def columns() -> frozenset[str]:
    """Return the heads of all tables that commands print."""
    found: set[str] = set(COLUMNS)
    for path in sorted(Path(commands.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            heads: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                heads = node.args[1] if node.func.attr == "table" else None
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                heads = node.value if node.targets[0].id.strip("_").lower() in _HEADS else None
            if isinstance(heads, ast.Tuple | ast.List):
                for one in heads.elts:
                    if isinstance(one, ast.Constant):
                        found |= set(re.split(r"\n|, ", one.value))
    return frozenset(found - {""})


def test_every_head_of_a_table_is_explained() -> None:
    assert len(columns()) > 90
    assert unknown(set(columns())) == []


def gaps_met() -> set[str]:
    """Return the gaps that searches of all variants stand in."""
    folder = Path(percpu_reference.__path__[0])
    source = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    named = set(re.findall(r"\bGap\(\s*\"([^\"]+)\"", source))
    assert len(named) > 15 and "reclaim: flush the TLB" in named
    return named


def test_what_commands_print_as_words_of_ours_is_explained() -> None:
    values = [matrix.Verdict, job.Engine, claim.Engine, claim.State, Level]
    words: set[str] = {word for literal in values for word in get_args(literal)}
    words |= {*matrix.RUNGS, *MODES, *MOMENTS, *shipped(), *(kind.name for kind in Kind)}
    words |= {rest.value for rest in Stability}
    words |= gaps_met()
    words |= {verdicts.HOLDS, verdicts.KNOWN, verdicts.BROKEN, verdicts.NOT_ASKED}
    words |= {"new", "mended", "shorter", "longer", "stranded", "lane", "float", "quiescent"}
    words |= {"slot 18 sidelined", "slot 3 of type 1"}
    assert unknown(words) == []


def test_names_that_commands_take_are_explained() -> None:
    names = {*VARIANTS, *RELEASES, *SCENARIOS, "quarters", "race", "drawn", "accounted", "c10"}
    names |= {name for paths in shipped().values() for name in paths}
    assert unknown(names) == []
    assert {one["id"] for one in explain("pages")["also"]} >= {"pages"}
    assert unknown({*SHAPES, *FLAGS}) == []


@pytest.mark.parametrize(
    ("word", "title"),
    [("contig_hint", "a word of the glossary"), ("nr_empty_pop_pages", "a word of the glossary"),
     ("PCPU_EMPTY_POP_PAGES_HIGH", "a name of the kernel"), ("chunk->nr_bits", "a field"),
     ("percpu:percpu_free_percpu", "An area was freed."),
     ("hints.hint_is_ordered", "HINT-4"), ("RightEdgeKept", "mends L2"),
     ("L2-right-edge.patch", "mends L2"), ("update-block", "a claim"), ("Gaps", "a word of the"),
     ("hint5", "The chunk's contig_hint"), ("HINT_5", "The chunk's contig_hint"),
     ("hint 5", "The chunk's contig_hint"), ("FLT1", "The float"),
     ("percpu: allocation failed", "a word of the glossary"),
     ("allocation failed", "a word of the glossary"), ("/proc/meminfo", "a word of the glossary"),
     ("depopulation", "a word of the glossary"), ("20d5e570aee7", "The merged form"),
     ("20d5e570aee7c99d", "The merged form"), ("CVE-2026-80718", "the km backing")],
)  # fmt: skip
def test_a_word_has_its_sense(word: str, title: str) -> None:
    assert explain(word)["title"].startswith(title)


@pytest.mark.parametrize(
    ("text", "title", "says"),
    [
        ("hunt window", "what fits between one step", "hunt window"),
        ("sequences pages", "whole pages", "sequences pages"),
        ("fuzz accounted", "programs and schedules drawn", "fuzz accounted"),
        ("scenario reuse", "A blocking allocation", "percpu-spec explore reuse"),
        ("reduction", "what found a counterexample", "made small"),
        ("the float", "a word of the glossary", "empty populated pages"),
        ("work", "a word of the glossary", "pcpu_balance_workfn"),
        ("Sizes: unit=32768, static=4096, reserved=0, dyn=28672, cpus=2", "the sizes", "cpus=2: "),
        ("unit=32768,backing=km", "the sizes", "backing=km: "),
        ("one more chunk unchanged", "chunks left out", "not drawn"),
        ("7 18 sidelined 37 2 1024", "chunk in a table", "longest"),
        ("  -1     reserved     0      2     0      0      0    8192     8192", "chunk in a table",
         "advertised run"),
        ("chunk 1: eeeeeee# -> xxxxxxx#", "pages", "x being released"),
        ("  chunk 1   slot 16 to_depopulate    eeeeee##", "pages", "e populated and empty"),
        ("-> chunk 1: slot 16 to_depopulate -> slot 14 sidelined", "list of a chunk", "On which"),
        ("held by work", "holder", "pcpu_alloc_mutex"),
        ("-> pcpu_alloc_mutex held by CPU 0", "holder", "pcpu_alloc_mutex"),
        ("x being released", "a character of a row", "a page that is being released"),
        ("    0#|[[[[[=[=[=[|  114       -       -     0     0  1024", "page of", "contig_hint"),
        ("contig 998@6170  scan -  left 7168  right 998  first free 6132", "hints of", "scan_hint"),
        ("  slot 19 free       1", "list with", "head to tail"),
        ("float 3, low 2, high 4", "float with", "pcpu_nr_empty_pop_pages"),
        ("chunk 0: first", "chunk by", "the reserved one"),
        ("  chunk  slot      used  empty  hole  areas", "a word of the glossary", "largest piece"),
        ("schedules     129", "a word of our output", "Orders in which"),
        ("rfc_1          3             0       18         1    1.00", "TwoTypes with", ""),
        ("chunk holds an empty populated page. A request for work made before",
         "Quiescent, reclaim has left nothing", ""),
        ("float went from", "a failed atomic allocation", "where a clause is broken"),
    ],
)
def test_what_a_screen_shows_is_explained(text: str, title: str, says: str) -> None:
    found = explain(text)
    assert found["title"].startswith(title) and says in found.get("says", "")


def test_titles_tokens_and_commands_are_explained() -> None:
    titles = {one.title: one.id for one in clauses().values()}
    titles |= {one.title: one.id for one in findings().values()}
    assert all(explain(title)["id"] == entry for title, entry in titles.items())
    token = examples()[0]
    found = explain(str(token))
    assert found["id"] == "token" and f"{token.clause} on {token.variant}" in found["says"]
    assert "is refused where the code is another" in explain("p2.GKMCyYF1biMCBdARAAAA")["says"]
    run = CliRunner().invoke
    for name in main.commands:
        listed = json.loads(run(main, ["explain", name, "--json"]).stdout)
        assert listed["title"] == "a command" and listed["says"], name
        assert listed["read_it_with"] == f"percpu-spec {name} --help"


def test_who_prints_a_message_is_told_in_place_of_a_docstring() -> None:
    found = [messages._explained(one)["says"] for one in every_message()]
    assert len(found) > 900
    named = {word for one in found for word in re.findall(r"percpu-spec (\w+)", one)}
    assert {"state", "review", "log", "conform"} <= named <= main.commands.keys()
    assert all(one.endswith("; ... stands for values.") for one in found)


def test_several_words_are_one_line_or_each_its_own() -> None:
    run = CliRunner().invoke
    one = run(main, ["explain", "balance", "work", "--json"])
    assert json.loads(one.stdout)["id"] == "balance work"
    two = run(main, ["explain", "RCL-3", "float", "--json"])
    assert [entry["id"] for entry in json.loads(two.stdout)] == ["RCL-3", "float"]
    none = run(main, ["explain", "RCL-3", "flaot"])
    assert none.exit_code == 2 and "no entry 'flaot'; near: float" in none.stderr


# the files


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    firsts = list(dict.fromkeys(term.names[0] for term in glossary().values()))
    assert firsts == sorted(firsts, key=str.lower) and len(firsts) > 150
    assert all(term.text.rstrip()[-1] in ".)" for term in glossary().values())


def test_no_clause_named_in_an_entry_is_unknown() -> None:
    texts = [term.text for source in terms._KINDS.values() for term in source().values()]
    named = {name for text in texts for name in re.findall(r"\b(?:[A-Z]{2,}-\d+|[LR]\d)\b", text)}
    assert len(named) > 30 and named <= {*clauses(), *findings(), "KVM-1"}


@pytest.mark.parametrize(
    ("text", "says"),
    [("words", "x:1: expected '# Title'"), ("# T\n\n## one\n", "x:3"),
     ("# T\n\n## one\n\nText.\n\nMore.\n", "x:3"),
     ("# T\n\n## a\n\nT.\n\n## b, A\n\nT.\n", "x:7: a")],
)  # fmt: skip
def test_a_glossary_off_its_form_is_refused(text: str, says: str) -> None:
    with pytest.raises(GlossaryError, match=re.escape(says)):
        list(parse_terms("x", text))

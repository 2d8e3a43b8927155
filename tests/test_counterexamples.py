"""Counterexamples as people read them: text, steps in a terminal, blocks for mails, tokens."""

from __future__ import annotations

import inspect
import re
import shlex
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from depth import deep_unless
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from percpu_proofs.cli import main
from percpu_proofs.commands import replay as replaying
from percpu_proofs.commands.options import TreeOptions
from percpu_proofs.commands.replay import reproducer, show_example
from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.of_model import of_schedule, of_token
from percpu_proofs.counterexample.of_tree import of_retraced
from percpu_proofs.counterexample.record import Counterexample, relevance, sequential_steps
from percpu_proofs.counterexample.text import legend, text
from percpu_proofs.explore.fuzz import Fuzz
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.packing import MODEL
from percpu_proofs.explore.scenario import KERNEL_32K, Program
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import searches
from percpu_proofs.explore.token import Token, examples, read_token
from percpu_proofs.kernel.instance import Library
from percpu_proofs.kernel.search.compiled import SearchPlan
from percpu_proofs.kernel.search.example import Retrace, TreeStep, of_process
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import search_named
from percpu_proofs.review.trees import verdicts
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.show.mail import LINES, WIDTH, command
from percpu_proofs.show.text import StateRows
from percpu_reference.kernel_names import FILES, OF_PATCHES
from percpu_reference.variants import RELEASES, VARIANTS, two_types
from percpu_spec.catalogue import REFINE, clauses
from percpu_spec.geometry import Geometry

MINE = """\
from percpu_reference.variants.linux_6_12 import Linux612


class Mine(Linux612):
    __slots__ = ()

    def should_reclaim_chunk(self, chunk):
        return chunk.nr_empty_pop_pages >= 2
"""
RACE = Token(
    "rfc_1", "ISO-1", KERNEL_32K, ("a 1 28672 4 -", "b", "a 3 4096 4 -"), ("f 1", "f 3"), 1,
    (0, 0, 2, 2, 1), search="hunt window",
)  # fmt: skip
POPULATES = Token(
    "linux_7_1", "RCL-3", KERNEL_32K,
    ("a 1 28672 4 -", "a 2 4096 4 -", "a 3 28672 4 -", "f 1", "f 3", "b"),
    ("a 7 28672 4 -",), 1, (0, 0, 1, 1),
)  # fmt: skip
HINT = Token(
    "linux_6_12", "HINT-4", KERNEL_32K, ("a 1 1024 4 -", "a 2 1024 2048 -", "a 3 1024 4 -"),
    ("f 3",), 1, (),
)  # fmt: skip
KM = Token(
    "rfc_1", "POP-5", f"{KERNEL_32K},backing=km",
    ("a 1 4096 4 -", "a 2 4096 4 -", "f 1"), ("b",), 1, (),
)  # fmt: skip
ENDS = {("rfc_1", "RCL-4"), ("rfc_series", "COST-1"), ("rfc_series", "BAL-3")}
"""Known counterexamples whose clause breaks before their last operation ends."""
SHOWN = {"race": RACE, "populates": POPULATES, "hint": HINT, "km": KM}


def lines_of(c: Counterexample, width: int = WIDTH) -> list[str]:
    return [line for _, line in text(c, width)]


def check(c: Counterexample) -> None:
    """Check what holds of every counterexample, however it is shown."""
    assert c.clause in c.broken and c.message == dict(c.steps[-1].broken)[c.clause]
    breaks = [c.clause in dict(step.broken) for step in c.steps]
    assert sum(breaks) == 1 or all(breaks)  # what the setup breaks is broken behind each step
    for width in (40, WIDTH, 100):
        lines = lines_of(c, width)
        assert max(map(len, lines)) <= width and not any(line.endswith(" ") for line in lines)
    shown = "\n".join(lines_of(c))
    since = sequential_steps(c)
    folded = {clause for step in c.steps[:since] for clause, _ in step.broken}
    behind = {clause for step in c.steps[since:] for clause, _ in step.broken} - folded
    assert all(f"{clause} broken" in shown for clause in behind)
    state = " ".join(shown.split("State before:")[-1].partition("chunk ")[0].split())
    assert all(re.search(rf"{clause}\b.* already broken", state) for clause in folded)
    assert not any(f"-> {clause} broken" in shown for clause in folded)
    kernel = {name for names in FILES.values() for name in names}
    kernel |= {name for name, _ in OF_PATCHES.values()}
    operations = [step for step in c.steps if step.operation[0] in "abfdws"]
    assert {step.function for step in operations} <= kernel
    check_mail(c)


def check_mail(c: Counterexample) -> None:
    line = f"percpu-spec replay {c.token}"
    line = line if len(line) <= WIDTH else "percpu-spec replay NAME@FILE"
    block = mail(c, line)
    assert len(block) <= LINES and block[-1].endswith(line)
    assert all(len(said) <= WIDTH for said in block if said != line)
    assert all(said.isascii() and said == said.rstrip() for said in block)
    whole = " ".join(" ".join(block).split())
    assert f"breaks {c.clause}:" in whole and "Searched:" in whole and "State before:" in whole
    named = re.search(rf"-> [A-Z0-9, -]*\b{c.clause}\b[A-Z0-9, -]* broken", whole)
    assert named or "left out" in whole
    assert all(cpu in whole for cpu in c.cpus_since(sequential_steps(c))) or "left out" in whole


@pytest.mark.parametrize("name", SHOWN)
def test_a_counterexample_is_shown(name: str) -> None:
    c = of_schedule(SHOWN[name])
    check(c)
    assert of_token(c.token) == c and lines_of(of_token(c.token)) == lines_of(c)


@pytest.mark.parametrize(
    "token",
    deep_unless(lambda token: (token.variant, token.clause) in ENDS, examples()),
    ids=lambda token: f"{token.variant} {token.clause}",
)
def test_a_known_counterexample_ends_where_its_clause_breaks(token: Token) -> None:
    check(of_schedule(token))


def test_what_is_drawn_ends_where_its_clause_breaks() -> None:
    """The last step of an operation is left out where one before it breaks the clause."""
    token = next(t for t in examples() if (t.variant, t.clause) == ("rfc_series", "COST-1"))
    actors = tuple(parse_operations(Path("x"), token.actors).operations)
    longer = Program((), actors, (*token.schedule, token.schedule[-1]), token.works)
    fuzz = Fuzz("rfc_series", Geometry().with_changes(token.geometry), seed=1, most=1)
    cut, broken = fuzz._replay(longer, "COST-1")
    assert cut.schedule == token.schedule and cut.works == token.works and "COST-1" in broken
    assert fuzz._replay(longer, "HINT-1")[0].schedule == longer.schedule


def test_a_step_is_of_the_function_it_ends_in() -> None:
    endless = next(t for t in examples() if (t.variant, t.clause) == ("rfc_series", "BAL-3"))
    last = of_schedule(endless).steps[-1]
    said, _, line = last.sentence().partition(":")
    assert said == "stopped, as it would go on without end, in pcpu_balance_populated (two_types.py"
    code = inspect.getsource(two_types).split("\n")[int(line.rstrip(")")) - 1]
    assert "self.balance_create(" in code
    actors = ("P 1", "B", "a 2 4 4 -", "f 1", "d 1")
    steps = of_schedule(replace(HINT, actors=actors, clause="ISO-1")).steps
    assert {step.operation: step.function for step in steps if step.ends} == {
        "P 1": "", "B": "", "a 2 4 4 -": "pcpu_alloc_noprof", "f 1": "free_percpu",
        "d 1": "free_percpu",
    }  # fmt: skip
    assert (steps[0].words, steps[0].sentence()) == (
        "the next 1 page allocations fail", "no step of the kernel's",
    )  # fmt: skip


def test_a_chunk_on_no_list_is_held_by_who_took_it_off() -> None:
    """Of a compiled kernel no more is known than whose step it was."""
    chunks = of_schedule(RACE).steps[-1].state.chunks[:2]
    listed, away = (
        StateRows((), tuple(row.held_by("") if row.name in gone else row for row in chunks))
        for gone in ("", "1")
    )
    taken = [(0, "f 1", listed), (1, "b", away), (0, "f 1", away), (1, "b", listed),
             (0, "f 1", away), (1, "b", away)]  # fmt: skip
    steps = [
        TreeStep(actor, operation, n < 2, n == 4, "", "pcpu_lock released", "", "", None, state)
        for n, (actor, operation, state) in enumerate(taken)
    ]
    plan = SearchPlan(KERNEL_32K, ())
    c = of_retraced("Linux", "LIST-1", {}, plan, Retrace(("f 1", "b"), tuple(steps)), "")
    on_list = chunks[1].place
    assert [step.state.chunks[1].place for step in c.steps] == [
        on_list, "held by work", "held by work", on_list, "no list", "no list"
    ]  # fmt: skip
    assert all(row.picture.place == row.place for step in c.steps for row in step.state.chunks)


def test_a_race_is_shown_as_the_kernel_has_it() -> None:
    c = of_schedule(RACE)
    assert c.cpus_since() == ("CPU 0", "CPU 1", "work") and sequential_steps(c) == 2
    release = c.steps[3]
    assert (release.cpu, release.function) == ("work", "pcpu_shrink_populated")
    assert release.next == "unmap pages [1, 3] of chunk 1" and release.state.mutex == "work"
    file, _, number = release.where.partition(":")
    source = next(Path("reference").rglob(file)).read_text().split("\n")
    assert "Kind.RELEASE" in source[int(number) - 1]
    assert [row.pages for row in release.state.chunks] == ["eeeeeee", "#xxx----"]
    assert [row.place for row in c.steps[4].state.chunks if row.name == "1"] == [
        "slot 14 free of type 0, also held by work"
    ]  # fmt: skip
    assert [row.place for row in release.state.chunks if row.name == "1"] == ["held by work"]
    shown = "\n".join(lines_of(c))
    assert "pcpu_alloc_mutex held by work" in shown and "free b: pcpu_lock released" in shown
    assert "pcpu_nr_empty_pop_pages 10 -> 11" in shown and "1..4" not in shown
    assert "no shorter list of operations breaks it" in " ".join(shown.split())
    assert "FLT-1" in dict(c.steps[0].broken)
    assert "FLT-1 already broken" in " ".join(shown.split())
    assert "FLT-1 broken" not in shown
    head = next(line for line in lines_of(c) if line.split() == ["CPU", "1", "work"])
    columns = {line.lstrip("0123456789 ")[:4]: len(line) - len(line.lstrip("0123456789 "))
               for line in lines_of(c) if line[:1] in ("1", "3")}  # fmt: skip
    assert columns == {"begi": head.index("work"), "free": head.index("CPU 1")}
    one = replace(relevance(c), chunks=frozenset("1"))
    assert "# in use" in legend(c, one) and "# in use" not in legend(c, one, since=5)


def test_only_what_bears_on_the_clause_is_shown() -> None:
    c = of_schedule(POPULATES)
    assert relevance(c, sequential_steps(c)).chunks == {"1"}
    shown = "\n".join(lines_of(c))
    assert "one more chunk unchanged" in shown and "chunk 0" not in shown.partition("StateRows")[2]
    assert "R2, Balance work populates an isolated chunk" in shown and "R1" not in shown
    assert "md_blocks" not in shown
    hint = "\n".join(lines_of(of_schedule(HINT)))
    assert "areas in bytes: [0, 1023], [2048, 3071]" in hint and "md_blocks[0]: contig_" in hint


SPREAD = [(v, s) for v in (*VARIANTS, *RELEASES) for s in SCENARIOS]
QUICK = [
    ("linux_7_1", "reclaim-free"), ("rfc_1_reviewed", "second-free"), ("linux_5_12", "km-creates")
]  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "scenario"), deep_unless(lambda *case: case in QUICK, SPREAD)
)
def test_every_counterexample_of_a_scenario_fits(variant: str, scenario: str) -> None:
    chosen = SCENARIOS[scenario]
    found = search(chosen.start(variant), max_steps=500 if (variant, scenario) in QUICK else 9000)
    for clause, finding in found.findings.items():
        check(of_schedule(Token.of(variant, clause, chosen, finding.schedule)))


@pytest.mark.parametrize("name", ["race", "km"])
def test_the_line_of_a_mail_reproduces_it(name: str, tmp_path: Path) -> None:
    token = str(SHOWN[name])
    done = CliRunner().invoke(main, ["replay", token, "--mail"])
    assert done.exit_code == 0 and len(done.output.splitlines()) <= LINES
    command = done.output.splitlines()[-1].removeprefix("Run: ")
    assert len(command) <= 80
    again = CliRunner().invoke(main, [*shlex.split(command)[1:], "--mail"])
    assert again.exit_code == 0 and again.output == done.output


def test_a_token_that_is_too_long_for_a_line_is_named(tmp_path: Path) -> None:
    setup = tuple(f"a {n} {4 * n + 4096} {1 << n % 5 + 2} -" for n in range(1, 25))
    long = of_schedule(replace(HINT, setup=(*setup, "a 50 4 4 -"), clause="HINT-5"))
    names = tmp_path / "names.txt"
    assert len(long.token) > 100
    line = reproducer(long, names)
    assert line == f"percpu-spec replay HINT-5@{names}" == reproducer(long, names)
    other = replace(long, token=long.token[:-1] + "-")
    assert reproducer(other, names).endswith(f"HINT-5-2@{names}")
    assert len(names.read_text().splitlines()) == 2
    done = CliRunner().invoke(main, ["replay", f"HINT-5@{names}", "--json"])
    assert '"variant": "linux_6_12"' in done.output


def test_rows_are_numbered_from_1_and_the_steps_before_counted() -> None:
    c = of_schedule(SHOWN["race"])
    assert sequential_steps(c) > 0
    for lines in (mail(c, "x"), [line for _, line in text(c, WIDTH)]):
        numbers = [int(n) for line in lines for n in re.findall(r"^(\d+)(?:-\d+)? ", line)]
        assert numbers[0] == 1 and len(numbers) <= len(c.steps) - sequential_steps(c)
    before = f"Before, one after the other ({sequential_steps(c)} steps):"
    assert before in [line for _, line in text(c, WIDTH)]


def test_what_a_review_of_a_tree_found_has_the_bound_of_its_search() -> None:
    """Also of a search that no token names, as it stops where a patch adds accesses."""
    named = search_named("pages")
    search = named.with_plan(stops_at=(5,))
    job = TreeJob("base", Library(Path(), "6.12", named.form), search)
    found = {CRASH: of_process(search, "it ends")}
    cell = verdicts([TreeOutcome(job, examples=found, complete=True)], "base")[CRASH]
    out = StringIO()
    show_example(Console(file=out, width=WIDTH), "6.12", cell)
    said = " ".join(out.getvalue().split())
    assert f"search pages of the compiled code, the shortest first: {search.bound}." in said
    assert "every list of up to" in said and "replay" not in said


def test_a_token_of_a_file_goes_where_the_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
        (folder / "mi ne.py").write_text(MINE)
    monkeypatch.chdir(there)
    token = str(replace(HINT, variant="mi ne.py"))
    line = reproducer(of_token(token), Path("names.txt"))
    assert line.endswith(" --variant 'mi ne.py'")
    (there / "mi ne.py").unlink()
    for words in (["replay", token], ["show", token]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2 and "by --variant FILE, found 'mi ne.py'" in done.output
        done = CliRunner().invoke(main, [*words, "--variant", str(here / "mi ne.py")])
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["replay", str(HINT), "--variant", str(here / "mi ne.py")])
    assert done.exit_code == 2 and "a token of a variant's file" in done.output
    (here / "mi ne.py").write_text(MINE.replace(">= 2", ">= 3"))
    done = CliRunner().invoke(main, ["replay", token, "--variant", str(here / "mi ne.py")])
    assert done.exit_code == 2 and "as it is now" in done.output


@pytest.mark.parametrize("stem", ["t", "n" * 50])
def test_the_line_of_a_tree_can_be_pasted(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, names = Path(f"in/{stem} fix.patch"), Path("na mes.txt")
    tree = TreeOptions(Path("a tree"), (patch,), (), None)
    long = replace(of_schedule(HINT), token="t2." + "x" * 90)
    monkeypatch.chdir(tmp_path)
    line = reproducer(long, names, tree)
    pasted = "\n".join(command(line)).removeprefix("Run:").replace("\\\n", "")
    words = shlex.split(pasted)
    assert words == shlex.split(line)
    assert words[:3] == ["percpu-spec", "replay", "HINT-4@na mes.txt"]
    shown = patch.name if stem == "t" else "PATCH"  # where there is no room for the name
    assert words[3:] == ["--source", "TREE", "--patch", shown]
    assert all(len(part) <= WIDTH for part in command(line))
    stubbed = replace(tree, stub=Path("b/st ub.h")).options()
    assert shlex.split(stubbed)[-2:] == ["--stub", "st ub.h"]
    folded = command(f"tool {'x' * 60} 'two  blanks'")
    assert folded[-1] == "'two  blanks'" and len(folded) == 3


@pytest.mark.parametrize(
    ("content", "asked", "told"),
    [
        ("HINT-5 p2.x\n", "HINT-6", "HINT-5"),
        ("one two three\n", "one", ":1: expected NAME TOKEN"),
        ("# nothing\n", "one", "a line NAME TOKEN"),
        ("a p2.x\na p2.y\n", "a", ":2: expected a name of its own"),
    ],
)
def test_a_file_of_names_that_will_not_do(
    tmp_path: Path, content: str, asked: str, told: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_text(content)
    done = CliRunner().invoke(main, ["replay", f"{asked}@{path}"])
    assert done.exit_code == 2 and told in done.output and str(path) in done.output


def test_names_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    c = replace(of_schedule(HINT), token="p2." + "x" * 90)
    with pytest.raises(InputError, match="can be written"):
        reproducer(c, tmp_path / "missing" / "names.txt")


def test_steps_are_walked_through_by_lines() -> None:
    keys = "n\n\nl\np\nb\nf\nx\nq\n"
    done = CliRunner().invoke(main, ["replay", str(RACE), "--step"], input=keys)
    assert done.exit_code == 0
    places = [line for line in done.output.splitlines() if line.startswith("ISO-1 on rfc_1, step")]
    numbers = [int(line.split()[4]) for line in places]
    assert numbers == [0, 1, 2, 5, 4, 3, 0, 0]
    last = done.output.split("step 5 of 5")[1].split("step 4 of 5")[0]
    assert "ISO-1 broken: a chunk whose pages are being released" in last
    assert "chunk 1   slot 14 free of type 0, also held by work exxx----" in last
    assert all(len(line) <= WIDTH for line in done.output.splitlines())
    ends = CliRunner().invoke(main, ["replay", str(RACE), "--step"], input="n\n")
    assert ends.exit_code == 0 and ends.output.count("step 1 of 5") == 1


def test_steps_are_walked_through_by_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["n", " ", "\x1b[C", "p", "\x1b[A", "l", "\r", "\x03"])
    monkeypatch.setattr(replaying.click, "getchar", lambda: next(keys))
    monkeypatch.setattr(replaying.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    written = StringIO()
    replaying.walk(Console(file=written, width=90), of_schedule(RACE))
    places = re.findall(r"ISO-1 on rfc_1, step (\d)", written.getvalue())
    assert places == list("01232155") and next(keys, None) is None


OPERATIONS = st.one_of(
    st.builds(
        "a {} {} {} {}".format, st.integers(1, 40), st.integers(0, 300_000),
        st.sampled_from([1, 4, 8, 12, 2048, 4096]), st.sampled_from(["-", "A", "GR", "OW", "os"]),
    ),
    st.builds("{} {}".format, st.sampled_from("fdPQMmCZKH"), st.integers(0, 40)),
    st.builds("w {} {}".format, st.integers(1, 40), st.integers(4, 9000)),
    st.sampled_from(["b", "B", "E", "U 0", "U 1", "s 70000"]),
)  # fmt: skip
TOKENS = st.builds(
    Token,
    st.sampled_from([*VARIANTS, *RELEASES]),
    st.sampled_from([*clauses(), REFINE, "", "BUG", "NEW-17"]),
    st.sampled_from([KERNEL_32K, f"{KERNEL_32K},memcg=1", "page=65536,unit=131072", "x"]),
    st.lists(OPERATIONS, max_size=9).map(tuple),
    st.lists(OPERATIONS, max_size=5).map(tuple),
    st.integers(0, 30),
    st.lists(st.integers(-9, 9), max_size=12).map(tuple),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from(["", *searches()]),
)


@settings(max_examples=30, deadline=None)
@given(TOKENS, st.integers(0), st.integers(1, 63))
def test_a_token_says_all_of_its_schedule(token: Token, at: int, by: int) -> None:
    written, scenario = str(token), token.scenario
    usual = token.with_operations(scenario.prepared, scenario.concurrent)
    assert written.startswith(MODEL) and read_token(written) == usual
    assert read_token(written).search == token.search
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = len(MODEL) + at % (len(written) - len(MODEL))
    other = alphabet[(alphabet.index(written[place]) + by) % 64]
    damage = written[:place] + other + written[place + 1 :]
    with pytest.raises(InputError):
        read_token(damage)


def test_tokens_are_short_and_searches_apart() -> None:
    assert {name: len(str(token)) for name, token in SHOWN.items()} == {
        "race": 37, "populates": 38, "hint": 34, "km": 27,
    }  # fmt: skip
    for name in searches():
        assert read_token(str(replace(RACE, search=name))).search == name

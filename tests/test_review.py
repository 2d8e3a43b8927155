"""The review: searches from an empty start, what they find, and how verdicts come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless

from percpu_contracts.history import History
from percpu_contracts.registry import STATE
from percpu_contracts.situations import SITUATIONS, SituationCoverage
from percpu_proofs.bugs import BUGS
from percpu_proofs.cli import main
from percpu_proofs.counterexample.of_model import of_schedule, of_token
from percpu_proofs.explore import breadth, searches
from percpu_proofs.explore.breadth import Breadth, Hunt, Operations, Sequences
from percpu_proofs.explore.fingerprint import state_key
from percpu_proofs.explore.fuzz import Fuzz
from percpu_proofs.explore.scenario import KERNEL_32K, Program
from percpu_proofs.explore.searches import WORK, Alphabet
from percpu_proofs.explore.token import Token, variant_hash
from percpu_proofs.recorded.vectors import read_vector
from percpu_proofs.review import jobs
from percpu_proofs.review.job import Engine, Job, JobOutcome, ReviewExample, run
from percpu_proofs.review.jobs import put_small, shrinking_jobs, workloads
from percpu_proofs.review.matrix import matrix
from percpu_proofs.run.operations import text_of
from percpu_reference import VARIANTS, VariantFileError, build
from percpu_reference.variants import variant_class
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.catalogue import clauses
from percpu_spec.geometry import Geometry

SEQUENCES = {plan.name: plan for plan in searches.SEQUENCES}
HUNTS = {plan.name: plan for plan in searches.HUNTS}


@pytest.mark.parametrize("variant", deep_unless(lambda name: name == "rfc_series", VARIANTS))
def test_recorded_runs_with_km_end(variant: str) -> None:
    """Of some variants the balance work creates chunks as long as there is memory (BAL-3)."""
    km = [path for path in workloads() if read_vector(path).geometry.backing == "km"]
    assert km
    assert all(run(Job(variant, "workload", str(path))).complete for path in km)


@cache
def searched(engine: str, name: str, variant: str, longest: int) -> Breadth[Any]:
    plan = replace((HUNTS if engine == "hunt" else SEQUENCES)[name], longest=longest, least=longest)
    search: Breadth[Any] = (Hunt if engine == "hunt" else Sequences)(variant, plan)
    search.run()
    assert search.complete and search.covered == longest
    return search


def lengths(search: Breadth) -> dict[str, int]:
    """Return how many operations break each clause; runs of the work do not count."""
    return {
        clause: sum(operation != WORK for operation in (*found.setup, *found.actors))
        for clause, found in search.findings.items()
    }


# what is found from an empty start: by engine, plan, variant and operations at most, the fewest
# operations that break each clause

FOUND = [
    ("sequences", "quarters", "linux_6_12", 4, {"HINT-3": 3, "HINT-4": 4}),
    ("sequences", "crumbs", "linux_6_12", 4, {"HINT-5": 3, "LIST-2": 4}),
    ("sequences", "crumbs", "linux_5_12", 4, {"HINT-5": 3, "LIST-2": 4}),
    ("hunt", "pages", "linux_6_12", 5, {"BAL-2": 3, "BAL-1": 5}),
    ("sequences", "types", "rfc_1", 3, {"FLT-1": 1, "RCL-1": 2, "TLB-1": 3, "RCL-4": 3}),
    (
        "sequences", "pages", "rfc_1", 4,
        {"FLT-1": 1, "RCL-1": 3, "RCL-2": 3, "RCL-4": 3, "RCL-6": 4, "TLB-1": 4},
    ),
    ("sequences", "km", "rfc_series", 3, {"FLT-1": 1, "BAL-3": 1}),
    (
        "hunt", "race", "rfc_1", 5,
        {"FLT-1": 1, "RCL-1": 3, "RCL-2": 3, "ISO-1": 4, "LIST-1": 4, "TLB-1": 4, "POP-2": 5,
         "POP-1": 5, "RCL-6": 5},
    ),
    (
        "hunt", "race", "rfc_1_reviewed", 4,
        {"FLT-1": 1, "RCL-1": 3, "RCL-2": 3, "RCL-3": 3, "RCL-5": 3, "TLB-1": 4},
    ),
    ("sequences", "pages", "reference", 4, {}),
    ("hunt", "window", "reference", 4, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "name", "variant", "longest", "fewest"),
    deep_unless(
        lambda _engine, name, variant, *_: (
            (name, variant) not in {("pages", "linux_6_12"), ("crumbs", "linux_5_12")}
        ),
        FOUND,
    ),
)
def test_the_shortest_are_found_from_an_empty_start(
    engine: str, name: str, variant: str, longest: int, fewest: dict[str, int]
) -> None:
    search = searched(engine, name, variant, longest)
    assert lengths(search) == fewest
    for clause, caught in search.findings.items():
        plan = (HUNTS if engine == "hunt" else SEQUENCES)[name]
        token = Token(
            variant,
            clause,
            plan.geometry,
            tuple(map(text_of, caught.setup)),
            tuple(map(text_of, caught.actors)),
            1,
            caught.schedule,
        )
        assert clause in of_token(str(token)).broken


def test_the_race_of_rfc_1_is_found_at_once() -> None:
    """An atomic allocation in a page being unmapped: within 5 s of starting, from nothing."""
    search = searched("hunt", "race", "rfc_1", 5)
    race = search.findings["POP-2"]
    assert "handed out while pages" in race.message
    assert {operation[0] for operation in race.actors} == {"a", "f"}
    assert search.steps < 60_000  # a time would depend on the machine


@pytest.mark.parametrize(
    ("clause", "bug", "fewest"),
    [
        ("API-7", "alloc_percpu-27", 1),
        ("API-8", "alloc_percpu-31", 2),
        ("TLB-2", "populate_chunk-5", 3),
    ],
)
def test_reserves_and_refusals_are_searched(
    clause: str, bug: str, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert searched("sequences", "reserve", "linux_6_12", 3).judged[clause] > 0
    monkeypatch.setitem(VARIANTS, "planted", BUGS[bug].planted("linux_6_12"))
    search = Sequences("planted", replace(SEQUENCES["reserve"], longest=3, least=3))
    search.run()
    assert lengths(search) == {clause: fewest}


def test_the_last_operation_alone_is_searched_unless_a_pair_has_its_schedules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[tuple[Operations, Operations]] = []
    monkeypatch.setattr(Hunt, "_search", lambda self, _, *lists: done.append(lists))
    plan = replace(HUNTS["pages"], longest=3, least=3)
    Hunt("linux_6_12", plan, frozenset()).run()
    alone = [(before[-1], last[0]) for before, last in done if len(last) == 1 and before]
    pairs = [last for _, last in done if len(last) == 2]
    assert pairs
    assert any(before == WORK for before, _ in alone)
    assert any(last[0] == "f" and last[1] == before[1] for before, last in alone)
    assert any(before[0] == last[0] == "a" and before[2:] == last[2:] for before, last in alone)
    assert all(
        before == WORK or last[1] == before[1] or before[2:] == last[2:] for before, last in alone
    )


def test_a_job_is_run_by_its_engine() -> None:
    hunted, listed = (
        run(Job("linux_6_12", engine, "pages", most=20)).how for engine in ("hunt", "sequences")
    )
    assert "at once" in hunted and "at once" not in listed


def test_lists_are_searched_by_length() -> None:
    search = searched("sequences", "quarters", "linux_6_12", 3)
    lengths = [[sum(o[0] != "b" for o in ops) for ops in level] for level in search.levels]
    assert all(set(level) <= {n} for n, level in enumerate(lengths))
    assert search.states >= sum(map(len, lengths)) - 1


@pytest.mark.parametrize(("engine", "name"), [("sequences", "pages"), ("hunt", "race")])
def test_a_bound_ends_a_search_with_what_it_covered(engine: Engine, name: str) -> None:
    plan = (HUNTS if engine == "hunt" else SEQUENCES)[name]
    first, again = (run(Job("linux_6_12", engine, name, most=100)) for _ in range(2))
    assert not first.complete and f"operations of {plan.longest}, stopped after" in first.bound
    assert (first.bound, first.judged) == (again.bound, again.judged)


def test_a_guard_ends_a_search_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breadth, "GUARD", 0.0)
    outcome = run(Job("linux_6_12", "sequences", "pages"))
    assert not outcome.complete and "stopped by the guard of 0 s" in outcome.bound


def test_states_that_behave_alike_have_one_key() -> None:
    geometry = Geometry().with_changes(KERNEL_32K)
    one, other = (build("linux_6_12", geometry) for _ in range(2))
    assert state_key(one) == state_key(other)
    area = one.alloc(32768, 4)
    assert area is not None and state_key(one) != state_key(other)
    assert other.alloc(32768, 4) is not None and state_key(one) == state_key(other)
    area[0].id = 77  # how many chunks were made before does not matter
    assert state_key(one) == state_key(other)
    history = History()
    history.released(area[0], range(1))  # to COST-1 and TLB-1 it does matter that pages went
    assert state_key(one, history) != state_key(one, History())


# situations


def test_every_state_clause_has_a_situation() -> None:
    judged = set(STATE.asks())
    assert judged == SITUATIONS.keys()


def test_nothing_holds_before_its_situation_occurs() -> None:
    sightings = SituationCoverage()
    allocator = build("linux_6_12", Geometry().with_changes(KERNEL_32K))
    sightings.look(allocator, History(), quiescent=True)
    assert sightings.awaited >= {"RCL-3", "BAL-2", "ISO-2", "LIST-3", "POP-2", "MAP-3", "HINT-4"}
    assert not sightings.of({"RCL-3": 10, "MAP-3": 10})
    assert sightings.of({"API-1": 3}) == {"API-1": 3}  # says itself where it was not asked
    area = allocator.alloc(32768, 4)
    sightings.look(allocator, History(), quiescent=False)
    assert "MAP-3" in sightings.seen
    allocator.free(area)
    sightings.look(allocator, History(), quiescent=False)
    assert "LIST-3" in sightings.seen and "BAL-2" in sightings.awaited
    sightings.look(allocator, History(), quiescent=True)
    assert sightings.of({"BAL-2": 7, "LIST-3": 1}) == {"BAL-2": 7, "LIST-3": 1}


def test_the_searches_reach_every_situation() -> None:
    seen: set[str] = set(fuzzed("linux_6_12", 120).judged)
    for name, longest in (("quarters", 4), ("km", 3)):
        search = searched("sequences", name, "linux_6_12", longest)
        seen |= search.judged.keys()
    assert not SITUATIONS.keys() - seen - {"HINT-6"}  # not asked of linux_6_12


# drawn programs


@cache
def fuzzed(variant: str, programs: int) -> Fuzz:
    fuzz = Fuzz(variant, Geometry().with_changes(KERNEL_32K), seed=1, least=programs, most=programs)
    fuzz.run()
    assert fuzz.programs == programs
    return fuzz


@pytest.mark.deep
def test_drawn_programs_find_races_and_are_made_small() -> None:
    fuzz = fuzzed("rfc_1", 120)
    assert {"RCL-1", "RCL-2", "TLB-1"} <= fuzz.findings.keys()
    for clause, (_, found) in fuzz.findings.items():
        _, drawn = fuzz.minimise(clause, found)
        assert len(drawn.actors) < fuzz.length
        again, broken = fuzz._replay(drawn, clause)
        assert clause in broken and again == drawn
        operations = tuple(map(text_of, drawn.actors))
        token = Token("rfc_1", clause, KERNEL_32K, (), operations, drawn.works, drawn.schedule)
        assert clause in of_schedule(token).broken


def test_only_what_has_no_shortest_example_is_made_small() -> None:
    long = replace(EXAMPLE, length=24, shortest=False)
    found = dict.fromkeys(("HINT-5", "LIST-3"), Program(()))
    drawn = JobOutcome(Job("rfc_1", "fuzz", "pages"), "fuzzed", "", "")
    drawn.examples, drawn.programs = dict.fromkeys(found, long), found
    listed = JobOutcome(Job("rfc_1", "sequences", "pages"), "explored", "", "")
    listed.examples = {"HINT-5": replace(EXAMPLE, shortest=True)}
    (job,) = shrinking_jobs([drawn, listed])
    assert job == replace(drawn.job, drawn=("LIST-3", Program(())))
    small = replace(long, length=9)
    put_small([drawn, listed], [JobOutcome(job, "fuzzed", "", "", {}, {"LIST-3": small})])
    assert drawn.examples == {"HINT-5": long, "LIST-3": small} and "LIST-3" not in listed.examples


def test_reference_survives_drawn_programs() -> None:
    fuzz = fuzzed("reference", 120)
    assert not fuzz.findings
    assert fuzz.judged["HINT-6"] and fuzz.judged["ISO-2"]


# seeded bugs


class _Eager(Linux612):
    """Reclaims whatever has two empty pages."""

    __slots__ = ()

    def should_reclaim_chunk(self, chunk: object) -> bool:
        wanted = super().should_reclaim_chunk(chunk)  # type: ignore[arg-type]
        return wanted or getattr(chunk, "nr_empty_pop_pages", 0) >= 2


def test_a_seeded_bug_is_hunted_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "seeded", _Eager)
    assert {"RCL-1", "RCL-5"} & searched("hunt", "pages", "seeded", 3).findings.keys()
    assert {"RCL-1", "RCL-5"} <= searched("sequences", "pages", "seeded", 3).findings.keys()


# verdicts

EXAMPLE = ReviewExample("wrong", ("a 1 4 4 -",), ("f 1",), (), 2, True, None)
JOB = Job("linux_6_12", "hunt", "race")


def cell_of(clause: str, *outcomes: JobOutcome) -> tuple[str, str, bool]:
    cells = {cell.clause: cell for cell in matrix(["linux_6_12"], outcomes)}
    cell = cells[clause]
    return cell.verdict, cell.rung, cell.as_expected


@pytest.mark.parametrize(
    ("clause", "judged", "example", "verdict"),
    [
        ("LIST-1", 5, None, ("holds", "fuzzed", True)),
        ("LIST-1", 5, EXAMPLE, ("violated", "fuzzed", False)),
        ("LIST-1", 0, None, ("unchecked", "stated", True)),
        ("HINT-5", 5, None, ("holds", "fuzzed", False)),  # declared, and did not show
        ("HINT-5", 0, EXAMPLE, ("violated", "fuzzed", True)),
        ("HINT-6", 5, None, ("not applicable", "stated", True)),
    ],
)
def test_verdicts(
    clause: str, judged: int, example: ReviewExample | None, verdict: tuple[str, str, bool]
) -> None:
    examples = {clause: example} if example else {}
    outcome = JobOutcome(JOB, "fuzzed", "so far", "so", {clause: judged}, examples)
    assert cell_of(clause, outcome) == verdict


def test_the_shortest_counterexample_is_given() -> None:
    longer = replace(EXAMPLE, length=9)
    outcomes = [
        JobOutcome(JOB, "fuzzed", "", "", {"HINT-5": 1}, {"HINT-5": longer}),
        JobOutcome(JOB, "contracted", "", "", {"HINT-5": 1}, {"HINT-5": EXAMPLE}),
    ]
    cell = next(c for c in matrix(["linux_6_12"], outcomes) if c.clause == "HINT-5")
    assert cell.example is EXAMPLE and cell.rung == "fuzzed" and len(cell.evidence) == 2


def test_what_is_declared_broken_must_be_asked() -> None:
    cell = next(c for c in matrix(["linux_6_12"], []) if c.clause == "HINT-5")
    assert cell.verdict == "unchecked" and not cell.as_expected
    cell = next(c for c in matrix(["linux_6_12"], []) if c.clause == "HINT-1")
    assert cell.verdict == "unchecked" and cell.as_expected


@pytest.mark.parametrize(
    ("spoil", "interrupted", "code"),
    [
        (lambda judged, broken: None, False, 0),
        (lambda judged, broken: broken.update({"LIST-1": EXAMPLE}), False, 1),
        (lambda judged, broken: broken.pop("HINT-5"), False, 1),  # declared, and does not show
        (lambda judged, broken: broken.update({"LIST-1": EXAMPLE}), True, 130),
    ],
)
@pytest.mark.parametrize("options", [["--json"], []])
def test_the_exit_status_tells(
    spoil: Callable[[dict[str, int], dict[str, ReviewExample]], object],
    interrupted: bool,
    code: int,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = dict.fromkeys(clauses(), 1)
    broken = dict.fromkeys(Linux612.EXPECTED, EXAMPLE)
    spoil(judged, broken)
    outcome = JobOutcome(JOB, "fuzzed", "so far", "so", judged, broken)
    monkeypatch.setattr(
        jobs, "spread", lambda todo, *_, **__: ([outcome] if todo else [], interrupted)
    )
    command = ["review", "--no-cache", "--variant", "linux_6_12", *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code, done.output


def test_an_interrupted_review_accuses_nobody() -> None:
    job = Job("linux_6_12", "fuzz", "pages")
    done = [JobOutcome(job, "fuzzed", "1 program", "drawn", {"HINT-5": 3})]
    cells = matrix(["linux_6_12"], done, partial=True)
    assert all(cell.as_expected for cell in cells)
    cell = next(c for c in cells if c.clause == "HINT-5")
    assert cell.verdict == "unchecked" and "what was done" in cell.reason


# a reviewer's own variant

MINE = dedent(
    """
    from percpu_reference.variants.linux_6_12 import Linux612

    class Mine(Linux612):
        __slots__ = ()
        EXPECTED = {**Linux612.EXPECTED, "RCL-1": "eager", "RCL-5": "eager"}

        def should_reclaim_chunk(self, chunk):
            return chunk.nr_empty_pop_pages >= 2
    """
)


def test_a_file_is_a_variant(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    cls = variant_class(str(path))
    assert cls.__name__ == "Mine" and issubclass(cls, Linux612)
    outcome = run(Job(str(path), "sequences", "pages", most=2000))
    assert outcome.examples.keys() >= {"RCL-1", "RCL-5"}
    token = outcome.examples["RCL-5"].token
    assert token is not None
    replay = CliRunner().invoke(main, ["replay", token, "--json"])
    assert replay.exit_code == 0 and "RCL-5" in json.loads(replay.output)["broken"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_that_name", "does not import"),
        ("def f(:", "does not import"),
        ("x = 1", "one such class in the file, found none"),
        (MINE + "\nclass Other(Linux612):\n    EXPECTED = {}\n", "found Mine, Other"),
        (MINE.split("    def")[0], "overrides nothing"),
        (MINE.replace("should_reclaim_chunk", "should_reclaim"), "overrides nothing"),
        ("from percpu_reference.variants.linux_6_12 import Linux612 as Mine", "found none"),
        ("raise SystemExit(0)", "does not import"),
        (MINE.replace('"RCL-1"', '"RCL-99"'), "no clause 'RCL-99', such as RCL-"),
        (MINE.replace('"eager"', "1"), "has a reason for RCL-1 that is no text"),
        (MINE.replace("_chunk(self, chunk)", "_chunk(self)"), r"takes \(self\), expected"),
        (MINE + "\n    def chunk_relocat(self): ...\n", "chunk_relocate is meant"),
        (MINE + "\n    seen = []\n", "seen is one for all allocators"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(VariantFileError, match=says):
        variant_class(str(path))
    result = CliRunner().invoke(main, ["review", "--variant", str(path)])
    assert result.exit_code == 2
    (said,) = result.stderr.splitlines()
    assert re.search(says, said) and re.search(r"mine\.py:?\d*: expected a subclass", said)


@pytest.mark.parametrize("command", [["review"], ["explore", "reclaim-free"]])
def test_an_error_in_a_file_is_told_with_its_line(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("nr_empty_pop_pages", "nr_nonsense"))
    result = CliRunner().invoke(main, [*command, "--variant", str(path)])
    assert result.exit_code == 2
    assert "mine.py:9: expected code that runs" in result.output
    assert "AttributeError" in result.output and "Traceback" not in result.output


def test_declared_verdicts_are_inherited(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("EXPECTED =", "DECLARED ="))
    assert variant_class(str(path)).EXPECTED == Linux612.EXPECTED
    path = tmp_path / "replaced.py"
    path.write_text(MINE)
    declared = {**Linux612.EXPECTED, "RCL-1": "eager", "RCL-5": "eager"}
    assert declared == variant_class(str(path)).EXPECTED


def test_a_change_outside_the_class_makes_a_token_stale(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("LIMIT = 2\n" + MINE.replace(">= 2", ">= LIMIT"))
    before = variant_hash(str(path))
    words = '"""Mine."""\nimport sys\n# two\n'
    path.write_text(f"{words}LIMIT = 2\n" + MINE.replace(">= 2", ">= LIMIT"))
    assert variant_hash(str(path)) == before
    path.write_text("LIMIT = 3\n" + MINE.replace(">= 2", ">= LIMIT"))
    assert variant_hash(str(path)) != before


def test_gaps_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    passing_on = [
        "    def balance_workfn(self):",
        "        for gap in super().balance_workfn():",
        "            yield gap._replace(name='somewhere')",
    ]
    path.write_text("\n".join((MINE, *passing_on)))
    named = CliRunner().invoke(main, ["explore", "reclaim-free", "--variant", str(path), "--json"])
    path.write_text(MINE)
    plain = CliRunner().invoke(main, ["explore", "reclaim-free", "--variant", str(path), "--json"])
    assert named.exit_code == plain.exit_code
    assert json.loads(named.stdout)["states"] == json.loads(plain.stdout)["states"]


def test_a_variant_of_a_file_is_held_to_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace('"RCL-1": "eager", ', ""))
    result = CliRunner().invoke(main, ["explore", "float-falls", "--variant", str(path)])
    assert result.exit_code == 1 and "RCL-1 is broken" in result.output


def test_a_missing_file_and_an_unknown_name() -> None:
    for name, says in (("nowhere.py", "no such file"), ("linux_6_21", "linux_6_12")):
        result = CliRunner().invoke(main, ["review", "--variant", name])
        assert result.exit_code == 2 and says in result.output


def test_alphabets_read_as_words() -> None:
    alphabet = Alphabet(("4096 4 -", "1024 2048 A"), ("P 1",))
    assert str(alphabet) == "requests of 4096, 1024/2048 A bytes; faults P 1"
    kinds = [text_of(o) for o in alphabet.operations({1: None, 2: object()}, 3)]
    assert kinds == ["a 3 4096 4 -", "a 3 1024 2048 A", "f 2", "P 1"]

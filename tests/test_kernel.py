"""The model beside the kernel's own C, compiled from the trees that Debian's packages bring."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from depth import deep_unless
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_bugs import BUGS, EQUIVALENT, Bug, seeded
from kernel_trees import FOUND, MISSING, PATCHES, library_of, model_of, run_task, tree_of
from search_bugs import EDITS

from percpu_contracts.whole_state import WholeState
from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.explore.breadth import Sequences
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import SEQUENCES
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.explore.world import World
from percpu_proofs.kernel import difference_report as found
from percpu_proofs.kernel import differential
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.cases import Case, run_case
from percpu_proofs.kernel.differential import CaseTask, Tally, run_tasks
from percpu_proofs.kernel.instance import BuildForm, Kernel, KernelStopped, Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import WHOLE, Pair
from percpu_proofs.kernel.record import VectorRecording, write_vector
from percpu_proofs.kernel.schedule import confirm, replay
from percpu_proofs.kernel.tree import apply_patch, copy_tree
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.recorded.vectors import conform_vectors, find_vectors, read_vector
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations, text_of
from percpu_reference.chunk import Chunk
from percpu_reference.variants.reference import FIXES
from percpu_spec.geometry import Geometry

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
if not FOUND:
    warnings.warn(MISSING, stacklevel=1)

NEWEST = FOUND[-1] if FOUND else Path()
SMALL = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
each_tree = pytest.mark.parametrize(
    "archive",
    deep_unless(lambda archive: archive == NEWEST, FOUND or [NEWEST]),
    ids=lambda path: path.stem,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    made: dict[Path, Path] = {}

    def of(archive: Path) -> Path:
        if archive not in made:
            made[archive] = tmp_path_factory.mktemp("libraries")
        return made[archive]

    return of


@pytest.fixture
def library(folder: Callable[[Path], Path]) -> Library:
    return library_of(NEWEST, folder(NEWEST))


def patched(tmp_path: Path, *names: str) -> Library:
    """Return the newest tree with the fixes of these names as patches."""
    tree = copy_tree(tree_of(NEWEST), tmp_path / "tree")
    for name in names:
        (patch,) = PATCHES.glob(f"{name.replace(' ', '-')}-*.patch")
        apply_patch(tree, patch)
    return compile_tree(tree, tmp_path, flags=("-O1",))


def drawn(library: Library, model: ModelVariant, seeds: range, **task: int) -> Tally:
    """Run tasks until one shows a difference."""
    tally = Tally()
    for seed in seeds:
        if not tally.differs:
            tally.add(run_task(CaseTask(library, model, seed, False, **task)))
    return tally


def test_interrupted_run_keeps_what_was_compared(library: Library) -> None:
    tasks = (
        CaseTask(library, ModelVariant(), seed, False, cases=4, operations=400)
        for seed in range(99)
    )

    def progress(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    tally = Tally()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, tally, jobs=2, operations=1 << 30, seconds=None, progress=progress)
    assert tally.cases >= 4
    assert tally.seconds > 0


# recording


UP = BuildForm("km", smp=False)


@pytest.mark.deep
@each_tree
def test_recorded_vectors_are_written_again(
    archive: Path, folder: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = model_of(library_of(archive, folder(archive)))
    paths = find_vectors([data.folder("vectors")])
    for path in (*paths[:2], paths[-2], paths[-1]):  # pages of 64 KiB, a kernel without SMP
        vector = read_vector(path)
        library = library_of(archive, folder(archive), BuildForm.of(vector.geometry))
        recording = VectorRecording(
            path.name, vector.geometry, vector.listed, [r["in"] for r in vector.records[1:]]
        )
        write_vector(tmp_path / path.name, library, model.version, recording)
        again = read_vector(tmp_path / path.name)
        if model.version == vector.version:
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        assert [r["crc"] for r in again.records] == [r["crc"] for r in vector.records]
    report = conform_vectors([tmp_path])
    assert report.files == 4
    assert report.mismatches == 0


# the same operations on both


@pytest.mark.parametrize(
    ("archive", "form"),
    deep_unless(
        lambda archive, form: (archive, form) == (NEWEST, BuildForm()),
        [
            (archive, form)
            for archive in FOUND or [NEWEST]
            for form in (BuildForm(), BuildForm("km"))
        ],
    ),
    ids=lambda part: getattr(part, "stem", str(part)),
)
def test_drawn_cases_agree(archive: Path, form: BuildForm, folder: Callable[[Path], Path]) -> None:
    library = library_of(archive, folder(archive), form)
    model = model_of(library_of(archive, folder(archive)))
    tally = run_task(CaseTask(library, model, 7, True, cases=8, operations=500))
    assert not tally.differs, tally.differing_case
    assert tally.operations > 2000
    assert len(tally.geometries) >= 8
    assert tally.judged == tally.operations
    assert {"a", "f", "b", "B"} <= tally.kinds.keys()
    assert set(tally.broken) <= set(model.variant().EXPECTED)


PAGED = [
    BuildForm("vm", 65536),
    BuildForm("km", 65536),
    BuildForm("vm", 16384),
    BuildForm("vm", 8192),
    UP,
]


@pytest.mark.parametrize(
    "form", deep_unless(lambda form: form in (PAGED[0], UP), [*PAGED, UP._replace(page=65536)]),
    ids=str,
)  # fmt: skip
def test_other_pages_and_kernels_without_smp_agree(
    form: BuildForm, library: Library, folder: Callable[[Path], Path]
) -> None:
    model = model_of(library)
    other = library_of(NEWEST, folder(NEWEST), form)
    tally = run_task(CaseTask(other, model, 5, True, cases=5, operations=200))
    assert not tally.differs, tally.differing_case
    assert {g.page for g in tally.geometries} == {form.page}
    assert all(g.smp == form.smp for g in tally.geometries)
    assert tally.chunks > 2
    if form.backing == "vm":
        tally = run_task(CaseTask(other, model, 3, True, schedules=20))
        assert not tally.differs, tally.differing_schedule
        assert tally.steps > 100


def test_a_kernel_of_large_pages_is_told_from_one_of_small(
    library: Library, folder: Callable[[Path], Path]
) -> None:
    """What only the page size tells: the largest request, and where pages end."""
    other = library_of(NEWEST, folder(NEWEST), BuildForm("vm", 65536))
    sizes = Geometry(unit=131072, static=4096, reserved=0, dyn=61440, cpus=2, page=65536)
    lines = ["a 1 65536 65536 -", "a 2 65540 4 W", "a 3 4096 131072 W", "f 1", "b"]
    operations = parse_operations(Path("large"), lines).operations
    assert run_case(other, Case(sizes, operations), model_of(library), judge=True) is None
    with Kernel(other, sizes) as kernel:
        assert [kernel.apply(o).ok for o in operations[:3]] == [True, False, False]
    with pytest.raises(InputError, match="expected vm-4k, found 'vm-64k'"):
        Kernel(library, sizes)


def test_a_kernel_without_smp_destroys_a_first_chunk_that_is_wholly_free(
    folder: Callable[[Path], Path]
) -> None:
    single = library_of(NEWEST, folder(NEWEST), UP)
    sizes = Geometry(unit=32768, static=0, reserved=0, dyn=32768, cpus=1, backing="km")
    lines = ["a 1 32768 4 -", "a 2 32768 4 -", "f 1", "b", "f 2", "b"]
    *operations, last = parse_operations(Path("free"), lines).operations
    assert (
        run_case(single, Case(sizes, operations), ModelVariant()) is None
    )  # warnings are compared
    with Kernel(single, sizes) as kernel:
        for operation in operations:
            kernel.apply(operation)
        assert kernel.environment.warnings  # that an immutable chunk is on the free list
        with pytest.raises(KernelStopped, match="LIST-1: a chunk that boot has made is destroyed"):
            kernel.apply(last)


@each_tree
def test_drawn_schedules_agree(archive: Path, folder: Callable[[Path], Path]) -> None:
    library = library_of(archive, folder(archive))
    tally = run_task(CaseTask(library, model_of(library), 3, True, schedules=150))
    assert not tally.differs, tally.differing_schedule
    assert tally.steps > 1500
    assert {"BAL-1", "BAL-2", "RCL-3"} <= set(tally.broken)


REQUESTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from((4, 8, 1024, 2048, 4096, 4100, 8192, 28672, 32768, 0)),
            st.sampled_from((4, 8, 64, 4096)),
            st.sampled_from(("-", "A", "G", "O", "R", "W")),
        ).map(lambda request: "a {} " + " ".join(map(str, request))),
        st.sampled_from(("f", "f", "f", "B", "b", "P 1", "Q 2", "M 1", "C 1", "Z 2", "K 1")),
    ),
    min_size=1,
    max_size=40,
)


@given(requests=REQUESTS, frees=st.lists(st.integers(0, 1000), min_size=40, max_size=40))
@settings(max_examples=60, deadline=None)
def test_requests_drawn_one_by_one_agree(requests: list[str], frees: list[int]) -> None:
    lines: list[str] = []
    live: list[int] = []
    for number, (text, free) in enumerate(zip(requests, frees, strict=False)):
        if text.startswith("a"):
            live.append(number)
            lines.append(text.format(number))
        elif text != "f":
            lines.append(text)
        elif live:
            lines.append(f"f {live.pop(free % len(live))}")
    operations = parse_operations(Path("drawn"), lines or ["b"]).operations
    library = library_of(NEWEST, Path(os.environ["PYTEST_KERNEL_FOLDER"]))
    case = Case(replace(SMALL, memcg=True), operations)
    assert run_case(library, case, model_of(library), judge=True) is None


@pytest.fixture(autouse=True)
def surroundings(folder: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_KERNEL_FOLDER", str(folder(NEWEST)))
    monkeypatch.setattr(differential, "TRIES", 40)
    monkeypatch.setattr(differential, "TRIES_OF_SCHEDULES", 20)


def test_two_kernels_have_states_of_their_own(library: Library) -> None:
    (operation,) = parse_operations(Path("one"), ["a 1 4096 4 -"]).operations
    with Kernel(library, SMALL) as one, Kernel(library, SMALL) as other:
        one.apply(operation)
        assert CompiledState(one).first_chunk.free_bytes == SMALL.dyn - 4096
        assert CompiledState(other).first_chunk.free_bytes == SMALL.dyn


def spoil_block(chunk: Chunk) -> None:
    chunk.md_blocks[3].scan_hint_start += 1


def spoil_map(chunk: Chunk) -> None:
    chunk.bound_map[7] ^= 1


def spoil_pages(chunk: Chunk) -> None:
    chunk.populated[1] ^= 1


def spoil_counter(chunk: Chunk) -> None:
    chunk.nr_empty_pop_pages += 1


@pytest.mark.parametrize(
    ("spoil", "within"),
    [(spoil_block, WHOLE), (spoil_map, 1), (spoil_pages, 1), (spoil_counter, 1)],
)
def test_what_only_the_model_changes_is_seen(
    spoil: Callable[[Chunk], None], within: int, library: Library
) -> None:
    lines = ["a 1 28672 4 -", *(f"a {n} 32768 4 -" for n in range(2, 5)), *["U 1"] * WHOLE]
    operations = parse_operations(Path("lines"), lines).operations
    pair = Pair(library, SMALL, ModelVariant())
    try:
        for number, operation in enumerate(operations[:4], 1):
            assert pair.step(number, operation) is None
        spoil(pair.driver.allocator.first_chunk)
        steps = [pair.step(number, op) for number, op in enumerate(operations[4:], 5)]
    finally:
        pair.close()
    assert any(steps[:within])


def test_predicates_run_on_the_kernels_state(library: Library) -> None:
    lines = ["a 1 1024 4 -", "a 2 2048 2048 -", "f 1"]  # leaves HINT-3 broken in 6.12
    with Kernel(library, SMALL) as kernel:
        state, whole = CompiledState(kernel), WholeState()
        assert list(whole.broken(state)) == []
        for operation in parse_operations(Path("three"), lines).operations:
            kernel.apply(operation)
        state.read()
        found_broken = {clause for clause, _ in whole.broken(state)}
        state.chunk(0).alloc_map[5] = 1
        assert {"MAP-2", "HINT-1"} <= {clause for clause, _ in whole.broken(state)}
    assert found_broken <= set(ModelVariant().variant().EXPECTED)


# schedules found in the model


def tokens_of_scenarios() -> Iterator[Token]:
    """Yield a token for each clause that 6.12 is known to break in a scenario."""
    for scenario in SCENARIOS.values():
        for clause in sorted(getattr(scenario.expected("linux_6_12"), "broken", ())):
            if "backing=km" in scenario.geometry:
                continue
            result = search(
                scenario.start("linux_6_12"), stop=lambda found, c=clause: c in found.findings
            )
            finding = result.findings[clause]
            yield Token.of("linux_6_12", clause, scenario, finding.schedule)


def tokens_of_sequences() -> Iterator[Token]:
    """Yield a token for each clause that short lists break, the last operation as an actor."""
    for plan in SEQUENCES[:2]:
        search = Sequences("linux_6_12", plan)
        search.run()
        for caught in search.findings.values():
            lines = tuple(map(text_of, (*caught.setup, *caught.actors)))
            scenario = Scenario("of a list", "", lines[:-1], lines[-1:], plan.geometry)
            world = World(scenario.start("linux_6_12"))
            steps = 0
            while not world.finished:
                world.step(0)
                steps += 1
            yield Token.of("linux_6_12", caught.clause, scenario, (0,) * steps)


@pytest.mark.deep
def test_every_violation_of_the_model_is_the_kernels(folder: Callable[[Path], Path]) -> None:
    confirmed: Counter[str] = Counter()
    for token in (*tokens_of_scenarios(), *tokens_of_sequences()):
        for archive in FOUND:
            library = library_of(archive, folder(archive))
            done = replay(library, model_of(library), token)
            assert done.agrees, done
            confirmed[done.clause] += 1
    wanted = {"RCL-3", "BAL-1", "BAL-2", "LIST-2", "HINT-3", "HINT-4", "HINT-5"}
    assert set(confirmed) >= wanted


def test_token_of_a_holding_clause_is_not_confirmed(library: Library) -> None:
    token = Token("linux_6_12", "FLT-1", "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2",
                  ("a 1 4096 4 -",), ("f 1", "a 2 8192 4 -"), 1, (0, 1))  # fmt: skip
    done = replay(library, model_of(library), token)
    assert done.difference is None
    assert not done.agrees


# fixes


FIX_NAMES = [fix.NAME for fix in FIXES]
IN_GAPS = {"R1", "R4 creation"}  # cannot show while operations run one after the other
FIRST_SEED = {"R4 creation": 5, "R4 failure": 39}  # which tells the fix, where few do


@pytest.mark.deep
@pytest.mark.parametrize("name", FIX_NAMES)
def test_patched_kernel_is_the_model_with_the_fix(
    name: str, library: Library, tmp_path: Path
) -> None:
    model = ModelVariant(fixes=(name,))
    size = {"schedules": 200} if name in IN_GAPS else {"cases": 4, "operations": 600}
    unpatched = drawn(library, model, range(FIRST_SEED.get(name, 0), 60), **size)
    assert unpatched.differs, "no draw tells the fix from 6.12"
    with_patch = patched(tmp_path, name)
    for size in ({"cases": 4, "operations": 600}, {"schedules": 60}):
        assert not drawn(with_patch, model, range(1), **size).differs


@pytest.mark.deep
def test_kernel_with_all_fixes_is_reference(tmp_path: Path) -> None:
    library = patched(tmp_path, *FIX_NAMES)
    tally = run_task(CaseTask(library, ModelVariant("reference"), 2, True, cases=6, operations=600))
    tally.add(run_task(CaseTask(library, ModelVariant("reference"), 2, True, schedules=100)))
    assert not tally.differs, (tally.differing_case, tally.differing_schedule)
    assert not tally.broken


# bugs


def bugged(bug: Bug, tmp_path: Path) -> Library:
    tree = copy_tree(tree_of(NEWEST), tmp_path / "tree")
    file = tree.top / bug.file
    file.write_text(seeded(file.read_text(), bug))
    return compile_tree(tree, tmp_path, flags=("-O0",))


ALL_EDITS = dict.fromkeys((*BUGS, *(edit.bug for edit in EDITS if not edit.bug.gaps)))
NOT_IN_LISTS = {"the float touched and put back", "a list touched before the lock"}
"""Edits that leave no trace behind: a search that notes accesses tells them."""
TAKES_MANY_CHUNKS = "spares the second free chunk too"


@pytest.mark.parametrize(
    "bug", deep_unless(lambda bug: bug in BUGS[4::24], ALL_EDITS), ids=lambda bug: bug.name
)
def test_seeded_bug_is_found(
    bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differential, "TRIES", 2000)
    library = bugged(bug, tmp_path)
    if bug.gaps or bug.clause:
        tally = drawn(library, ModelVariant(), range(5), schedules=100)
        # behind a difference a schedule is not judged: a search of the edit names its clause
        assert not bug.clause or bug.clause in tally.broken or tally.differing_schedule is not None
        assert tally.differs
        return
    unseen = bug.name in NOT_IN_LISTS
    found = drawn(
        library, ModelVariant(), range(2 if unseen else 30), cases=4, operations=1000
    ).differing_case
    assert (found is None) is unseen
    if found is not None:  # what is shown is short, repeats, and shows at its last operation
        assert len(found.case.operations) <= (30 if bug.name == TAKES_MANY_CHUNKS else 20)
        assert not found.stopped
        again = run_case(library, found.case, ModelVariant())
        assert again is not None and again[0] == len(found.case.operations)


@pytest.mark.parametrize(
    "bug", deep_unless(lambda bug: bug == EQUIVALENT[0], EQUIVALENT), ids=lambda bug: bug.name
)
def test_equivalent_change_makes_no_difference(bug: Bug, tmp_path: Path) -> None:
    tally = drawn(bugged(bug, tmp_path), ModelVariant(), range(2), cases=6, operations=500)
    assert not tally.differs


def test_difference_is_shrunk_saved_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differential, "TRIES", 2000)
    bug = next(bug for bug in BUGS if bug.name == "wrong list end")
    library = bugged(bug, tmp_path)
    tally = drawn(library, ModelVariant(), range(6), cases=6, operations=500)
    assert tally.differing_case is not None
    assert len(tally.differing_case.case.operations) <= 12
    path = found.save(tally.differing_case, ModelVariant(), tmp_path / "difference.jsonl.gz")
    report = conform_vectors([path])
    assert report.mismatches
    kernel, model = found.maps(tally.differing_case, ModelVariant())
    assert kernel != model
    assert "slot" in kernel


def test_difference_in_a_schedule_has_a_token(tmp_path: Path) -> None:
    bug = next(bug for bug in BUGS if bug.gaps)
    library = bugged(bug, tmp_path)
    tally = drawn(library, ModelVariant(), range(5), schedules=100)
    assert tally.differing_schedule is not None
    assert tally.differing_schedule.token.startswith("p2.")
    assert "differs at step" in found.schedule_text(tally.differing_schedule)
    again = confirm(library, ModelVariant(), read_token(tally.differing_schedule.token))
    assert again.difference == tally.differing_schedule.difference


# stubs


def test_kernel_that_cannot_go_on_stops(library: Library, tmp_path: Path) -> None:
    (operation,) = parse_operations(Path("one"), ["a 1 4096 4 -"]).operations
    with Kernel(library, SMALL) as kernel:
        kernel.environment.memory = 0
        actor = kernel.actor(operation)
        kernel.step(actor)
    bug = next(bug for bug in BUGS if bug.name == "search stops before the free list")
    lines = [f"a {n} 28672 4 -" for n in range(1, 9)]
    with Kernel(bugged(bug, tmp_path), SMALL) as kernel, pytest.raises(KernelStopped, match="end"):
        for operation in parse_operations(Path("lines"), lines).operations:
            kernel.apply(operation)


# the command


def test_conform_kernel(tmp_path: Path) -> None:
    top = str(tree_of(NEWEST).top)
    arguments = ["conform", "kernel", "--source", top, "--json", "--jobs", "1", "--count", "500",
                 "--backing", "vm", "--save", str(tmp_path / "d.jsonl.gz")]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["mismatches"] == 0
    assert report["operations"] >= 500
    assert report["kernel"].startswith(NEWEST.name.split("-")[-1].split(".tar")[0])
    result = CliRunner().invoke(main, [*arguments, "--fix", "L1"])
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    assert report["mismatches"] == 1
    assert report["first_mismatch"]["field"].startswith("chunks")
    assert conform_vectors([Path(report["first_mismatch"]["saved"])]).mismatches == 0  # is 6.12's


def test_conform_kernel_runs_files_and_patches(tmp_path: Path) -> None:
    vector = data.folder("vectors") / "24-reserved-u64-c4-r8.jsonl.gz"
    (patch,) = PATCHES.glob("L2-*.patch")
    arguments = ["conform", "kernel", "--source", str(tree_of(NEWEST).top), "--json",
                 "--operations", str(vector), "--patch", str(patch),
                 "--save", str(tmp_path / "d.jsonl.gz")]  # fmt: skip
    result = CliRunner().invoke(main, [*arguments, "--fix", "L2"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["operations"] == len(read_vector(vector).listed.operations)


def test_conform_kernel_names_the_line_of_a_wrong_handle(tmp_path: Path) -> None:
    operations = tmp_path / "wrong.ops"
    operations.write_text("a 1 8 4 -\nf 1\nf 1\n")
    arguments = ["conform", "kernel", "--source", str(tree_of(NEWEST).top), "--operations"]
    result = CliRunner().invoke(main, [*arguments, str(operations)])
    assert result.exit_code == 2
    assert "wrong.ops:3: expected a handle not freed yet" in result.output


@pytest.mark.deep
def test_bench_measures_the_compiled_kernel(tmp_path: Path) -> None:
    operations = tmp_path / "few.ops"
    lines = [f"a {n} {64 * n} 4 -" for n in range(1, 40)] + [f"f {n}" for n in range(1, 30)]
    operations.write_text("\n".join([*lines, "b"]))
    result = CliRunner().invoke(
        main, ["bench", str(operations), "--rounds", "1", "--json", "--source",
               str(tree_of(NEWEST).top)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (work,) = json.loads(result.stdout)["lists"]
    assert work["kernel_measured"]
    assert work["checksums_agree"]  # the kernel's among them
    assert work["kernel_ratio"] > 1


def test_conform_record(tmp_path: Path) -> None:
    operations = tmp_path / "few.ops"
    operations.write_text("# a comment\na 1 4096 4 GA # another\n\nf 1\nb\n")
    result = CliRunner().invoke(
        main, ["conform", "record", "--source", str(tree_of(NEWEST).top), "--out",
               str(tmp_path / "out"), "--json", "--geometry", "memcg=1", str(operations)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = conform_vectors([tmp_path / "out"])
    assert (report.files, report.operations, report.mismatches) == (1, 3, 0)
    assert not report.notes  # the manifest vouches for it

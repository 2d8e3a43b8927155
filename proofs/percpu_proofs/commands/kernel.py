"""`percpu-spec conform kernel`, and `conform record`: the model beside compiled kernel code."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click

from percpu_proofs.commands import options, output
from percpu_proofs.commands.comparison import ConformanceRun
from percpu_proofs.commands.source import (
    InputKind,
    expand,
    geometry_option,
    kind_of,
    read_source,
)
from percpu_proofs.explore.token import read_token, token_of
from percpu_proofs.kernel import difference_report as differences
from percpu_proofs.kernel.build import Workshop, workshop
from percpu_proofs.kernel.cases import Case
from percpu_proofs.kernel.differential import (
    CASES,
    OPERATIONS,
    SCHEDULES,
    CaseTask,
    Tally,
    run_one,
    run_tasks,
    shrink_first,
)
from percpu_proofs.kernel.instance import BuildForm, KernelStopped
from percpu_proofs.kernel.record import VectorRecording, write_manifest, write_vector
from percpu_proofs.kernel.schedule import confirm
from percpu_proofs.recorded.vectors import SUFFIX, read_vector
from percpu_proofs.run.driver import Driver, HandleError
from percpu_proofs.run.inputs import InputError, read_text, writing
from percpu_proofs.run.sizes import SIZES, page_size
from percpu_reference import build

_Backing = Literal["vm", "km", "both"]
_geometry = geometry_option(
    help=f"Sizes for operation lists: {', '.join(SIZES)}. Drawn cases take page=N alone.",
)


@click.command()
@options.needed_tree
@click.option(
    "--variant", callback=output.named_variant,
    help="The model to compare with.  [default: what the tree does chooses it]",
)
@click.option(
    "--fix", "fixes", multiple=True, help="A fix of `reference`, on top of the variant, the model."
)
@click.option(
    "--operations", "files", type=click.Path(path_type=Path), multiple=True,
    help="Run a list or vector instead of drawn cases.",
)
@_geometry
@click.option("--token", "tokens", multiple=True, help="Replay a schedule found by the explorer.")
@click.option(
    "--count", type=click.IntRange(min=1),
    help="Operations to draw, at least: the last case is ended. One has about "
    f"{OPERATIONS}, or as many as these if they are fewer.  [default: 100000]",
)
@click.option("--time", "seconds", type=click.FloatRange(min=0.1), help="Draw for so many seconds.")
@click.option("--seed", default=1, show_default=True, help="Where the draws begin.")
@options.jobs
@click.option(
    "--backing", type=click.Choice(["vm", "km", "both"]), default="both", show_default=True,
    help="mm/percpu-vm.c, mm/percpu-km.c, or cases of both.",
)
@click.option(
    "--clauses/--no-clauses", default=True, show_default=True,
    help="Ask the clauses of the kernel's own state after every operation.",
)
@click.option(
    "--save", type=output.NewFile(overwrites=False),
    help="Where a difference is written, as a vector: no file that is there.  [default: "
    f"difference{SUFFIX} in a new temporary folder, which is told]",
)
@output.json_option
def kernel(
    tree: options.TreeOptions,
    variant: str | None,
    fixes: tuple[str, ...],
    files: tuple[Path, ...],
    geometry: str | None,
    tokens: tuple[str, ...],
    count: int | None,
    seconds: float | None,
    seed: int,
    jobs: int,
    backing: _Backing,
    clauses: bool,
    save: Path | None,
) -> None:
    """Compile a Linux tree's own mm/percpu.c and compare the model with it, field by field.

    Needs a C compiler. The tree is only read. Draws cases unless operations or tokens are given.
    """
    files = _readable(files)
    with workshop(
        tree.source, patches=tree.patches, stub=tree.stub, variant=variant, fixes=fixes
    ) as shop:
        run = ConformanceRun(shop)
        try:
            for token in map(read_token, map(token_of, tokens)):
                library = shop.library(BuildForm.of(token.scenario.sizes))
                run.confirmed.append(confirm(library, shop.model, token))
            if files:
                _run_files(shop, files, geometry, clauses, run.tally)
            if not files and not tokens:
                if count is None and seconds is None:
                    count = 100_000
                run.planned = count
                run.forms = _forms(shop, backing, page_size(geometry))
                with output.progress_bar("operations") as bar:
                    run_tasks(
                        _tasks(shop, run.forms, seed, clauses, count), run.tally,
                        jobs=jobs, operations=count, seconds=seconds, progress=bar,
                    )  # fmt: skip
        except KeyboardInterrupt:
            run.tally.interrupted = True
        case = run.tally.differing_case
        if case is not None:
            if save is None:  # in a folder of its own, which stays
                save = Path(tempfile.mkdtemp(prefix="percpu-spec-")) / f"difference{SUFFIX}"
            run.saved = differences.save(case, shop.model, save)
        output.result(run.as_json, run.show)
    output.end(ok=not run.differs)
    output.end(interrupted=run.tally.interrupted)


def _readable(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the files that paths name. Raises InputError for one that cannot be read."""
    found = tuple(expand(paths))
    for path in found:
        kind_of(path)
    return found


def _forms(shop: Workshop, backing: _Backing, page: int) -> tuple[BuildForm, ...]:
    """Return the forms of the kernels that cases are drawn for, in turn; km without SMP too.

    Of both backings those that the tree has.
    """
    vm, km, single = BuildForm("vm", page), BuildForm("km", page), BuildForm("km", page, smp=False)
    if backing == "both":
        return (vm, km, vm, vm, single) if shop.tree.has("km") else (vm,)
    return (vm,) if backing == "vm" else (km, single)


def _tasks(
    shop: Workshop,
    forms: tuple[BuildForm, ...],
    seed: int,
    clauses: bool,
    operations: int | None,
) -> Iterator[CaseTask]:
    """Yield tasks without end: every fourth, the first too, draws schedules; only vm has some."""
    cases, of_case = CASES, OPERATIONS
    if operations is not None:
        cases = min(CASES, -(-operations // (2 * OPERATIONS)))
        of_case = min(OPERATIONS, operations)
    for turn in itertools.count():
        number = turn // 4 * 4 + (turn + 3) % 4
        start = seed * 1_000_003 + number
        if number % 4 == 3 and forms[0].backing == "vm":
            schedules = SCHEDULES * cases // CASES
            yield CaseTask(shop.library(forms[0]), shop.model, start, clauses, schedules=schedules)
        else:
            library = shop.library(forms[number % len(forms)])
            yield CaseTask(library, shop.model, start, clauses, cases, of_case)


def _run_files(
    shop: Workshop, files: tuple[Path, ...], geometry: str | None, clauses: bool, tally: Tally
) -> None:
    for path in files:
        read = read_source(path, geometry)
        if read.kind is InputKind.TRACE:
            raise InputError(path, None, "an operation list or a vector")
        task = CaseTask(shop.library(BuildForm.of(read.geometry)), shop.model, 0, clauses)
        try:
            tally.add(run_one(task, Case(read.geometry, read.listed.operations)))
        except HandleError:  # run by the model alone, the list says at which line
            Driver(build(shop.model.variant(), read.geometry)).run(read.listed)
            raise
    shrink_first(tally)


@click.command()
@options.needed_tree
@_geometry
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("vectors"), show_default=True,
    help="Folder to write into, made if need be.",
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), required=True)
@output.json_option
def record(
    tree: options.TreeOptions,
    geometry: str | None,
    out: Path,
    paths: tuple[Path, ...],
) -> None:
    """Write vectors of what a Linux tree's own mm/percpu.c does with lists of operations.

    PATHS are operation lists, vectors (recorded anew), or folders of vectors.
    """
    entries: list[dict[str, Any]] = []
    files = _readable(paths)
    with workshop(tree.source, patches=tree.patches, stub=tree.stub) as shop:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        with output.progress_bar("vectors") as bar:
            for number, path in enumerate(files, 1):
                recording = _recording(path, geometry)
                library = shop.library(BuildForm.of(recording.geometry))
                try:
                    entry = write_vector(
                        out / recording.name, library, shop.model.version, recording
                    )
                except KernelStopped as stopped:
                    raise InputError(path, None, f"operations that end ({stopped})") from None
                entries.append(entry)
                bar(number, len(files))
        write_manifest(out, f"mm/percpu.c of Linux {shop.tree.name}", entries)
    rows = [(entry["file"], entry["ops"], entry["final_crc"]) for entry in entries]
    columns = ("file", "operations", "checksum")
    output.result(
        lambda: {"kernel": shop.tree.name, "folder": str(out), "files": entries},
        lambda console: console.print(output.table(f"Linux {shop.tree.name}", columns, rows)),
    )


def _recording(path: Path, changes: str | None) -> VectorRecording:
    """Return what is to be recorded of a file, the texts of its operations as they stand there."""
    read = read_source(path, changes)
    if kind_of(path) is InputKind.VECTOR:
        texts = [str(line["in"]) for line in read_vector(path).records[1:]]
        return VectorRecording(path.name, read.geometry, read.listed, texts)
    lines = read_text(path).split("\n")
    texts = [" ".join(lines[n - 1].partition("#")[0].split()) for n in read.listed.lines]
    name = path.name.removesuffix(".gz").removesuffix(".ops") + SUFFIX
    return VectorRecording(name, read.geometry, read.listed, texts)

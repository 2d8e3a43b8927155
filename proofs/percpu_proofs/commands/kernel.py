"""`percpu-spec conform kernel` and `conform record`: the model beside compiled kernel code."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.text import Text

from percpu_contracts.registry import COMPILED
from percpu_proofs.commands import output
from percpu_proofs.commands.source import (
    SIZES,
    Kind,
    expand,
    kind_of,
    page_asked_for,
    read_source,
)
from percpu_proofs.conformance.vector_file import SUFFIX, read_vector
from percpu_proofs.explore.token import read_token
from percpu_proofs.inputs import InputError, read_text
from percpu_proofs.kernel import found as differences
from percpu_proofs.kernel.build import Form
from percpu_proofs.kernel.differential import (
    CASES,
    OPERATIONS,
    SCHEDULES,
    Found,
    Tally,
    Task,
    run_one,
    run_tasks,
)
from percpu_proofs.kernel.draws import Case
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.record import Recording, write_manifest, write_vector
from percpu_proofs.kernel.schedule import Confirmed, confirm
from percpu_proofs.kernel.workshop import Workshop, workshop
from percpu_proofs.machine import HandleError, Machine
from percpu_reference import DEFAULT, build

_source = click.option(
    "--source",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A Linux source tree, 5.14 or later, or Debian's archive of one.",
)
_patch = click.option(
    "--patch",
    "patches",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Apply a patch to a copy of the tree first; several in order.",
)
_stub = click.option(
    "--stub", type=click.Path(path_type=Path), help="A header for a tree that needs more stubs."
)
_geometry = click.option(
    "--geometry",
    metavar="NAME=VALUE,...",
    help=f"Sizes for operation lists: {', '.join(SIZES)}. Drawn cases take page=N alone.",
)


@click.command()
@_source
@_patch
@_stub
@click.option("--variant", default=DEFAULT, show_default=True, help="The model to compare with.")
@click.option("--fix", "fixes", multiple=True, help="A fix of `reference`, on top of linux_6_12.")
@click.option(
    "--operations",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Run a list or vector instead of drawn cases.",
)
@_geometry
@click.option("--token", "tokens", multiple=True, help="Replay a schedule found by the explorer.")
@click.option("--count", type=click.IntRange(min=1), help="Operations to draw.  [default: 100000]")
@click.option("--time", "seconds", type=click.FloatRange(min=0.1), help="Draw for so many seconds.")
@click.option("--seed", default=1, show_default=True, help="Where the draws begin.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each CPU]")
@click.option(
    "--backing",
    type=click.Choice(["vm", "km", "both"]),
    default="both",
    show_default=True,
    help="mm/percpu-vm.c, mm/percpu-km.c, or cases of both.",
)
@click.option(
    "--clauses/--no-clauses",
    default=True,
    show_default=True,
    help="Ask the clauses of the kernel's own state after every operation.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    default=Path(f"difference{SUFFIX}"),
    show_default=True,
    help="Where a difference is written, as a vector.",
)
@output.json_option
def kernel(
    source: Path,
    patches: tuple[Path, ...],
    stub: Path | None,
    variant: str,
    fixes: tuple[str, ...],
    files: tuple[Path, ...],
    geometry: str | None,
    tokens: tuple[str, ...],
    count: int | None,
    seconds: float | None,
    seed: int,
    jobs: int | None,
    backing: Literal["vm", "km", "both"],
    clauses: bool,
    save: Path,
    as_json: bool,
) -> None:
    """Compile a Linux tree's own mm/percpu.c and compare the model with it, field by field.

    Needs a C compiler. The tree is only read. Draws cases unless operations or tokens are given.
    """
    tally = Tally()
    confirmed: list[Confirmed] = []
    with workshop(source, patches=patches, stub=stub, variant=variant, fixes=fixes) as shop:
        try:
            if tokens:
                confirmed += [_confirm(shop, text) for text in tokens]
            if files:
                _run_files(shop, files, geometry, clauses, tally)
            if not files and not tokens:
                if count is None and seconds is None:
                    count = 100_000
                forms = _forms(backing, None if files else geometry)
                with output.progress_bar("operations") as bar:
                    run_tasks(
                        _tasks(shop, forms, seed, clauses, count), tally, jobs=jobs or _cpus(),
                        operations=count, seconds=seconds, progress=bar,
                    )  # fmt: skip
        except KeyboardInterrupt:
            tally.interrupted = True
        saved = None
        if tally.found is not None:
            saved = differences.save(tally.found, shop.model, save)
        if as_json:
            output.print_json(_as_json(shop, tally, confirmed, saved))
        else:
            _show(output.console(), shop, tally, confirmed, saved)
    if tally.differs or any(not one.agrees for one in confirmed):
        raise SystemExit(output.DIFFERS)
    if tally.interrupted:
        raise SystemExit(output.INTERRUPTED)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _confirm(shop: Workshop, text: str) -> Confirmed:
    """Replay a token on the kernel that it is for."""
    token = read_token(text)
    return confirm(shop.library(Form.of(token.scenario.sizes)), shop.model, token)


def _forms(backing: Literal["vm", "km", "both"], geometry: str | None) -> tuple[Form, ...]:
    """Return the forms of kernels that cases are drawn for, in turn: km with SMP and without."""
    page = page_asked_for(geometry)
    vm, km, up = Form("vm", page), Form("km", page), Form("km", page, smp=False)
    return {"vm": (vm,), "km": (km, up), "both": (vm, vm, vm, km, up)}[backing]


def _tasks(
    shop: Workshop,
    forms: tuple[Form, ...],
    seed: int,
    clauses: bool,
    operations: int | None,
) -> Iterator[Task]:
    """Yield tasks without end: every fourth, the first too, draws schedules; only vm has some."""
    cases = CASES if operations is None else min(CASES, -(-operations // (2 * OPERATIONS)))
    for turn in itertools.count():
        number = turn // 4 * 4 + (turn + 3) % 4
        start = seed * 1_000_003 + number
        if number % 4 == 3 and forms[0].backing == "vm":
            schedules = SCHEDULES * cases // CASES
            yield Task(shop.library(forms[0]), shop.model, start, clauses, schedules=schedules)
        else:
            library = shop.library(forms[number % len(forms)])
            yield Task(library, shop.model, start, clauses, cases)


def _run_files(
    shop: Workshop, files: tuple[Path, ...], geometry: str | None, clauses: bool, tally: Tally
) -> None:
    for path in expand(files):
        read = read_source(path, geometry)
        if read.kind is Kind.TRACE:
            raise InputError(path, None, "an operation list or a vector")
        task = Task(shop.library(Form.of(read.geometry)), shop.model, 0, clauses)
        try:
            tally.add(run_one(task, Case(read.geometry, read.listed.operations)))
        except HandleError:  # run by the model alone, the list says at which line
            Machine(build(shop.model.variant(), read.geometry)).run(read.listed)
            raise


def _as_json(
    shop: Workshop, tally: Tally, confirmed: list[Confirmed], saved: Path | None
) -> dict[str, Any]:
    first = None if tally.found is None else differences.as_json(tally.found)
    if first is not None:
        first["saved"] = str(saved)
    return {
        "kernel": shop.tree.name,
        "variant": shop.model.name,
        "fixes": list(shop.model.fixes),
        "declared_differences": shop.model.declared,
        "operations": tally.operations,
        "mismatches": int(tally.differs),
        "first_mismatch": first,
        "schedule_mismatch": None
        if tally.found_schedule is None
        else differences.schedule_as_json(tally.found_schedule),
        "cases": tally.cases,
        "schedules": tally.schedules,
        "schedule_steps": tally.steps,
        "geometries": len(tally.geometries),
        "most_chunks": tally.chunks,
        "operations_by_kind": dict(sorted(tally.kinds.items())),
        "states_judged": tally.judged,
        "judged_alone": tally.alone,
        "clauses_broken": dict(sorted(tally.broken.items())),
        "not_asked": COMPILED.not_asked(),
        "tokens": [one.as_json() for one in confirmed],
        "seconds": tally.seconds,
        "interrupted": tally.interrupted,
    }


def _show(
    out: Console, shop: Workshop, tally: Tally, confirmed: list[Confirmed], saved: Path | None
) -> None:
    model = shop.model
    rows: list[tuple[str, object]] = [
        ("kernel", f"Linux {shop.tree.name}, its own mm/percpu.c"),
        ("model", model.name + "".join(f" + {fix}" for fix in model.fixes)),
        ("declared", "; ".join(model.declared) or "no difference"),
    ]
    if tally.cases:
        rows += [
            ("operations", tally.operations),
            ("cases", f"{tally.cases} in {len(tally.geometries)} geometries"),
            ("chunks at most", tally.chunks),
        ]
    if tally.schedules:
        rows.append(("schedules", f"{tally.schedules} of {tally.steps} steps"))
    if tally.judged:
        broken = ", ".join(f"{clause} {n}" for clause, n in sorted(tally.broken.items()))
        rows.append(("states judged", tally.judged))
        rows.append(("clauses broken", broken or "none"))
    if tally.alone:
        rows.append(("judged alone", f"{tally.alone} operations behind a difference"))
    rows.append(("seconds", tally.seconds))
    out.print(output.pairs(rows))
    if tally.judged:
        output.show_not_asked(out, COMPILED.not_asked())
    for one in confirmed:
        style = "bold" if one.agrees else "bold red"
        out.print(Text(str(one), style), soft_wrap=True)
    if tally.found is not None:
        _show_found(out, tally.found, shop, saved)
    elif tally.found_schedule is not None:
        out.print(Text(differences.schedule_text(tally.found_schedule), "bold red"), soft_wrap=True)
    elif tally.interrupted:
        if tally.operations or tally.steps:
            out.print("interrupted: the states compared so far are equal")
        else:
            out.print("interrupted before a case was compared")
    elif tally.cases:
        done = f"{tally.operations:,} operations, {tally.schedules:,} schedules"
        out.print(Text(f"every field of every state is equal: {done}", "bold"))


def _show_found(out: Console, found: Found, shop: Workshop, saved: Path | None) -> None:
    difference = found.difference
    detail = f" ({difference.detail})" if difference.detail else ""
    out.print(
        Text(
            f"differs: {difference.field}: kernel {difference.kernel}, "
            f"model {difference.model}{detail}",
            "bold red",
        ),
        soft_wrap=True,
    )
    about = ", ".join(differences.clauses_about(difference))
    if about:
        out.print(f"clauses that speak of it: {about} (percpu-spec explain says what they want)")
    out.print(f"geometry {differences.geometry_text(found)}", soft_wrap=True)
    for number, text in enumerate(differences.texts(found), 1):
        out.print(f"{number:5}  {text}")
    theirs, ours = differences.maps(found, shop.model)
    out.print(Text(f"\nkernel\n{theirs}\n\nmodel\n{ours}"))
    out.print(f"saved as {saved}", soft_wrap=True)
    out.print(
        "a difference may be right or wrong: percpu-spec review --source TREE --patch FILE judges "
        "the kernel's code by the clauses",
        soft_wrap=True,
    )


@click.command()
@_source
@_patch
@_stub
@_geometry
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("vectors"),
    show_default=True,
    help="Folder to write into, made if need be.",
)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), required=True)
@output.json_option
def record(
    source: Path,
    patches: tuple[Path, ...],
    stub: Path | None,
    geometry: str | None,
    out: Path,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write vectors of what a Linux tree's own mm/percpu.c does with lists of operations.

    PATHS are operation lists, vectors (recorded anew), or folders of vectors.
    """
    entries: list[dict[str, Any]] = []
    with workshop(source, patches=patches, stub=stub) as shop:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(out, None, f"a folder ({error.strerror})") from None
        with output.progress_bar("vectors") as bar:
            files = expand(paths)
            for number, path in enumerate(files, 1):
                recording = _recording(path, geometry)
                library = shop.library(Form.of(recording.geometry))
                try:
                    entry = write_vector(
                        out / recording.name, library, shop.model.version, recording
                    )
                except KernelStopped as stopped:
                    raise InputError(path, None, f"operations that end ({stopped})") from None
                entries.append(entry)
                bar(number, len(files))
        write_manifest(out, f"mm/percpu.c of Linux {shop.tree.name}", entries)
    if as_json:
        output.print_json({"kernel": shop.tree.name, "folder": str(out), "files": entries})
    else:
        rows = [(entry["file"], entry["ops"], entry["final_crc"]) for entry in entries]
        output.console().print(
            output.table(f"Linux {shop.tree.name}", ("file", "operations", "checksum"), rows)
        )


def _recording(path: Path, changes: str | None) -> Recording:
    """Return what is to be recorded of a file, the texts of its operations as they stand there."""
    read = read_source(path, changes)
    if kind_of(path) is Kind.VECTOR:
        texts = [str(line["in"]) for line in read_vector(path).records[1:]]
        return Recording(path.name, read.geometry, read.listed, texts)
    lines = read_text(path).split("\n")
    texts = [" ".join(lines[n - 1].partition("#")[0].split()) for n in read.listed.lines]
    name = path.name.removesuffix(".gz").removesuffix(".ops") + SUFFIX
    return Recording(name, read.geometry, read.listed, texts)

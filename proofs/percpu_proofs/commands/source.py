"""What an input file is: an operation list, a recorded vector, or a kernel trace."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click

from percpu_proofs.logs.messages import bare
from percpu_proofs.recorded.boot.log import is_layout
from percpu_proofs.recorded.traces.dialects import looks_like_text
from percpu_proofs.recorded.traces.reader import is_run
from percpu_proofs.recorded.vectors import NOT_VOUCHED, SUFFIX, find_vectors, read_vector
from percpu_proofs.run.inputs import InputError, read_json, read_text
from percpu_proofs.run.operations import SHAPES, OperationList, parse_operations
from percpu_proofs.run.sizes import geometry_with, sizes
from percpu_reference.variants import DEFAULT, MERGED
from percpu_spec.geometry import Geometry

FC = TypeVar("FC", bound=Callable[..., Any])
_BEGINNING = 20  # lines that tell a log


class InputKind(Enum):
    """The kinds of input."""

    OPERATIONS = "operation list"
    VECTOR = "vector"
    TRACE = "trace"


@dataclass(frozen=True, slots=True)
class Source:
    """Operations to run, the geometry and the variant to run them in, and a recorded checksum.

    That is of the state at the end, by the variant of the recorded kernel.
    notes say what of the input was not used, or is not known.
    """

    kind: InputKind
    listed: OperationList
    geometry: Geometry
    variant: str = DEFAULT
    recorded: int | None = None
    notes: tuple[str, ...] = ()


def expand(paths: Iterable[Path]) -> list[Path]:
    """Return the inputs among paths: files, and folders of a recorded run.

    Of any other folder its own vectors, and the runs one level down; hidden ones are passed over.
    Raises InputError for a folder with neither.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir() or is_run(path):
            found.append(path)
            continue
        runs = sorted(f for f in path.iterdir() if not f.name.startswith(".") and is_run(f))
        vectors = any(path.glob(f"[!.]*{SUFFIX}"))
        found += find_vectors([path]) if vectors or not runs else []
        found += runs
    return found


def kind_of(path: Path) -> InputKind:
    """Return what a file holds, by its first lines whatever its name; a folder is a trace's.

    What looks like none of the three is taken for an operation list, whose reader says what is
    wrong. Raises InputError for a file that cannot be read.
    """
    if path.is_dir():
        return InputKind.TRACE
    for line in read_text(path).split("\n"):
        text = line.strip()
        if text.startswith("# tracer:"):
            return InputKind.TRACE
        if not text or text.startswith("#"):
            continue
        if text.startswith("{"):
            return InputKind.VECTOR if _is_vector(path, text) else InputKind.TRACE
        is_trace = text.split()[0] not in SHAPES and looks_like_text(line)
        return InputKind.TRACE if is_trace else InputKind.OPERATIONS
    return InputKind.OPERATIONS


def _is_vector(path: Path, line: str) -> bool:
    try:
        record = read_json(line)
    except ValueError:
        # the reader of vectors or of traces says what is wrong
        named = path.name.endswith(SUFFIX) and not path.name.startswith("trace")
        return named or '"init"' in line
    return isinstance(record, dict) and ("geom" in record or record.get("op") == "init")


def read_source(path: Path, changes: str | None) -> Source:
    """Return an operation list or a vector; geometry as asked for, else the input's own.

    Raises InputError for input that cannot be used, GeometryError for sizes asked for that mean
    nothing.
    """
    if kind_of(path) is InputKind.VECTOR:
        vector = read_vector(path)
        notes: tuple[str, ...] = () if vector.vouched else (NOT_VOUCHED,)
        geometry = geometry_with(changes, vector.geometry)
        recorded: int | None = vector.final_crc
        if geometry != vector.geometry:
            recorded = None
            notes += ("recorded checksum not compared: --geometry changes the recorded sizes",)
        return Source(InputKind.VECTOR, vector.listed, geometry, MERGED, recorded, notes)
    lines = read_text(path).split("\n")
    try:
        listed = parse_operations(path, lines)
    except InputError:
        if advice := _another(path, lines):
            expected = f"an operation list, a vector or a trace; {advice}"
            raise InputError(path, None, expected) from None
        raise
    return Source(InputKind.OPERATIONS, listed, geometry_with(changes, Geometry()))


def _another(path: Path, lines: list[str]) -> str:
    """Return how a file is given that is no input to run, if it is known what it is."""
    if path.suffix == ".py":
        return "a variant's file is given by --variant FILE.py beside one"
    begun = [line for line in lines if line.strip()][:_BEGINNING]
    stamped = sum(bare(line) != line.rstrip() for line in begun)
    if 2 * stamped > len(begun) or any(map(is_layout, lines)):
        return f"a log of the kernel is read by percpu-spec log {shlex.quote(str(path))}"
    return ""


def geometry_option(help: str, metavar: str = "NAME=VALUE,...") -> Callable[[FC], FC]:
    """Return the option --geometry, whose text names sizes there are. Raises InputError."""

    def checked(context: click.Context, option: click.Parameter, given: str | None) -> str | None:
        sizes(given)
        return given

    return click.option("--geometry", metavar=metavar, help=help, callback=checked)

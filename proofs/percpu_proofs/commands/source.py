"""What an input file is: an operation list, a recorded vector, or a kernel trace."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from percpu_proofs.conformance.vector_file import SUFFIX, find_vectors, read_vector
from percpu_proofs.inputs import InputError, read_text
from percpu_proofs.oplist import SHAPES, OperationList, parse_operations
from percpu_proofs.traces.text import looks_like_text
from percpu_spec.geometry import Geometry, GeometryError


class Kind(Enum):
    """The kinds of input."""

    OPERATIONS = "operation list"
    VECTOR = "vector"
    TRACE = "trace"


@dataclass(frozen=True, slots=True)
class Source:
    """Operations to run, the geometry to run them in, and the final checksum where recorded."""

    kind: Kind
    listed: OperationList
    geometry: Geometry
    recorded: int | None = None


def expand(paths: Iterable[Path]) -> list[Path]:
    """Return the inputs among paths: files, folders of a recorded run, vectors in other folders."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and not any(path.glob("trace*")):
            found += find_vectors([path])
        else:
            found.append(path)
    return found


def kind_of(path: Path) -> Kind:
    """Return what a file holds, by its first lines whatever its name; a folder is a trace's.

    What looks like none of the three is taken for an operation list, whose reader says what is
    wrong. Raises InputError for a file that cannot be read.
    """
    if path.is_dir():
        return Kind.TRACE
    for line in read_text(path).split("\n"):
        text = line.strip()
        if text.startswith("# tracer:"):
            return Kind.TRACE
        if not text or text.startswith("#"):
            continue
        if text.startswith("{"):
            return Kind.VECTOR if _is_vector(path, text) else Kind.TRACE
        is_trace = text.split()[0] not in SHAPES and looks_like_text(line)
        return Kind.TRACE if is_trace else Kind.OPERATIONS
    return Kind.OPERATIONS


def _is_vector(path: Path, line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        # the reader of vectors or of traces says what is wrong
        return path.name.endswith(SUFFIX) and not path.name.startswith("trace")
    return isinstance(record, dict) and ("geom" in record or record.get("op") == "init")


def read_source(path: Path, changes: str | None) -> Source:
    """Return an operation list or a vector; geometry as asked for, else the input's own.

    Raises InputError for input that cannot be used, GeometryError for sizes asked for that mean
    nothing.
    """
    if kind_of(path) is Kind.VECTOR:
        vector = read_vector(path)
        if changes is None:
            return Source(Kind.VECTOR, vector.listed, vector.geometry, vector.final_crc)
        return Source(Kind.VECTOR, vector.listed, asked_for(changes, vector.geometry))
    listed = parse_operations(path, read_text(path).split("\n"))
    return Source(Kind.OPERATIONS, listed, asked_for(changes, Geometry()))


def asked_for(changes: str | None, geometry: Geometry) -> Geometry:
    """Return a geometry with the changes of the command line, one that a kernel boots with."""
    if changes is None:
        return geometry
    try:
        return geometry.with_changes(changes).require_kernel()
    except GeometryError as error:
        raise InputError("--geometry", None, f"sizes that a kernel boots with ({error})") from None

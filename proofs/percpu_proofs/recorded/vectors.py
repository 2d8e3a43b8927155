"""Recorded vectors: a boot state, then one operation a line with the state after it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from percpu_proofs.run.driver import Driver, HandleError, handle_problem
from percpu_proofs.run.inputs import InputError, read_bytes, read_json, read_text
from percpu_proofs.run.operations import OperationList, parse_operations
from percpu_proofs.run.runner import Progress
from percpu_proofs.run.state_record import (
    CHUNK_FIELDS,
    Record,
    Recordable,
    Recorder,
    StateRecord,
    counter_record,
    differences,
    model_record,
)
from percpu_reference import build
from percpu_reference.variants import MERGED
from percpu_spec.geometry import Geometry, GeometryError

VERSIONS: Final = {"6.12": frozenset[str](), "6.1": frozenset({"prwarn", "stacks"})}
"""Kernels that vectors come from, and the counters of `x` in which they differ from 6.12: earlier
ones do not print failed atomic allocations, so these do not use up the limit either."""

MANIFEST: Final = "manifest.json"
SUFFIX: Final = ".jsonl.gz"

_GEOMETRY: Final = ("unit", "static", "reserved", "dyn", "cpus", "groups", "memcg", "async")
_MORE: Final = ("page", "spare", "backing")
"""Of a geometry, where they are not 4096 bytes, no unit without CPU, and vm."""
_STATE: Final = frozenset({"n", "op", "crc", "x", "g", "slots"})
_INITIAL: Final = _STATE | {
    "geom", "nr_slots", "sidelined_slot", "free_slot", "to_depop_slot", "version", "chunks",
}  # fmt: skip
_LATER: Final = _STATE | {"in", "changed"}
_CHUNK: Final = frozenset(CHUNK_FIELDS)
NOT_VOUCHED: Final = "no manifest beside it: completeness not known"

_ORDER = ("op", "h", "arg", "ok", "ran", "chunk", "off", "warn")  # results before states


@dataclass(frozen=True, slots=True)
class Vector:
    """One recorded run: records[0] is the boot state, records[n] the state after operation n."""

    path: Path
    geometry: Geometry
    version: str
    records: list[Record]
    listed: OperationList
    vouched: bool = True  # a manifest beside it says how many operations there are

    @property
    def final_crc(self) -> int:
        """Checksum of the last recorded state."""
        crc: int = self.records[-1]["crc"]
        return crc


def find_vectors(paths: Iterable[Path]) -> list[Path]:
    """Return the files among paths and those in its folders, sorted within each folder.

    Hidden files are passed over, and what stands deeper in a folder.

    Raises InputError for a folder without vectors, and for one whose manifest names a file that is
    not there.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(f for f in path.glob(f"*{SUFFIX}") if not f.name.startswith("."))
        if not inside:
            raise InputError(path, None, f"at least one file *{SUFFIX} in this folder")
        for name in _manifest(path):
            if not (path / name).exists():
                raise InputError(path / name, None, f"this file, named in {MANIFEST}")
        found += inside
    return found


def read_vector(path: Path) -> Vector:
    """Return a vector, checked against the manifest beside it if there is one.

    Raises InputError where the file is not whole, a line does not have the fields of the format,
    or a kernel would refuse the geometry.
    """
    entry = _manifest(path.parent).get(path.name, {})
    if "sha256" in entry:
        digest = hashlib.sha256(read_bytes(path)).hexdigest()
        if digest != entry["sha256"]:
            raise InputError(path, None, f"sha256 {entry['sha256']}, as {MANIFEST} says", digest)

    records = list(_records(path, read_text(path)))
    if not records:
        raise InputError(path, 1, "the boot state, a JSON object with op init")
    first = records[0]
    if not isinstance(first["version"], str) or first["version"] not in VERSIONS:
        raise InputError(path, 1, f"version {' or '.join(VERSIONS)}", str(first["version"]))
    operations = len(records) - 1
    if entry.get("ops", operations) != operations:
        expected = f"{entry['ops']} operations, as {MANIFEST} says"
        raise InputError(path, len(records), expected, f"{operations}")

    # one line in front stands for the boot state, so that line numbers agree
    texts = ("" if n == 0 else str(record["in"]) for n, record in enumerate(records))
    listed = parse_operations(path, texts)
    for number, line in enumerate(listed.lines, 2):
        if line != number:
            raise InputError(path, number, "an operation in the field 'in'")
    geometry = _geometry(path, first["geom"])
    return Vector(path, geometry, first["version"], records, listed, bool(entry))


def _manifest(folder: Path) -> dict[str, Record]:
    """Return the manifest's entries by file name; empty where a folder has none."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        return {str(entry["file"]): entry for entry in read_json(read_text(path))["files"]}
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, None, "a JSON object with the files of this folder") from None


def _records(path: Path, text: str) -> Iterator[Record]:
    """Yield the records of a file, each with the fields that its kind must have."""
    for n, line in enumerate(text.removesuffix("\n").split("\n") if text else ()):
        try:
            record = read_json(line)
        except ValueError as error:
            raise InputError(path, n + 1, f"one JSON object ({error})", line) from None
        wanted = _INITIAL if n == 0 else _LATER
        if not isinstance(record, dict) or wanted - record.keys():
            missing = sorted(wanted - record.keys()) if isinstance(record, dict) else sorted(wanted)
            raise InputError(path, n + 1, f"fields {', '.join(missing)}", line)
        if record["n"] != n or (record["op"] == "init") != (n == 0):
            raise InputError(path, n + 1, f"record n={n}", f"n={record['n']}, op={record['op']}")
        _check_chunks(path, n + 1, record["changed" if n else "chunks"])
        yield record


def _check_chunks(path: Path, line: int, chunks: object) -> None:
    if not isinstance(chunks, list):
        raise InputError(path, line, "a list of chunks", str(chunks))
    for chunk in chunks:
        if not isinstance(chunk, dict) or chunk.keys() - {"objcg"} != _CHUNK:
            raise InputError(path, line, f"chunks with fields {' '.join(CHUNK_FIELDS)}")
        if not isinstance(chunk["id"], int):
            raise InputError(path, line, "a whole number as id of a chunk", str(chunk["id"]))


def _geometry(path: Path, sizes: object) -> Geometry:
    """Return the recorded geometry, which must be one that a kernel boots with."""
    if not isinstance(sizes, dict) or set(sizes) - set(_MORE) != set(_GEOMETRY):
        raise InputError(path, 1, f"geom with fields {', '.join(_GEOMETRY)}", str(sizes))
    try:
        return Geometry().with_mapping(sizes).require_kernel()
    except GeometryError as error:
        raise InputError(path, 1, f"a geometry that a kernel boots with ({error})") from None


@dataclass(frozen=True, slots=True)
class VectorMismatch:
    """The first difference of a run: where, after which operation, which field, both values."""

    file: str
    line: int
    operation: str
    field: str
    kernel: Any
    model: Any
    detail: str

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        values = f"kernel {_short(self.kernel)}, model {_short(self.model)}"
        return f"{self.file}:{self.line}: after '{self.operation}': {self.field}: {values}{detail}"


@dataclass(slots=True)
class VectorReport:
    """What was compared, and how many recorded states the model did not reproduce."""

    files: int = 0
    operations: int = 0
    mismatches: int = 0
    first_mismatch: VectorMismatch | None = None
    not_compared: str = ""  # fields left out, with the reason
    notes: list[str] = field(default_factory=list)  # what is not known of the files


def conform_vectors(
    paths: Iterable[Path], progress: Progress | None = None, into: VectorReport | None = None
) -> VectorReport:
    """Run every vector among paths and in their folders and compare state by state.

    progress is told bytes read. `into` is filled as the work goes on, for a caller that may be
    interrupted. Raises InputError for a file that cannot be read whole.
    """
    report = VectorReport() if into is None else into
    files = find_vectors(paths)
    sizes = [path.stat().st_size if path.exists() else 0 for path in files]
    for number, path in enumerate(files):
        vector = read_vector(path)
        compare_vector(vector, report)
        if not vector.vouched:
            report.notes.append(f"{path}: {NOT_VOUCHED}")
        report.files += 1
        if progress is not None:
            progress(sum(sizes[: number + 1]), sum(sizes))
    return report


def compare_vector(vector: Vector, report: VectorReport) -> None:
    """Run one vector and add what was found to the report. Raises InputError."""
    skip = VERSIONS[vector.version]
    if skip:
        names = ", ".join(f"x.{name}" for name in sorted(skip))
        report.not_compared = f"{names}: {vector.version} counts printed failures differently"
    allocator = build(MERGED, vector.geometry)
    driver, recorder = Driver(allocator), Recorder(allocator)
    state = recorder.read()
    initial = vector.records[0]
    boot = boot_record(initial["geom"], initial["version"], allocator, state)
    _compare(report, vector, 0, boot)

    for n, operation in enumerate(vector.listed.operations, 1):
        before, state_before = allocator.env.warnings, state
        try:
            outcome = driver.apply(n, operation)
        except HandleError as error:
            raise handle_problem(vector.listed, n - 1, error) from None
        state = recorder.read()
        model = {"in": vector.records[n]["in"], "n": n, "op": operation[0]}
        model |= model_record(operation, outcome, allocator.env.warnings - before)
        model |= changed_record(allocator, state_before, state)
        report.operations += 1
        _compare(report, vector, n, model)


def sizes_record(geometry: Geometry) -> Record:
    """Return a geometry as the vectors write it."""
    values = asdict(geometry) | {"async": geometry.async_enabled}
    unusual = (name for name in _MORE if values[name] != getattr(Geometry(), name))
    return {name: int(values[name]) for name in _GEOMETRY} | {n: values[n] for n in unusual}


def boot_record(geometry: Record, version: str, allocator: Any, state: StateRecord) -> Record:
    """Return the first line of a vector: the sizes, and the state behind boot."""
    return {
        "n": 0, "op": "init", "geom": geometry, "nr_slots": allocator.nr_slots,
        "sidelined_slot": allocator.sidelined_slot, "free_slot": allocator.free_slot,
        "to_depop_slot": allocator.to_depopulate_slot, "version": version,
        **_state(allocator, state),
        "chunks": [state.chunks[i] for i in sorted(state.chunks)],
    }  # fmt: skip


def changed_record(allocator: Recordable, before: StateRecord, after: StateRecord) -> Record:
    """Return what a line of a vector has of the state behind an operation."""
    changed = [i for i in sorted(after.chunks) if after.texts[i] != before.texts.get(i)]
    return _state(allocator, after) | {"changed": [after.chunks[i] for i in changed]}


def _state(allocator: Recordable, state: StateRecord) -> Record:
    return {"crc": state.crc, "x": counter_record(allocator), "g": state.g, "slots": state.slots}


def _compare(report: VectorReport, vector: Vector, n: int, model: Record) -> None:
    """Enter how the states after operation n differ, if they do; 0: the boot states."""
    kernel = vector.records[n]
    skip = VERSIONS[vector.version]
    difference = kernel != model and next(
        differences(_by_id(kernel), _by_id(model), _ORDER, skip), None
    )
    if not difference:
        return
    report.mismatches += 1
    if report.first_mismatch is None:
        where, *values, detail = difference
        theirs, ours = (v if isinstance(v, int | str | list | dict) else repr(v) for v in values)
        text = kernel["in"] if n else "boot"
        mismatch = VectorMismatch(str(vector.path), n + 1, text, where, theirs, ours, detail)
        report.first_mismatch = mismatch


def _by_id(record: Record) -> Record:
    """Return the record with its chunks by id, so that a difference names the chunk."""
    named = dict(record)
    for name in ("chunks", "changed"):
        if name in named:
            named[name] = {chunk["id"]: chunk for chunk in named[name]}
    # the checksum covers what stands elsewhere: compared last
    named["crc"] = named.pop("crc")
    return named


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Reading recorded vectors: a boot state, then one operation a line with the state after it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.run.inputs import InputError, read_bytes, read_json, read_text
from percpu_proofs.run.operations import OperationList, parse_operations
from percpu_proofs.run.state_record import CHUNK_FIELDS, Record
from percpu_spec.geometry import Geometry, GeometryError

VERSIONS: Final = {"6.12": frozenset[str](), "6.1": frozenset({"prwarn", "stacks"})}
"""Kernels that vectors come from, and the counters of `x` in which they differ from 6.12: earlier
ones do not print failed atomic allocations, so these do not use up the limit either."""

MANIFEST: Final = "manifest.json"
SUFFIX: Final = ".jsonl.gz"

_GEOMETRY: Final = ("unit", "static", "reserved", "dyn", "cpus", "groups", "memcg", "async")
_MORE: Final = {"page", "spare", "backing"}
"""Of a geometry, where they are not 4096 bytes, no unit without CPU, and vm."""
_STATE: Final = frozenset({"n", "op", "crc", "x", "g", "slots"})
_INITIAL: Final = _STATE | {
    "geom",
    "nr_slots",
    "sidelined_slot",
    "free_slot",
    "to_depop_slot",
    "version",
    "chunks",
}
_LATER: Final = _STATE | {"in", "changed"}
_CHUNK: Final = frozenset(CHUNK_FIELDS)


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
        if (
            not isinstance(chunk, dict)
            or _CHUNK - chunk.keys()
            or chunk.keys() - _CHUNK - {"objcg"}
        ):
            raise InputError(path, line, f"chunks with fields {' '.join(CHUNK_FIELDS)}")
        if not isinstance(chunk["id"], int):
            raise InputError(path, line, "a whole number as id of a chunk", str(chunk["id"]))


def _geometry(path: Path, sizes: object) -> Geometry:
    """Return the recorded geometry, which must be one that a kernel boots with."""
    if not isinstance(sizes, dict) or set(sizes) - _MORE != set(_GEOMETRY):
        raise InputError(path, 1, f"geom with fields {', '.join(_GEOMETRY)}", str(sizes))
    try:
        return Geometry().with_mapping(sizes).require_kernel()
    except GeometryError as error:
        raise InputError(path, 1, f"a geometry that a kernel boots with ({error})") from None

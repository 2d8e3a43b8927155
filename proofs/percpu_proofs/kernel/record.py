"""Records of a compiled kernel's states: each field in words, and the vectors that they make up.

`fields.txt` has a line for each field.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from percpu_proofs.kernel.instance import Kernel, Library
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.recorded.vectors import MANIFEST, boot_record, changed_record, sizes_record
from percpu_proofs.run.driver import HandleError, handle_problem
from percpu_proofs.run.inputs import writing
from percpu_proofs.run.operations import OperationList
from percpu_proofs.run.state_record import (
    Difference,
    Record,
    Recorder,
    dump,
    outcome_record,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS


class FieldMeaning(NamedTuple):
    """A field in words, the kernel functions that set it, and the clauses that speak of it."""

    words: str
    functions: str = ""
    clauses: str = ""


_FIELDS: Final = Path(__file__).with_name("fields.txt").read_text("utf-8").splitlines()[1:]
MEANINGS: Final = {
    field: FieldMeaning(*meaning) for field, *meaning in (line.split(" | ") for line in _FIELDS)
}

_PART: Final = re.compile(r"\.?([a-z_][a-z_ ]*)|\[(-?\d+)\]")
OPERATION: Final = {
    "a": "pcpu_alloc", "f": "free_percpu", "b": "pcpu_balance_workfn", "B": "pcpu_balance_workfn",
    "d": "free_percpu", "w": "free_percpu", "s": "free_percpu",
}  # fmt: skip
"""The kernel function that an operation calls."""


def meaning(difference: Difference) -> FieldMeaning:
    """Return what differs in words, with where: the chunk, the block, the hint."""
    clause = difference.field.removeprefix("clause ")
    if clause != difference.field:
        return FieldMeaning(f"{clause} is broken", "", clause)
    parts = _PART.findall(difference.field)
    names = [name for name, _ in parts if name]
    numbers = [int(number) for _, number in parts if number]
    if names[0] == "chunks":
        at, *inner = numbers
        if len(names) == 1:
            return FieldMeaning(f"chunk {at}", "pcpu_create_chunk pcpu_destroy_chunk", "LIST-1")
        name = names[-1]
        what = MEANINGS.get(name, FieldMeaning(name))
        words = f"chunk {at}: {what.words}"
        if inner and name == "md":
            words = f"chunk {at}: {HINTS[inner[0]]} {what.words}"
        elif inner and name == "blk":
            words = f"chunk {at}, block {inner[0]}: {HINTS[inner[1]]}"
        return what._replace(words=words)
    if names[0] == "asked for":
        asked = MEANINGS["asked for"]
        return asked._replace(words=f"{asked.words} of {difference.field.partition('.')[2]}")
    if names[0] == "slots" and numbers:
        return MEANINGS["slots"]._replace(words=f"list {numbers[0]}: {MEANINGS['slots'].words}")
    return MEANINGS.get(names[-1], FieldMeaning(difference.field))


def sentence(difference: Difference) -> str:
    """Return a difference in one line."""
    detail = f" ({difference.detail})" if difference.detail else ""
    kernel, model = (
        "has it" if isinstance(value, dict) else value
        for value in (difference.kernel, difference.model)
    )
    return f"{meaning(difference).words}: kernel {kernel}, model {model}{detail}"


LEVEL: Final = 9
"""Of compression; with no name and no time in the header the bytes depend on the text alone."""


@dataclass(frozen=True, slots=True)
class VectorRecording:
    """What one vector is made from: a geometry, operations and their texts."""

    name: str
    geometry: Geometry
    listed: OperationList
    texts: Sequence[str]


def records(library: Library, version: str, recording: VectorRecording) -> Iterator[Record]:
    """Yield the lines of a vector: the boot state, then one operation a line.

    Raises InputError for a handle named wrongly, KernelStopped.
    """
    geometry = recording.geometry
    with Kernel(library, geometry) as kernel:
        state = CompiledState(kernel)
        recorder = Recorder(state)
        before = recorder.read()
        yield boot_record(sizes_record(geometry), version, state, before)
        for n, operation in enumerate(recording.listed.operations, 1):
            try:
                result = kernel.apply(operation)
            except HandleError as error:
                raise handle_problem(recording.listed, n - 1, error) from None
            state.read()
            after = recorder.read()
            yield {
                "in": recording.texts[n - 1], "n": n, "op": operation[0],
                **outcome_record(operation, *result),
                **changed_record(state, before, after),
            }  # fmt: skip
            before = after


def write_vector(path: Path, library: Library, version: str, recording: VectorRecording) -> Record:
    """Write a vector file and return its entry of a manifest."""
    text = io.StringIO()
    last: Record = {}
    for last in records(library, version, recording):
        text.write(dump(last) + "\n")
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as stream:
        stream.write(text.getvalue().encode())
    with writing(path):
        path.write_bytes(packed.getvalue())
    return {
        "file": path.name,
        "geom": sizes_record(recording.geometry),
        "ops": len(recording.listed.operations),
        "sha256": hashlib.sha256(packed.getvalue()).hexdigest(),
        "final_crc": last["crc"],
    }


def write_manifest(folder: Path, source: str, entries: list[dict[str, Any]]) -> None:
    """Write the manifest of a folder's vectors."""
    text = json.dumps({"source": source, "files": entries}, indent=1)
    with writing(folder / MANIFEST):
        (folder / MANIFEST).write_text(text + "\n")

"""Is the model the kernel: comparison with recorded vectors, every field of every line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from percpu_proofs.recorded.vectors.file import VERSIONS, Vector, find_vectors, read_vector
from percpu_proofs.run.difference import Difference, first_difference
from percpu_proofs.run.driver import Driver, HandleError, handle_problem
from percpu_proofs.run.runner import Progress
from percpu_proofs.run.state_record import (
    Record,
    Recorder,
    StateRecord,
    counter_record,
    model_record,
)
from percpu_reference import build
from percpu_reference.variants import MERGED, Allocator

NOT_VOUCHED: Final = "no manifest beside it: completeness not known"

_ORDER = ("op", "h", "arg", "ok", "ran", "chunk", "off", "warn")  # results before states


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

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        return asdict(self)


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
    driver = Driver(allocator)
    recorder = Recorder(allocator)

    state = recorder.read()
    initial = vector.records[0]
    model = _initial_record(initial, allocator, state)
    _compare(report, vector, 0, "boot", initial, model, skip)

    for n, operation in enumerate(vector.listed.operations, 1):
        before, state_before = allocator.env.warnings, state
        try:
            outcome = driver.apply(n, operation)
        except HandleError as error:
            raise handle_problem(vector.listed, n - 1, error) from None
        state = recorder.read()
        kernel = vector.records[n]
        model = {"in": kernel["in"], "n": n, "op": operation[0]}
        model |= model_record(operation, outcome, allocator.env.warnings - before)
        model |= _state(state, allocator)
        model["changed"] = [
            state.chunks[i]
            for i in sorted(state.chunks)
            if state.texts[i] != state_before.texts.get(i)
        ]
        report.operations += 1
        _compare(report, vector, n, kernel["in"], kernel, model, skip)


def _initial_record(kernel: Record, allocator: Allocator, state: StateRecord) -> Record:
    """Return the boot state as the model has it; the geometry is an input."""
    return {
        "n": 0,
        "op": "init",
        "geom": kernel["geom"],
        "version": kernel["version"],
        "nr_slots": allocator.nr_slots,
        "sidelined_slot": allocator.sidelined_slot,
        "free_slot": allocator.free_slot,
        "to_depop_slot": allocator.to_depopulate_slot,
        "chunks": [state.chunks[i] for i in sorted(state.chunks)],
    } | _state(state, allocator)


def _state(state: StateRecord, allocator: Allocator) -> Record:
    return {
        "x": counter_record(allocator),
        "g": state.g,
        "slots": state.slots,
        "crc": state.crc,
    }


def _compare(
    report: VectorReport,
    vector: Vector,
    n: int,
    text: str,
    kernel: Record,
    model: Record,
    skip: frozenset[str],
) -> None:
    if kernel == model:
        return
    difference = first_difference(_by_id(kernel), _by_id(model), _ORDER, skip)
    if difference is None:
        return
    report.mismatches += 1
    if report.first_mismatch is None:
        report.first_mismatch = _mismatch(vector, n, text, difference)


def _by_id(record: Record) -> Record:
    """Return the record with its chunks by id, so that a difference names the chunk."""
    named = dict(record)
    for name in ("chunks", "changed"):
        if name in named:
            named[name] = {chunk["id"]: chunk for chunk in named[name]}
    # the checksum covers what stands elsewhere: compared last
    named["crc"] = named.pop("crc")
    return named


def _mismatch(vector: Vector, n: int, text: str, difference: Difference) -> VectorMismatch:
    kernel, model = (
        value if isinstance(value, int | str | list | dict) else repr(value)
        for value in (difference.kernel, difference.model)
    )
    return VectorMismatch(
        str(vector.path), n + 1, text, difference.field, kernel, model, difference.detail
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."

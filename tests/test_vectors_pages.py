"""The vectors at larger pages: recorded again from compiled code, equal to the model."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_trees import FOUND, MISSING, library_of

from percpu_proofs import data
from percpu_proofs.kernel.instance import BuildForm
from percpu_proofs.kernel.record import VectorRecording, write_vector
from percpu_proofs.recorded.vectors import conform_vectors, find_vectors, read_vector
from percpu_proofs.run.operations import Operation, OperationList, text_of
from percpu_spec.geometry import Geometry


def has_page(path: Path, size: int) -> bool:
    """Say whether a vector is of a kernel with pages of so many bytes, from its first line."""
    with gzip.open(path, "rt") as lines:
        return bool(json.loads(next(lines))["geom"].get("page", 4096) == size)


OF_4K = [
    path
    for path in find_vectors([*data.shared("vectors"), data.folder("vectors")][:1])
    if has_page(path, 4096)
]


def scaled(geometry: Geometry, times: int) -> Geometry:
    """Return a geometry of 4 KiB pages with everything that is counted in pages enlarged."""
    return replace(
        geometry,
        page=geometry.page * times,
        unit=geometry.unit * times,
        static=geometry.static * times,
        reserved=geometry.reserved * times,
        dyn=geometry.dyn * times,
    )


def enlarged(operation: Operation, times: int) -> Operation:
    """Return a request with a size from 512 bytes on, or an alignment of pages, enlarged."""
    if operation[0] != "a":
        return operation
    kind, handle, size, align, atomic, flags = operation
    size *= times if size >= 512 else 1
    align *= times if align >= 4096 else 1
    return (kind, handle, size, align, atomic, flags)


@pytest.mark.deep
@pytest.mark.skipif(not FOUND, reason=MISSING)
@pytest.mark.parametrize("page", [16384, 65536])
@pytest.mark.parametrize("path", OF_4K, ids=lambda path: path.name.partition(".")[0])
def test_recorded_again_at_larger_pages(
    path: Path, page: int, built: Path, tmp_path: Path
) -> None:
    vector = read_vector(path)
    operations = [enlarged(o, page // 4096) for o in vector.listed.operations]
    listed = OperationList(path, operations, vector.listed.lines)
    geometry = scaled(vector.geometry, page // 4096)
    library = library_of(FOUND[-1], built, BuildForm.of(geometry))
    recording = VectorRecording(path.name, geometry, listed, [text_of(o) for o in operations])
    again = tmp_path / path.name
    write_vector(again, library, "6.12", recording)
    report = conform_vectors([again])
    assert (report.files, report.mismatches) == (1, 0), report.first_mismatch
    assert report.operations == len(operations)

"""The compiled form of the model does what the Python form does, state for state."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.conformance.state import Recorder, checksum
from percpu_proofs.conformance.vector_file import Vector, find_vectors, read_vector
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import read_operations
from percpu_reference import build
from percpu_reference.variants.compiled import PACKAGE, compiled_class, compiled_file
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
pytestmark = [
    pytest.mark.deep,  # it takes long to compile
    pytest.mark.skipif(
        shutil.which("gcc") is None or not HEADERS.is_file(),
        reason=f"NOT RUN: the compiled form takes gcc and {HEADERS}",
    ),
]

C10 = data.folder("bench") / "c10.ops.gz"
PLACES = [data.folder("vectors"), *data.shared("vectors")]


@pytest.fixture(scope="module", autouse=True)
def form(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compile the form from the sources under test, whatever is installed, and have it found."""
    hook = Path(__file__).parents[1] / "reference" / "hatch_build.py"
    spec = importlib.util.spec_from_file_location("hatch_build", hook)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("compiled")
    module.compile_form(folder)
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))


def compiled() -> type:
    found = compiled_class()
    assert found is not None
    return found


def test_it_is_native_code_of_every_function(form: Path) -> None:
    file = compiled_file()
    assert file is not None and Path(file).is_relative_to(form) and not file.endswith(".py")
    python = {name for cls in Linux612.__mro__[:-1] for name, f in vars(cls).items() if callable(f)}
    native = compiled()
    inner = [getattr(native, name) for name in python if not name.startswith("__")]
    assert len(inner) > 70
    assert not any(hasattr(function, "__code__") for function in inner)


def vectors() -> list[Vector]:
    """Return the recorded vectors on vm backing, of files with the same name the first."""
    paths = {path.name: path for path in reversed(find_vectors(PLACES))}
    return [v for v in map(read_vector, paths.values()) if v.geometry.backing == "vm"]


def test_recorded_states() -> None:
    chosen = vectors()
    assert len(chosen) >= 5
    for vector in chosen:
        machine = Machine(build(compiled(), vector.geometry))
        recorder = Recorder(machine.allocator)
        for n in range(len(vector.listed.operations)):
            machine.run(vector.listed, n, n + 1)
            assert recorder.read().crc == vector.records[n + 1]["crc"], (vector.path, n)


def test_events_and_statistics_are_the_same() -> None:
    listed = read_operations(C10)
    told: list[list[object]] = [[], []]
    machines = [
        Machine(build(cls, Geometry(memcg=True), stats=True, trace=events.append))
        for cls, events in zip((Linux612, compiled()), told, strict=True)
    ]
    for machine in machines:
        machine.run(listed, 0, 8000)
    python, native = (machine.allocator for machine in machines)
    assert told[0] == told[1] and len(told[0]) > 5000
    assert python.stats is not None and native.stats is not None
    fields = type(python.stats).__slots__
    assert [getattr(python.stats, f) for f in fields] == [getattr(native.stats, f) for f in fields]
    assert checksum(python) == checksum(native)


def test_bench_measures_and_names_it(form: Path) -> None:
    result = CliRunner().invoke(main, ["bench", str(C10), "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["compiled_form"] == compiled_file()
    (work,) = found["lists"]
    assert work["checksums_agree"]
    assert work["compiled_operations_per_second"] > 0

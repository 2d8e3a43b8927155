"""Operations per second, with contracts off, fast and full, on the benchmark lists.

A run whose final checksum differs did not do the same work, so every checksum is compared.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from timeit import timeit
from typing import Any, Final, Literal

from percpu_proofs import data
from percpu_proofs.kernel.instance import Kernel, Library
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.recorded.vectors import SUFFIX, read_vector
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import OperationList, read_operations
from percpu_proofs.run.state_record import checksum
from percpu_reference import build
from percpu_spec.geometry import Geometry

Level = Literal["off", "fast", "full"]
LEVELS: Final[tuple[Level, ...]] = ("off", "fast", "full")


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """What is known about a benchmark list: final checksum, and the kernel's own code compiled."""

    checksum: int
    kernel_rate: float  # operations a second, best seen, no locking


KNOWN: Final = {
    "c10": BenchmarkRecord(299521483, 5.2e6),
    "c100": BenchmarkRecord(939319860, 3.6e6),
    "c1000": BenchmarkRecord(1266839524, 1.65e6),
}
UNIT_OF_VECTORS: Final = 65536  # the vectors that `full` is measured on, bytes a unit


@dataclass(slots=True)
class BenchmarkWork:
    """One piece of work, its levels, and the best time of each in seconds."""

    name: str
    runs: Sequence[tuple[Geometry, OperationList]]
    expected: Sequence[int | None]
    levels: Sequence[Level]
    seconds: dict[Level, float] = field(default_factory=dict)
    checksums: list[int] = field(default_factory=list)  # of the first pass
    files: Sequence[str] = ()  # names of the files, where a piece has several
    kernel_seconds: float | None = None  # the compiled kernel's best time, if it was measured
    agree: bool = True  # every pass at every level ended in the known state, or all in the same

    @property
    def operations(self) -> int:
        """Operations in one pass."""
        return sum(len(listed.operations) for _, listed in self.runs)

    def rate(self, level: Level) -> float | None:
        """Operations a second, best of the rounds; None if not measured."""
        return self.operations / self.seconds[level] if level in self.seconds else None

    def measure(self, level: Level, variant: str) -> None:
        """Run once at a level and keep the time if it is the best so far.

        Booting and checksums are not timed, and the garbage collector rests.
        """
        seconds = 0.0
        sums: list[int] = []
        for geometry, listed in self.runs:
            driver = Driver(build(variant, geometry, contracts=level))
            gc.collect()
            seconds += timeit(partial(driver.run, listed), number=1)
            sums.append(checksum(driver.allocator))
        self._compare(sums)
        known = zip(self.expected, sums, strict=True)
        self.agree &= all(want in (None, got) for want, got in known)
        self.seconds[level] = min(seconds, self.seconds.get(level, seconds))

    def measure_kernel(self, library: Library) -> None:
        """Run once on a compiled kernel; the end state must be the model's."""
        seconds = 0.0
        sums: list[int] = []
        for geometry, listed in self.runs:
            with Kernel(library, geometry) as kernel:
                prepared = kernel.prepare(listed.operations)
                seconds += timeit(partial(kernel.run, prepared), number=1)
                sums.append(checksum(CompiledState(kernel)))
        self._compare(sums)
        self.kernel_seconds = min(seconds, self.kernel_seconds or seconds)

    def _compare(self, sums: list[int]) -> None:
        """Compare the checksums of a pass with those of the first one."""
        self.checksums = self.checksums or sums
        self.agree &= sums == self.checksums

    def kernel_rate(self) -> float | None:
        """Operations a second of the kernel's code: measured, else as known."""
        if self.kernel_seconds is not None:
            return self.operations / self.kernel_seconds
        known = KNOWN.get(self.name)
        return None if known is None else known.kernel_rate

    def as_json(self) -> dict[str, Any]:
        """Return the figures with plain values only."""
        off = self.rate("off")
        rates = {level: self.rate(level) for level in self.levels}
        kernel = self.kernel_rate()
        return {
            "name": self.name,
            "files": list(self.files),
            "operations": self.operations,
            "operations_per_second": rates,
            "times_slower_than_off": {
                level: off / rate
                for level, rate in rates.items()
                if off and rate and level != "off"
            },
            "kernel_operations_per_second": kernel,
            "kernel_ratio": kernel / off if kernel and off else None,
            "kernel_measured": self.kernel_seconds is not None,
            "final_checksum": self.checksums[0] if len(self.checksums) == 1 else None,
            "checksums": len(self.checksums),
            "checksums_agree": self.agree,
        }


@dataclass(slots=True)
class BenchReport:
    """All figures of one measurement."""

    variant: str
    rounds: int
    works: list[BenchmarkWork]
    missing: list[str]  # lists that were asked for by default and are not there
    done: int = 0  # measurements made
    library: Library | None = None  # a compiled kernel to measure beside the model

    def growth(self) -> float | None:
        """Rate on c1000 as a part of that on c10, contracts off."""
        rates = {work.name: work.rate("off") for work in self.works}
        small, large = rates.get("c10"), rates.get("c1000")
        return large / small if small and large else None

    @property
    def agree(self) -> bool:
        """Whether all checksums agree."""
        return all(work.agree for work in self.works)

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        return {
            "variant": self.variant,
            "python": platform.python_version(),
            "rounds": self.rounds,
            "complete": self.done == self.rounds * sum(len(w.levels) for w in self.works),
            "lists": [work.as_json() for work in self.works],
            "growth_c10_to_c1000": self.growth(),
            "missing": self.missing,
        }


def prepare(
    names: Sequence[str], folders: Sequence[Path], variant: str, rounds: int = 3
) -> BenchReport:
    """Read what is to be measured: lists by name or path, by default all and the vectors.

    `full` runs on c10, on lists given by path and on the vectors. Raises InputError for a list that
    was asked for and is not there.
    """
    report = BenchReport(variant, rounds, [], [])
    for name in names or KNOWN:
        path = find_list(name, folders)
        if path is None:
            if names:
                raise InputError(name, None, f"a list, or one of {', '.join(KNOWN)} with --lists")
            report.missing.append(name)
            continue
        label = path.name.removesuffix(".gz").removesuffix(".ops") if name in KNOWN else name
        known = KNOWN.get(label)
        levels = LEVELS if label == "c10" or known is None else LEVELS[:2]
        run = (Geometry(), read_operations(path))
        expected = None if known is None else known.checksum
        report.works.append(BenchmarkWork(label, [run], [expected], levels))
    if not names:
        places = [*folders, *data.shared("vectors"), data.folder("vectors")]
        report.works.append(_vectors(places))
    return report


def find_list(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the file of a list by name, looked up in the folders, or by path."""
    if name in KNOWN:
        places = [*folders, data.folder("bench"), *data.shared("bench")]
        paths = (place / f"{name}{suffix}" for place in places for suffix in (".ops.gz", ".ops"))
        return next((path for path in paths if path.exists()), None)
    return Path(name) if Path(name).exists() else None


def _vectors(folders: Iterable[Path]) -> BenchmarkWork:
    """Return all recorded vectors of 64 KiB units in the folders as one piece of work.

    Of files with the same name the first counts.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob(f"[!.]*{SUFFIX}"):
            found.setdefault(path.name, path)
    vectors = (read_vector(found[name]) for name in sorted(found))
    chosen = [vector for vector in vectors if vector.geometry.unit == UNIT_OF_VECTORS]
    return BenchmarkWork(
        "64 KiB vectors",
        [(vector.geometry, vector.listed) for vector in chosen],
        [vector.final_crc for vector in chosen],
        LEVELS,
        files=[str(vector.path) for vector in chosen],
    )


def measure(report: BenchReport, progress: Callable[[int, int, str], None] | None = None) -> None:
    """Measure everything in turn, `rounds` times over, so that slow moments hit all alike."""
    total = report.rounds * sum(len(work.levels) for work in report.works)
    for _ in range(report.rounds):
        for work in report.works:
            for level in work.levels:
                if progress is not None:
                    progress(report.done, total, f"{work.name}, {level}")
                work.measure(level, report.variant)
                report.done += 1
            if report.library is not None:
                work.measure_kernel(report.library)

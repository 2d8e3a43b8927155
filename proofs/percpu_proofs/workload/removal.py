"""Memory held while a workload runs, the balance work beside it as a schedule says."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from percpu_proofs.run.runner import Progress
from percpu_proofs.workload.requests import (
    STAGES,
    Player,
    Schedule,
    Workload,
    kb_of_page,
    stranded,
)
from percpu_reference.variants import Allocator, build

SAMPLES = 400  # moments at which memory is noted
BANDS = {"before": 0.05, "created": 0.05, "removed": 0.25}
"""How far the variant of the recorded kernel may be from it, by stage, as a share of its memory."""


@dataclass(frozen=True, slots=True)
class PhaseFigure:
    """A phase on the model, beside the recorded kernel. In kB of all units."""

    name: str
    operation: int
    percpu_kb: int
    stranded_kb: int  # of it in empty pages of isolated chunks
    recorded_kb: int
    recorded_stranded_kb: int

    @property
    def ratio(self) -> float:
        """The model's memory by the recorded kernel's."""
        return self.percpu_kb / self.recorded_kb

    @property
    def unstranded_kb(self) -> int:
        """What is held but for stranded pages."""
        return self.percpu_kb - self.stranded_kb


@dataclass(slots=True)
class Curve:
    """One workload run on one variant."""

    variant: str
    schedule: Schedule
    phases: list[PhaseFigure] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)  # operations done, kB
    stranded: list[int] = field(default_factory=list)  # of it in empty pages of isolated chunks
    works: int = 0  # runs of the balance work
    seconds: float = 0.0

    @property
    def stages(self) -> dict[str, PhaseFigure]:
        """The phases before, created and removed of the cgroup workload, the last of each."""
        return {stage: p for p in self.phases for stage in STAGES if stage in p.name}

    @property
    def outside(self) -> list[str]:
        """The stages at which memory is too far from the recorded kernel's (BANDS)."""
        return [s for s, p in self.stages.items() if abs(p.ratio - 1) > BANDS[s]]

    @property
    def given_back(self) -> float:
        """The share of the most memory held at a phase that is not held at the last."""
        most = max(phase.percpu_kb for phase in self.phases)
        return 1 - self.phases[-1].percpu_kb / most

    def as_json(self) -> dict[str, Any]:
        """Return the curve as JSON types."""
        phases = [asdict(phase) | {"ratio": round(phase.ratio, 4)} for phase in self.phases]
        return asdict(self) | {
            "phases": phases,
            "given_back": round(self.given_back, 4),
            "outside": self.outside,
            "seconds": round(self.seconds, 3),
        }


def run_workload(
    workload: Workload,
    variant: str | type[Allocator],
    schedule: Schedule,
    progress: Progress | None = None,
) -> Curve:
    """Run a workload on a variant from boot, and return the memory that it held."""
    began = time.perf_counter()
    name = variant if isinstance(variant, str) else variant.__name__
    curve = Curve(name, schedule)
    player = Player(build(variant, workload.geometry), schedule)
    allocator = player.allocator
    kb = kb_of_page(workload.geometry)
    total = len(workload.operations)
    stops = {*range(0, total, max(total // SAMPLES, 1)), total}
    stops.update(phase.operation for phase in workload.phases)
    done = 0
    for stop in sorted(stops):
        player.play(workload.operations[done:stop])
        done = stop
        marks = [mark for mark in workload.phases if mark.operation == stop]
        if marks:
            player.settle()
        held, empty = allocator.nr_populated * kb, stranded(allocator.chunks()) * kb
        curve.phases += (
            PhaseFigure(mark.name, stop, held, empty, mark.percpu_kb, mark.stranded_kb)
            for mark in marks
        )
        curve.memory.append((done, held))
        curve.stranded.append(empty)
        if progress is not None:
            progress(done, total)
    curve.works = player.works
    curve.seconds = time.perf_counter() - began
    return curve

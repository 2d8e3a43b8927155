"""Recorded data that ships with the package, and where the larger sets may stand beside it."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
REPOSITORY = _HERE.parents[2]
"""The clone, where there is one."""


def folder(name: str) -> Path:
    """Return a folder of shipped data.

    name: vectors, bench, states, workload, counterexamples, patches, pictures or recorder, or a
    recorded run's.
    """
    return _HERE / name


def shared(name: str) -> list[Path]:
    """Return the folders `shared/name` that stand beside the repository or the working folder."""
    places = dict.fromkeys([REPOSITORY.parent, Path.cwd().parent])
    return [place / "shared" / name for place in places if (place / "shared" / name).is_dir()]


def default_trace() -> Path:
    """Return the recorded run that `percpu-spec run` replays when nothing else is asked for."""
    return _HERE / "cgkp61_4_one"

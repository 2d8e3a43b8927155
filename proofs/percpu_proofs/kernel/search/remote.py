"""Searches of a tree on the workers of a cluster, which have neither the tree nor a compiler.

This is run as a program there, so it stands by itself: what it sends has to be of modules that have
their names.
"""

from __future__ import annotations

import pickle
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run, without_result
from percpu_proofs.run.inputs import InputError


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job and the library that it needs."""

    job: TreeJob
    content: bytes
    machine: str  # that it is compiled for


def parcel(job: TreeJob) -> Parcel:
    """Return a job that can be sent to another machine."""
    return Parcel(job, job.library.path.read_bytes(), platform.machine())


def run_parcel(sent: Parcel) -> TreeOutcome:
    """Run a job where it was sent to, in a process of its own. Raises what `run` does.

    A program, as the workers of a cluster may not fork: they have threads, or are daemons.
    """
    job = sent.job
    if platform.machine() != sent.machine:
        raise InputError("--dask", None, f"workers that are {sent.machine}", platform.machine())
    with TemporaryDirectory(prefix="percpu-spec-") as folder:
        path = Path(folder) / job.library.path.name
        path.write_bytes(sent.content)
        there = replace(job, library=replace(job.library, path=path))
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=pickle.dumps(there), stdout=subprocess.PIPE, check=False,
        )  # fmt: skip
    if done.returncode:
        return without_result(job, done.returncode)
    outcome = pickle.loads(done.stdout)
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, TreeOutcome)
    outcome.job = job
    return outcome


def _main() -> None:
    try:
        result: TreeOutcome | Exception = run(pickle.load(sys.stdin.buffer))
    except InputError as error:
        result = error
    sys.stdout.buffer.write(pickle.dumps(result))


if __name__ == "__main__":
    _main()

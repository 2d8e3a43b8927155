"""The outcomes of a review's jobs, kept for as long as nothing that they depend on has changed.

`cells` is what a report begins with: it runs what is missing, and takes the rest from earlier runs.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs

from percpu_proofs.review.jobs import Job, Outcome, enter_small, jobs_for, run, shrinking
from percpu_proofs.review.matrix import Cell, matrix
from percpu_proofs.review.sources import Sources
from percpu_proofs.spread import default_jobs, spread

Progress = Callable[[int, int], None]


class Cache:
    """Outcomes of earlier runs, in the user's cache directory unless told."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or platformdirs.user_cache_path("percpu-spec") / "review"
        self._sources = Sources()
        self._hashes: dict[str, str] = {}

    def find(self, job: Job) -> Outcome | None:
        """Return the outcome of a job that was run before, by the same sources."""
        try:
            whole = self._path(job).read_bytes()
        except OSError:
            return None
        digest, packed = whole[:_DIGEST], whole[_DIGEST:]
        if hashlib.sha256(packed).digest() != digest:  # cut off, or not ours
            return None
        outcome: Outcome = pickle.loads(packed)
        return outcome

    def keep(self, outcome: Outcome) -> None:
        """Keep an outcome that is complete; not where sources were changed while it ran.

        A folder that cannot be written keeps nothing.
        """
        job = outcome.job
        same = self._sources.unchanged and self._hash(job) == self._sources.hash_of(job.variant)
        if not (outcome.complete and same):
            return
        packed = pickle.dumps(outcome)
        path = self._path(job)
        part = path.with_suffix(".part")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(packed).digest() + packed)
            part.replace(path)

    def _hash(self, job: Job) -> str:
        if job.variant not in self._hashes:
            self._hashes[job.variant] = self._sources.hash_of(job.variant)
        return self._hashes[job.variant]

    def _path(self, job: Job) -> Path:
        key = hashlib.sha256(f"{self._hash(job)} {job!r}".encode()).hexdigest()[:32]
        return self._folder / f"{key}.outcome"


_DIGEST = hashlib.sha256().digest_size


def outcomes(
    planned: Sequence[Job],
    *,
    jobs: int,
    dask: str | None = None,
    cache: Cache | None = None,
    on_done: Progress = lambda done, total: None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> tuple[list[Outcome], bool]:
    """Return the outcomes of jobs, in their order, and whether Ctrl-C came.

    What the cache has is not run again. on_outcome gets each as it comes, those first.
    """
    known = {} if cache is None else {j: o for j in planned if (o := cache.find(j)) is not None}
    for outcome in known.values():
        on_outcome(outcome)
    missing = [job for job in planned if job not in known]
    ready = len(planned) - len(missing)

    def keep(outcome: Outcome) -> None:
        if cache is not None:
            cache.keep(outcome)
        on_outcome(outcome)

    done, interrupted = spread(
        missing, run, jobs=jobs, dask=dask, keep=keep, partial=True,
        on_done=lambda now, _: on_done(ready + now, len(planned)),
    )  # fmt: skip
    found = known | {outcome.job: outcome for outcome in done}
    return [found[job] for job in planned if job in found], interrupted


def cells(
    variants: Sequence[str],
    *,
    deep: bool = False,
    jobs: int | None = None,
    cache: Cache | None = None,
    on_done: Progress = lambda done, total: None,
) -> list[Cell]:
    """Return a cell for every variant and clause: what `percpu-spec review` says of them.

    Raises KeyboardInterrupt where Ctrl-C came before all was known; what was done is kept.
    """
    workers = default_jobs() if jobs is None else jobs
    cache = Cache() if cache is None else cache
    planned = jobs_for(tuple(variants), deep=deep)
    done, interrupted = outcomes(planned, jobs=workers, cache=cache, on_done=on_done)
    if not interrupted:
        small, interrupted = outcomes(shrinking(done), jobs=workers, cache=cache)
        enter_small(done, small)
    if interrupted:
        raise KeyboardInterrupt
    return matrix(variants, done)

"""The outcomes of jobs, kept for as long as nothing that they depend on has changed."""

from __future__ import annotations

import hashlib
import pickle
from contextlib import suppress
from pathlib import Path

import platformdirs

from percpu_proofs.review.jobs import Job, Outcome
from percpu_proofs.review.sources import Sources

_DIGEST = hashlib.sha256().digest_size


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

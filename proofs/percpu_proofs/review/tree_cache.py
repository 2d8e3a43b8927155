"""The outcomes of searches of trees, kept while the tree's files and the packages are the same.

Of a tree that a patch is reviewed against, and of a patch that is reviewed again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace

from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.review.cache import OutcomeCache


class TreeCache:
    """Outcomes of earlier searches of some trees; without a cache there are none.

    A tree with a header of stubs of the caller's is not kept: it may include any other.
    """

    def __init__(self, cache: OutcomeCache | None, trees: Sequence[CompiledTree]) -> None:
        self._cache = cache if all(tree.stub is None for tree in trees) else None
        self._hashes = {} if self._cache is None else {tree.name: _hash_of(tree) for tree in trees}
        self.kept = 0  # outcomes that were found

    def find(self, job: TreeJob) -> TreeOutcome | None:
        """Return the outcome of a job that was run before."""
        if self._cache is None:
            return None
        found: TreeOutcome | None = self._cache.read(self._key(job))
        if found is None:
            return None
        self.kept += 1
        return replace(found, job=job)

    def keep(self, outcome: TreeOutcome) -> None:
        """Keep an outcome that would be the same on any machine."""
        same = not (outcome.interrupted or outcome.ended or outcome.killed or outcome.endless)
        if self._cache is not None and same:
            self._cache.write(self._key(outcome.job), outcome)

    def _key(self, job: TreeJob) -> str:
        asked = sorted(job.known), sorted(job.until), job.schedule
        return f"{self._hashes[job.tree]} {job.tree} {job.search!r} {job.library.form} {asked}"


def _hash_of(tree: CompiledTree) -> str:
    """Return a hash of the files that are read of a tree, and of the compiler."""
    digest = hashlib.sha256(_compiler())
    for name in tree.tree.files:
        digest.update(f"{name}\0{tree.tree.text(name)}\0".encode())
    return digest.hexdigest()


def _compiler() -> bytes:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return b""
    return subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout

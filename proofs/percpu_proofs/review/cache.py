"""Outcomes of earlier reviews of variants and trees: good while nothing changes that they need.

That is every file of the four packages with the recorded runs among them, a variant's own file with
what it imports, the files of a tree, and the versions of Python, of what contracts attach with, and
of the compiler.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import pickle
import platform
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

import percpu_contracts
import percpu_proofs
import percpu_reference
import percpu_spec
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.review.job import Job, JobOutcome

_PACKAGES = tuple(
    Path(package.__path__[0])
    for package in (percpu_spec, percpu_contracts, percpu_reference, percpu_proofs)
)
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_FILE = re.compile(r".*\.py(?=$|\+)")  # with fixes on it or not


class OutcomeSources:
    """The files that outcomes depend on, as they are when this is made."""

    def __init__(self) -> None:
        self._files = sorted(
            str(path)
            for package in _PACKAGES
            for path in package.rglob("*")
            if "__pycache__" not in path.parts and path.is_file()
        )
        self._stamps = self._present_stamps()
        digest = hashlib.sha256(platform.python_version().encode())
        digest.update(version("icontract").encode())
        for path in map(Path, self._files):
            digest.update(_content(path))
        self.packages = digest.hexdigest()

    def hash_of(self, variant: str) -> str:
        """Return the hash of all that a variant, a name or a file, depends on."""
        digest = hashlib.sha256(f"{self.packages} {variant}".encode())
        file = _FILE.match(variant)
        if file:
            for path in sorted(_imported(Path(file[0]).resolve())):
                digest.update(_content(path))
        return digest.hexdigest()

    @property
    def unchanged(self) -> bool:
        """Whether no file of the packages was written since."""
        return self._stamps == self._present_stamps()

    def _present_stamps(self) -> list[tuple[int, int]]:
        """Return when each file was written, and its bytes; nothing where one is gone."""
        with suppress(FileNotFoundError):
            return [(found.st_mtime_ns, found.st_size) for found in map(os.stat, self._files)]
        return []


def _content(path: Path) -> bytes:
    """Return a digest of a file's name and what it holds."""
    return hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes()).digest()


def _imported(path: Path) -> set[Path]:
    """Return a file and the modules that it imports, itself or through others.

    Those of the packages and of Python itself are left out: their hash and its version tell.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        if path in found or path.suffix != ".py":
            continue
        found.add(path)
        for name in _names(path):
            with suppress(ImportError, ValueError):  # what is missing, the import itself tells
                spec = importlib.util.find_spec(name)
                origin = Path(spec.origin) if spec and spec.has_location and spec.origin else None
                if origin is not None and not _is_known(origin):
                    waiting.append(origin.resolve())
    return found


def _is_known(path: Path) -> bool:
    if "site-packages" in path.parts or "dist-packages" in path.parts:
        return any(path.is_relative_to(package) for package in _PACKAGES)
    return any(path.is_relative_to(folder) for folder in (*_PACKAGES, *_INSTALLED))


def _names(path: Path) -> Iterator[str]:
    """Yield the modules that a file names in its imports, and what may be one."""
    with suppress(SyntaxError):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


_DIGEST = hashlib.sha256().digest_size
_DAYS = 30  # that outcomes of other versions of the packages stay


class OutcomeCache:
    """Outcomes of earlier runs, in the user's cache directory unless told."""

    def __init__(self, folder: Path | None = None) -> None:
        self._sources = OutcomeSources()
        self._versions = folder or platformdirs.user_cache_path("percpu-spec") / "review"
        self._folder = self._versions / self._sources.packages[:16]
        self._hashes: dict[str, str] = {}

    def find(self, job: Job) -> JobOutcome | None:
        """Return the outcome of a job that was run before, by the same sources."""
        found: JobOutcome | None = self.read(self._key(job))
        return found

    def keep(self, outcome: JobOutcome) -> None:
        """Keep an outcome that is complete; not where a variant's file was changed meanwhile."""
        job = outcome.job
        if outcome.complete and self._hash(job) == self._sources.hash_of(job.variant):
            self.write(self._key(job), outcome)

    def read(self, key: str) -> Any:
        """Return what was kept under a key, by the same version of the packages; None if nothing.

        A file that is not whole counts as nothing.
        """
        try:
            whole = self._path(key).read_bytes()
        except OSError:
            return None
        digest, packed = whole[:_DIGEST], whole[_DIGEST:]
        return pickle.loads(packed) if hashlib.sha256(packed).digest() == digest else None

    def write(self, key: str, outcome: object) -> None:
        """Keep an outcome, not where the packages were changed while it was come by.

        A folder that cannot be written keeps nothing.
        """
        if not self._sources.unchanged:
            return
        packed = pickle.dumps(outcome)
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            if not self._folder.exists():
                self._folder.mkdir(parents=True)
                self._drop_old()
            part.write_bytes(hashlib.sha256(packed).digest() + packed)
            part.replace(path)

    def _drop_old(self) -> None:
        """Remove what other versions of the packages kept long ago."""
        long_ago = time.time() - _DAYS * 24 * 3600
        for folder in self._versions.iterdir():
            if folder.stat().st_mtime < long_ago:
                shutil.rmtree(folder, ignore_errors=True)

    def _hash(self, job: Job) -> str:
        if job.variant not in self._hashes:
            self._hashes[job.variant] = self._sources.hash_of(job.variant)
        return self._hashes[job.variant]

    def _key(self, job: Job) -> str:
        return f"{self._hash(job)} {job!r}"

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.outcome"


class TreeCache:
    """Outcomes of earlier searches of some trees; without a cache there are none.

    A tree with a header of stubs of the caller's is not kept: it may include any other.
    """

    def __init__(self, cache: OutcomeCache | None, trees: Sequence[CompiledTree]) -> None:
        self._cache = cache if all(tree.stub is None for tree in trees) else None
        self._hashes = {} if self._cache is None else {tree.name: _hash_of(tree) for tree in trees}

    def find(self, job: TreeJob) -> TreeOutcome | None:
        """Return the outcome of a job that was run before."""
        if self._cache is None:
            return None
        found: TreeOutcome | None = self._cache.read(self._key(job))
        return found and replace(found, job=job)

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

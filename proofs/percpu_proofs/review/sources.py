"""What the outcome of a review's job depends on, as one hash: it is good while that stays the same.

Every file of the four packages with the recorded runs among them, a variant's own file with what it
imports, and the versions of Python and of what contracts attach with.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import platform
import re
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import percpu_contracts
import percpu_proofs
import percpu_reference
import percpu_spec

_PACKAGES = tuple(
    Path(package.__path__[0])
    for package in (percpu_spec, percpu_contracts, percpu_reference, percpu_proofs)
)
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_FILE = re.compile(r".*\.py(?=$|\+)")  # with fixes on it or not


class OutcomeSources:
    """The files that outcomes depend on, as they are when this is made."""

    def __init__(self) -> None:
        self._files = _files()
        self._stamp = self._stamped()
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
        return self._stamp == self._stamped()

    def _stamped(self) -> list[tuple[int, int]]:
        with suppress(FileNotFoundError):
            return [(found.st_mtime_ns, found.st_size) for found in map(os.stat, self._files)]
        return []


def _files() -> list[str]:
    return sorted(
        str(path)
        for package in _PACKAGES
        for path in package.rglob("*")
        if "__pycache__" not in path.parts and path.is_file()
    )


def _content(path: Path) -> bytes:
    """Return a digest of a file's name and what it holds."""
    return hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes()).digest()


def _imported(path: Path) -> set[Path]:
    """Return a file and the modules that it imports, itself or through others.

    Those of the packages and of Python itself are left out: their hash and its version tell.
    """
    found: set[Path] = set()
    wanted = [path]
    while wanted:
        path = wanted.pop()
        if path in found or path.suffix != ".py":
            continue
        found.add(path)
        for name in _names(path):
            with suppress(ImportError, ValueError):  # what is missing, the import itself tells
                spec = importlib.util.find_spec(name)
                origin = Path(spec.origin) if spec and spec.has_location and spec.origin else None
                if origin is not None and not _is_known(origin):
                    wanted.append(origin.resolve())
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

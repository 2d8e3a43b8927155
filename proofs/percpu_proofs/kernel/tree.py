"""A Linux source tree, or Debian's archive of one: its version and the files of its allocator."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.inputs import InputError, read_text
from percpu_spec.geometry import Backing

OLDEST: Final = (5, 14)
"""The first version with partial chunk depopulation."""

FILES: Final = (
    "Makefile",
    "include/linux/percpu.h",
    "mm/percpu-internal.h",
    "mm/percpu-km.c",
    "mm/percpu-vm.c",
    "mm/percpu.c",
)
"""All that is read of a tree, by name below its top."""

KM: Final = "mm/percpu-km.c"
"""Of the km backing alone: a tree may lack it."""

HOW_TO_GET: Final = "apt-get install linux-source-6.12 brings one"
_NUMBER = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL)\s*=\s*(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree whose allocator can be compiled."""

    top: Path
    version: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The version as text."""
        return ".".join(map(str, self.version))

    @property
    def release(self) -> str:
        """The version without its last part, as vectors name it."""
        return ".".join(map(str, self.version[:2]))

    @property
    def backings(self) -> tuple[Backing, ...]:
        """The backings that it can be compiled with."""
        return ("vm", "km") if (self.top / KM).is_file() else ("vm",)

    def text(self, name: str) -> str:
        """Return the text of a file below the top."""
        return read_text(self.top / name)


def read_tree(top: Path) -> Tree:
    """Return the tree at a folder. Raises InputError if it has no allocator, or one too old."""
    for name in FILES:
        if name != KM and not (top / name).is_file():
            raise InputError(top, None, f"a Linux source tree with {name} ({HOW_TO_GET})")
    numbers = dict(_NUMBER.findall(read_text(top / "Makefile")))
    if not {"VERSION", "PATCHLEVEL"} <= numbers.keys():
        raise InputError(top / "Makefile", None, "VERSION and PATCHLEVEL of the tree")
    version = (
        int(numbers["VERSION"]), int(numbers["PATCHLEVEL"]), int(numbers.get("SUBLEVEL", 0))
    )  # fmt: skip
    if version[:2] < OLDEST:
        raise InputError(
            top, None, "Linux 5.14 or later, with partial depopulation",
            ".".join(map(str, version)),
        )  # fmt: skip
    return Tree(top, version)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack the files of the allocator from a tree's archive; return the top of the tree.

    Raises InputError for a file that is no such archive, or where there is no tar.
    """
    tar = shutil.which("tar")
    if tar is None:
        raise InputError(archive, None, "a folder (there is no tar to unpack an archive with)")
    top = archive.name.partition(".tar")[0]
    into.mkdir(parents=True, exist_ok=True)
    # with each name wanted once, tar stops at the last of them and leaves most unread
    command = [tar, "-C", str(into), "--occurrence=1", "-xf", str(archive.absolute())]
    done = subprocess.run(
        [*command, *(f"{top}/{name}" for name in FILES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise InputError(
            archive, None, "an archive of a Linux source tree", done.stderr.strip()[-80:]
        )
    return into / top


def copy_tree(tree: Tree, into: Path) -> Tree:
    """Copy the files of the allocator to a folder of one's own; return the tree there."""
    for name in FILES:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (tree.top / name).is_file():
            shutil.copyfile(tree.top / name, target)
    return Tree(into, tree.version)


def apply_patch(tree: Tree, patch: Path) -> None:
    """Apply a patch to a copy of a tree; only hunks for files of the allocator are looked at.

    Raises InputError if it cannot be read, touches nothing of the allocator or does not apply.
    """
    program = shutil.which("patch")
    if program is None:
        raise InputError(patch, None, "the program patch, to apply it with")
    text = read_text(patch)
    touched = set(re.findall(r"^\+\+\+ (?:[^/\s]+/)?(\S+)", text, re.MULTILINE))
    if not touched & set(FILES):
        raise InputError(patch, None, f"a patch to one of {', '.join(FILES[1:])}")
    done = subprocess.run(
        [program, "-d", str(tree.top), "-p1", "--batch", "--forward", "--no-backup-if-mismatch"],
        input=_parts(text), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        what = next(
            (line for line in done.stdout.splitlines() if "FAILED" in line or "malformed" in line),
            (done.stdout + done.stderr).strip()[:80],
        )
        line = _failed_hunk(text, done.stdout)
        raise InputError(patch, line, f"a patch that applies to Linux {tree.name}", what)


def _failed_hunk(text: str, output: str) -> int | None:
    """Return the line of a patch where the first hunk begins that `patch` could not apply."""
    file = ""
    for said in output.splitlines():
        name = re.match(r"(?:patching|checking) file '?(\S+?)'?$", said)
        file = name[1] if name else file
        failed = re.match(r"Hunk #(\d+) FAILED", said)
        if failed is None:
            continue
        inside, count = False, 0
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("+++ "):
                inside, count = line.split()[1].partition("/")[2] == file, 0
            elif inside and line.startswith("@@"):
                count += 1
                if count == int(failed[1]):
                    return number
    return None


def added_line(patch: Path, text: str, near: int) -> int | None:
    """Return the line of a patch that adds a text, the one that goes nearest to line `near`."""
    found: list[tuple[int, int]] = []
    goes = 0
    for number, line in enumerate(read_text(patch).splitlines(), 1):
        hunk = re.match(r"@@ -\S+ \+(\d+)", line)
        if hunk is not None:
            goes = int(hunk[1]) - 1
            continue
        if not line.startswith(("-", "+++")):
            goes += 1
        added = line.startswith("+") and not line.startswith("+++")
        if added and line[1:].strip() == text.strip():
            found.append((abs(goes - near), number))
    return min(found)[1] if found else None


def _parts(text: str) -> str:
    """Return the parts of a patch that are for files of the allocator."""
    kept: list[str] = []
    part: list[str] = []
    wanted = False

    def close() -> None:
        if wanted:
            kept.extend(part)

    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        follows = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("--- ") and follows.startswith("+++ "):
            close()
            part = []
            name = follows[4:].split()[0].partition("/")[2]
            wanted = name in FILES
        part.append(line)
    close()
    return "".join(kept)

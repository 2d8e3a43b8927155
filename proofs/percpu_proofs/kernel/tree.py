"""A Linux source tree, or Debian's archive of one: its allocator's files, and patches to them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from unidiff.constants import DEV_NULL, LINE_TYPE_EMPTY
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from percpu_proofs.run.inputs import InputError, read_text
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

BACKINGS: Final[Mapping[Backing, str]] = {"vm": "mm/percpu-vm.c", "km": "mm/percpu-km.c"}
"""The file of each backing. One without an MMU is not wanted of every tree."""
NEEDED: Final = tuple(name for name in FILES if name != BACKINGS["km"])
MEMCONTROL: Final = "include/linux/memcontrol.h"
"""Tells what the rest of the kernel gives a task of the root group, where a tree has it."""

LANDMARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "include/linux/percpu.h": ("pcpu_alloc_info", "pcpu_setup_first_chunk"),
    "mm/percpu-internal.h": ("pcpu_block_md", "pcpu_chunk"),
    "mm/percpu-km.c": ("pcpu_populate_chunk", "pcpu_create_chunk", "pcpu_verify_alloc_info"),
    "mm/percpu-vm.c": ("pcpu_populate_chunk", "pcpu_create_chunk", "pcpu_verify_alloc_info"),
    "mm/percpu.c": (
        "pcpu_alloc_area", "pcpu_balance_workfn", "free_percpu", "pcpu_setup_first_chunk",
        "percpu_enable_async",
    ),
}  # fmt: skip
"""Names that each file has, in their order, the last one near its end."""

HOW_TO_GET: Final = "apt-get install linux-source-6.12 brings one"
_NUMBER = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL)\s*=\s*(\d+)\s*$", re.MULTILINE)
PATCHED: Final = FILES[1:]
"""The files that patches are applied to, by name below a tree's top."""

_OPTIONS: Final = ("-u", "--batch", "--forward", "--no-backup-if-mismatch", "--reject-file=-")
_QUOTE: Final = re.compile(r"^([> \t]*)\+\+\+ \S", re.MULTILINE)
_CHANGE: Final = re.compile(r"[+-](?!(\+\+|--?)( |$))")
"""A line that is added or taken away; no name of a file, and not what a signature begins with."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree whose allocator can be compiled."""

    top: Path
    version: tuple[int, int, int]
    source: Path  # the folder or archive that was given
    root_file: str  # the file that tells what tasks of the root group have
    root_objcg: bool  # they have an object cgroup
    patches: tuple[Path, ...] = ()  # applied, in their order

    @property
    def name(self) -> str:
        """The version as text."""
        return ".".join(map(str, self.version))

    @property
    def release(self) -> str:
        """The version without its last part, as vectors name it."""
        return ".".join(map(str, self.version[:2]))

    @property
    def files(self) -> list[str]:
        """The files of the allocator that the tree has."""
        return [name for name in FILES if (self.top / name).is_file()]

    @property
    def root_group(self) -> str:
        """What the stubs give a task of the root group, and by which file, in words."""
        gives = "an object cgroup of its own" if self.root_objcg else "no object cgroup"
        knows = "has" if self.root_objcg else "lacks"
        why = f"{self.root_file} {knows} obj_cgroup_is_root"
        if self.root_file != MEMCONTROL:
            why += f"; the tree has no {MEMCONTROL}"
        return f"the stubs give its tasks {gives}: {why}"

    def has(self, backing: Backing) -> bool:
        """Return whether the tree has the code for a backing."""
        return BACKINGS[backing] in self.files

    def text(self, name: str) -> str:
        """Return the text of a file below the top."""
        return read_text(self.top / name)


def open_tree(source: Path, into: Path) -> Tree:
    """Return the tree at a folder, or in an archive, which is unpacked. Raises InputError."""
    return read_tree(unpack(source, into) if source.is_file() else source, source)


def read_tree(top: Path, source: Path | None = None) -> Tree:
    """Return the tree at a folder, which was given as it is or as an archive.

    Errors name what was given. Raises InputError if it has no allocator, or one too old.
    """
    source = source or top
    if not top.is_dir():
        expected = f"the folder of a Linux source tree, or an archive of one ({HOW_TO_GET})"
        raise InputError(source, None, expected, "no such file or folder")
    for name in NEEDED:
        if not (top / name).is_file():
            raise InputError(source, None, f"a Linux source tree with {name} ({HOW_TO_GET})")
    numbers = dict(_NUMBER.findall(read_text(top / "Makefile")))
    if not {"VERSION", "PATCHLEVEL"} <= numbers.keys():
        raise InputError(source / "Makefile", None, "VERSION and PATCHLEVEL of the tree")
    version = (int(numbers["VERSION"]), int(numbers["PATCHLEVEL"]), int(numbers.get("SUBLEVEL", 0)))
    if version[:2] < OLDEST:
        raise InputError(
            source, None, "Linux 5.14 or later, with partial depopulation",
            ".".join(map(str, version)),
        )  # fmt: skip
    root_file = MEMCONTROL if (top / MEMCONTROL).is_file() else "mm/percpu.c"
    root_objcg = "obj_cgroup_is_root(" in read_text(top / root_file)
    return Tree(top, version, source, root_file, root_objcg)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack the files of the allocator from a tree's archive; return the top of the tree.

    Raises InputError for a file that is no such archive, or where there is no tar.
    """
    top = _top(archive)
    into.mkdir(parents=True, exist_ok=True)
    # with each name wanted once, tar stops at the last of them and leaves most unread
    options = ["-C", str(into), "--occurrence=1", "-xf", str(archive.absolute())]
    without = InputError(archive, None, "a folder (there is no tar to unpack an archive with)")
    done = run_program(
        "tar", [*options, *(f"{top}/{name}" for name in (*FILES, MEMCONTROL))], without
    )
    if done.returncode and not all((into / top / name).is_file() for name in NEEDED):
        expected = f"an archive of a Linux source tree, its files below {top}/"
        said = next(iter(done.stderr.strip().splitlines()), None)  # what follows is of it
        raise InputError(archive, None, expected, said)
    return into / top


def _top(archive: Path) -> str:
    """Return the folder that an archive's files lie in: that of the first, or its own name."""
    with suppress(tarfile.TarError, EOFError, OSError, ValueError), tarfile.open(archive) as opened:
        first = opened.next()
        if first is not None and not first.name.startswith(("/", ".")):
            return first.name.partition("/")[0]
    return archive.name.partition(".tar")[0]


def run_program(
    program: str, arguments: Sequence[str], without: InputError, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with a text for it to read; raises `without` if it is not here."""
    path = shutil.which(program)
    if path is None:
        raise without
    return subprocess.run(
        [path, *arguments], input=text, capture_output=True, text=True, check=False
    )


def damage(tree: Tree) -> InputError | None:
    """Return what is wrong with a tree that has a file empty, cut or in the place of another."""
    for name in tree.files:
        lines = tree.text(name).rstrip().split("\n")
        marks = LANDMARKS.get(name, ())
        known = [mark for mark in marks if re.search(rf"\b{mark}\b", tree.text(name))]
        where = tree.source / name
        if marks and lines == [""]:
            return InputError(where, None, f"the kernel's {name}", "an empty file")
        if marks and not known:
            lacks = f"none of {', '.join(marks)} is in it"
            return InputError(where, None, f"the kernel's {name}: {lacks}", lines[0])
        if len(known) < len(marks):
            lacks = ", ".join(mark for mark in marks if mark not in known)
            expected = f"the kernel's {name}, whole; it ends here, without {lacks}"
            return InputError(where, len(lines), expected, lines[-1].strip())
    return None


def copy_tree(tree: Tree, into: Path) -> Tree:
    """Copy the files of the allocator to a folder of one's own; return the tree there."""
    for name in tree.files:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.top / name, target)
    return replace(tree, top=into)


class FileChange(NamedTuple):
    """What a patch does to a file; the lines of the hunks know theirs in the patch."""

    name: str  # of a file of the allocator, below the tree's top
    hunks: list[Hunk]


def apply_patch(tree: Tree, path: Path) -> Tree:
    """Apply a patch to a copy of a tree, which is returned; only hunks for its files are looked at.

    Raises InputError as read_patch does, and for the first hunk that does not apply.
    """
    without = InputError(path, None, "the program patch, to apply it with")
    for name, hunks in read_patch(path):
        arguments = [*_OPTIONS, str(tree.top / name)]
        done = run_program("patch", arguments, without, "".join(map(str, hunks)))
        if done.returncode:
            output = done.stdout + done.stderr
            failed = re.search(r"^Hunk #(\d+) FAILED", output, re.MULTILINE)
            reason = re.search(r"^(?!patching|Hunk #\d+ succeeded).+", output, re.MULTILINE)
            line = _line(hunks[int(failed[1]) - 1 if failed else 0])
            raise InputError(
                path, line, f"a patch that applies to Linux {tree.name}", reason and reason[0]
            )
    return replace(tree, patches=(*tree.patches, path))


def shown_line(path: Path, name: str, text: str, near: int, *, added: bool = False) -> int | None:
    """Return the line of a patch that shows a line of a file as the patch makes it, or None.

    added: only one that the patch adds. Of those with the same text, it is the one that goes
    nearest to line `near` of the file.
    """
    shown = [
        (abs(line.target_line_no - near), line.diff_line_no)
        for changed, hunks in read_patch(path)
        for hunk in hunks
        for line in hunk
        if changed == name and line.target_line_no and line.value.strip() == text.strip()
        if line.is_added or not added
    ]
    return min(shown)[1] if shown else None


def read_patch(path: Path) -> list[FileChange]:
    """Return what a patch does to files of the allocator, in its order.

    Raises InputError if it cannot be read, is malformed, makes, moves or removes one of them, or
    changes none.
    """
    text = read_text(path)
    quotes = _QUOTE.findall(text)
    quote = min(quotes, key=len, default="")
    lines = [
        "" if line == quote.rstrip() else line.removeprefix(quote)
        for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    ]
    changes = [c for file in _parse(path, lines) if (c := _change(path, lines, file))]
    if not changes:
        raise InputError(path, None, f"a patch to one of {', '.join(PATCHED)}")
    return changes


def _parse(path: Path, lines: Sequence[str]) -> PatchSet:
    """Return the diffs among the lines. Raises InputError if one is malformed."""
    read = 0

    def feed() -> Iterator[str]:
        nonlocal read
        for line in lines:
            read += 1
            yield line + "\n"

    try:
        return PatchSet(feed())
    except UnidiffParseError as error:
        if str(error).startswith("Hunk"):
            begin = next(at for at in range(read - 1, 0, -1) if lines[at - 1].startswith("@@ "))
            raise _malformed(path, lines, read, begin) from None
        for file in _parse(path, lines[: read - 1]):
            _change(path, lines, file)  # its last hunk may say less than it has
        expected = "the names of a file (--- and +++) before its hunks"
        raise InputError(path, read, expected, lines[read - 1]) from None


def _change(path: Path, lines: Sequence[str], file: PatchedFile) -> FileChange | None:
    """Return what a diff does, None if nothing to the allocator. Raises InputError."""
    source, name = _name(file.source_file), _name(file.target_file)
    renames = any(line.startswith("rename from ") for line in file.patch_info or ())
    moved = (renames and source != name) or DEV_NULL in (file.source_file, file.target_file)
    if moved and (source or name):
        at = file.diff_line_no or 1
        raise InputError(path, at, f"a patch that leaves {source or name} in place", lines[at - 1])
    hunks = [hunk for hunk in file if hunk and name]
    for hunk in hunks:
        hunk[:] = [line for line in hunk if line.line_type != LINE_TYPE_EMPTY]  # they follow it
        end = max(line.diff_line_no or 0 for line in hunk)
        if end < len(lines) and _CHANGE.match(lines[end]):
            raise _malformed(path, lines, end + 1, _line(hunk))
    return FileChange(name, hunks) if name and hunks else None


def _name(path: str) -> str | None:
    """Return which file of the allocator a diff names, below the tree's top or a folder above."""
    path = path.partition(" ")[0]  # a date may follow
    return next((name for name in (path, path.partition("/")[2]) if name in PATCHED), None)


def _line(hunk: Hunk) -> int:
    return (hunk[0].diff_line_no or 0) - 1


def _malformed(path: Path, lines: Sequence[str], line: int, begin: int) -> InputError:
    expected = f"the hunk of line {begin} as long as it says, each line with ' ', '+' or '-' first"
    return InputError(path, line, expected, lines[line - 1])

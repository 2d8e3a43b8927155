"""Patch files: diffs, mails of `git format-patch`, several in one, quoted or indented."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from unidiff.constants import DEV_NULL, LINE_TYPE_EMPTY
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from percpu_proofs.kernel.tree import FILES, Tree
from percpu_proofs.run.inputs import InputError, read_text

PATCHED: Final = FILES[1:]
"""The files that patches are applied to, by name below a tree's top."""

_OPTIONS: Final = ("-u", "--batch", "--forward", "--no-backup-if-mismatch", "--reject-file=-")
_QUOTE: Final = re.compile(r"^([> \t]*)\+\+\+ \S", re.MULTILINE)
_CHANGE: Final = re.compile(r"[+-](?!(\+\+|--?)( |$))")
"""A line that is added or taken away; no name of a file, and not what a signature begins with."""


class FileChange(NamedTuple):
    """What a patch does to a file; the lines of the hunks know theirs in the patch."""

    name: str  # of a file of the allocator, below the tree's top
    hunks: list[Hunk]


def apply_patch(tree: Tree, path: Path) -> Tree:
    """Apply a patch to a copy of a tree, which is returned; only hunks for its files are looked at.

    Raises InputError as read_patch does, and for the first hunk that does not apply.
    """
    program = shutil.which("patch")
    if program is None:
        raise InputError(path, None, "the program patch, to apply it with")
    for name, hunks in read_patch(path):
        done = subprocess.run(
            [program, *_OPTIONS, str(tree.top / name)],
            input="".join(map(str, hunks)), capture_output=True, text=True, check=False,
        )  # fmt: skip
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

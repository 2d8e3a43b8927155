"""A Linux source tree, or Debian's archive of one: its version and the files of its allocator."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
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

BACKINGS: Final[Mapping[Backing, str]] = {"vm": "mm/percpu-vm.c", "km": "mm/percpu-km.c"}
"""The file of each backing. One without an MMU is not wanted of every tree."""
NEEDED: Final = tuple(name for name in FILES if name != BACKINGS["km"])
MEMCONTROL: Final = "include/linux/memcontrol.h"
"""Tells what the rest of the kernel gives a task of the root group, where a tree has it."""

HOW_TO_GET: Final = "apt-get install linux-source-6.12 brings one"
_NUMBER = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL)\s*=\s*(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree whose allocator can be compiled."""

    top: Path
    version: tuple[int, int, int]
    source: Path  # the folder or archive that was given
    root_told: str  # the file that tells what tasks of the root group have
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
        why = f"{self.root_told} {knows} obj_cgroup_is_root"
        if self.root_told != MEMCONTROL:
            why += f"; the tree has no {MEMCONTROL}"
        return f"the stubs give its tasks {gives}: {why}"

    def has(self, backing: Backing) -> bool:
        """Return whether the tree has the code for a backing."""
        return BACKINGS[backing] in self.files

    def text(self, name: str) -> str:
        """Return the text of a file below the top."""
        return read_text(self.top / name)


def read_tree(top: Path, source: Path | None = None) -> Tree:
    """Return the tree at a folder, which was given as it is or as an archive.

    Raises InputError if it has no allocator, or one too old.
    """
    for name in NEEDED:
        if not (top / name).is_file():
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
    told = MEMCONTROL if (top / MEMCONTROL).is_file() else "mm/percpu.c"
    return Tree(top, version, source or top, told, "obj_cgroup_is_root(" in read_text(top / told))


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
        [*command, *(f"{top}/{name}" for name in (*FILES, MEMCONTROL))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and not all((into / top / name).is_file() for name in NEEDED):
        raise InputError(
            archive, None, "an archive of a Linux source tree", done.stderr.strip()[-80:]
        )
    return into / top


def copy_tree(tree: Tree, into: Path) -> Tree:
    """Copy the files of the allocator to a folder of one's own; return the tree there."""
    for name in tree.files:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.top / name, target)
    return replace(tree, top=into)

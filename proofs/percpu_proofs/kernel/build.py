"""Compiling a tree's allocator into a shared library, against our own headers and stubs."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.tree import FILES, Tree
from percpu_spec.geometry import Backing

STUBS: Final = Path(__file__).parent / "stubs"
SOURCES: Final = ("library.c", "memory.c", "actors.c")
_INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"]([\w./-]+)[>\"]", re.MULTILINE)
_FLAGS: Final = (
    "-std=gnu11", "-O2", "-g1", "-fPIC", "-shared", "-fno-strict-aliasing", "-fwrapv",
    "-fvisibility=hidden", "-Werror=implicit-function-declaration", "-fno-diagnostics-color",
    "-Wl,--no-undefined",
)  # fmt: skip
SANITIZE: Final = (
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1",
    "-fno-sanitize=alignment",
)  # fmt: skip

# what a compiler says of a name that our stubs do not have, and where its stub belongs
_MISSING: Final = (
    (re.compile(r"implicit declaration of function [‘'](\w+)"), "a function or macro"),
    (re.compile(r"undefined reference to [`‘'](\w+)"), "a function or macro"),
    (re.compile(r"[‘'](\w+)[’'] undeclared"), "a macro or variable"),
    (re.compile(r"too (?:many|few) arguments to function [‘'](\w+)"), "other parameters of"),
    (re.compile(r"unknown type name [‘'](\w+)"), "a type"),
    (re.compile(r"has no member named [‘'](\w+)"), "a member"),
    (re.compile(r"invalid use of undefined type [‘'](?:struct |union )?(\w+)"), "a type"),
    (re.compile(r"[‘'](?:struct |union )?(\w+)[’'] has an incomplete type"), "a type"),
    (re.compile(r"fatal error: ([\w./-]+): No such file"), "a header"),
)
_PLACES: Final = (
    ("list", "list.h"), ("bitmap", "bits.h"), ("bit", "bits.h"), ("mutex", "locks.h"),
    ("lock", "locks.h"), ("work", "locks.h"), ("rcu", "locks.h"), ("sched", "locks.h"),
    ("task", "locks.h"), ("page", "memory.h"), ("mem", "memory.h"), ("alloc", "memory.h"),
    ("free", "memory.h"), ("cgroup", "memory.h"), ("cpu", "memory.h"), ("vm", "memory.h"),
    ("trace_", "memory.h"), ("flush", "memory.h"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled allocator."""

    path: Path
    release: str  # of the tree, as vectors name it
    backing: Backing


def compile_tree(
    tree: Tree,
    into: Path,
    backing: Backing = "vm",
    *,
    stub: Path | None = None,
    flags: tuple[str, ...] = (),
) -> Library:
    """Compile a tree's mm/percpu.c with one backing into a library in a folder.

    stub: a header of the caller's, for a tree that needs more than our stubs. Raises InputError
    without a compiler; if the tree does not compile, with the first error and the stub to add.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise InputError(
            tree.top, None, "a C compiler to compile it with: gcc (apt-get install gcc libc6-dev)"
        )
    headers = into / f"include-{backing}"
    _make_headers(tree, headers)
    extra = headers / "percpu_stub.h"
    extra.write_text(f'#include "{stub.absolute()}"\n' if stub else "")
    source = tree.text("mm/percpu.c")
    defines = {
        "__MM_INTERNAL_H": "1",  # keeps mm/internal.h of a whole tree out
        "PERCPU_SOURCE": f'"{(tree.top / "mm/percpu.c").absolute()}"',
        "PERCPU_STUB": f'"{extra.absolute()}"',
        "PERCPU_ALLOC": "pcpu_alloc_noprof" if "pcpu_alloc_noprof(" in source else "pcpu_alloc",
    }
    if "obj_exts" in tree.text("mm/percpu-internal.h"):
        defines["PERCPU_OBJ_EXTS"] = "1"
    if backing == "km":
        defines["PERCPU_KM"] = "1"
    library = into / f"percpu-{backing}.so"
    command = [compiler, *_FLAGS, *flags, f"-I{STUBS}", f"-I{headers}"]
    command += [f"-D{name}={value}" for name, value in defines.items()]
    command += [*(str(STUBS / name) for name in SOURCES), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _compile_error(tree, done.stderr)
    return Library(library, tree.release, backing)


def _make_headers(tree: Tree, folder: Path) -> None:
    """Make an empty header for each that the tree's files include; its own percpu.h is kept."""
    for name in FILES[1:]:
        for included in _INCLUDE.findall(tree.text(name)):
            if included in ("percpu-internal.h", "percpu-km.c", "percpu-vm.c"):
                continue
            header = folder / included
            header.parent.mkdir(parents=True, exist_ok=True)
            header.write_text("")
    own = tree.top / "include/linux/percpu.h"
    header = folder / "linux/percpu.h"
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_text(f'#include "{own.absolute()}"\n')


def _compile_error(tree: Tree, output: str) -> InputError:
    """Return the error for a tree that does not compile: what failed first, and what to add."""
    lines = output.splitlines()
    error = next(
        (line for line in lines if "error:" in line or "undefined reference" in line),
        lines[-1] if lines else "no message",
    )
    for pattern, kind in _MISSING:
        found = pattern.search(error)
        if found is not None:
            name = found[1]
            place = next((file for part, file in _PLACES if part in name.lower()), "types.h")
            return InputError(
                tree.top, None,
                f"{kind} {name}, which our stubs do not have: add it to {STUBS / place}, or give "
                f"a header that has it with --stub (the first error: {error.strip()})",
            )  # fmt: skip
    return InputError(tree.top, None, f"a tree that compiles (the first error: {error.strip()})")

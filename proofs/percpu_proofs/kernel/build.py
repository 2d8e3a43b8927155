"""Compiling a tree's allocator into a shared library, against our own headers and stubs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.tree import FILES, Tree, added_line
from percpu_spec.geometry import Backing, Geometry

STUBS: Final = Path(__file__).parent / "stubs"
SOURCES: Final = ("library.c", "memory.c", "heap.c", "actors.c")
"""Of a kernel that runs beside the model."""
SEARCHED: Final = ("library.c", "memory.c", "search/arena.c", "search/actors.c")
"""Of one that is searched: what they write is the state that a search restores."""
SEARCHERS: Final = tuple(
    f"search/{name}.c" for name in ("image", "key", "steps", "nodes", "explore")
)
_INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"]([\w./-]+)[>\"]", re.MULTILINE)
_FLAGS: Final = (
    "-std=gnu11", "-O2", "-g1", "-fPIC", "-fno-strict-aliasing", "-fwrapv", "-fvisibility=hidden",
    "-Werror=implicit-function-declaration", "-fno-diagnostics-color",
)  # fmt: skip
_SEARCH: Final = (
    "-DPERCPU_SEARCH=1", "-fno-omit-frame-pointer", "-fno-stack-protector", "-fcf-protection=none",
)  # fmt: skip
_NOTED: Final = ("-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0", "-O0")
"""Nothing may be optimised away: what is added and taken away again is two accesses."""
_WRITTEN: Final = (".data", ".bss", ".data.rel", ".data.rel.local")
_APART: Final = ("percpu_state", "percpu_outside", ".data.rel.ro", ".init_array")
"""Sections that a search restores, its own, and those that nothing writes once it is loaded."""
_SECTION: Final = re.compile(
    r"^\s*\d+ (\S+)\s+([0-9a-f]+) .*\n\s+(.*)$", re.MULTILINE
)  # of objdump -h: a name, a size, and attributes in the line below
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
_ERROR: Final = re.compile(r"(\S+?):(\d+):(?:\d+:)? error: (.*)")
_PLACES: Final = (
    ("list", "list.h"), ("bitmap", "bits.h"), ("bit", "bits.h"), ("mutex", "locks.h"),
    ("lock", "locks.h"), ("work", "locks.h"), ("rcu", "locks.h"), ("sched", "locks.h"),
    ("task", "locks.h"), ("page", "memory.h"), ("mem", "memory.h"), ("alloc", "memory.h"),
    ("free", "memory.h"), ("cgroup", "memory.h"), ("cpu", "memory.h"), ("vm", "memory.h"),
    ("trace_", "memory.h"), ("flush", "memory.h"),
)  # fmt: skip


DESCRIBED: Final = frozenset({
    "pcpu_lock", "pcpu_alloc_mutex", "pcpu_nr_empty_pop_pages", "pcpu_nr_populated",
    "pcpu_async_enabled", "pcpu_atomic_alloc_failed", "pcpu_first_chunk", "pcpu_reserved_chunk",
    "pcpu_chunk_lists",
    "warn_limit",  # how many more failures are printed
})  # fmt: skip
"""Variables of mm/percpu.c that the description of a state shows; any other is compared raw."""
_VARIABLE: Final = re.compile(
    r"^[0-9a-f]+ .*(\.data\S*|\.bss)\s+([0-9a-f]+) (?:\.hidden )?(\S+)$", re.MULTILINE
)  # of objdump -t


class Form(NamedTuple):
    """What of a geometry is fixed when a kernel is compiled: backing, bytes of a page, SMP."""

    backing: Backing = "vm"
    page: int = Geometry().page
    smp: bool = True

    @classmethod
    def of(cls, geometry: Geometry) -> Form:
        """Return the form of a kernel with this geometry."""
        return cls(geometry.backing, geometry.page, geometry.smp)

    def require(self, geometry: Geometry) -> None:
        """Raise InputError for a geometry that a kernel of this form cannot have."""
        wanted = Form.of(geometry)
        if wanted != self:
            raise InputError("geometry", None, str(self), str(wanted))

    def __str__(self) -> str:
        return f"{self.backing}-{self.page >> 10}k" + ("" if self.smp else "-up")

    @property
    def defines(self) -> dict[str, str]:
        """The macros that the stubs know it by."""
        found = {"PERCPU_PAGE_SHIFT": str(self.page.bit_length() - 1)}
        if self.backing == "km":
            found["PERCPU_KM"] = "1"
        if not self.smp:
            found["PERCPU_UP"] = "1"
        return found


USUAL: Final = Form()
"""The form of most kernels: vm, pages of 4096 bytes, several CPUs."""


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled allocator."""

    path: Path
    release: str  # of the tree, as vectors name it
    form: Form
    # variables of the kernel's that no description of a state shows: name, offset, size in bytes
    undescribed: tuple[tuple[str, int, int], ...] = ()
    variables: tuple[tuple[str, int, int], ...] = ()  # all of the kernel's


def compile_tree(
    tree: Tree,
    into: Path,
    form: Form = USUAL,
    *,
    stub: Path | None = None,
    flags: tuple[str, ...] = (),
) -> Library:
    """Compile a tree's mm/percpu.c in one form into a library in a folder.

    stub: a header of the caller's, for a tree that needs more than our stubs. Raises InputError
    without a compiler; if the tree does not compile, with the first error and the stub to add.
    """
    library = into / f"percpu-{form}.so"
    options = [*_FLAGS, "-shared", "-Wl,--no-undefined", *flags]
    options += _options(tree, into, form, stub)
    _run(tree, [*options, *(str(STUBS / name) for name in SOURCES), "-o", str(library)])
    return Library(library, tree.release, form)


def compile_search(
    tree: Tree,
    into: Path,
    form: Form = USUAL,
    *,
    stub: Path | None = None,
    noted: bool = False,
    shared: Path | None = None,
) -> Library:
    """Compile a tree's mm/percpu.c with a search of its schedules into a library in a folder.

    noted: accesses without pcpu_lock are. shared: a folder for what is the same for all trees, and
    is compiled there once. All that the code writes lies in one section, or InputError says what
    does not. Raises InputError as compile_tree does.
    """
    headers = into / ("noted" if noted else "plain")  # two compilations may run at once
    headers.mkdir(parents=True, exist_ok=True)
    options = [*_FLAGS, *_SEARCH, *_options(tree, headers, form, stub)]
    objects: list[str] = []
    variables: dict[str, int] = {}
    kind = f"{form}-noted" if noted else str(form)
    for name in (*SEARCHED, *SEARCHERS, *(["search/accesses.c"] if noted else ())):
        own = name == "library.c"  # it has the tree's code in it
        made = (into if own else shared or into) / f"{kind if own else form}-{Path(name).stem}.o"
        objects.append(str(made))
        if shared is not None and made.exists() and not own:
            continue
        flags = _NOTED if noted and own else ()
        _run(tree, [*options, *flags, "-c", str(STUBS / name), "-o", str(made)])
        if own:
            variables = _variables(tree, made)
        if name in SEARCHED:
            _gather(tree, made)
    library = into / f"search-{kind}.so"
    _run(tree, ["-shared", "-Wl,--no-undefined", *objects, "-o", str(library)])
    offsets = _offsets(_call(tree, "objdump", ["-t", str(library)]))
    undescribed = [
        (name, offsets[name], size)
        for name, size in variables.items()
        if name.split(".")[0] not in DESCRIBED
    ]
    of_kernel = tuple((name, offsets[name], size) for name, size in variables.items())
    return Library(library, tree.release, form, tuple(undescribed), of_kernel)


def _offsets(listed: str) -> dict[str, int]:
    """Return where a library has the variables of library.c, and those that all files see.

    A variable of the tree may have the name of one of ours in another file.
    """
    file, found = "", {}
    for line in listed.splitlines():
        words = line.split()
        if " df " in line:
            file = words[-1]
        elif len(words) > 3 and re.fullmatch(r"[0-9a-f]+", words[0]):
            if file == "library.c":
                found[words[-1]] = int(words[0], 16)
            elif not file.endswith(".c"):  # of no file: it can be seen from all
                found.setdefault(words[-1], int(words[0], 16))
    return found


def _variables(tree: Tree, made: Path) -> dict[str, int]:
    """Return the sizes of the kernel's variables in an object file; those of the stubs are named
    a section of their own.
    """
    listed = _VARIABLE.findall(_call(tree, "objdump", ["-t", str(made)]))
    sizes = {name: int(size, 16) for section, size, name in listed if section in _WRITTEN}
    return {name: size for name, size in sizes.items() if size}


def _gather(tree: Tree, made: Path) -> None:
    """Put all that an object file writes into the section of the state."""
    contents = "alloc,load,data,contents"
    flags = [f"--set-section-flags={name}={contents}" for name in _WRITTEN]
    names = [f"--rename-section={name}=percpu_state,{contents}" for name in _WRITTEN]
    for options in (flags, names):
        _call(tree, "objcopy", [*options, str(made)])
    listed = _call(tree, "objdump", ["-h", str(made)])
    for name, size, attributes in _SECTION.findall(listed):
        written = "ALLOC" in attributes and "READONLY" not in attributes and int(size, 16)
        if written and not name.startswith(_APART):
            raise InputError(
                tree.top, None, "variables that a search can restore", f"some in section {name}"
            )


def _options(tree: Tree, into: Path, form: Form, stub: Path | None) -> list[str]:
    """Return the compiler's options that a tree needs; its headers are made in the folder."""
    headers = into / f"include-{form}"
    _make_headers(tree, headers)
    extra = headers / "percpu_stub.h"
    extra.write_text(f'#include "{stub.absolute()}"\n' if stub else "")
    defines = {
        "__MM_INTERNAL_H": "1",  # keeps mm/internal.h of a whole tree out
        "PERCPU_SOURCE": f'"{(tree.top / "mm/percpu.c").absolute()}"',
        "PERCPU_STUB": f'"{extra.absolute()}"',
        "PERCPU_ALLOC": "pcpu_alloc_noprof"
        if "pcpu_alloc_noprof(" in tree.text("mm/percpu.c")
        else "pcpu_alloc",
    }
    if "obj_exts" in tree.text("mm/percpu-internal.h"):
        defines["PERCPU_OBJ_EXTS"] = "1"
    defines |= form.defines
    options = [f"-I{STUBS}", f"-I{headers}"]
    return options + [f"-D{name}={value}" for name, value in defines.items()]


def _run(tree: Tree, arguments: list[str]) -> None:
    """Run the compiler. Raises InputError if it finds an error, or is not there."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise InputError(
            tree.top, None, "a C compiler to compile it with: gcc (apt-get install gcc libc6-dev)"
        )
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise _compile_error(tree, done.stderr)


def _call(tree: Tree, program: str, arguments: list[str]) -> str:
    """Return what a program of the compiler's company prints. Raises InputError if it fails."""
    if shutil.which(program) is None:
        raise InputError(tree.top, None, f"{program} to search it with (apt-get install binutils)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(tree.top, None, f"a tree that {program} can work on", done.stderr.strip())
    return done.stdout


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


class CompileError(InputError):
    """A tree that does not compile: what failed first, and what to add."""

    def __init__(self, tree: Tree, expected: str, error: str) -> None:
        super().__init__(tree.top, None, f"{expected} (the first error: {error})")
        self.expected, self.error = expected, error

    def in_patch(self, tree: Tree, patches: Sequence[Path]) -> InputError:
        """Return the error with the patch and its line, if a patch has added the line."""
        found = _ERROR.match(self.error)
        if found is None:
            return self
        name = next((n for n in FILES if found[1].endswith(n)), None)
        if name is None:
            return self
        lines = tree.text(name).splitlines()
        number = int(found[2])
        text = lines[number - 1] if number <= len(lines) else ""
        for patch in patches:
            at = added_line(patch, text, number)
            if at is not None:
                return InputError(patch, at, self.expected, f"{text.strip()} ({found[3]})")
        return self


def _compile_error(tree: Tree, output: str) -> CompileError:
    """Return the error for a tree that does not compile."""
    lines = output.splitlines()
    error = next(
        (line for line in lines if "error:" in line or "undefined reference" in line),
        lines[-1] if lines else "no message",
    ).strip()
    missing: dict[str, str] = {}
    for line in lines:
        for pattern, kind in _MISSING if "error:" in line or "undefined ref" in line else ():
            found = pattern.search(line)
            if found is not None:
                missing.setdefault(found[1], kind)
                break
    if not missing:
        return CompileError(tree, "a tree that compiles", error)
    wanted = [
        f"{kind} {name} ({next((f for part, f in _PLACES if part in name.lower()), 'types.h')})"
        for name, kind in missing.items()
    ]
    return CompileError(
        tree,
        f"{', '.join(wanted)}, which our stubs do not have: add what is missing to the files named "
        f"in {STUBS}, or give a header that has it with --stub",
        error,
    )

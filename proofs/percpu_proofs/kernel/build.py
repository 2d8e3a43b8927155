"""Compiling a tree's allocator into a shared library, against our own headers and stubs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.patch import shown_line
from percpu_proofs.kernel.tree import BACKINGS, FILES, Tree
from percpu_spec.geometry import Backing, Geometry

STUBS: Final = Path(__file__).parent / "stubs"
SOURCES: Final = ("library.c", "memory.c", "heap.c", "actors.c")
"""Of a kernel that runs beside the model."""
SEARCHED: Final = ("library.c", "memory.c", "search/arena.c", "search/actors.c")
"""Of one that is searched: what they write is the state that a search restores."""
SEARCHERS: Final = tuple(
    f"search/{name}.c" for name in ("image", "key", "steps", "nodes", "explore")
)
ROOT_OBJCG: Final = (7, 1, 0)
"""The first version in which a task of the root group has an object cgroup."""
_REGION: Final = re.compile(r"struct\s+pcpu_region\s*\{([^}]*)\}")
"""A hint as one value, in trees that have it: its start, and its size or its end."""
_FLOAT_LOCKED: Final = re.compile(
    r"area_found:(?:(?!spin_unlock).)*?pcpu_nr_empty_pop_pages\s*<\s*PCPU_EMPTY_POP_PAGES_LOW",
    re.DOTALL,
)  # fmt: skip
"""The float is tested before pcpu_lock is released (from 6.13), and BAL-4 is about that moment."""
_INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"]([\w./-]+)[>\"]", re.MULTILINE)
_FLAGS: Final = (
    "-std=gnu11", "-O2", "-g1", "-fPIC", "-fno-strict-aliasing", "-fwrapv", "-fvisibility=hidden",
    "-Werror=implicit-function-declaration", "-fno-diagnostics-color",
    "-Wall", "-Wno-unused-but-set-variable",  # as the kernel's own build has it
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
"""Addresses and undefined behaviour are checked, in a process that has the runtime loaded first."""
_SEARCH_SANITIZED: Final = (
    *SANITIZE, "--param", "asan-stack=0", "--param", "asan-globals=0", "-DPERCPU_SHADED=1",
)  # fmt: skip
"""Of a search: frames and variables lie in memory that is copied, blocks of memory are watched."""

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
_ERROR: Final = re.compile(r"(\S+?):(\d+):(?:\d+:)? (?:error: )?(.*)")
_WARNING: Final = re.compile(r"^(.+?):(\d+):(?:\d+:)? warning: (.*)$", re.MULTILINE)
_OWNER: Final = re.compile(r"[‘'](?:struct |union )?(\w+)[’'] has no member named")
_PLACES: Final = (
    ("list", "list.h"), ("bitmap", "bits.h"), ("bit", "bits.h"), ("mem", "memory.h"),
    ("mutex", "locks.h"), ("lock", "locks.h"), ("work", "locks.h"), ("rcu", "locks.h"),
    ("sched", "locks.h"), ("task", "locks.h"), ("page", "memory.h"), ("alloc", "memory.h"),
    ("free", "memory.h"), ("cgroup", "memory.h"), ("node", "memory.h"), ("cpu", "memory.h"),
    ("vm", "memory.h"), ("trace_", "memory.h"), ("flush", "memory.h"),
)  # fmt: skip
"""Where the stub of a name belongs that none of the stubs has, by a part of it."""


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


class Warned(NamedTuple):
    """What the compiler warns of in one of the tree's own files; patch: whose line it is, if any.

    Such a line is counted in the patch.
    """

    file: str
    line: int
    text: str
    patch: Path | None = None

    def __str__(self) -> str:
        return f"{self.patch or self.file}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled allocator."""

    path: Path
    release: str  # of the tree, as vectors name it
    form: Form
    # variables of the kernel's that no description of a state shows: name, offset, size in bytes
    undescribed: tuple[tuple[str, int, int], ...] = ()
    variables: tuple[tuple[str, int, int], ...] = ()  # all of the kernel's
    root_objcg: bool = False  # tasks of the root group have an object cgroup
    one_unit: bool = False  # km: the pages of a chunk are counted right for one unit only
    warnings: tuple[Warned, ...] = ()  # of the compiler


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
    said = _run(tree, [*options, *(str(STUBS / name) for name in SOURCES), "-o", str(library)])
    return Library(
        library, tree.release, form,
        root_objcg=has_root_objcg(tree), warnings=_warnings(tree, said),
    )  # fmt: skip


def has_root_objcg(tree: Tree) -> bool:
    """Return whether tasks of the root group have an object cgroup, which the tree then asks for.

    It is what the rest of the kernel gives, so the version tells, or that the tree asks.
    """
    return tree.version >= ROOT_OBJCG or "obj_cgroup_is_root" in tree.text("mm/percpu.c")


def compile_search(
    tree: Tree,
    into: Path,
    form: Form = USUAL,
    *,
    stub: Path | None = None,
    noted: bool = False,
    sanitized: bool = False,
    shared: Path | None = None,
) -> Library:
    """Compile a tree's mm/percpu.c with a search of its schedules into a library in a folder.

    noted: accesses without pcpu_lock are. sanitized: addresses are checked, of blocks of memory,
    and undefined behaviour. shared: a folder for what is the same for all trees, and
    is compiled there once. All that the code writes lies in one section, or InputError says what
    does not. Raises InputError as compile_tree does.
    """
    headers = into / ("noted" if noted else "plain")  # two compilations may run at once
    headers.mkdir(parents=True, exist_ok=True)
    options = [*_FLAGS, *_SEARCH, *_options(tree, headers, form, stub)]
    if sanitized:
        options += _SEARCH_SANITIZED
    objects: list[str] = []
    variables: dict[str, int] = {}
    warnings: tuple[Warned, ...] = ()
    kind = f"{form}-noted" if noted else str(form)
    for name in (*SEARCHED, *SEARCHERS, *(["search/accesses.c"] if noted else ())):
        own = name == "library.c"  # it has the tree's code in it
        made = (into if own else shared or into) / f"{kind if own else form}-{Path(name).stem}.o"
        objects.append(str(made))
        if shared is not None and made.exists() and not own:
            continue
        flags: tuple[str, ...] = _NOTED if noted and own else ()
        if name == "search/arena.c":
            flags = ("-fno-sanitize=address",)  # it is who knows which addresses are right
        said = _run(tree, [*options, *flags, "-c", str(STUBS / name), "-o", str(made)])
        if own:
            variables, warnings = _variables(tree, made), _warnings(tree, said)
        if name in SEARCHED:
            _gather(tree, made)
    library = into / f"search-{kind}.so"
    linked = SANITIZE if sanitized else ()
    _run(tree, ["-shared", "-Wl,--no-undefined", *linked, *objects, "-o", str(library)])
    offsets = _offsets(_call(tree, "objdump", ["-t", str(library)]))
    undescribed = [
        (name, offsets[name], size)
        for name, size in variables.items()
        if name.split(".")[0] not in DESCRIBED
    ]
    of_kernel = tuple((name, offsets[name], size) for name, size in variables.items())
    return Library(
        library, tree.release, form, tuple(undescribed), of_kernel, warnings=warnings
    )


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
    if not (tree.top / BACKINGS[form.backing]).is_file():
        raise InputError(
            tree.top, None, f"{BACKINGS[form.backing]}, for backing={form.backing}"
        )
    _make_headers(tree, headers, form.backing)
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
    if re.search(r"& GFP_KERNEL\) != GFP_KERNEL", tree.text("mm/percpu.c")):
        defines["PERCPU_NEEDED"] = "GFP_KERNEL"  # what a request needs, all of it, to sleep
    if "obj_exts" in tree.text("mm/percpu-internal.h"):
        defines["PERCPU_OBJ_EXTS"] = "1"
    region = _REGION.search(tree.text("mm/percpu-internal.h"))
    if region is not None:
        end = re.search(r"\bend\b", region[1]) is not None
        defines["PERCPU_REGIONS(r)"] = "((r).end - (r).start)" if end else "((r).size)"
    if _FLOAT_LOCKED.search(tree.text("mm/percpu.c")):
        defines["PERCPU_FLOAT_LOCKED"] = "1"
    if has_root_objcg(tree):
        defines["PERCPU_ROOT_OBJCG"] = "1"
    defines |= form.defines
    options = [f"-I{STUBS}", f"-I{headers}"]
    return options + [f"-D{name}={value}" for name, value in defines.items()]


def _run(tree: Tree, arguments: list[str]) -> str:
    """Run the compiler; return its warnings. Raises InputError for an error, or without one."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise InputError(
            tree.top, None, "a C compiler to compile it with: gcc (apt-get install gcc libc6-dev)"
        )
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise _compile_error(tree, done.stderr)
    return done.stderr


def _warnings(tree: Tree, output: str) -> tuple[Warned, ...]:
    """Return what a compiler has said of the tree's own files, each once; not of our stubs."""
    found: dict[Warned, None] = {}
    for path, line, text in _WARNING.findall(output):
        name = _own_file(path)
        if name is not None and STUBS not in Path(path).parents:
            found[Warned(name, int(line), text)] = None
    return tuple(found)


def _own_file(path: str) -> str | None:
    """Return the name of a tree's file in a path of the compiler's, None for any other file."""
    return next((name for name in FILES if path.endswith(f"/{name}")), None)


def all_warnings(tree: Tree, libraries: Iterable[Library]) -> list[Warned]:
    """Return the warnings of a tree's libraries, each once, those of lines of patches first."""
    found = dict.fromkeys(warned for library in libraries for warned in library.warnings)
    ours = [_in_patch(tree, warned) for warned in found]
    return [w for w in ours if w.patch] + [w for w in ours if not w.patch]


def _in_patch(tree: Tree, warned: Warned) -> Warned:
    text = _line(tree, warned.file, warned.line)
    for patch in reversed(tree.patches):
        at = shown_line(patch, warned.file, text, warned.line, added=True)
        if at is not None:
            return Warned(warned.file, at, f"{text.strip()} ({warned.text})", patch)
    return warned


def _line(tree: Tree, name: str, number: int) -> str:
    return "".join(tree.text(name).split("\n")[number - 1 : number])


def _call(tree: Tree, program: str, arguments: list[str]) -> str:
    """Return what a program of the compiler's company prints. Raises InputError if it fails."""
    if shutil.which(program) is None:
        raise InputError(tree.top, None, f"{program} to search it with (apt-get install binutils)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(tree.top, None, f"a tree that {program} can work on", done.stderr.strip())
    return done.stdout


def _make_headers(tree: Tree, folder: Path, backing: Backing) -> None:
    """Make an empty header for each that the tree's files include; its own percpu.h is kept."""
    for name in FILES[1:]:
        if name == BACKINGS["km"] and backing != "km":
            continue  # a tree may be without it
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


def _place(line: str, name: str) -> str:
    """Return the file of the stubs that an error about a name is to be mended in.

    That is the one where the error is, or that has the name or the type which lacks the member.
    """
    at = _ERROR.match(line)
    if at is not None and Path(at[1]).is_relative_to(STUBS):
        return str(Path(at[1]).relative_to(STUBS))
    owner = _OWNER.search(line)
    known = re.compile(rf"\b(?:struct|union) {owner[1]} \{{" if owner else rf"\b{name}\b")
    for header in sorted(STUBS.glob("*.h")):
        if known.search(header.read_text()):
            return header.name
    return next((file for part, file in _PLACES if part in name.lower()), "types.h")


def _compile_error(tree: Tree, output: str) -> InputError:
    """Return the error for a tree that does not compile: where, what failed, and what to add.

    Where a patch shows the line that failed, that is the patch's line.
    """
    lines = output.splitlines()
    error = next(
        (line for line in lines if "error:" in line or "undefined reference" in line),
        lines[-1] if lines else "no message",
    ).strip()
    missing: dict[str, tuple[str, str]] = {}
    for line in lines:
        for pattern, kind in _MISSING if "error:" in line or "undefined ref" in line else ():
            found = pattern.search(line)
            if found is not None:
                missing.setdefault(found[1], (kind, _place(line, found[1])))
                break
    wanted = ", ".join(f"{kind} {name} ({place})" for name, (kind, place) in missing.items())
    expected = "a tree that compiles" if not wanted else (
        f"{wanted}, which our stubs do not have: add what is missing to the files named "
        f"in {STUBS}, or give a header that has it with --stub"
    )  # fmt: skip
    where = _ERROR.search(error)
    name = where and _own_file(where[1])
    if where and name:
        number = int(where[2])
        text = _line(tree, name, number)
        for patch in reversed(tree.patches):
            at = shown_line(patch, name, text, number)
            if at is not None:
                return InputError(patch, at, expected, f"{text.strip()} ({where[3]})")
    return InputError(tree.top, None, f"{expected} (the first error: {error})")

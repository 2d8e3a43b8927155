"""From a source tree to compiled libraries: the allocator against our own headers and stubs."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from percpu_proofs.kernel.changes import WORDS, counts_every_unit
from percpu_proofs.kernel.instance import USUAL, BuildForm, KernelStopped, KernelVariable, Library
from percpu_proofs.kernel.messages import (
    STUBS,
    CompilerWarning,
    all_warnings,
    compile_error,
    warnings_of,
)
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.kernel.tree import (
    BACKINGS,
    FILES,
    Tree,
    apply_patch,
    copy_tree,
    open_tree,
    run_program,
)
from percpu_proofs.run.inputs import InputError, read_text
from percpu_reference.variants import MERGED
from percpu_spec.geometry import Backing

SOURCES: Final = ("library.c", "memory.c", "heap.c", "actors.c")
"""Of a kernel that runs beside the model."""
SEARCHED: Final = ("library.c", "memory.c", "search/arena.c", "search/actors.c")
"""Of one that is searched: what they write is the state that a search restores."""
SEARCHERS: Final = tuple(
    f"search/{name}.c" for name in ("image", "key", "steps", "nodes", "explore")
)
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
_ACCESSES: Final = ("-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0", "-O0")
"""Nothing may be optimised away: what is added and taken away again is two accesses."""
_WRITTEN: Final = (".data", ".bss", ".data.rel", ".data.rel.local")
_APART: Final = ("percpu_state", "percpu_outside", ".data.rel.ro", ".init_array")
"""Sections that a search restores, its own, and those that nothing writes once it is loaded."""
_SECTION: Final = re.compile(
    r"^\s*\d+ (\S+)\s+([0-9a-f]+) .*\n\s+(.*)$", re.MULTILINE
)  # of objdump -h: a name, a size, and attributes in the line below

_VARIABLE: Final = re.compile(
    r"^[0-9a-f]+ .*(\.data\S*|\.bss)\s+([0-9a-f]+) (?:\.hidden )?(\S+)$", re.MULTILINE
)  # of objdump -t
ONE_UNIT: Final = "km counts a chunk's pages once for each unit, so it is compared on one CPU"


def compile_tree(
    tree: Tree,
    into: Path,
    form: BuildForm = USUAL,
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
    output = _run(tree, [*options, *(str(STUBS / name) for name in SOURCES), "-o", str(library)])
    return Library(
        library, tree.release, form,
        root_objcg=tree.root_objcg, source=tree.source, warnings=warnings_of(output),
    )  # fmt: skip


def compile_search(
    tree: Tree,
    into: Path,
    form: BuildForm = USUAL,
    *,
    stub: Path | None = None,
    notes_accesses: bool = False,
    flags: tuple[str, ...] = (),
    shared: Path | None = None,
) -> Library:
    """Compile a tree's mm/percpu.c with a search of its schedules into a library in a folder.

    notes_accesses: those without pcpu_lock. flags: more of the compiler's. shared: a folder for
    what is the same for all trees, and is compiled there once. All that the code writes lies in one
    section, or InputError says what does not. Raises InputError as compile_tree does.
    """
    headers = into / ("noted" if notes_accesses else "plain")  # two compilations may run at once
    headers.mkdir(parents=True, exist_ok=True)
    options = [*_FLAGS, *_SEARCH, *_options(tree, headers, form, stub), *flags]
    objects: list[str] = []
    variables: dict[str, int] = {}
    warnings: tuple[CompilerWarning, ...] = ()
    kind = f"{form}-noted" if notes_accesses else str(form)
    for name in (*SEARCHED, *SEARCHERS, *(["search/accesses.c"] if notes_accesses else ())):
        own = name == "library.c"  # it has the tree's code in it
        name_of_form = f"{kind if own else form}-{Path(name).stem}.o"
        object_file = (into if own else shared or into) / name_of_form
        objects.append(str(object_file))
        if shared is not None and object_file.exists() and not own:
            continue
        special: tuple[str, ...] = _ACCESSES if notes_accesses and own else ()
        if name == "search/arena.c":
            special = ("-fno-sanitize=address",)  # it is who knows which addresses are right
        output = _run(tree, [*options, *special, "-c", str(STUBS / name), "-o", str(object_file)])
        if own:
            variables, warnings = _variables(tree, object_file), warnings_of(output)
        if name in SEARCHED:
            _gather(tree, object_file)
    library = into / f"search-{kind}.so"
    _run(tree, ["-shared", "-Wl,--no-undefined", *flags, *objects, "-o", str(library)])
    offsets = _offsets(_call(tree, "objdump", ["-t", str(library)]))
    located = tuple(KernelVariable(name, offsets[name], size) for name, size in variables.items())
    return Library(
        library, tree.release, form, located,
        root_objcg=tree.root_objcg, source=tree.source, warnings=warnings,
    )  # fmt: skip


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


def _variables(tree: Tree, object_file: Path) -> dict[str, int]:
    """Return the sizes of the kernel's variables in an object file; those of the stubs are named
    a section of their own.
    """
    listed = _VARIABLE.findall(_call(tree, "objdump", ["-t", str(object_file)]))
    sizes = {name: int(size, 16) for section, size, name in listed if section in _WRITTEN}
    return {name: size for name, size in sizes.items() if size}


def _gather(tree: Tree, object_file: Path) -> None:
    """Put all that an object file writes into the section of the state."""
    contents = "alloc,load,data,contents"
    flags = [f"--set-section-flags={name}={contents}" for name in _WRITTEN]
    names = [f"--rename-section={name}=percpu_state,{contents}" for name in _WRITTEN]
    for options in (flags, names):
        _call(tree, "objcopy", [*options, str(object_file)])
    listed = _call(tree, "objdump", ["-h", str(object_file)])
    for name, size, attributes in _SECTION.findall(listed):
        written = "ALLOC" in attributes and "READONLY" not in attributes and int(size, 16)
        if written and not name.startswith(_APART):
            raise InputError(
                tree.source, None, "variables that a search can restore", f"some in section {name}"
            )


def _options(tree: Tree, into: Path, form: BuildForm, stub: Path | None) -> list[str]:
    """Return the compiler's options that a tree needs; its headers are made in the folder."""
    headers = into / f"include-{form}"
    if not (tree.top / BACKINGS[form.backing]).is_file():
        raise InputError(
            tree.source, None, f"{BACKINGS[form.backing]}, for backing={form.backing}"
        )
    _make_headers(tree, headers, form.backing)
    if stub is not None:
        read_text(stub)  # the compiler would tell of it at length
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
    defines |= form.defines
    # what stops the kernel names its line by __FILE__, in whatever folder the tree is unpacked
    options = [f"-I{STUBS}", f"-I{headers}", f"-fmacro-prefix-map={tree.top.absolute()}/="]
    return options + [f"-D{name}={value}" for name, value in defines.items()]


def _run(tree: Tree, arguments: list[str]) -> str:
    """Run the compiler; return its warnings. Raises InputError for an error, or without one."""
    compiler = next(filter(shutil.which, ("gcc", "cc")), "gcc")
    expected = "a C compiler to compile it with: gcc (apt-get install gcc libc6-dev)"
    done = run_program(compiler, arguments, InputError(tree.source, None, expected))
    if done.returncode:
        raise compile_error(tree, done.stderr)
    return done.stderr


def _call(tree: Tree, program: str, arguments: list[str]) -> str:
    """Return what a program of the compiler's company prints. Raises InputError if it fails."""
    expected = f"{program} to search it with (apt-get install binutils)"
    done = run_program(program, arguments, InputError(tree.source, None, expected))
    if done.returncode:
        expected = f"a tree that {program} can work on"
        raise InputError(tree.source, None, expected, done.stderr.strip())
    return done.stdout


def _make_headers(tree: Tree, folder: Path, backing: Backing) -> None:
    """Make an empty header for each that the tree's files include; its own percpu.h is kept."""
    for name in FILES[1:]:
        if name == BACKINGS["km"] and backing != "km":
            continue  # a tree may be without it
        for included in _INCLUDE.findall(tree.text(name)):
            if included not in ("percpu-internal.h", "percpu-km.c", "percpu-vm.c"):
                _write(folder / included, "")
    own = tree.top / "include/linux/percpu.h"
    _write(folder / "linux/percpu.h", f'#include "{own.absolute()}"\n')


def _write(header: Path, text: str) -> None:
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_text(text)


@dataclass
class TreeBuild:
    """A tree with its allocator compiled, each form when it is asked for first."""

    tree: Tree
    folder: Path
    stub: Path | None = None
    libraries: dict[BuildForm, Library] = field(default_factory=dict)

    def library(self, form: BuildForm = USUAL) -> Library:
        """Return the library of a form. Raises InputError for a tree that does not compile."""
        if form not in self.libraries:
            library = compile_tree(self.tree, self.folder, form, stub=self.stub)
            self.libraries[form] = replace(library, one_unit=counts_every_unit(library))
        return self.libraries[form]


@dataclass
class Workshop(TreeBuild):
    """A tree, patched or not, with the model that it is held to."""

    model: ModelVariant = field(default_factory=ModelVariant)

    @property
    def declared(self) -> list[str]:
        """The declared differences, in words."""
        output = [ONE_UNIT] if any(one.one_unit for one in self.libraries.values()) else []
        return self.model.declared + output + missing_changes(self.model, self.tree)

    def warnings(self) -> list[CompilerWarning]:
        """Return what the compiler has warned of, lines of patches first."""
        return all_warnings(
            self.tree, (w for library in self.libraries.values() for w in library.warnings)
        )


def missing_changes(model: ModelVariant, tree: Tree) -> list[str]:
    """Return what a tree does not do though its version is not older, in words."""
    return [
        f"not as since {release}, though this is {tree.name}: {what}"
        for release, what in WORDS.items()
        if model.has is not None and release not in model.has and _dates(release) <= tree.version
    ]


def _dates(release: str) -> tuple[int, ...]:
    """Return a release as a version; of what no release has yet, one later than all.

    >>> _dates("6.13") <= (6, 13, 7), _dates("mm 1/4") <= (9, 0, 0)
    (True, False)
    """
    return tuple(map(int, release.split("."))) if release[0].isdigit() else (1000,)


@contextmanager
def patched_tree(source: Path, patches: Sequence[Path]) -> Iterator[tuple[Path, Tree, Tree]]:
    """Give a temporary folder, the tree of a folder or archive, and it with patches applied.

    These are applied to a copy; without any the two trees are one. Raises InputError.
    """
    with tempfile.TemporaryDirectory(prefix="percpu-spec-") as name:
        folder = Path(name)
        tree = base = open_tree(source, folder / "unpacked")
        if patches:
            tree = copy_tree(base, folder / "patched-source")
        for patch in patches:
            tree = apply_patch(tree, patch)
        yield folder, base, tree


@contextmanager
def workshop(
    source: Path,
    *,
    patches: tuple[Path, ...] = (),
    stub: Path | None = None,
    variant: str | None = None,
    fixes: tuple[str, ...] = (),
) -> Iterator[Workshop]:
    """Compile the allocator of a tree, given by its folder or archive; the tree is left alone.

    What the tree does without its patches chooses the variant. Raises InputError for what cannot
    be used.
    """
    model = ModelVariant(variant or MERGED, fixes)
    model.variant()
    with patched_tree(source, patches) as (folder, base, tree):
        unpatched = TreeBuild(base, folder / "base", stub)
        library = unpatched.library()
        with suppress(KernelStopped):  # the comparison shows it, with its operations
            model = probe(library, variant, fixes)
        shop = Workshop(tree, folder, stub, {} if patches else unpatched.libraries, model)
        shop.library()
        yield shop

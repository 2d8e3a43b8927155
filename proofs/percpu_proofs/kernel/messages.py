"""What the compiler says of a tree: warnings of its own files, and errors with what to add."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.kernel.tree import FILES, Tree, damage, shown_line
from percpu_proofs.run.inputs import InputError

STUBS: Final = Path(__file__).parent / "stubs"
"""Our headers, against which a tree is compiled."""
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


class CompilerWarning(NamedTuple):
    """What the compiler warns of in one of the tree's own files; patch: whose line it is, if any.

    Such a line is counted in the patch.
    """

    file: str
    line: int
    text: str
    patch: Path | None = None

    def __str__(self) -> str:
        return f"{self.patch or self.file}:{self.line}: {self.text}"


def warnings_of(output: str) -> tuple[CompilerWarning, ...]:
    """Return what a compiler has said of a tree's own files, each once; not of our stubs."""
    return tuple(dict.fromkeys(
        CompilerWarning(name, int(line), text)
        for path, line, text in _WARNING.findall(output)
        if (name := _own_file(path)) is not None and STUBS not in Path(path).parents
    ))  # fmt: skip


def _own_file(path: str) -> str | None:
    """Return the name of a tree's file in a path of the compiler's, None for any other file."""
    return next((name for name in FILES if path.endswith(f"/{name}")), None)


def all_warnings(tree: Tree, warnings: Iterable[CompilerWarning]) -> list[CompilerWarning]:
    """Return the warnings of a tree, each once, those of lines of patches first."""
    found = []
    for warning in dict.fromkeys(warnings):
        text, shown = _shown(tree, warning.file, warning.line, added=True)
        if shown is not None:
            patch, line = shown
            warning = CompilerWarning(warning.file, line, f"{text} ({warning.text})", patch)
        found.append(warning)
    return sorted(found, key=lambda warning: warning.patch is None)


def _shown(
    tree: Tree, name: str, number: int, *, added: bool = False
) -> tuple[str, tuple[Path, int] | None]:
    """Return a line of a file, and the last patch that shows it, with the line of that."""
    text = "".join(tree.text(name).split("\n")[number - 1 : number])
    for patch in reversed(tree.patches):
        at = shown_line(patch, name, text, number, added=added)
        if at is not None:
            return text.strip(), (patch, at)
    return text.strip(), None


def _place(line: str, name: str) -> str:
    """Return the file of the stubs that an error about a name is to be mended in.

    That is the one where the error is, or that has the name or the type which lacks the member.
    """
    at = _ERROR.match(line)
    if at is not None and Path(at[1]).is_relative_to(STUBS):
        return str(Path(at[1]).relative_to(STUBS))
    known = _owner_defined(line) or rf"\b{name}\b"
    for header in sorted(STUBS.glob("*.h")):
        if re.search(known, header.read_text()):
            return header.name
    return next((file for part, file in _PLACES if part in name.lower()), "types.h")


def _is_of_tree(tree: Tree, line: str, name: str) -> bool:
    """Return whether an error is about what the tree's own files define, so that no stub helps."""
    defined = _owner_defined(line) or rf"^\w[^;={{}}]*\b{name}\([^;{{}}]*\)\s*\{{"
    return any(re.search(defined, tree.text(file), re.MULTILINE) for file in tree.files)


def _owner_defined(line: str) -> str | None:
    """Return what finds the definition of the type that lacks a member, None for other errors."""
    owner = _OWNER.search(line)
    return owner and rf"\b(?:struct|union) {owner[1]} \{{"


def compile_error(tree: Tree, output: str) -> InputError:
    """Return the error for a tree that does not compile: where, what failed, and what to add.

    Where a patch shows the line that failed, that is the patch's line.
    """
    if (wrong := damage(tree)) is not None:
        return wrong
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
                if not _is_of_tree(tree, line, found[1]):
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
        text, shown = _shown(tree, name, int(where[2]))
        if shown is not None:
            return InputError(*shown, expected, f"{where[3]}: {text}")
    return InputError(tree.source, None, f"{expected} (the first error: {error})")

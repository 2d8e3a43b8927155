"""The operation language: one operation a line, `#` opens a comment, plain or gzip.

SHAPES, MEANINGS and FLAGS are the language; `percpu-spec operations` prints it, with examples.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from percpu_proofs.run.inputs import InputError, read_text
from percpu_spec import gfp

Operation = tuple[str, int, int, int, bool, int]
"""Kind, handle or count, and for an allocation size, align, reserved, gfp. Plain for speed."""

FLAGS = {
    "A": "atomic (GFP_ATOMIC)",
    "G": "accounted to the memory cgroup (__GFP_ACCOUNT)",
    "N": "no wait (GFP_NOWAIT)",
    "O": "no I/O (GFP_NOIO)",
    "F": "must not fail (__GFP_NOFAIL)",
    "R": "reserved: from the reserved chunk (__alloc_reserved_percpu)",
    "W": "no warning (__GFP_NOWARN)",
    "S": "no file systems (GFP_NOFS)",
    "Y": "no retry (__GFP_NORETRY)",
    "o": "the task is in a scope without I/O (memalloc_noio_save)",
    "s": "the task is in a scope without file systems (memalloc_nofs_save)",
}
"""The letters of an allocation's flags, in the order in which they are written; none is GFP_KERNEL.
"""
FLAG_LETTERS = "".join(FLAGS)

HANDLES = frozenset("afdw")
"""Kinds of operations whose first number is a handle."""
WRONG = frozenset("dws")
"""Kinds of operations that free what API-2 forbids."""

_LANGUAGE = {
    "a HANDLE SIZE ALIGN FLAGS":
        "allocate SIZE bytes aligned to ALIGN into HANDLE; FLAGS are - or letters of those below",
    "f HANDLE": "free what HANDLE holds; nothing if its allocation failed",
    "b": "run the balance work now",
    "B": "run the balance work if it is pending",
    "P COUNT": "the next COUNT allocations of pages fail",
    "Q COUNT": "the COUNT-th allocation of a page from now fails",
    "M COUNT": "the next COUNT mappings of a unit's range fail",
    "m COUNT": "the COUNT-th mapping from now fails",
    "C COUNT": "the next COUNT chunk creations find no vm area",
    "Z COUNT": "the COUNT-th allocation of metadata from now fails",
    "K COUNT": "the next COUNT killable waits for pcpu_alloc_mutex are killed",
    "H COUNT": "the next COUNT charges fail",
    "U 0 or U 1": "the current task has no object cgroup (0), has one (1)",
    "E": "asynchronous balance work becomes available",
    "d HANDLE": "free once more what HANDLE, freed and not allocated into since, held last",
    "w HANDLE OFFSET": "free the address OFFSET bytes, at least 4, into the area that HANDLE holds",
    "s OFFSET":
        "free the percpu pointer OFFSET: of a static variable or, from a unit's size on, of none",
}  # fmt: skip
"""Each operation as it is written, its kind first, and what it does. d, w and s are frees that
API-2 forbids; driver.py says what becomes of them."""
SHAPES = {shape[0]: shape for shape in _LANGUAGE}
MEANINGS = {shape[0]: meaning for shape, meaning in _LANGUAGE.items()}
RULES = {
    "d": "d HANDLE of a handle that was freed (f) and not allocated into since",
    "w": "w HANDLE OFFSET of a handle that was allocated, the offset below its area's size",
    "s": "s OFFSET of a static variable, or at or above a unit's size",
}
"""What operations that free wrongly may name."""
_WORDS = {kind: 2 if kind == "U" else len(shape.split()) for kind, shape in SHAPES.items()}
_CONTEXT = {"A": gfp.ATOMIC, "N": gfp.NOWAIT, "O": gfp.NOIO, "S": gfp.NOFS}
_MODIFIER = {
    "G": gfp.ACCOUNT, "W": gfp.NOWARN, "F": gfp.NOFAIL, "R": 0, "Y": gfp.NORETRY,
    "o": gfp.SCOPE_NOIO, "s": gfp.SCOPE_NOFS,
}  # fmt: skip
_DIGITS = 20  # of the longest number: size_t has 20 decimal digits at most
_ASIDE = sum(_MODIFIER.values())  # flags that do not say who asks
_LEAST_OFFSET = 4  # of a wild free: below it the kernel takes the address for the area's start


@dataclass(frozen=True, slots=True)
class OperationList:
    """Operations in order, each with the line of `path` it stands on."""

    path: Path
    operations: list[Operation]
    lines: Sequence[int]

    def problem(self, index: int, expected: str, found: str | None = None) -> InputError:
        """Return the error for operation `index`."""
        return InputError(self.path, self.lines[index], expected, found)


def read_operations(path: Path) -> OperationList:
    """Return the operations of a file; raises InputError where it cannot be read whole."""
    return parse_operations(path, read_text(path).split("\n"))


def parse_operations(path: Path, lines: Iterable[str]) -> OperationList:
    """Return the operations in lines; path is named in errors. Raises InputError.

    >>> parse_operations(Path("x"), ["# comment", "a 1 8 4 R", "f 1"]).operations[1]
    ('f', 1, 0, 0, False, 0)
    """
    operations: list[Operation] = []
    numbers = array("l")
    requests: dict[str, tuple[int, int, bool, int]] = {}  # few differ: parsed once each
    for number, line in enumerate(lines, 1):
        if "#" in line:
            line = line.partition("#")[0]
        words = line.split(None, 2)
        if not words:
            continue
        kind = words[0]
        if len(words) > 1 and not _is_number(words[1]):
            raise _malformed(path, number, line, kind)
        if kind == "a" and len(words) == 3:
            request = requests.get(words[2])
            if request is None:
                request = requests[words[2]] = _request(path, number, line, words[2])
            operations.append(("a", int(words[1]), *request))
        elif kind == "w" and len(words) == 3 and _is_number(words[2].strip()):
            if int(words[2]) < _LEAST_OFFSET:
                raise InputError(path, number, f"an offset of at least {_LEAST_OFFSET}", words[2])
            operations.append((kind, int(words[1]), int(words[2]), 0, False, 0))
        elif len(words) == _WORDS.get(kind) and kind not in "aw":
            value = int(words[1]) if len(words) == 2 else 0
            if kind == "U" and value > 1:
                raise _malformed(path, number, line, kind)
            operations.append((kind, value, 0, 0, False, 0))
        else:
            raise _malformed(path, number, line, kind)
        numbers.append(number)
    if not operations:
        raise InputError(path, None, "at least one operation")
    return OperationList(path, operations, numbers)


def parse_texts(where: str, texts: Sequence[str]) -> tuple[Operation, ...]:
    """Return the operations of texts, of which there may be none; where: as errors name them."""
    return tuple(parse_operations(Path(where), texts).operations) if texts else ()


def text_of(operation: Operation) -> str:
    """Return an operation as the language writes it; flags in the order of FLAG_LETTERS.

    >>> text_of(parse_operations(Path("x"), ["a 1 8 4 WRA"]).operations[0])
    'a 1 8 4 ARW'
    """
    kind, arg, size, align, _, _ = operation
    if kind == "w":
        return f"w {arg} {size}"
    if kind != "a":
        return f"{kind} {arg}" if _WORDS[kind] == 2 else kind
    return f"a {arg} {size} {align} {flags_of(operation)}"


def renumbered(operations: Iterable[Operation]) -> list[Operation]:
    """Return operations with the handles numbered from 1 as they are first named.

    >>> read = parse_operations(Path("x"), ["a 7 8 4 -", "f 7", "a 3 8 4 -"]).operations
    >>> [text_of(operation) for operation in renumbered(read)]
    ['a 1 8 4 -', 'f 1', 'a 2 8 4 -']
    """
    numbers: dict[int, int] = {}
    named: list[Operation] = []
    for kind, arg, size, align, reserved, flags in operations:
        number = numbers.setdefault(arg, len(numbers) + 1) if kind in HANDLES else arg
        named.append((kind, number, size, align, reserved, flags))
    return named


def flags_of(operation: Operation) -> str:
    """Return the flags of an allocation as the language writes them."""
    *_, reserved, flags = operation
    letters = "".join(
        letter
        for letter in FLAG_LETTERS
        if (letter == "R" and reserved)
        or (flags & ~_ASIDE) == _CONTEXT.get(letter)
        or flags & _MODIFIER.get(letter, 0)
    )
    return letters or "-"


def _is_number(word: str) -> bool:
    return len(word) <= _DIGITS and word.isascii() and word.isdecimal()


def _request(path: Path, number: int, line: str, text: str) -> tuple[int, int, bool, int]:
    """Return size, align, reserved and gfp of an allocation's last three words."""
    words = text.split()
    if len(words) != 3 or not all(map(_is_number, words[:2])):
        raise _malformed(path, number, line, "a")
    letters = words[2]
    if letters == "-":
        return int(words[0]), int(words[1]), False, gfp.KERNEL
    contexts = [letter for letter in letters if letter in _CONTEXT]
    if set(letters) - set(FLAG_LETTERS) or len(set(letters)) < len(letters) or len(contexts) > 1:
        one = ", ".join(_CONTEXT)
        expected = f"flags - or letters of {FLAG_LETTERS}, each once, at most one of {one}"
        raise InputError(path, number, expected, letters)
    flags = _CONTEXT[contexts[0]] if contexts else gfp.KERNEL
    for letter in letters:
        flags |= _MODIFIER.get(letter, 0)
    return int(words[0]), int(words[1]), "R" in letters, flags


def _malformed(path: Path, number: int, line: str, kind: str) -> InputError:
    """Return the error for a line that does not fit its operation, or any operation."""
    shape = SHAPES.get(kind)
    if shape is None:
        return InputError(path, number, f"an operation, one of {' '.join(SHAPES)}", line.strip())
    return InputError(
        path, number, f"'{shape}', numbers decimal, {_DIGITS} digits at most", line.strip()
    )

"""Input files: read whole or not at all, plain or gzip, with an error that says what is wrong."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_ROOM = 150  # characters of names in a message
_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 16
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_DEEP = re.compile(r"[\[{]{33}")  # brackets alone: opens again and again, nothing closed
NOT_UTF16 = "UTF-8 text; this is UTF-16 (iconv -f UTF-16 -t UTF-8 FILE makes UTF-8 of it)"
_LOOKS_AT = 32  # bytes that tell UTF-16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
TEXT = "utf-8-sig"  # the mark that some editors put in front is no text


class InputError(ValueError):
    """Input that cannot be used: names the place, what was expected and what stands there.

    >>> str(InputError("x.ops", 3, "a count", "many"))
    "x.ops:3: expected a count, found 'many'"
    """

    def __init__(
        self, where: object, line: int | None, expected: str, found: str | None = None
    ) -> None:
        super().__init__(where, line, expected, found)  # what another process sends back
        self.where, self.line, self.expected, self.found = str(where), line, expected, found

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        shown = ""
        if (found := self.found) is not None:
            shown = f", found {found if len(found) <= 80 else found[:77] + '...'!r}"
        return f"{place}: expected {self.expected}{shown}"


class TraceError(ValueError):
    """A recorded run that cannot be read whole: names the file, the line and what was expected."""


def unusable(where: object, error: OSError) -> InputError:
    """Return what is told of a file that cannot be used as wanted, and why."""
    return InputError(where, None, f"a file or folder that can be used ({error.strerror or error})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise InputError in the block where what it writes to a file, or a folder, cannot be."""
    try:
        yield
    except OSError as error:
        expected = f"a place that can be written ({error.strerror or error})"
        raise InputError(path, None, expected) from None


def one_of(word: str, known: Iterable[str]) -> str:
    """Return what was expected in a word's place: those known that are near it, or all of them.

    Of more than a line has room for, where none is near, the first are named and the others
    counted.

    >>> one_of("sttup", ("setup", "actors")), one_of("x", ("setup", "actors"))
    ('one of setup (the nearest of 2)', 'one of setup, actors')
    >>> one_of("x", [f"name {n}" for n in range(900)])[-37:]
    'name 15, name 16, name 17 or 882 more'
    """
    names = list(known)
    near = get_close_matches(word, names) or get_close_matches(word.upper(), names)
    if near:
        return f"one of {', '.join(near)}{the_nearest(near, names)}"
    room = [n for n in range(1, len(names) + 1) if len(", ".join(names[:n])) <= _ROOM]
    some = names[: room[-1] if room else 1]
    more = f" or {len(names) - len(some)} more" if len(some) < len(names) else ""
    return f"one of {', '.join(some)}{more}"


def the_nearest(near: Collection[str], known: Collection[str]) -> str:
    """Return what is said behind names that are not all there are; nothing if they are all."""
    return f" (the nearest of {len(known)})" if 0 < len(near) < len(known) else ""


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raises InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, None, f"a readable file ({error.strerror})") from None


def read_text(path: Path) -> str:
    """Return the text of a file, unpacked if it begins as gzip does, whatever its name.

    Raises InputError for a file that cannot be read, is no text, or is a gzip stream that ends
    early or is damaged; the line is the first one that is not there whole.
    """
    raw = read_bytes(path)
    data = _unpacked(path, raw) if raw.startswith(_MAGIC) else raw
    if is_utf16(data):
        raise InputError(path, 1, NOT_UTF16)
    try:
        return data.decode(TEXT)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(path, line, f"UTF-8 text ({error.reason})") from None


def is_utf16(head: bytes) -> bool:
    """Return whether data is text in UTF-16, as Windows writes it: its mark, or each other byte 0.

    >>> is_utf16("percpu".encode("utf-16")), is_utf16("percpu".encode("utf-16-be"))
    (True, True)
    >>> is_utf16(b"percpu"), is_utf16(b""), is_utf16(bytes(1))
    (False, False, False)
    """
    head = head[:_LOOKS_AT]
    halves = head[::2], head[1::2]
    return head.startswith(_UTF16) or any(
        half and other and not any(half) and all(other) for half, other in (halves, halves[::-1])
    )


def read_json(text: str) -> Any:
    """Return the value of a JSON text; raises ValueError if it is malformed or nested too deep.

    >>> read_json("[" * 100 + "]" * 100)
    Traceback (most recent call last):
    ValueError: nested more than 32 deep
    """
    if _DEEP.search(_NO_BRACKET.sub("", text)):
        raise ValueError("nested more than 32 deep")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _unpacked(path: Path, raw: bytes) -> bytes:
    """Return what the gzip members of raw hold."""
    done = bytearray()
    packed = gzip.GzipFile(fileobj=io.BytesIO(raw))
    try:
        while piece := packed.read1(_PIECE):
            done += piece
    except EOFError:
        message = "more data: the gzip stream ends early"
    except (gzip.BadGzipFile, zlib.error) as error:
        message = f"a sound gzip stream ({error})"
    else:
        return bytes(done)
    raise InputError(path, done.count(b"\n") + 1, message)

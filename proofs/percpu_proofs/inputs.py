"""Input files: read whole or not at all, plain or gzip, with one error type for what is wrong."""

from __future__ import annotations

import zlib
from pathlib import Path

_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 16
_GZIP = 31  # zlib's wbits for one gzip member with its checksum


class InputError(ValueError):
    """Input that cannot be used: names the place, what was expected and what stands there.

    >>> str(InputError("x.ops", 3, "a count", "many"))
    "x.ops:3: expected a count, found 'many'"
    """

    def __init__(
        self, where: object, line: int | None, expected: str, found: str | None = None
    ) -> None:
        self.where = str(where)
        self.line = line
        self.expected = expected
        place = self.where if line is None else f"{self.where}:{line}"
        shown = ""
        if found is not None:
            shown = f", found {found if len(found) <= 80 else found[:77] + '...'!r}"
        super().__init__(f"{place}: expected {expected}{shown}")


def read_text(path: Path) -> str:
    """Return the text of a file, unpacked if it begins as gzip does, whatever its name.

    Raises InputError for a file that cannot be read, is no text, or is a gzip stream that ends
    early or is damaged; the line is the first one that is not there whole.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(path, None, f"a readable file ({error.strerror})") from None
    data = _unpacked(path, raw) if raw.startswith(_MAGIC) else raw
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(path, line, f"UTF-8 text ({error.reason})") from None


def _unpacked(path: Path, raw: bytes) -> bytes:
    """Return what the gzip members of raw hold."""
    done: list[bytes] = []
    position = 0
    while position < len(raw):
        if raw[position] == 0:  # padding, as gzip itself allows
            position += 1
            continue
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece = raw[position : position + _PIECE]
            try:
                done.append(member.decompress(piece))
            except zlib.error as error:
                message = f"a sound gzip stream ({error})"
                raise InputError(path, _lines(done) + 1, message) from None
            if not piece:
                message = "more data: the gzip stream ends early"
                raise InputError(path, _lines(done) + 1, message)
            position += len(piece) - len(member.unused_data)
    return b"".join(done)


def _lines(pieces: list[bytes]) -> int:
    return sum(piece.count(b"\n") for piece in pieces)

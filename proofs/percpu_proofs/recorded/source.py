"""Lines of a file, plain or gzip, with nothing half-read passed off as whole."""

from __future__ import annotations

import gzip
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from percpu_proofs.run.inputs import NOT_UTF16, TEXT, TraceError, is_utf16

_HEAD = 64  # bytes that tell how a text is encoded


def problem(where: object, line: int | None, expected: str, got: str = "") -> TraceError:
    """Return the error for `where`, at `line` (from 1, None for the whole file).

    >>> str(problem("trace.txt", 7, "an event", "rubbish"))
    "trace.txt:7: expected an event, got 'rubbish'"
    """
    place = str(where) if line is None else f"{where}:{line}"
    shown = got if len(got) <= 100 else got[:97] + "..."
    return TraceError(f"{place}: expected {expected}" + (f", got {shown!r}" if got else ""))


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Provide a file; for - what standard input holds, kept for the block to be read again."""
    if path != Path("-"):
        yield path
        return
    with NamedTemporaryFile(prefix="percpu-spec-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield Path(kept.name)


def lines_of(
    path: Path, *, errors: str = "strict", name: Path | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end). name: what messages call the file.

    Raises TraceError for a file that cannot be opened, a truncated or damaged gzip stream, and
    bytes that are no text, unless errors has something else done with them (codecs).
    """
    name, number = name or path, 0
    try:
        with path.open("rb") as raw:
            opened: Any = gzip.open if raw.read(2) == b"\x1f\x8b" else open  # whatever its name
        with opened(path, "rb") as data:
            if is_utf16(data.read1(_HEAD)):
                raise problem(name, 1, NOT_UTF16)
        with opened(path, "rt", encoding=TEXT, errors=errors, newline="\n") as text:
            for number, line in enumerate(text, 1):
                yield number, line.rstrip("\r\n")
    except EOFError:
        raise problem(name, number + 1, "more data: the gzip stream ends early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise problem(name, number + 1, f"a sound gzip stream ({error})") from None
    except UnicodeDecodeError as error:
        raise problem(name, number + 1, f"UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise TraceError(f"{name}: expected a readable file: {error.strerror}") from None


def text_of(path: Path) -> list[str]:
    """Return all lines of a file; raises as `lines_of` does."""
    return [line for _, line in lines_of(path)]

"""Input files: read whole or not at all, plain or gzip, with one error type for what is wrong.

Every command, and every task in a process of its own, runs under `guard`: what a variant's file
raises, wherever it is called from, and a step of it that has no end, become an InputError.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import signal
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from percpu_contracts.violations import ClauseViolation
from percpu_proofs.refine.checker import StepMismatch
from percpu_reference.own_state import UnknownStateError
from percpu_reference.variants import Allocator, UnknownVariantError, VariantFileError
from percpu_reference.variants.from_file import FILES, line_of_class, line_of_field
from percpu_spec.catalogue import UnknownClauseError
from percpu_spec.geometry import GeometryError

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


R = TypeVar("R")

BAD_INPUT = (
    InputError,
    TraceError,
    GeometryError,
    UnknownVariantError,
    VariantFileError,
    UnknownStateError,
    UnknownClauseError,
)
"""Errors that say themselves what is wrong with what was given."""

_PASSED = (*BAD_INPUT, ClauseViolation, StepMismatch,
           click.ClickException, click.Abort, click.exceptions.Exit)  # fmt: skip

LIMIT = 10.0
"""Seconds of CPU time that the import of a file, or one operation, may take: a guard against what
has no end, and no bound that a verdict depends on."""

_TICKS = 20  # of the clock within the limit
_REMEMBERED = 50  # operations seen at a tick
_STEPS = ("percpu_reference.", "percpu_contracts.attach")  # modules whose frames are a step's

SourceLine = tuple[str, int | None]
"""A variant's file and a line of it."""


class EndlessError(BaseException):
    """A step without end; no code of a variant may take it for an error of its own."""

    def __init__(self, place: SourceLine) -> None:
        self.place = place


@contextmanager
def guard(limit: float | None = None) -> Iterator[None]:
    """Turn what goes wrong in the code of a variant's file into an InputError.

    limit: seconds of CPU time for one operation, LIMIT by default.
    """
    try:
        with _watchdog(LIMIT if limit is None else limit):
            yield
    except EndlessError as endless:
        found = "what still runs after so much CPU time"
        raise InputError(*endless.place, "code that comes to an end", found) from None
    except UnknownStateError as error:
        place = _place(error)
        if place is None:
            raise
        line = line_of_field(place[0], error.field) if error.field else place[1]
        raise InputError(place[0], line, f"a value that can be compared: {error}") from None
    except _PASSED:
        raise
    except (Exception, SystemExit) as error:
        place = _place(error)
        if place is None:
            raise
        message = _as_written(f"{type(error).__name__}: {error}")
        raise InputError(*place, "code that runs", message) from None


def run_guarded(limit: float, run: Callable[..., R], *given: Any) -> R:
    """Run a task in a process of its own under the guard; what it prints goes to standard error."""
    alone = threading.current_thread() is threading.main_thread()  # a worker of dask has others
    with redirect_stdout(sys.stderr) if alone else nullcontext(), guard(limit):
        return run(*given)


def _as_written(message: str) -> str:
    """Return a message with the names that classes of variants have in their files.

    Those that run are made of them: with contracts of a level, or with locks asked.
    """
    modules = [m for m in sys.modules.values() if getattr(m, "__file__", None) in FILES]
    for name in (n for m in modules for n, value in vars(m).items() if isinstance(value, type)):
        message = re.sub(rf"\b(?:Guarded{name}|{name}(?:Fast|Full))\b", name, message)
    return message


def _place(error: BaseException) -> SourceLine | None:
    """Return where in a variant's file an error comes from; None if it does not."""
    raised = list(traceback.walk_tb(error.__traceback__))
    place = _innermost(raised)
    if place is None and not isinstance(error, SystemExit):  # what it returned may be no good
        place = _of_allocator(frame for frame, _ in reversed(raised))
    return place


def _innermost(frames: Iterable[tuple[FrameType, int]]) -> SourceLine | None:
    """Return the last of frames, with the lines where they stand, that is a variant file's."""
    places = [(f.f_code.co_filename, n) for f, n in frames if f.f_code.co_filename in FILES]
    return places[-1] if places else None


def _of_allocator(frames: Iterable[FrameType]) -> SourceLine | None:
    """Return the class of the first allocator that frames speak of, if a variant's file has it."""
    for frame in frames:
        for value in list(frame.f_locals.values()):
            with suppress(Exception):  # whatever a reviewer's class does when asked
                allocator = value if isinstance(value, Allocator) else value.allocator
                if isinstance(allocator, Allocator):
                    return line_of_class(type(allocator))
    return None


@contextmanager
def _watchdog(limit: float) -> Iterator[None]:
    """Raise EndlessError in an operation that has been seen running for so much CPU time.

    A clock ticks, and at each tick the operation that runs is noted: the outermost frame of a step.
    So steps cost nothing. Only a main thread can be stopped, and one watchdog at a time.
    """
    ours = signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or not ours:
        yield
        return
    seen: dict[FrameType, int] = {}

    def tick(number: int, frame: FrameType | None) -> None:
        stack = [f for f, _ in traceback.walk_stack(frame)]  # innermost first
        step = next((f for f in reversed(stack) if _is_step(f)), None)
        if step is None:
            return
        seen[step] = seen.get(step, 0) + 1
        if seen[step] >= _TICKS:
            place = _innermost((f, f.f_lineno) for f in reversed(stack)) or _of_allocator(stack)
            if place is not None:
                raise EndlessError(place)
        if len(seen) > _REMEMBERED:
            del seen[next(iter(seen))]

    signal.signal(signal.SIGVTALRM, tick)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit / _TICKS, limit / _TICKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)


def _is_step(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return name.startswith(_STEPS) or frame.f_code.co_filename in FILES

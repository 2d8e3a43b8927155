"""What a variant's own code does wrong: one line, with the file and the line that it comes from.

Every command, and every task in a process of its own, runs under `guard`: what a variant's file
raises, wherever it is called from, and a step of it that has no end, become an InputError.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from types import FrameType
from typing import Any, TypeVar

import click

from percpu_contracts.violations import ClauseViolation
from percpu_proofs.refine.checker import StepMismatch
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_reference.own_state import UnknownStateError
from percpu_reference.variants import Allocator, UnknownVariantError, VariantFileError
from percpu_reference.variants.from_file import FILES, line_of_class, line_of_field
from percpu_spec.catalogue import UnknownClauseError
from percpu_spec.geometry import GeometryError

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

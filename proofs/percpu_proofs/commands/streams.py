"""Standard output and error as they may be: full, closed, cut off by `| head`, without Unicode."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

from percpu_proofs.run.inputs import InputError

CUT_OFF: Final = 141
"""The exit code where a reader of the output has left: 128 + SIGPIPE, as a shell has it."""


class _Stream:
    """A text stream, None for one that is closed; of what cannot be written nothing is said."""

    def __init__(self, inner: TextIO | None) -> None:
        self.lost: OSError | None = None  # why nothing can be written any more
        if inner is None:
            # not closed here: it stands in for the stream as long as that is used
            inner = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            self.lost = OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, text: str) -> int:
        """Write a text."""
        if self.lost is None:
            try:
                return self._inner.write(text)
            except OSError as error:
                self._lose(error)
        if text:
            self.complain()
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        if self.lost is None:
            try:
                self._inner.flush()
            except OSError as error:
                self._lose(error)
                self.complain()

    def _lose(self, error: OSError) -> None:
        self.lost = error
        with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self._inner.fileno())  # for what Python holds back

    def complain(self) -> None:
        """Say that nothing can be written."""


class _Output(_Stream):
    def complain(self) -> None:
        """Raise InputError if something was lost; SystemExit if its reader has left, who knows."""
        if self.lost is not None and self.lost.errno == errno.EPIPE:
            raise SystemExit(CUT_OFF)
        if self.lost is not None:
            expected = f"a place that can be written ({self.lost.strerror})"
            raise InputError("standard output", None, expected)


@contextmanager
def any_streams() -> Iterator[None]:
    """Let the block write to streams, whatever they are, and say at its end if output was lost.

    Standard output raises InputError where it cannot be written, SystemExit where the reader has
    left. What cannot be written to standard error is lost. What a stream has no character for is
    escaped.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    output = _Output(before[0])
    closed = output.lost
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, _Stream(before[1]))
    try:
        try:
            yield
        finally:
            output.flush()
            if output.lost is not closed:  # who wrote may have passed over it
                output.complain()
    finally:
        sys.stdout, sys.stderr = before

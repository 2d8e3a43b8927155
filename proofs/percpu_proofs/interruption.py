"""Ctrl-C and SIGTERM: both end work early, with what is done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 1.0  # seconds: timeout(1) sends its signal twice, and a terminal's goes to workers too


@contextmanager
def interruptible(echo: float = _ECHO) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at Ctrl-C or SIGTERM, once in so many seconds.

    Also in a process that a shell began in the background, with SIGINT ignored. To be entered in
    the main thread.
    """
    last: float | None = None

    def interrupt(number: int, frame: object) -> None:
        nonlocal last
        if last is None or time.monotonic() - last > echo:
            last = time.monotonic()
            raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def ignore() -> None:
    """Let neither end this process, outside of interruptible blocks."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)

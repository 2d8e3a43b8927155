"""Ctrl-C and SIGTERM: both end work early, with what is done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ECHO = 1.0  # seconds: timeout(1) sends its signal twice


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at these signals, Ctrl-C and SIGTERM unless given.

    Those that come within a second are one. It holds too in a process that a shell began in the
    background, with SIGINT ignored. To be entered in the main thread.
    """
    last: float | None = None

    def interrupt(number: int, frame: object) -> None:
        nonlocal last
        if last is None or time.monotonic() - last > _ECHO:
            last = time.monotonic()
            raise KeyboardInterrupt

    handled = signals or (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)

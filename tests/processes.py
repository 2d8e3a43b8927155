"""Commands run as a user's shell runs them, of which nothing may be left in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMMAND = (sys.executable, "-m", "percpu_proofs.cli")
IN_BACKGROUND = ("sh", "-c", """trap '' INT; exec "$@" """, "sh")
"""How a script's shell begins `command &`: with SIGINT ignored."""


@contextmanager
def started(*command: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a session of its own, of which nothing may be left in the end."""
    words = list(map(str, command))
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        try:
            yield run
            run.wait(timeout=60)
            assert is_gone(run.pid)
        finally:
            for process in members(run.pid):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


def members(session: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def is_gone(session: int) -> bool:
    """Say whether all processes of a session end within some seconds."""
    for _ in range(300):
        if not members(session):
            return True
        time.sleep(0.1)
    return False


def is_ready(process: int) -> bool:
    """Say whether a process comes to handle SIGTERM within some seconds."""
    for _ in range(300):
        status = Path(f"/proc/{process}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> signal.SIGTERM - 1 & 1:
            return True
        time.sleep(0.1)
    return False

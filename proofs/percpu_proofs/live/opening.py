"""What a word on the command line names: a core, the running kernel, or one of the texts."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from percpu_proofs.inputs import InputError, read_text
from percpu_proofs.live.kernel_state import KernelState
from percpu_proofs.live.saved import is_state, state_of
from percpu_proofs.live.stats_text import is_stats

_CORES = (b"\x7fELF", b"KDUMP   ", b"makedumpfile")


class Kind(Enum):
    """What can be judged."""

    LIVE = "the running kernel"
    CORE = "a core"
    STATE = "a saved state"
    STATS = "the text of percpu_stats"


def kind_of(what: str) -> Kind:
    """Return what `what` names. Raises InputError for a file that is none of it."""
    path = Path(what)
    if what == "live":
        return Kind.LIVE
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(path, None, f"a readable file ({error.strerror})") from None
    if head.startswith(_CORES):
        return Kind.CORE
    text = read_text(path)
    if is_state(text):
        return Kind.STATE
    if is_stats(text):
        return Kind.STATS
    raise InputError(
        path, 1, "a core, a saved state ('kernel RELEASE' first) or percpu_stats", text[:60]
    )


def opened(what: str, kind: Kind, debug: Path | None, *, owners: bool) -> KernelState:
    """Return the state that `what` holds; owners: also who holds the memory.

    Raises InputError or TraceError.
    """
    path = Path(what)
    return state_of(path, read_text(path).splitlines())

"""What can be judged, opened and read: the running kernel, a core, a text; and where stacks stand.

A stack in the allocator stands in one of the model's gaps, or it may be changing the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path

from percpu_proofs.live.kernel_memory import UnreadableError, is_reads, memory_of_reads
from percpu_proofs.live.memory import Owners
from percpu_proofs.live.reader import Copy, Reader
from percpu_proofs.live.sample import is_samples, stable_copy
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.saved_state import is_state, read_state
from percpu_proofs.recorded.states.stats_text import is_stats
from percpu_proofs.recorded.traces.functions import is_inside
from percpu_proofs.run.inputs import InputError, read_text
from percpu_reference.gaps import BALANCE_CREATE, CREATE, MUTEX

SPINS, RELEASES = "waits for pcpu_lock", "releases pcpu_lock"
_INSIDE = ("pcpu_", "free_percpu")
_FILE = "(mm/percpu"  # behind functions whose lines are known
_GAPS = (
    ("pcpu_reclaim_populated", ("flush_tlb", "on_each_cpu", "smp_call", "pcpu_post_unmap"),
     "reclaim: flush the TLB"),
    ("pcpu_reclaim_populated", ("pcpu_depopulate_chunk",), "reclaim: release pages"),
    ("pcpu_balance_populated", ("pcpu_populate_chunk",), "balance: populate"),
    ("pcpu_balance_populated", ("pcpu_create_chunk",), BALANCE_CREATE.name),
    ("pcpu_balance_free", ("pcpu_destroy_chunk",), "balance: destroy a chunk"),
    ("pcpu_balance_free", ("pcpu_depopulate_chunk",), "balance: release a free chunk"),
    ("pcpu_alloc", ("pcpu_populate_chunk",), "alloc: populate"),
    ("pcpu_alloc", ("pcpu_create_chunk",), CREATE.name),
    ("pcpu_", ("mutex_lock",), MUTEX.name),
    *((function, ("spin_lock", "queued_spin_lock"), SPINS) for function in _INSIDE),
    *((function, ("spin_unlock",), RELEASES) for function in _INSIDE),
)  # fmt: skip
"""A function of the allocator, what it has called (by their beginnings), and the gap that it is."""
LIVE = "live"
"""The word for the running kernel."""

_CORES = (b"\x7fELF", b"KDUMP   ", b"makedumpfile")


def place_of_stack(frames: Sequence[str]) -> str:
    """Return where a stack stands, in words; empty for one that is not in the allocator.

    frames: functions with their lines, innermost first. Shown are those of the allocator, what the
    innermost of them has called, and who has called it.

    >>> place_of_stack(["mutex_lock", "pcpu_alloc_noprof (mm/percpu.c:1782)", "bpf_map_alloc"])
    'mutex_lock < pcpu_alloc_noprof (mm/percpu.c:1782) < bpf_map_alloc [wait for pcpu_alloc_mutex]'
    """
    inside = [n for n, frame in enumerate(frames) if is_inside(frame) or _FILE in frame]
    if not inside:
        return ""
    shown = " < ".join(frames[max(inside[0] - 1, 0) : inside[-1] + 2])
    gap = _gap(frames, inside)
    return f"{shown} [{gap}]" if gap else shown


def _gap(frames: Sequence[str], inside: Sequence[int]) -> str:
    for function, called, gap in _GAPS:
        places = [place for place in inside if frames[place].startswith(function)]
        if places and any(_calls(frame, called) for frame in frames[: places[-1]]):
            return gap
    return ""


def _calls(frame: str, names: Sequence[str]) -> bool:
    return frame.lstrip("_").removeprefix("raw_").startswith(tuple(names))


def changing_cpus(stacks: Mapping[str, str]) -> list[str]:
    """Return the CPUs that may hold pcpu_lock: they are in the allocator, and in none of its gaps.

    >>> changing_cpus({"CPU 1": "pcpu_alloc [waits for pcpu_lock]", "CPU 2": "pcpu_alloc_area < f"})
    ['CPU 2']
    """
    return [who for who, stack in stacks.items() if who.startswith("CPU") and stack[-1:] != "]"]


class SubjectKind(Enum):
    """What can be judged."""

    LIVE = "the running kernel"
    CORE = "a core"
    STATE = "a saved state"
    READS = "recorded reads of a kernel's memory"
    STATS = "the text of percpu_stats"
    SAMPLES = "samples of a running kernel"


def kind_of(what: str) -> SubjectKind:
    """Return what `what` names. Raises InputError for a file that is none of it."""
    path = Path(what)
    if what == LIVE:
        return SubjectKind.LIVE
    if is_core(path):
        return SubjectKind.CORE
    text = read_text(path)
    for kind, is_so in (
        (SubjectKind.STATE, is_state), (SubjectKind.STATS, is_stats), (SubjectKind.READS, is_reads),
        (SubjectKind.SAMPLES, is_samples),
    ):  # fmt: skip
        if is_so(text):
            return kind
    expected = (
        "a core (ELF or kdump-compressed), a saved state ('kernel RELEASE' first) or percpu_stats; "
        "boot messages and failures are for percpu-spec log"
    )
    raise InputError(path, 1, expected, text.split("\n", 1)[0])


def is_core(path: Path) -> bool:
    """Return whether a file is a core. Raises InputError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(_CORES)
    except OSError as error:
        raise InputError(path, None, f"a readable file ({error.strerror})") from None


def reader_of(what: str, kind: SubjectKind, debug: Path | None) -> Reader:
    """Return a reader of a core, the running kernel or recorded reads. Raises InputError."""
    from percpu_proofs.live.source import open_core, open_live  # drgn takes long to load

    with _unreadable(what):
        if kind is SubjectKind.LIVE:
            return Reader(open_live(debug))
        if kind is SubjectKind.CORE:
            return Reader(open_core(Path(what), debug))
        return Reader(memory_of_reads(Path(what)))


@contextmanager
def _unreadable(what: str) -> Iterator[None]:
    """Raise InputError in the block for memory that cannot be read."""
    try:
        yield
    except UnreadableError as error:
        advice = f"; {error.advice}" if error.advice else ""
        expected = f"percpu structures that can be read: {error}{advice}"
        raise InputError(what, None, expected) from None


def state_in(reader: Reader, copy: Copy, source: str, *, owners: bool) -> KernelState:
    """Return the state that a copy holds, with who stands where, and with owners if wanted.

    Raises UnreadableError.
    """
    from percpu_proofs.live.source import DrgnMemory

    state = reader.state(copy, source)
    if owners:
        state = replace(state, snapshot=Owners(reader).with_owners(state.snapshot, copy))
    memory = reader.kernel.memory
    if isinstance(memory, DrgnMemory):
        stacks = {who: place_of_stack(frames) for who, frames in memory.stacks(copy.owner)}
        inside = {who: where for who, where in stacks.items() if where}
        state = replace(state, quiescence=replace(state.quiescence, stacks=inside))
    return state


def read_subject(what: str, kind: SubjectKind, debug: Path | None, *, owners: bool) -> KernelState:
    """Return the state that a core or a text holds; owners: also who holds the memory.

    Raises InputError, TraceError; TornError and UnstableError for what is not one moment.
    """
    if kind is SubjectKind.STATE:
        return read_state(Path(what))
    reader = reader_of(what, kind, debug)
    with _unreadable(what):
        copy = stable_copy(reader) if kind is SubjectKind.LIVE else reader.copy()
        return state_in(reader, copy, what, owners=owners)

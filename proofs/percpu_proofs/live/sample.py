"""Samples of a running kernel, and the chunks that stood still where it has no whole moment.

A kernel under a storm may have no moment at which two copies of its state agree. A chunk whose
bytes are the same in two copies that follow one another, pcpu_lock free at the beginning of both,
did not change in between, and is judged. Sums, lists and the float are those of no moment.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from percpu_contracts.registry import Scope, statements
from percpu_contracts.whole_state import WholeState
from percpu_proofs.live.kernel_memory import UnreadableError
from percpu_proofs.live.memory import memory_of
from percpu_proofs.live.reader import Copy, Reader, TornError
from percpu_proofs.live.verdicts import (
    BROKEN,
    KNOWN,
    KernelStateJudge,
    Verdict,
    chunk_violations,
    verdict_of,
    verdict_records,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, waiting
from percpu_proofs.run.inputs import InputError, read_json, read_text, writing
from percpu_proofs.show.chart import Panel, Series, Style, chart_svg
from percpu_reference.variants import variant_class

TRIES = 40  # copies, until two that follow one another agree

Sample = Mapping[str, Any]
"""One moment: `time` and `unstable` (why), or what is drawn and compared of the state."""

_SHOWN = ("percpu_kb", "used_kb", "empty_kb", "stranded_kb", "float", "chunks")


@dataclass(frozen=True, slots=True)
class StableChunks:
    """Which chunks of the last copy stood still, by number and address, which did not, and what
    the clauses about single chunks say of the former.
    """

    stable: tuple[str, ...]
    unstable: tuple[str, ...]
    verdicts: Mapping[str, Verdict]

    def as_json(self) -> dict[str, Any]:
        """Return it with plain values."""
        return {
            "stable": list(self.stable), "unstable": list(self.unstable),
            "clauses": verdict_records(self.verdicts),
        }  # fmt: skip


def equal_chunks(reader: Reader, before: Copy, after: Copy) -> set[int]:
    """Return the addresses of the chunks that are the same in two copies, none if a lock was held.

    A neighbour that moves on a list changes a chunk's links, which are no part of it.
    """
    if before.lock or after.lock:
        return set()
    return {
        address for address, found in after.chunks.items()
        if address in before.chunks
        and reader.unlinked(before.chunks[address]) == reader.unlinked(found)
    }  # fmt: skip


def judge_stable_chunks(reader: Reader, before: Copy, after: Copy) -> StableChunks | None:
    """Judge the chunks that two copies agree on; None if there is none, or no state is read."""
    equal = equal_chunks(reader, before, after)
    try:
        state = reader.state(after, "live")
    except UnreadableError:
        return None
    if not equal:
        return None
    waits = waiting(state.quiescence)
    if before.owner:
        waits = dict.fromkeys(("POP-1", "POP-2"), "pcpu_alloc_mutex was held") | waits
    variant = variant_class(state.variant) if state.variant else None
    without = {"HINT-6", *waits, *(variant.NOT_APPLICABLE if variant else ())}
    found: dict[str, list[str]] = defaultdict(list)
    stable, unstable = [], []
    for chunk, name in state.names.items():
        address = after.address_of(chunk)
        called = f"{name} at {address:#x}"
        if address not in equal:
            unstable.append(called)
            continue
        stable.append(called)
        whole = WholeState(dict.fromkeys(without, ""))
        for clause, wrong in chunk_violations(whole, state, chunk, waits):
            found[clause].append(wrong)
    known = variant.EXPECTED if variant else {}
    of_chunks = {s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK)}
    verdicts = {
        clause: verdict_of(
            clause, found[clause], known=f"known: {known[clause]}" if clause in known else ""
        )
        for clause in sorted(of_chunks - without)
    }
    return StableChunks(tuple(stable), tuple(unstable), verdicts)


class UnstableError(Exception):
    """No two copies of a running kernel's state agreed: it changes faster than it can be read.

    stable: what can be said chunk by chunk all the same, of the two copies that agreed on most.
    """

    def __init__(self, what: str, stable: StableChunks | None = None) -> None:
        super().__init__(what)
        self.stable = stable


def stable_copy(reader: Reader, tries: int = TRIES) -> Copy:
    """Return a copy that equals the one before, pcpu_lock free in both.

    So no change fell between the two, as a seqlock tells. Raises UnstableError; UnreadableError if
    memory is never there.
    """
    last: Copy | None = None
    best: tuple[int, Copy, Copy] | None = None
    torn, why = 0, ""
    for _ in range(tries):
        try:
            copy = reader.copy()
        except (TornError, UnreadableError) as error:
            if isinstance(error, UnreadableError) and not last and torn + 1 == tries:
                raise
            last, torn, why = None, torn + 1, str(error)
            continue
        if last is not None and not last.lock and not copy.lock and last == copy:
            return copy
        if last is not None:
            count = len(equal_chunks(reader, last, copy))
            best = best if best and best[0] > count else (count, last, copy)
        last = copy
    stable = judge_stable_chunks(reader, *best[1:]) if best else None
    lists = f", {torn} of them torn ({why})" if torn else ""
    raise UnstableError(f"no two of {tries} copies agree{lists}", stable)


def sample_of(state: KernelState, judge: KernelStateJudge, moment: str) -> dict[str, Any]:
    """Return what is kept of a state at a moment."""
    memory, verdicts = memory_of(state), judge.verdicts(state)
    of = {kind: [v.clause for v in verdicts.values() if v.verdict == kind]
          for kind in (KNOWN, BROKEN)}  # fmt: skip
    return {
        "time": moment, "kernel": state.release, "rest": state.stability.value,
        "percpu_kb": memory.percpu_kb, "used_kb": memory.used // 1024,
        "empty_kb": memory.empty // 1024, "above_high_kb": memory.above_high // 1024,
        "stranded_kb": memory.stranded // 1024, "float": memory.float_pages,
        "chunks": len(state.chunks), **of,
    }  # fmt: skip


def watch(
    reader: Reader,
    decode: Callable[[Copy], KernelState],
    every: float,
    keep: Path | None,
    *,
    count: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Yield a sample every so many seconds, each appended to a file as it is taken.

    count: how many, without end unless given. Raises InputError if the file cannot be written.
    """
    judge = KernelStateJudge()
    taken = 0
    while count is None or taken < count:
        if taken:
            sleep(every)
        taken += 1
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            sample = sample_of(decode(stable_copy(reader)), judge, moment)
        except (UnstableError, UnreadableError) as error:
            sample = {"time": moment, "unstable": str(error)}
        if keep is not None:
            append(keep, sample)
        yield sample


def append(path: Path, sample: Sample) -> None:
    """Append a sample to a file as one line, on disk before the next is taken."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(sample) + "\n")
        file.flush()
        os.fsync(file.fileno())


def is_samples(text: str) -> bool:
    """Return whether a text begins as samples do."""
    return text.startswith('{"time": ')


def read_samples(path: Path) -> list[Sample]:
    """Return the samples of a file. Raises InputError with the line of what is none.

    A last line that is not whole, as a machine that stops leaves it, is left out.
    """
    samples: list[Sample] = []
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, 1):
        try:
            sample = read_json(line) if line else None
            whole = sample is None or "unstable" in sample or all(n in sample for n in _SHOWN)
        except (ValueError, TypeError):
            whole = False
        if whole and sample is not None:
            samples.append(sample)
        elif not whole and number < len(lines):
            raise InputError(path, number, "a sample, as --every writes it", line)
    return samples


def changes(before: Sample | None, now: Sample) -> str:
    """Return what has changed from one sample to the next, in words; empty: nothing."""
    if "unstable" in now:
        return f"unstable: {now['unstable']}"
    if before is None or "unstable" in before:
        listed = ", ".join(f"{name} {now[name]}" for name in _SHOWN)
        return f"{listed}; {now['rest']}{_clauses(now)}"
    parts = [f"{name} {before[name]} -> {now[name]}" for name in _SHOWN
             if before[name] != now[name]]  # fmt: skip
    for kind in (KNOWN, BROKEN):
        parts += [f"{clause} {kind}" for clause in now[kind] if clause not in before[kind]]
        parts += [f"{clause} holds again" for clause in before[kind] if clause not in now[kind]]
    return ", ".join(parts)


def _clauses(sample: Sample) -> str:
    return "".join(f"; {kind} {', '.join(sample[kind])}" for kind in (KNOWN, BROKEN)
                   if sample[kind])  # fmt: skip


def samples_svg(samples: Sequence[Sample], title: str) -> str:
    """Return memory over time, and below it what is stranded."""
    stable = [sample for sample in samples if "unstable" not in sample]
    if not stable:
        return chart_svg(title, [], ["no sample was stable"])
    start = datetime.fromisoformat(stable[0]["time"])
    at = [(datetime.fromisoformat(sample["time"]) - start).total_seconds() for sample in stable]

    def series(name: str, field: str, colour: str) -> Series:
        points = [(second, float(sample[field])) for second, sample in zip(at, stable, strict=True)]
        return Series(name, points, Style(colour), dotted=len(points) < 60)

    left_out = len(samples) - len(stable)
    notes = [f"{left_out} unstable samples are left out"] if left_out else []
    return chart_svg(
        title,
        [
            Panel("percpu memory", "seconds", "kB", [
                series("Percpu", "percpu_kb", "#0072b2"),
                series("used by areas", "used_kb", "#009e73"),
                series("empty, in the float", "empty_kb", "#e69f00"),
            ]),
            Panel("empty pages of isolated chunks", "seconds", "kB", [
                series("stranded", "stranded_kb", "#b5452c"),
            ]),
        ],
        notes,
    )  # fmt: skip

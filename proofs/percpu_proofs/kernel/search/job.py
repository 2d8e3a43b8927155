"""One search of one tree as a job: in a process that it may take down, with what it brings home."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.search.accesses import Noted, noted
from percpu_proofs.kernel.search.compiled import CompiledSearch, SearchPlan
from percpu_proofs.kernel.search.judge import CRASH, Broken, Judge
from percpu_proofs.kernel.search.on_model import NOT_TRIED, OnModel, on_model
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.search.retrace import Retraced, operations_of, retrace
from percpu_proofs.kernel.search.tree_token import TreeToken
from percpu_proofs.spread import end_with_parent

_SLICE: Final = 20_000  # steps between two looks of the judge


@dataclass(frozen=True, slots=True)
class TreeJob:
    """A search of one tree; `tree` is base or patched."""

    tree: str
    library: Library
    search: TreeSearch


@dataclass(frozen=True, slots=True)
class TreeExample:
    """A counterexample found on the compiled code, the shortest of its search."""

    clause: str
    message: str
    length: int  # operations of callers
    labels: tuple[int, ...]
    setup: tuple[str, ...]
    retraced: Retraced
    token: str
    search: str
    on_model: OnModel = NOT_TRIED


@dataclass(slots=True)
class TreeOutcome:
    """What a search of a tree met: how often each clause was asked, and what broke."""

    job: TreeJob
    asked: Counter[str] = field(default_factory=Counter)
    examples: dict[str, TreeExample] = field(default_factory=dict)
    states: int = 0
    edges: int = 0
    operations: int = 0  # lists up to this length were searched whole
    depth: int = 0
    schedules: float = -1
    complete: bool = False
    interrupted: bool = False
    kernel_stops: int = 0  # steps in which it stopped; nothing behind them was searched
    endless: int = 0  # steps of the kernel's that had to be stopped
    seconds: float = 0.0
    accesses: list[Noted] = field(default_factory=list)

    @property
    def bound(self) -> str:
        """How far it came, in words."""
        plan = self.job.search.plan
        if self.complete:
            return self.job.search.bound
        why = f"stopped at {plan.most_states:,} states"
        if self.interrupted:
            why = "interrupted"
        elif self.endless:
            why = f"given up after {self.endless} steps that do not end"
        elif self.kernel_stops:
            why = f"nothing behind {self.kernel_stops:,} steps in which the kernel stops"
        if plan.longest:
            return f"{self.job.search.bound}; {why}, whole up to {self.operations} operations"
        return f"{self.job.search.bound}; {why}"


def run(job: TreeJob) -> TreeOutcome:
    """Run a job in a process of its own: the kernel may take that down, which is a finding."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(sender, job))
    child.start()
    sender.close()
    result: TreeOutcome | Exception | None = None
    interrupted = False
    while result is None:
        try:
            result = receiver.recv()
        except EOFError:
            break
        except KeyboardInterrupt:
            interrupted = True
            if child.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGINT)
    child.join()
    if isinstance(result, Exception):
        raise result
    if result is None and child.exitcode == -signal.SIGKILL and not interrupted:
        raise InputError("memory", None, f"enough for the search {job.search.name}")
    if result is None:
        result = TreeOutcome(job, Counter({CRASH: 1}), interrupted=interrupted)
        if not interrupted:
            result.examples[CRASH] = _taken_down(job, child.exitcode)
    return result


def _taken_down(job: TreeJob, code: int | None) -> TreeExample:
    how = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
    message = f"the kernel's code takes its process down ({how}), {job.search.bound}"
    return TreeExample(CRASH, message, 0, (), (), Retraced((), ()), "", job.search.name)


def _send(sender: Any, job: TreeJob) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        sender.send(searched(job))
    except Exception as error:
        sender.send(error)
    finally:
        sender.close()


def searched(job: TreeJob, on_slice: Callable[[Any], None] = lambda tally: None) -> TreeOutcome:
    """Search in this process; return what was met, of an interrupted search too."""
    outcome = TreeOutcome(job)
    began = time.perf_counter()
    try:
        search = CompiledSearch(job.library, job.search.plan)
    except KernelStopped as stopped:
        message = f"the kernel stops in the setup: {stopped}"
        empty = Retraced((), ())
        outcome.examples[CRASH] = TreeExample(
            CRASH, message, 0, (), (), empty, "", job.search.name
        )
        return outcome
    with search:
        judge = Judge(search)
        best: dict[str, tuple[int, int, Broken]] = {}
        try:
            more = True
            while more:
                more = search.go(_SLICE)
                for broken in judge.look():
                    _enter(search, best, broken)
                on_slice(search.tally)
        except KeyboardInterrupt:
            outcome.interrupted = True
        tally = search.tally
        if not job.search.plan.longest and tally.complete:
            search.lib.percpu_search_count()
        outcome.states, outcome.edges, outcome.depth = tally.states, tally.edges, tally.depth
        outcome.operations = tally.operations if tally.complete else max(tally.operations - 1, 0)
        outcome.endless, outcome.kernel_stops = tally.endless, tally.kernel_stops
        # nothing was searched behind a step that stops the kernel or an operation without end
        cut_off = tally.kernel_stops or "BAL-3" in best
        outcome.complete = bool(tally.complete) and not cut_off
        outcome.schedules = tally.schedules
        outcome.asked = judge.asked()
        if job.search.noted:
            outcome.accesses = noted(search, job.library)
            for entry in outcome.accesses:
                clause = entry.access.clause
                if clause is not None:
                    _enter(search, best, Broken(clause, str(entry.access), entry.node, entry.label))
        for clause, (_, _, broken) in best.items():
            outcome.examples[clause] = _example(job, search, broken)
    outcome.seconds = time.perf_counter() - began
    return outcome


def broken_by(
    search: CompiledSearch, library: Library, labels: tuple[int, ...], *, accesses: bool
) -> dict[str, str]:
    """Return what a schedule breaks, each clause with what is wrong; of a search not begun."""
    judge = Judge(search)
    taken = search.walk(labels)
    stops = any(search.lib.percpu_troubles[i].stopped for i in range(search.tally.troubles))
    if taken < len(labels) and not stops:
        raise InputError(
            "token", None, "a schedule that is possible on this tree", f"step {taken + 1}"
        )
    found = {broken.clause: broken.wrong for broken in judge.look()}
    for entry in noted(search, library) if accesses else ():
        if entry.access.clause is not None:
            found.setdefault(entry.access.clause, str(entry.access))
    return found


def _enter(
    search: CompiledSearch, best: dict[str, tuple[int, int, Broken]], broken: Broken
) -> None:
    """Keep what takes the fewest operations, and of that the fewest steps."""
    node = search.lib.percpu_nodes[broken.node]
    begins = broken.label is not None and search.plan.longest and (broken.label & 0xFF) >= 64
    length = node.operations + bool(begins), node.depth + (broken.label is not None)
    known = best.get(broken.clause)
    if known is None or length < known[:2]:
        best[broken.clause] = (*length, broken)


def _example(job: TreeJob, search: CompiledSearch, broken: Broken) -> TreeExample:
    labels = search.path(broken.node)
    if broken.label is not None:
        labels.append(broken.label)
    shown = retrace(search, job.library, labels)
    token = TreeToken(broken.clause, job.library.release, search.plan, tuple(labels))
    return TreeExample(
        broken.clause, broken.wrong, operations_of(search, labels), tuple(labels),
        search.setup_texts, shown, str(token), job.search.name,
    )  # fmt: skip


def with_model(example: TreeExample, plan: SearchPlan) -> TreeExample:
    """Return a counterexample with what the model does with its operations."""
    found = on_model(example.clause, plan, example.retraced.rungs, example.setup)
    return replace(example, on_model=found)

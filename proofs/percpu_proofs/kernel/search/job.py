"""One search of one tree as a job: in a process that it may take down, with what it brings home."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, NamedTuple

from percpu_proofs.kernel.instance import KernelStopped, Library
from percpu_proofs.kernel.search.accesses import AccessSite, access_sites
from percpu_proofs.kernel.search.compiled import BEGIN, CompiledSearch
from percpu_proofs.kernel.search.example import TreeExample, example, follow, of_process
from percpu_proofs.kernel.search.judge import CRASH, BrokenClause, SearchJudge
from percpu_proofs.kernel.search.plans import TreeSearch, draw
from percpu_proofs.run.processes import end_with_parent
from percpu_spec.counts import counted

_SLICE: Final = 20_000  # steps between two looks of the judge


@dataclass(frozen=True, slots=True)
class TreeJob:
    """A search of one tree; `tree` is base or patched.

    known: clauses of which no counterexample is wanted. until: what ends the search once one of
    them is broken. schedule: one to be followed as far as the tree can, in the place of the search.
    """

    tree: str
    library: Library
    search: TreeSearch
    known: frozenset[str] = frozenset()
    until: frozenset[str] = frozenset()
    schedule: tuple[int, ...] = ()


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
    cut_off: bool = False  # what is behind a stop, or an operation without end, was not searched
    ended: bool = False  # with its process, so that nothing is known of it
    killed: bool = False  # that process, as Linux does when memory ends
    seconds: float = 0.0
    accesses: list[AccessSite] = field(default_factory=list)

    @property
    def bound(self) -> str:
        """How far it came, in words."""
        plan = self.job.search.plan
        if self.job.schedule:
            return f"{len(self.job.schedule)} steps that were drawn on the other tree"
        if self.complete:
            return self.job.search.bound
        if self.ended:
            how = "its process was killed" if self.killed else "its process ended"
            return f"{self.job.search.bound}; {'interrupted at once' if self.interrupted else how}"
        why = f"stopped at {plan.most_states:,} states"
        if self.interrupted:
            why = "interrupted"
        elif self.endless:
            why = f"given up after {self.endless} steps that do not end"
        elif self.kernel_stops:
            why = f"nothing behind {self.kernel_stops:,} steps in which the kernel stops"
        if plan.longest:
            whole = counted(self.operations, "operation")
            return f"{self.job.search.bound}; {why}, whole up to {whole}"
        return f"{self.job.search.bound}; {why}"

    @property
    def reach(self) -> float:
        """How many operations it takes at most to break what it has looked for."""
        if self.complete:
            return inf
        return self.operations if self.job.search.plan.longest and not self.cut_off else 0


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
    return result or without_result(job, child.exitcode or 0, interrupted=interrupted)


def without_result(job: TreeJob, code: int, *, interrupted: bool = False) -> TreeOutcome:
    """Return the outcome of a job whose process ended before it said anything.

    code: its exit status, or the negative number of the signal that ended it.
    """
    if interrupted or code == -signal.SIGKILL:
        return TreeOutcome(job, interrupted=interrupted, ended=True, killed=not interrupted)
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    message = f"the kernel's code takes its process down ({how}), {job.search.bound}"
    examples = {CRASH: of_process(job.search, message)}
    return TreeOutcome(job, Counter({CRASH: 1}), examples, ended=True)


def _send(sender: Any, job: TreeJob) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        with suppress(KeyboardInterrupt):  # before there was anything to tell
            sender.send(run_here(job))
    except Exception as error:
        sender.send(error)
    finally:
        sender.close()


def run_here(job: TreeJob) -> TreeOutcome:
    """Search in this process; return what was met, of an interrupted search too."""
    outcome = TreeOutcome(job)
    began = time.perf_counter()
    try:
        search = CompiledSearch(job.library, job.search.plan)
    except KernelStopped as stopped:
        message = f"the kernel stops in the setup: {stopped}"
        outcome.ended = True
        outcome.examples[CRASH] = of_process(job.search, message)
        return outcome
    best: dict[str, _Best] = {}
    with search:
        judge = SearchJudge(search, notes_accesses=job.search.notes_accesses)
        try:
            for _ in _slices(search, job):
                for broken in judge.look():
                    _enter(search, best, broken)
                if best.keys() & job.until:
                    break
        except KeyboardInterrupt:
            outcome.interrupted = True
        _count(search, outcome, cut_off="BAL-3" in best)
        outcome.asked = judge.asked()
        if job.search.notes_accesses:
            outcome.accesses = access_sites(search, job.library)
            for unlocked in filter(None, (site.broken for site in outcome.accesses)):
                _enter(search, best, unlocked)
        labels = {
            clause: search.path(broken.node, broken.label) for clause, (*_, broken) in best.items()
        }
    for clause in labels.keys() - job.known:
        broken = best[clause].broken
        outcome.examples[clause] = example(job.library, job.search, broken, labels[clause])
    outcome.seconds = time.perf_counter() - began
    return outcome


def _slices(search: CompiledSearch, job: TreeJob) -> Iterator[object]:
    """Search on, or run one more program, for each value yielded."""
    if job.schedule:
        yield follow(search, job.schedule)
    elif search.plan.programs:
        yield from draw(search, job.search.name)
    else:
        while search.go(_SLICE):
            yield None
        yield None


def _count(search: CompiledSearch, outcome: TreeOutcome, *, cut_off: bool) -> None:
    """Enter how far a search came; cut_off: not behind an operation that has no end."""
    plan, tally = search.plan, search.tally
    if not plan.longest and tally.complete:
        search.lib.percpu_search_count()
    outcome.states, outcome.edges, outcome.depth = tally.states, tally.edges, tally.depth
    outcome.operations = tally.operations if tally.complete else max(tally.operations - 1, 0)
    outcome.endless, outcome.kernel_stops = tally.endless, tally.kernel_stops
    drawn = bool(plan.programs or outcome.job.schedule) and not tally.full
    done = not outcome.interrupted if drawn else bool(tally.complete)
    outcome.cut_off = cut_off or bool(tally.kernel_stops)
    outcome.complete = done and not outcome.cut_off
    outcome.schedules = tally.schedules


class _Best(NamedTuple):
    """What breaks a clause with the fewest operations, and of that the fewest steps."""

    operations: int
    steps: int
    broken: BrokenClause


def _enter(search: CompiledSearch, best: dict[str, _Best], broken: BrokenClause) -> None:
    node = search.lib.percpu_nodes[broken.node]
    begins = broken.label is not None and search.plan.longest and (broken.label & 0xFF) >= BEGIN
    found = _Best(node.operations + bool(begins), node.depth + (broken.label is not None), broken)
    known = best.get(broken.clause, found)
    best[broken.clause] = min(known, found, key=lambda one: one[:2])

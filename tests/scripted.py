"""Short scripts of operations with a schedule, played on any class under full contracts.

| line | meaning |
| --- | --- |
| `a H SIZE ALIGN FLAGS`, `f H`, `b` | allocate (`-` blocking, `A` atomic), free, run the work |
| `A H SIZE ALIGN FLAGS` | begin an allocation and stop in its first gap |
| `g` | that allocation goes on to its next gap |
| `w` | the balance work begins, or goes on to its next gap |
| `P n`, `C n` | the next n page allocations, chunk creations fail |

Behind the last line everything runs to its end, then the work until none is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from percpu_contracts.violations import ClauseViolation
from percpu_reference import build
from percpu_reference.gaps import MUTEX, Gap
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC, KERNEL, NOFS

FLAGS = {"-": KERNEL, "A": ATOMIC, "S": NOFS}
ENOUGH = 8  # runs of the work in a row


class Actor:
    """One operation under way."""

    def __init__(self, steps: Any, handle: str = "") -> None:
        self.steps = steps
        self.handle = handle
        self.gap: Gap | None = None
        self.result: Any = None

    def step(self) -> bool:
        """Go on to the next gap; return whether there is one."""
        try:
            self.gap = next(self.steps)
        except StopIteration as stop:
            self.gap, self.result = None, stop.value
        return self.gap is not None


class Script:
    """An allocator and what stands in gaps."""

    def __init__(self, allocator: Allocator, concurrent: bool) -> None:
        self.allocator = allocator
        assert allocator.monitor is not None
        self.monitor = allocator.monitor
        self.monitor.history.concurrent = concurrent
        self.areas: dict[str, Any] = {}
        self.alloc: Actor | None = None
        self.work: Actor | None = None

    def line(self, text: str) -> None:
        """Do what one line says."""
        kind, *words = text.split()
        self.monitor.operation += 1
        match kind:
            case "a" | "A":
                handle, size, align, flags = words
                steps = self.allocator.alloc_percpu(int(size), int(align), False, FLAGS[flags])
                self.alloc = Actor(steps, handle)
                self.advance_alloc()
                while kind == "a" and self.alloc is not None:
                    self.advance_alloc()
            case "g":
                self.advance_alloc()
            case "f":
                self.allocator.free(self.areas.pop(words[0]))
            case "b":
                self.allocator.balance()
            case "w":
                self.advance_work()
            case "P":
                self.allocator.env.page_fault.next = int(words[0])
            case "C":
                self.allocator.env.vm_fault.next = int(words[0])

    def advance_alloc(self) -> None:
        """Let the allocation go on; it must not wait for the mutex."""
        assert self.alloc is not None
        if not self.alloc.step():
            self.areas[self.alloc.handle] = self.alloc.result
            self.alloc = None
        else:
            assert self.alloc.gap is not MUTEX

    def advance_work(self) -> None:
        """Let the work go on, or begin."""
        self.work = self.work or Actor(self.allocator.balance_workfn())
        if not self.work.step():
            self.work = None

    def settle(self) -> int:
        """Run everything to its end, judge what is then; return how often the work ran again."""
        self.monitor.operation += 1
        while self.alloc is not None:
            self.advance_alloc()
        while self.work is not None:
            self.advance_work()
        runs = 0
        while self.allocator.work_pending:
            runs += 1
            assert runs <= ENOUGH, "the work asks for itself without end"
            self.allocator.balance()
        self.monitor.judge(self.allocator, quiescent=True)
        return runs


def broken_by(cls: type[Allocator], geometry: Geometry, lines: Sequence[str]) -> str | None:
    """Return the clause that a class breaks in a script, None if it holds them all."""
    concurrent = any(line[0] in "Aw" for line in lines)
    script = Script(build(cls, geometry, contracts="full", stats=True), concurrent)
    try:
        for line in lines:
            script.line(line)
        script.settle()
    except ClauseViolation as error:
        return error.clause
    return None

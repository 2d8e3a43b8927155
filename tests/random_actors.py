"""Actors over one allocator, taking turns at random, injected into the gaps of one another.

`random()` alone is used: it repeats on every Python version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from scripted import Actor

from percpu_contracts.monitor import Monitor
from percpu_reference import build
from percpu_reference.gaps import MUTEX
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL

T = TypeVar("T")

CROWDED = 8  # no more than so many actors at a time


class Actors:
    """An allocator under full contracts, what its callers hold, and the operations under way.

    With concurrent=False every operation runs to its end before the next begins.
    """

    def __init__(
        self, cls: type[Allocator], geometry: Geometry, seed: int, concurrent: bool
    ) -> None:
        self.random = Random(seed).random
        self.geometry = geometry
        self.allocator: Any = build(cls, geometry, contracts="full", stats=True)
        self.monitor: Monitor = self.allocator.monitor
        self.monitor.history.concurrent = self.concurrent = concurrent
        self.running: list[Actor] = []
        self.work: Actor | None = None
        self.live: list[Any] = []
        self.drained: Counter[int] = Counter()  # runs of work that a phase needed at its end
        page, largest = geometry.page, geometry.largest
        small = (4, 8, 12, 16, 20, 28, page // 4, page // 2)
        large = (page - 4, page, page, page + 4, 2 * page, 3 * page, largest)
        self.sizes = self.pick([small, large, small + large])
        self.aligns = self.pick([(4,), (4, 4, 8, 16, page), (8, 16, page // 2, page)])

    def pick(self, items: Sequence[T]) -> T:
        """Return any of the items."""
        return items[int(self.random() * len(items))]

    def phase(self, count: int) -> None:
        """Begin so many operations, with chances of the phase's own; then let all of it end."""
        random, pick = self.random, self.pick
        grow, atomic = pick((0.35, 0.45, 0.6)), pick((0.1, 0.4, 0.8))
        at_once, work = pick((0.2, 0.6)), pick((0.05, 0.3, 1.0))
        fault = pick((0.0, 0.0, 0.05, 0.1))
        for _ in range(count):
            if random() < fault:
                self.script_fault()
            steps = self.allocation(atomic) if random() < grow or not self.live else self.free()
            actor = self.begin(steps)
            while not self.concurrent or random() < at_once or len(self.running) > CROWDED:
                if actor.gap is None:
                    break
                self.step(actor if self.may_run(actor) else pick(self.ready()))
            if self.allocator.work_pending and self.work is None and random() < work:
                self.begin_work()
            if self.running and random() < 0.7:
                self.step(pick(self.ready()))
        self.settle()

    def allocation(self, atomic: float) -> Any:
        """Return the steps of a new allocation."""
        gfp = ATOMIC if self.random() < atomic else KERNEL
        gfp |= ACCOUNT if self.random() < 0.2 else 0
        size, align = self.pick(self.sizes), self.pick(self.aligns)
        reserved = self.random() < 0.05
        return self.allocator.alloc_percpu(min(size, self.geometry.largest), align, reserved, gfp)

    def free(self) -> Any:
        """Return the steps of a free: mostly of a chunk that someone in a gap works on."""
        held = [actor.gap.chunk for actor in self.running if actor.gap is not None]
        near = [i for i, area in enumerate(self.live) if area[0] in held]
        if near and self.random() < 0.6:
            return self.allocator.free_percpu(self.live.pop(self.pick(near)))
        back = 0.3 if self.random() < 0.5 else 1.0
        at = len(self.live) - 1 - int(self.random() * len(self.live) * back)
        return self.allocator.free_percpu(self.live.pop(at))

    def script_fault(self) -> None:
        """Let something fail soon."""
        env = self.allocator.env
        fault = self.pick((env.page_fault, env.map_fault, env.vm_fault, env.metadata_fault))
        fault.kth = 1 + int(self.random() * 4)

    def begin(self, steps: Any) -> Actor:
        """Begin an operation and return it in its first gap."""
        self.monitor.operation += 1
        actor = Actor(steps)
        self.running.append(actor)
        self.step(actor)
        return actor

    def begin_work(self) -> None:
        """Begin the balance work; alone, it runs to its end."""
        self.work = Actor(self.allocator.balance_workfn())
        self.running.append(self.work)
        self.step(self.work)
        while not self.concurrent and self.work is not None:
            self.step(self.work)

    def may_run(self, actor: Actor) -> bool:
        """Say whether an actor is not kept waiting for the mutex."""
        return not (actor.gap is MUTEX and self.allocator.alloc_mutex)

    def ready(self) -> list[Actor]:
        """Return the actors that can go on."""
        return [actor for actor in self.running if self.may_run(actor)]

    def step(self, actor: Actor) -> None:
        """Let an actor go on to its next gap or its end."""
        if actor.step():
            assert not self.allocator.lock
            return
        self.running.remove(actor)
        if actor is self.work:
            self.work = None
        elif actor.result is not None:
            self.live.append(actor.result)

    def settle(self) -> None:
        """Let everything end, the work as often as it is asked for, and judge the quiet state."""
        while self.running:
            self.step(self.pick(self.ready()))
        runs = 0
        while self.allocator.work_pending:
            self.begin_work()
            while self.work is not None:
                self.step(self.work)
            runs += 1
            assert runs <= 1 + sum(1 for _ in self.allocator.chunks()), "BAL-3"
        self.drained[runs] += 1
        self.monitor.judge(self.allocator, quiescent=self.allocator.quiescent)

    def free_all(self) -> None:
        """Free what is held, one area after the other."""
        while self.live:
            self.monitor.operation += 1
            self.allocator.free(self.live.pop())
        self.settle()

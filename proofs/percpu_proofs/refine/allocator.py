"""Which machine an allocator is to refine, classes checked against theirs, random runs of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from percpu_contracts.history import History
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.refine.checker import RefinementChecker, StepMismatch
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Steps
from percpu_reference.own_state import is_shipped
from percpu_reference.variants import VARIANTS, Allocator, variant_class
from percpu_spec.catalogue import REFINE
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, KERNEL
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, of_any_policy, on_km

DEPARTURE = "leaves the abstract machine: what is proved by induction does not carry over"


def machine_of(cls: type[Allocator], backing: str) -> Machine | None:
    """Return the machine that a class of allocators is to refine, None if there is none.

    It is that of the nearest variant that the class is derived from and that has one, for a class
    that is not ours with the policy left open.
    """
    if REFINE in cls.NOT_APPLICABLE:
        return None
    names = {variant: name for name, variant in VARIANTS.items() if name in MACHINES}
    for base in cls.__mro__:
        if base in names:
            machine = MACHINES[names[base]]
            if not is_shipped(cls):
                machine = of_any_policy(machine)
            return on_km(machine) if backing == "km" else machine
    return None


def checker_of(allocator: Allocator, history: History) -> RefinementChecker | None:
    """Return a checker of an allocator in which no actor runs; None if it has no machine."""
    machine = machine_of(type(allocator), allocator.geometry.backing)
    return None if machine is None else RefinementChecker(machine, allocator, history)


def may_depart(cls: type[Allocator]) -> bool:
    """Return whether a step that is no action of the machine is a note, and decides nothing.

    It is where the class is not ours and does not itself declare REFINE: the machine is of what
    this distribution ships, and only what is proved of it by induction is lost.
    """
    return not is_shipped(cls) and REFINE not in cls.EXPECTED


def with_machine(variant: type[Allocator], machine: Machine) -> type[Any]:
    """Return the class with every operation checked against the machine.

    An instance has a `checker` from its first operation on. It keeps the history of stale pages
    itself, so contracts may be on or off. A step that is no action raises StepMismatch, with a
    monitor ClauseViolation unless that expects it or the variant may depart; the allocator is not
    followed beyond it.
    """

    # A class to mix in will not do: its slots and a variant's own are two layouts (linux_5_12,
    # rfc_series); mypy takes no class from a variable for a base.
    class Refined(variant):  # type: ignore[valid-type, misc]
        """The variant, followed by its machine."""

        __slots__ = ("checker", "history", "next_actor")

        def setup_first_chunk(self) -> None:
            super().setup_first_chunk()
            self.history = History()
            self.checker = RefinementChecker(machine, self, self.history)
            self.next_actor = 0

        def alloc_percpu(
            self, size: int, align: int, reserved: bool, gfp: int
        ) -> Steps[Area | None]:
            return self._driven(super().alloc_percpu(size, align, reserved, gfp))

        def free_percpu(self, area: Area | None) -> Steps[None]:
            return self._driven(super().free_percpu(area))

        def balance_workfn(self) -> Steps[None]:
            return self._driven(super().balance_workfn())

        def _driven(self, steps: Steps[Any]) -> Steps[Any]:
            self.next_actor += 1
            actor = self.next_actor
            while True:
                self._compare(self.checker.before, actor)
                try:
                    gap = next(steps)
                except StopIteration as stop:
                    self._compare(self.checker.after, actor, None)
                    return stop.value
                self._compare(self.checker.after, actor, gap)
                yield gap

        def _compare(self, ask: Callable[..., object], *given: Any) -> None:
            """Ask the checker, unless the allocator has left the machine before."""
            monitor = self.monitor
            if monitor is not None and REFINE in monitor.violations:
                return
            try:
                ask(*given)
            except StepMismatch as wrong:
                if monitor is None:
                    raise
                monitor.judge(self, quiescent=False)  # a broken clause says more
                if not monitor.broken(REFINE, str(wrong)) and not may_depart(variant):
                    raise ClauseViolation(REFINE, str(wrong), monitor.operation) from wrong

        def depopulate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            super().depopulate_chunk(chunk, page_start, page_end)
            self.history.released(chunk, range(page_start, page_end))

        def post_unmap_tlb_flush(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            super().post_unmap_tlb_flush(chunk, page_start, page_end)
            self.history.flushed(chunk, range(page_start, page_end))

        def destroy_chunk(self, chunk: Chunk) -> None:
            super().destroy_chunk(chunk)
            self.history.destroyed(chunk)

    Refined.__name__ = variant.__name__
    Refined.__qualname__ = variant.__qualname__
    return Refined


# blocks of 16 bits, units of 12 pages; with a hidden chunk; and of the kernel's size
_GEOMETRIES = (
    Geometry(page=64, unit=768, static=72, reserved=0, dyn=376, least_unit=384, cpus=2, memcg=True),
    Geometry(page=64, unit=768, static=38, reserved=132, dyn=310, least_unit=384, cpus=3),
    Geometry(unit=32768, static=4096, reserved=0, dyn=20480, cpus=2),
)
_SEEDS = 7
_STEPS = 2500


@functools.cache
def action_counts(variant: str) -> Counter[str]:
    """Return how often each action of a variant's machine fires in runs of its allocator.

    Raises StepMismatch at a step that is no action.
    """
    cls = with_machine(variant_class(variant), MACHINES[variant])
    found: Counter[str] = Counter()
    for seed in range(_SEEDS):
        for geometry in _GEOMETRIES:
            found += run_randomly(cls, geometry, seed, _STEPS, actors=2 + seed % 6)
    return found


SHARE = {True: 0.55, False: 0.25}  # of allocations, while the population grows and shrinks


def run_randomly(
    cls: type[Any], geometry: Geometry, seed: int, steps: int, actors: int = 4
) -> Counter[str]:
    """Let actors take random steps; return how often each action of the machine was taken."""
    rng = Random(seed)
    allocator: Any = cls(geometry, stats=True)
    allocator.spin_lock()
    allocator.setup_first_chunk()
    allocator.spin_unlock()
    page, largest = geometry.page, geometry.largest
    sizes = (4, page // 4, page, page + 4, 2 * page, 3 * page, largest // 2, largest)
    live: list[Any] = []
    running: list[tuple[str, Any]] = []
    counts: Counter[str] = Counter()
    for number in range(steps):
        if len(running) < actors and rng.random() < 0.6:
            kind = rng.random()
            if kind < SHARE[number // 300 % 2 == 0]:
                size = sizes[int(rng.random() * (2, 4, 6, 8)[int(rng.random() * 4)])]
                gfp = (KERNEL, KERNEL, 0, ACCOUNT | KERNEL)[int(rng.random() * 4)]
                reserved = geometry.reserved > 0 and rng.random() < 0.1
                running.append(("a", allocator.alloc_percpu(size, 4, reserved, gfp)))
            elif kind < 0.9 and live:
                area = live.pop(int(rng.random() * len(live)))
                running.append(("f", allocator.free_percpu(area)))
            elif "b" not in [what for what, _ in running]:
                running.append(("b", allocator.balance_workfn()))
        if rng.random() < 0.04:
            allocator.env.page_fault.next = 1
        if not running:
            continue
        chosen = running[int(rng.random() * len(running))]
        try:
            next(chosen[1])
        except StopIteration as stop:
            running.remove(chosen)
            if chosen[0] == "a" and stop.value is not None:
                live.append(stop.value)
        counts.update(allocator.checker.actions)
    return counts

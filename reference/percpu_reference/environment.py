"""The rest of the kernel, as far as the allocator sees it: memory that can run out, and events.

Every kind of memory has a scripted failure, so that any failure path can be reached on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from percpu_spec.steps import MemoryRequest

WARN_LIMIT = 10  # failed allocations that are printed, since boot


@dataclass(slots=True)
class Fault:
    """Scripted failure of one kind of request: the next `next`, or the `kth` from now."""

    next: int = 0
    kth: int = 0

    def strikes(self) -> bool:
        """Count one request and return whether it fails."""
        if self.next:
            self.next -= 1
            return True
        if self.kth:
            self.kth -= 1
            return self.kth == 0
        return False

    @property
    def armed(self) -> bool:
        """Whether any coming request is scripted to fail."""
        return bool(self.next or self.kth)

    def clone(self) -> Fault:
        """Return an independent copy."""
        return Fault(self.next, self.kth)


class Task(NamedTuple):
    """Who asks for memory: flags that its request hands on, and those that its scope forbids."""

    gfp: int
    forbids: int


@dataclass(slots=True)
class Environment:
    """Scripted failures, and counters of what the allocator asked the kernel for."""

    page_fault: Fault = field(default_factory=Fault)
    map_fault: Fault = field(default_factory=Fault)
    vm_fault: Fault = field(default_factory=Fault)
    metadata_fault: Fault = field(default_factory=Fault)
    killed_waits: int = 0  # so many of the coming killable waits for the mutex are killed
    charge_fault: Fault = field(default_factory=Fault)
    has_objcg: bool = True  # the current task belongs to an object cgroup

    memory: int = 1 << 19  # backing pages that there are
    live_pages: int = 0  # backing pages held, all units, first chunk excluded
    page_allocs: int = 0  # backing pages ever allocated, rolled back ones included
    creates: int = 0  # chunks ever created, the first included
    destroys: int = 0
    tlb_flushes: int = 0
    warnings: int = 0  # WARN() hits
    printed: int = 0  # allocation failures printed
    stack_dumps: int = 0
    charged: int = 0  # bytes charged and not uncharged
    objcg_refs: int = 0  # references to object cgroups held by live areas
    balance_requests: int = 0

    caller: Task | None = None  # who holds pcpu_alloc_mutex to allocate; None: the balance work
    # how often each request was made; one like that before it does not count
    requests: dict[MemoryRequest, int] = field(default_factory=dict)
    last_request: MemoryRequest | None = None
    lately: set[MemoryRequest] = field(default_factory=set)  # since who describes steps emptied it

    def note(self, kind: str, gfp: int) -> None:
        """Note that memory of a kind is asked for with these flags."""
        request = MemoryRequest(kind, gfp)
        if request != self.last_request:
            self.requests[request] = self.requests.get(request, 0) + 1
            self.last_request = request
        self.lately.add(request)

    def alloc_pages(self, units: int, nr_pages: int) -> bool:
        """Allocate nr_pages pages for each unit, all or nothing.

        Page by page, unit by unit; those allocated before a failure are given back.
        """
        wanted = units * nr_pages
        got = wanted
        if self.page_fault.armed:
            got = next((n for n in range(wanted) if self.page_fault.strikes()), wanted)
        if self.live_pages + got > self.memory:
            got = self.memory - self.live_pages
        self.page_allocs += got
        if got < wanted:
            return False
        self.live_pages += wanted
        return True

    def alloc_block(self, nr_pages: int) -> bool:
        """Allocate nr_pages pages in one request, which one fault can strike."""
        if self.page_fault.strikes() or self.live_pages + nr_pages > self.memory:
            return False
        self.page_allocs += nr_pages
        self.live_pages += nr_pages
        return True

    def free_pages(self, units: int, nr_pages: int) -> None:
        """Give back nr_pages pages of each unit."""
        self.live_pages -= units * nr_pages

    def faults(self) -> tuple[int | bool, ...]:
        """Return what is scripted to fail."""
        faults = self.page_fault, self.map_fault, self.vm_fault, self.metadata_fault
        counts = [count for f in (*faults, self.charge_fault) for count in (f.next, f.kth)]
        return (*counts, self.killed_waits, self.has_objcg)

    def clone(self) -> Environment:
        """Return an independent copy."""
        return Environment(
            self.page_fault.clone(),
            self.map_fault.clone(),
            self.vm_fault.clone(),
            self.metadata_fault.clone(),
            self.killed_waits,
            self.charge_fault.clone(),
            self.has_objcg,
            self.memory,
            self.live_pages,
            self.page_allocs,
            self.creates,
            self.destroys,
            self.tlb_flushes,
            self.warnings,
            self.printed,
            self.stack_dumps,
            self.charged,
            self.objcg_refs,
            self.balance_requests,
            self.caller,
            self.requests.copy(),
            self.last_request,
            self.lately.copy(),
        )

"""Traces of runs of the model in which several CPUs work at once, as a kernel's probes print them.

The schedule is drawn, and none of its moments is printed but those that a kernel prints.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.events import FORMS
from percpu_reference.chunk import Area, Chunk
from percpu_reference.events import FreePercpu
from percpu_reference.gaps import FAILED, Gap, Kind
from percpu_reference.variants import Allocator, build, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NOWAIT, allow_blocking

STATIC, RESERVED, DYN, UNIT = 8192, 8192, 28672, 65536
SIZES = (4, 16, 64, 200, 1024, 4096, 8192, 12288, 20480, 32768)
PAGES = (STATIC + RESERVED + DYN) // 4096
FIRST = 0xFF1100017AA00000
RELEASES = {"linux_7_1": "7.1.5", "linux_6_12": "6.12.117", "linux_5_12": "5.10.223"}

_FORMS = {form.record: form for form in FORMS}


def recording(variant: type[Allocator], out: Recorder) -> type[Allocator]:
    """Return a variant that prints what probes in its functions would."""

    class Probed(variant):  # type: ignore[valid-type, misc]  # mypy takes no class from a variable
        __slots__ = ()

        def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
            out.probe(ev.AllocArea, chunk.base_addr, alloc_bits, align, start)
            off: int = super().alloc_area(chunk, alloc_bits, align, start)
            out.probe(ev.AreaReturn, off)
            return off

        def free_area(self, chunk: Chunk, off: int) -> int:
            out.probe(ev.AreaFree, chunk.base_addr, off)
            size: int = super().free_area(chunk, off)
            return size

        def chunk_relocate(self, chunk: Chunk, oslot: int) -> None:
            out.probe(ev.Relocate, chunk.base_addr, oslot)
            super().chunk_relocate(chunk, oslot)

        def chunk_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            out.probe(ev.Populated, chunk.base_addr, page_start, page_end)
            super().chunk_populated(chunk, page_start, page_end)

        def chunk_depopulated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            out.probe(ev.Depopulated, chunk.base_addr, page_start, page_end)
            super().chunk_depopulated(chunk, page_start, page_end)

        def balance_free(self, empty_only: bool, chunk_type: int = 0) -> Iterator[Any]:
            out.probe(ev.BalanceFree, empty_only)
            yield from super().balance_free(empty_only, chunk_type)

    return Probed


@dataclass
class Recorder:
    """The events of a run; those of the kinds in `without` are not printed."""

    without: frozenset[type[ev.TraceEvent]]
    events: list[ev.TraceEvent] = field(default_factory=list)
    cpu: int = 0
    clock: int | None = None  # None: before tracing began

    def probe(self, kind: Any, *values: Any) -> None:
        """Print an event of a probe, on the CPU that runs."""
        if self.clock is not None and kind not in self.without:
            self.print(kind, *values)

    def print(self, kind: Any, *values: Any) -> None:
        """Print an event, on the CPU that runs."""
        if self.clock is not None:
            self.clock += 1
        self.events.append(kind(self.clock, self.cpu, *values))


@dataclass
class Thread:
    """What runs on a CPU: a task, an interrupt on top of it, or the worker of the balance work."""

    cpu: int
    steps: Iterator[None] | None = None
    irq: bool = False


class Machine:
    """A model with CPUs that run operations on it, one step at a time, in a drawn order."""

    def __init__(
        self,
        seed: int,
        cpus: int = 2,
        variant: str = "linux_6_12",
        without: frozenset[type[ev.TraceEvent]] = frozenset(),
    ) -> None:
        self.draw = random.Random(seed)
        self.cpus = cpus
        self.variant = variant
        self.out = Recorder(without)
        geometry = Geometry(unit=UNIT, static=STATIC, reserved=RESERVED, dyn=DYN, cpus=cpus)
        self.model = build(recording(variant_class(variant), self.out), geometry, contracts="off")
        moved = FIRST - self.model.first_chunk.base_addr
        self.model.first_chunk.base_addr += moved
        assert self.model.reserved_chunk is not None
        self.model.reserved_chunk.base_addr += moved
        self.model.place_chunk = lambda: self.base
        self.model.trace = self._report
        self.base = 0xFFD1FFFFFFC00000
        self.live: list[Area] = []
        self.target = 20
        self.work: Thread | None = None
        self.threads = [Thread(cpu) for cpu in range(cpus) for _ in range(2)]
        self.irqs = [Thread(cpu, irq=True) for cpu in range(cpus)]

    def run(self, events: int) -> list[ev.TraceEvent]:
        """Run until so many events are printed, and finish what is under way."""
        for _ in range(3):
            area = self.model.alloc(64, 64)
            assert area is not None
            self._printed(area, 64, 64, False, KERNEL)
        self.out.clock = 0
        self.out.print(ev.Mark, "phase:kp_on")
        while len(self.out.events) < events:
            self._turn(begin=True)
        while any(t.steps for t in [*self.threads, *self.irqs]) or self.work is not None:
            self._turn(begin=False)
        return self.out.events

    def _turn(self, *, begin: bool) -> None:
        draw, model = self.draw, self.model
        if draw.random() < 0.01:
            self.target = draw.choice((2, 20, 60, 150))
        ready = [t for t in self.threads if t.steps or begin]
        if begin or any(t.steps for t in self.irqs):
            ready += [t for t in self.irqs if t.steps or draw.random() < 0.1]
        if self.work is None and model.work_pending and draw.random() < 0.3:
            self.work = Thread(draw.randrange(self.cpus), self._balance())
        if self.work is not None:
            ready.append(self.work)
        busy = {t.cpu for t in self.irqs if t.steps}
        ready = [t for t in ready if t.irq or t.cpu not in busy]
        thread = draw.choice(ready)
        for _ in range(draw.choice((1, 1, 2, 8))):  # some run on for a while
            if thread.steps is None:
                thread.steps = self._operation(thread)
            self.out.cpu = thread.cpu
            try:
                next(thread.steps)
            except StopIteration:
                thread.steps = None
                if thread is self.work:
                    self.work = None
                return

    def _operation(self, thread: Thread) -> Iterator[None]:
        draw = self.draw
        if self.live and (len(self.live) > self.target or draw.random() < 0.4):
            return self._free(self.live.pop(draw.randrange(len(self.live))))
        atomic = thread.irq or draw.random() < 0.3
        sizes = SIZES[:6] if draw.random() < 0.5 else SIZES
        align = draw.choice((4, 8, 64))
        return self._alloc(draw.choice(sizes), align, NOWAIT if atomic else KERNEL)

    def _alloc(self, size: int, align: int, gfp: int) -> Iterator[None]:
        draw, out = self.draw, self.out
        reserved = draw.random() < 0.02
        steps = self.model.alloc_percpu(size, align, reserved, gfp)
        while True:
            try:
                gap = next(steps)
            except StopIteration as stop:
                area: Area | None = stop.value
                break
            yield
            yield from self._asks(gap, Kind.CREATE, Kind.FILL)
            if gap is FAILED:
                out.print(ev.Fail, reserved, not allow_blocking(gfp), size, align)
                yield
        if area is not None:
            yield
            self._printed(area, size, align, reserved, gfp)
            self.live.append(area)

    def _asks(self, gap: Gap, creating: Kind, filling: Kind) -> Iterator[None]:
        """Let memory be asked for at a gap of one of two kinds: it fails, or is told of."""
        env, out, fails = self.model.env, self.out, self.draw.random() < 0.05
        if gap.kind is creating:
            if fails:
                env.vm_fault.next = 1
            else:
                self.base -= 0x200000
                out.print(ev.CreateChunkEvent, self.base)
                yield
        elif gap.kind is filling:
            assert gap.chunk is not None
            out.probe(ev.PopulateCall, gap.chunk.base_addr, gap.start, gap.end)
            yield
            env.page_fault.next = int(fails)

    def _printed(self, area: Area, size: int, align: int, reserved: bool, gfp: int) -> None:
        chunk, off = area
        atomic, base = not allow_blocking(gfp), chunk.base_addr
        shown = "GFP_NOWAIT" if atomic else "GFP_KERNEL"
        place = base, off, base + off
        said = "x+0x0/0x1", size * self.cpus, shown
        self.out.print(ev.Alloc, reserved, atomic, size, align, *place, *said)

    def _free(self, area: Area) -> Iterator[None]:
        for _ in self.model.free_percpu(area):
            yield

    def _balance(self) -> Iterator[None]:
        model, out = self.model, self.out
        model.work_pending = False
        yield
        out.probe(ev.BalanceEntry)
        yield
        asked = model.work_pending
        steps = model.balance_workfn()
        first = True
        while True:
            try:
                gap = next(steps)
            except StopIteration:
                break
            finally:
                if first:
                    model.work_pending |= asked
                    first = False
            yield
            yield from self._asks(gap, Kind.GROW, Kind.POPULATE)
            if gap.kind is Kind.DESTROY:
                assert gap.chunk is not None
                out.print(ev.DestroyChunkEvent, gap.chunk.base_addr)
                yield
        yield
        out.probe(ev.BalanceReturn)

    def _report(self, event: object) -> None:
        if isinstance(event, FreePercpu):
            base = event.base_addr
            self.out.print(ev.Free, base, event.off, base + event.off)


def write_run(folder: Path, events: list[ev.TraceEvent], cpus: int, variant: str) -> Path:
    """Write a run's trace and boot messages; return its folder."""
    folder.mkdir()
    lines = [json.dumps(entry(event) | {"seq": n}) + "\n" for n, event in enumerate(events)]
    (folder / "trace.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), 1))
    parts = f"s{STATIC} r{RESERVED} d{DYN} u{UNIT}"
    (folder / "dmesg.txt").write_text(
        f"[0] Linux version {RELEASES[variant]} (x)\n"
        f"[0] percpu: Embedded {PAGES} pages/cpu {parts}\n"
        f"[0] pcpu-alloc: {parts} alloc=1*{cpus * UNIT}\n"
        f"[0] pcpu-alloc: [0] {' '.join(map(str, range(cpus)))} \n"
    )
    return folder


def entry(event: ev.TraceEvent) -> dict[str, Any]:
    """Return an event as a line of jsonl holds it."""
    if isinstance(event, ev.Mark):
        return {"t": event.t, "cpu": event.cpu, "op": "mark", "text": event.text}
    form = _FORMS[type(event)]
    values: dict[str, Any] = {}
    for written, held in zip(form.in_record, fields(event)[3:], strict=True):
        value = getattr(event, held.name)
        if written.kind == "address":
            values[written.json] = f"{value:x}"
        else:
            values[written.json] = int(value) if isinstance(value, bool) else value
    pre = {"pre": 1} if event.t is None else {}
    return {"t": event.t, "cpu": event.cpu, "op": form.op, **values, **pre}

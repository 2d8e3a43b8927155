"""Runs of the model as each tracing tool prints them, with states as a kernel's are saved."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from random_traces import DYN, FIRST, PAGES, RELEASES, RESERVED, SIZES, STATIC, UNIT

from percpu_proofs.recorded.replay.actors import model_at_boot
from percpu_proofs.recorded.traces import events as ev
from percpu_reference import events as made
from percpu_reference.chunk import Area, Block, Chunk
from percpu_reference.variants import Allocator, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NOWAIT
from percpu_spec.views import HINTS

GEOMETRY = Geometry(unit=UNIT, static=STATIC, reserved=RESERVED, dyn=DYN, cpus=2)
PTR = 0x60000000  # of the first chunk's base, as a percpu pointer
SITES = ("alloc_desc+0x50/0x250", "nft_counter_init+0x20/0x90 [nf_tables]", "fib_nh_init+0x1/0x9")


class Sequence:
    """A run of the model, one operation after the other, the balance work as it is asked for."""

    def __init__(self, seed: int, variant: str = "linux_6_12") -> None:
        self.draw = random.Random(seed)
        self.variant = variant
        self.model = model_at_boot(variant_class(variant), GEOMETRY, FIRST)
        self.model.trace = self._note
        self.base = 0xFFD1FFFFFFC00000
        self.model.place_chunk = self._placed
        self.events: list[ev.TraceEvent] = []
        self.live: list[Area] = []
        self.states: dict[str, str] = {}
        self.site = ""

    def _placed(self) -> int:
        self.base -= 0x200000
        return self.base

    def _note(self, event: object) -> None:
        t, cpu = len(self.events) + 1, self.draw.randrange(2)
        if isinstance(event, made.AllocPercpu):
            self.events.append(ev.Alloc(
                t, cpu, bool(event.reserved), bool(event.is_atomic), event.size, event.align,
                event.base_addr, event.off, event.base_addr - FIRST + event.off + PTR,
                self.site, event.bytes_alloc, "GFP_NOWAIT" if event.is_atomic else "GFP_KERNEL",
                pid=100 + cpu,
            ))  # fmt: skip
        elif isinstance(event, made.FreePercpu):
            ptr = event.base_addr - FIRST + event.off + PTR
            self.events.append(ev.Free(t, cpu, event.base_addr, event.off, ptr, pid=100 + cpu))
        elif isinstance(event, made.AllocPercpuFail):
            self.events.append(ev.Fail(
                t, cpu, bool(event.reserved), bool(event.is_atomic), event.size, event.align,
                pid=100 + cpu,
            ))  # fmt: skip
        elif isinstance(event, made.CreateChunk):
            self.events.append(ev.CreateChunkEvent(t, cpu, event.base_addr, pid=100 + cpu))
        elif isinstance(event, made.DestroyChunk):
            self.events.append(ev.DestroyChunkEvent(t, cpu, event.base_addr, pid=100 + cpu))

    def go(self, operations: int, target: int = 40) -> Sequence:
        """Run so many operations more."""
        draw, model = self.draw, self.model
        for _ in range(operations):
            self.site = draw.choice(SITES)
            if self.live and (len(self.live) > target or draw.random() < 0.4):
                model.free(self.live.pop(draw.randrange(len(self.live))))
            else:
                size, align = draw.choice(SIZES), draw.choice((4, 8, 64))
                area = model.alloc(size, align, gfp=KERNEL if draw.random() < 0.8 else NOWAIT)
                if area is not None:
                    self.live.append(area)
            while model.work_pending:
                model.balance()
        return self

    def save(self, phase: str, *, mark: bool = True) -> Sequence:
        """Save a state, and write marks into the trace around it."""
        self.states[phase] = state_text(self.model, self.variant)
        for part in ("begin", "end") if mark else ():
            self.events.append(ev.Mark(len(self.events) + 1, 0, f"snap:{phase}:{part}", pid=7))
        return self


def _hints(block: Block) -> list[int]:
    return [getattr(block, name) for name in HINTS]


def _chunk(model: Allocator, chunk: Chunk, slot: int, pos: int) -> list[str]:
    bits = GEOMETRY.page // 4
    md = ",".join(f"{n}:{v}" for n, v in zip(HINTS, _hints(chunk.chunk_md), strict=True))
    starts = [off for off in range(len(chunk.alloc_map)) if chunk.bound_map[off]]
    hidden = chunk.start_offset // 4, len(chunk.alloc_map) - chunk.end_offset // 4
    areas = [
        f"{first * 4}:{(chunk.bound_map.find(1, first + 1) - first) * 4}"
        for first in starts
        if first < len(chunk.alloc_map) and chunk.alloc_map[first]
        and hidden[0] <= first < hidden[1]
    ]  # fmt: skip
    pages = [f"{page}-{page}" for page in range(chunk.nr_pages) if chunk.populated[page]]
    blocks = ";".join("/".join(map(str, _hints(block))) for block in chunk.md_blocks)
    return [
        f"chunk slot={slot} pos={pos} base_addr={chunk.base_addr:x} free_bytes={chunk.free_bytes} "
        f"immutable={chunk.immutable:d} isolated={chunk.isolated:d} "
        f"start_offset={chunk.start_offset} end_offset={chunk.end_offset} "
        f"nr_pages={chunk.nr_pages} nr_populated={chunk.nr_populated} "
        f"nr_empty_pop_pages={chunk.nr_empty_pop_pages} md={md},nr_bits:{chunk.nr_pages * bits}",
        f" populated={','.join(pages)}",
        f" areas={','.join(areas)}",
        f" blocks={blocks}",
    ]


def state_text(model: Allocator, variant: str = "linux_6_12") -> str:
    """Return the model's state as the text of a kernel's."""
    assert model.reserved_chunk is not None
    lines = [
        f"kernel {RELEASES[variant]}",
        f"pcpu_base_addr={model.reserved_chunk.base_addr - STATIC:x}",
        f"pcpu_nr_slots={model.nr_slots}",
        f"pcpu_free_slot={model.free_slot}",
        f"pcpu_sidelined_slot={model.sidelined_slot}",
        f"pcpu_to_depopulate_slot={model.to_depopulate_slot}",
        f"pcpu_unit_size={UNIT}",
        f"pcpu_unit_pages={UNIT // 4096}",
        f"pcpu_nr_units={GEOMETRY.units}",
        f"pcpu_nr_groups={GEOMETRY.groups}",
        f"pcpu_nr_empty_pop_pages={model.nr_empty_pop_pages}",
        f"pcpu_nr_populated={model.nr_populated:x}",
        f"pcpu_atomic_alloc_failed={model.atomic_alloc_failed:d}",
        f"pcpu_async_enabled={model.async_enabled:d}",
    ]
    lines += ["reserved:", *_chunk(model, model.reserved_chunk, -1, 0)]
    for head in model.chunk_lists:
        for pos, chunk in enumerate(head):
            lines += ["first:"] if chunk is model.first_chunk else []
            lines += _chunk(model, chunk, head.slot, pos)
    return "\n".join(lines) + "\n"


def hashed(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
    """Return events with addresses as %p prints them: 32 bits of which only equality counts."""
    shown: dict[int, int] = {}

    def one(address: int) -> int:
        return shown.setdefault(address, random.Random(address).getrandbits(32) | 1)

    found: list[ev.TraceEvent] = []
    for event in events:
        if isinstance(event, ev.Alloc | ev.Free):
            event = replace(event, base=one(event.base), ptr=one(event.ptr))
        elif isinstance(event, ev.CreateChunkEvent | ev.DestroyChunkEvent):
            event = replace(event, base=one(event.base))
        found.append(event)
    return found


Fields = list[tuple[str, str]]
Address = Callable[[int], str]


def fields(event: ev.TraceEvent, address: Address, *, old: bool = False) -> tuple[str, Fields]:
    """Return an event's name and fields as the kernel prints them; old: before 5.19."""
    if isinstance(event, ev.Alloc):
        found = [("reserved", f"{event.reserved:d}"), ("is_atomic", f"{event.atomic:d}"),
                 ("size", f"{event.size}"), ("align", f"{event.align}"),
                 ("base_addr", address(event.base)), ("off", f"{event.off}"),
                 ("ptr", address(event.ptr))]  # fmt: skip
        if not old:
            found.insert(0, ("call_site", event.call_site or ""))
            found += [("bytes_alloc", f"{event.bytes_alloc}"), ("gfp_flags", event.gfp or "")]
        return "percpu_alloc_percpu", found
    if isinstance(event, ev.Free):
        return "percpu_free_percpu", [("base_addr", address(event.base)), ("off", f"{event.off}"),
                                      ("ptr", address(event.ptr))]  # fmt: skip
    if isinstance(event, ev.Fail):
        return "percpu_alloc_percpu_fail", [
            ("reserved", f"{event.reserved:d}"), ("is_atomic", f"{event.atomic:d}"),
            ("size", f"{event.size}"), ("align", f"{event.align}"),
        ]  # fmt: skip
    if isinstance(event, ev.CreateChunkEvent | ev.DestroyChunkEvent):
        name = "create" if isinstance(event, ev.CreateChunkEvent) else "destroy"
        return f"percpu_{name}_chunk", [("base_addr", address(event.base))]
    assert isinstance(event, ev.Mark)
    return "tracing_mark_write", []


def _said(event: ev.TraceEvent, address: Address, *, old: bool = False) -> str:
    if isinstance(event, ev.Mark):
        return event.text
    return " ".join(f"{k}={v}" for k, v in fields(event, address, old=old)[1])


def tracefs(events: list[ev.TraceEvent], *, old: bool = False) -> str:
    """Return the text of /sys/kernel/tracing/trace, %p as sixteen digits."""
    def address(value: int) -> str:
        return "(____ptrval____)" if value == ev.UNKNOWN else f"{value:016x}"

    counts = f"# entries-in-buffer/entries-written: {len(events)}/{len(events)}   #P:2"
    lines = ["# tracer: nop", "#", counts, "#"]
    for event in events:
        name = fields(event, address)[0]
        lines.append(f"{'kworker/0:1':>16}-{event.pid:<7} [{event.cpu:03}] d..2. {event.t:>12}: "
                     f"{name}: {_said(event, address, old=old)}")  # fmt: skip
    return "\n".join(lines) + "\n"


def trace_cmd(events: list[ev.TraceEvent], *, stack: bool = False) -> str:
    """Return what `trace-cmd report` prints; stack: of a kernel without call_site, with -T."""
    lines = ["cpus=2"]
    for event in events:
        name = fields(event, hex)[0]
        said = _said(event, hex, old=stack)
        name, said = ("print", f"tracing_mark_write: {said}") if "mark" in name else (name, said)
        head = f"{'my prog':>16}-{event.pid:<5} [{event.cpu:03}]   12.{event.t:06}: "
        lines.append(f"{head}{name + ':':<22} {said}")
        if stack and isinstance(event, ev.Alloc):
            lines += [f"{head}{'kernel_stack:':<22} <stack trace >",
                      "=> trace_event_raw_event_percpu_alloc_percpu (ffffffff8120b1a1)",
                      "=> pcpu_alloc (ffffffff8120f2c4)",
                      f"=> {event.call_site} (ffffffff81111111)",
                      "=> kthread (ffffffff810c1d2a)"]  # fmt: skip
    return "\n".join(lines) + "\n"


def perf(events: list[ev.TraceEvent], *, stack: bool = False) -> str:
    """Return what `perf script` prints; marks are no events of perf's."""
    lines = []
    for event in events:
        name, _ = fields(event, hex)
        if isinstance(event, ev.Mark):
            continue
        lines.append(f"{'kworker/0:1-mm_':>16} {event.pid:>5} [{event.cpu:03}] 41.{event.t:06}: "
                     f"{'percpu:' + name:>30}: {_said(event, hex, old=stack)}")  # fmt: skip
        if stack:
            site = getattr(event, "call_site", "x+0x1/0x2").split("/0x")[0]
            lines += ["\tffffffff8120f2c4 pcpu_alloc+0x3d8 ([kernel.kallsyms])",
                      "\tffffffff8120f2c4 __alloc_percpu_gfp+0x12 ([kernel.kallsyms])",
                      f"\tffffffffc08a0011 {site} ([kernel.kallsyms])",
                      "\t    7f1200a1b2c3 [unknown] (/usr/lib/libc.so.6)", ""]  # fmt: skip
    return "\n".join(lines) + "\n"


def bpftrace(events: list[ev.TraceEvent]) -> str:
    """Return what the program that ships prints, a CPU's buffer after the other."""
    lines = ["Attaching 5 probes..."]
    some = [event for event in events if not isinstance(event, ev.Mark)]
    for start in range(0, len(some), 20):
        for event in sorted(some[start : start + 20], key=lambda e: e.cpu or 0):
            name, _ = fields(event, hex)
            lines.append(f"kworker/0:1-{event.pid} [{event.cpu:03}] {event.t}: {name}: "
                         f"{_said(event, hex, old=True)}")  # fmt: skip
            if isinstance(event, ev.Alloc):
                site, _, _ = (event.call_site or "").partition("/0x")
                indented = [" " * 8 + place for place in ("pcpu_alloc+984", site, "kthread+215")]
                lines += ["", *indented, ""]
    return "\n".join(lines) + "\n"


def write(folder: Path, name: str, text: str, run: Sequence, *, dmesg: bool = True) -> Path:
    """Write a recorded run: a trace, the states, and the boot messages; return its folder."""
    (folder / "state").mkdir(parents=True)
    (folder / name).write_text(text)
    for phase, state in run.states.items():
        (folder / "state" / f"{phase}.txt").write_text(state)
    parts = f"s{STATIC} r{RESERVED} d{DYN} u{UNIT}"
    if dmesg:
        (folder / "dmesg.txt").write_text(
            f"[0] Linux version {RELEASES[run.variant]} (x)\n"
            f"[0] percpu: Embedded {PAGES} pages/cpu {parts}\n"
            f"[0] pcpu-alloc: {parts} alloc=1*{2 * UNIT}\n[0] pcpu-alloc: [0] 0 1 \n"
        )
    return folder

"""How `percpu-spec state` tells a state to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.commands.output import say
from percpu_proofs.live.continuation import After, largest
from percpu_proofs.live.memory import (
    WAITS,
    ChunkMemory,
    chunk_rows,
    isolated_kb,
    memory_of,
    owner_bytes,
    page_owners,
    total_owner_bytes,
)
from percpu_proofs.live.sample import StableChunks
from percpu_proofs.live.subject import changing_cpus
from percpu_proofs.live.verdicts import (
    BROKEN,
    HOLDS,
    KNOWN,
    NO_OPERATION,
    NOT_ASKED,
    NOT_DETERMINED,
    UNTOLD,
    Verdict,
    floats,
    isolated_words,
    stats_rows,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, Stability
from percpu_proofs.recorded.states.stats_text import PercpuStats
from percpu_spec.counts import counted
from percpu_spec.views import HINTS

_MOST_ROWS = 40  # chunks that have a row of their own
_NAMED = 5  # owners of one chunk that are named
_FEW_PAGES = 8  # in use, of a chunk whose pages are listed unasked
_STYLES = {HOLDS: "green", KNOWN: "yellow", BROKEN: "red"}


def show(out: Console, state: KernelState, verdicts: Mapping[str, Verdict], obstacle: str) -> None:
    """Print the whole of a state: kernel, rest, memory, verdicts, chunks, what can be served."""
    show_kernel(out, state)
    out.print()
    show_verdicts(out, verdicts, torn=state.stability is Stability.TORN)
    out.print()
    _show_chunks(out, list(chunk_rows(state)))
    show_largest(out, state, obstacle)
    if held := list(total_owner_bytes(state.chunks).items()):
        say(out, f"used by: {_first(held)} bytes a CPU    (--who: by chunk and page)")
    wrong = [v.clause for v in verdicts.values() if v.verdict in (KNOWN, BROKEN)]
    if wrong:
        say(out, f"explain a clause: percpu-spec explain {wrong[-1]}; draw a chunk: --chunk N")


def show_kernel(out: Console, state: KernelState) -> None:
    """Say which kernel it is, how far at rest, and where its memory is, in kB over all CPUs."""
    geometry = state.snapshot.geometry
    say(
        out,
        f"{state.release}: {counted(geometry.cpus, 'CPU')}, units of {geometry.unit // 1024} kB "
        f"(pages of {geometry.page // 1024} kB), s{geometry.static} r{geometry.reserved} "
        f"d{geometry.dyn}; {counted(len(state.chunks), 'chunk')}; types: {state.types}",
    )
    _show_rest(out, state)
    memory = memory_of(state)
    say(
        out,
        f"Percpu {memory.percpu_kb} kB: {memory.used // 1024} kB used by areas, "
        f"{isolated_kb(memory)}, "
        f"{memory.empty // 1024} kB empty, {memory.above_high // 1024} kB of it above HIGH "
        f"(float {counted(memory.float_pages, 'page')}, HIGH {memory.high}; a page costs "
        f"{memory.page_cost // 1024} kB)",
    )


def _show_rest(out: Console, state: KernelState) -> None:
    """Say how far at rest a state is, and who stands where."""
    rest, words = state.stability, state.quiescence.words
    if rest is Stability.TORN:
        who = " or ".join(changing_cpus(state.quiescence.stacks)) or "a CPU"
        torn = f"torn: {words}: {who} was changing this; verdicts are hints only"
        say(out, torn, "red")
    elif rest is Stability.NOT_TOLD:
        say(out, "at rest or not: the text does not say; judged as if at rest")
    elif state.signs:
        say(out, f"busy: {state.signs}")
    else:
        say(out, f"{rest.value}: {words}")
    for who, stack in state.quiescence.stacks.items():
        say(out, f"  {who}: {stack}")


def show_verdicts(out: Console, verdicts: Mapping[str, Verdict], *, torn: bool = False) -> None:
    """Print the clauses by verdict, and what was found of each that does not hold."""
    by_verdict = output.grouped((verdict.verdict, verdict) for verdict in verdicts.values())
    names = [v.clause for v in by_verdict.get(HOLDS, ())]
    hint = " (hint)" if torn else ""
    if names:
        _row(out, HOLDS + hint, short(names), _STYLES[HOLDS])
    for kind in (KNOWN, BROKEN):
        for verdict in by_verdict.get(kind, ()):
            why = f"  [{verdict.reason}]" if verdict.reason else ""
            text = f"{verdict.clause:8} {first_of(verdict)}{why}"
            _row(out, kind + hint, text, _STYLES[kind])
    reasons = output.grouped((v.reason, v.clause) for v in by_verdict.get(NOT_ASKED, ()))
    operations = reasons.pop(NO_OPERATION, [])
    for reason, clauses in reasons.items():
        _row(out, NOT_ASKED, f"{short(clauses)}: {reason}")
    if operations:
        _row(out, NOT_ASKED, f"{len(operations)} others: each {NO_OPERATION}")


def first_of(verdict: Verdict) -> str:
    """Return the first of what is wrong, and how many more there are."""
    more = f" (and {len(verdict.found) - 1} more)" if len(verdict.found) > 1 else ""
    return f"{verdict.found[0]}{more}"


def show_stable(out: Console, found: StableChunks) -> None:
    """Print what the clauses say of the chunks that stood still, and which did not."""
    count = counted(len(found.stable), "chunk")
    say(out, f"chunk by chunk, of {count} that two copies agree on: {', '.join(found.stable)}")
    show_verdicts(out, found.verdicts)
    if found.unstable:
        say(out, f"unstable, not judged: {', '.join(found.unstable)}")
    say(out, "lists, sums and the float are those of no moment: nothing is said of the whole")


def short(names: Sequence[str]) -> str:
    """Return clause ids with a chapter's name once.

    >>> short(["HINT-1", "HINT-2", "MAP-2"])
    'HINT-1 2  MAP-2'
    """
    groups = groupby(names, key=lambda name: name.rpartition("-")[0])
    return "  ".join(
        f"{chapter}-{' '.join(name.rpartition('-')[2] for name in members)}"
        for chapter, members in groups
    )


def _show_chunks(out: Console, rows: Sequence[ChunkMemory]) -> None:
    """Print the chunks, hints beside truth, and below what there is to say of some.

    Alike ones share a row where there are many.
    """
    shown = rows if len(rows) <= _MOST_ROWS else _merged(rows)
    cells = [
        (
            row.chunk, row.list.removeprefix("slot "), row.used_pages, row.empty_pages,
            row.hole_pages, row.areas, row.used_bytes, row.advertises, row.longest,
        )
        for row in shown
    ]  # fmt: skip
    columns = ("chunk", "slot", "used", "empty", "hole", "areas", "bytes", "hint", "longest")
    title = "chunks: pages, and of one unit bytes used, advertised (hint), longest free"
    out.print(output.table(title, columns, cells, whole=("slot",)))
    for row in shown:
        if row.notes:
            say(out, f"chunk {row.chunk}: {', '.join(row.notes)}")


_SUMMED = ("used_pages", "empty_pages", "hole_pages", "areas", "used_bytes", "free_bytes")
_LARGEST = ("advertises", "longest")


def _merged(rows: Sequence[ChunkMemory]) -> list[ChunkMemory]:
    """Return a row for each run of chunks on one list, sums and the longest of them."""
    merged = []
    for _, members in groupby(rows, key=lambda row: (row.list, "first" in row.notes)):
        group = list(members)
        first, last = group[0], group[-1]
        if first is last:
            merged.append(first)
            continue
        empty = sum(row.empty_pages for row in group)
        state = "to release" if WAITS in first.notes else "stranded"
        notes = (f"{counted(empty, 'empty page')} {state}",) if first.isolated and empty else ()
        summed = {name: sum(getattr(row, name) for row in group) for name in _SUMMED}
        most = {name: max(getattr(row, name) for row in group) for name in _LARGEST}
        name = f"{first.chunk}-{last.chunk}"
        merged.append(replace(first, chunk=name, notes=notes, **summed, **most))
    return merged


def show_largest(out: Console, state: KernelState, obstacle: str) -> None:
    """Say the largest request that can be served, and that right hints would serve."""
    if obstacle:
        say(out, f"largest request that is served: not asked, {obstacle}")
        return
    for kind, found in largest(state).items():
        more = ""
        if found.if_hints_were_right > found.served:
            more = f"; {found.if_hints_were_right} if hints were right"
        most = state.snapshot.geometry.largest
        new = "; larger ones get a new chunk" if kind == "blocking" and found.served < most else ""
        say(out, f"largest {kind} request that chunks as they are serve: {found.served} bytes"
                  f"{more}{new}")  # fmt: skip


def _first(owners: Sequence[tuple[str, int]]) -> str:
    """Return who holds the most, in bytes of one unit."""
    rest = f" and {len(owners) - _NAMED} more" if len(owners) > _NAMED else ""
    return ", ".join(f"{name} {size}" for name, size in owners[:_NAMED]) + rest


def show_who(out: Console, state: KernelState, name: str | None) -> None:
    """Say who holds each chunk's memory, and which areas pin each page of the named one.

    Without a name, the pages of chunks that only few areas keep: at most so many pages are in use.
    """
    if all(chunk.owners is None for chunk in state.chunks):
        say(out, "who holds the memory is not told: a state saved with --who has it, or a core")
        return
    page = state.snapshot.geometry.page
    rows: list[tuple[object, ...]] = []
    for chunk, number in state.names.items():
        held = list(owner_bytes(chunk).items())
        if chunk.owners is not None and held and name in (None, number):
            pinned = page_owners(chunk, page)
            rows.append((number, len(pinned), len(chunk.areas), _first(held)))
            if name == number or len(pinned) <= _FEW_PAGES:
                rows += [
                    (f"  page {at}", "", "", _first(sorted(of.items(), key=lambda one: -one[1])))
                    for at, of in pinned.items()
                ]
    columns = ("chunk", "pages pinned", "areas", "held by, bytes a CPU")
    out.print(output.table("who holds the memory", columns, rows))
    untold = [number for chunk, number in state.names.items() if chunk.owners is None]
    untold = [number for number in untold if number != "-1" and name in (None, number)]
    if untold:
        say(out, f"not told of chunk {', '.join(untold)}: the memory lacks the names")


def chunk_records(state: KernelState) -> list[dict[str, Any]]:
    """Return the chunks with plain values.

    hints: in bits. owners: bytes of one unit by name, None where that is not told.
    """
    chunks = {number: chunk for chunk, number in state.names.items()}
    return [
        asdict(row) | {
            "pages": chunk.nr_pages,
            "hints": {name: getattr(chunk.chunk_md, name) for name in HINTS},
            "owners": owner_bytes(chunk) if chunk.owners is not None else None,
        }
        for row in chunk_rows(state)
        for chunk in (chunks[row.chunk],)
    ]


def who_record(state: KernelState) -> dict[str, Any]:
    """Return who holds each chunk and page, in bytes of one unit; nothing where it is not told."""
    page = state.snapshot.geometry.page
    return {
        number: {"owners": owner_bytes(chunk), "pages": page_owners(chunk, page)}
        for chunk, number in state.names.items()
        if chunk.owners is not None
    }


def show_after(out: Console, state: KernelState, after: Sequence[After]) -> None:
    """Say what the balance work would leave."""
    if not after:
        return
    before = memory_of(state)
    rows = [("now", 0, before.percpu_kb, before.stranded // 1024, before.float_pages,
             len(state.chunks))]  # fmt: skip
    rows += [(a.variant, a.runs, a.percpu_kb, a.stranded_kb, a.float_pages, a.chunks)
             for a in after]  # fmt: skip
    columns = ("variant", "runs", "Percpu kB", "stranded kB", "float", "chunks")
    out.print(output.table("if the balance work ran", columns, rows))


def show_stats(out: Console, stats: PercpuStats, verdicts: Mapping[str, Verdict]) -> None:
    """Print what the text of percpu_stats determines, and what it does not."""
    sizes, unit = stats.layout, stats.unit
    pages = " or ".join(f"{page // 1024}K ({counted(unit // page, 'page')} a unit)"
                        for page in stats.pages)  # fmt: skip
    say(
        out,
        f"percpu_stats: units of {unit} bytes, s{sizes['static_size']} r{sizes['reserved_size']} "
        f"d{sizes['dyn_size']}; pages of {pages or 'a size that fits no unit'}; "
        f"{counted(sum(c.role != 'reserved' for c in stats.chunks), 'chunk')}, "
        f"{sum(c.isolated for c in stats.chunks)} isolated",
    )
    sums = floats(stats)
    printed = stats.counters["empty_pop_pages"]
    by_type = f": {' and '.join(map(str, sums))} of the two types" if len(sums) > 1 else ""
    say(
        out,
        f"float {counted(printed, 'page')}{by_type}; {isolated_words(stats)}; "
        f"{counted(stats.counters['nr_cur_alloc'], 'area')} live",
    )
    out.print()
    show_verdicts(out, {v.clause: v for v in verdicts.values() if v.reason != UNTOLD})
    rows = [{name: cell for name, cell in row.items() if name != "type" or len(sums) > 1}
            for row in stats_rows(stats)]  # fmt: skip
    columns = [name.removesuffix("_pages").removesuffix("_bytes") for name in rows[0]]
    cells = [tuple(row.values()) for row in rows]
    out.print(output.table("chunks, bytes and pages of one unit", columns, cells))
    say(out, "percpu_stats does not tell:")
    for line in NOT_DETERMINED:
        say(out, f"  {line}")


def _row(out: Console, head: str, text: str, style: str = "") -> None:
    say(out, Text.assemble((f"  {head:9} ", style), text))

"""Saved states: the text that anybody can send, and judge without the kernel or drgn.

Its form is told in `data/README.md`; text.py reads the allocator's part of it.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from percpu_proofs.recorded.source import problem
from percpu_proofs.recorded.states.kernel_state import KernelState, Quiescence, with_floats
from percpu_proofs.recorded.states.snapshot import COUNTS, ChunkSnapshot, runs_of
from percpu_proofs.recorded.states.text import StateText
from percpu_proofs.recorded.states.variables import BootChunk, ShapeError, geometry_of
from percpu_proofs.run.inputs import InputError, TraceError, read_text, writing
from percpu_proofs.run.state_record import bitmap_text
from percpu_spec.counts import counted
from percpu_spec.views import HINTS, BlockView

_LAYOUT = {"pcpu_unit_size": 10, "pcpu_unit_pages": 10, "pcpu_nr_groups": 10, "pcpu_base_addr": 16}
_OPTIONAL = {"pcpu_nr_units": 10, "cpus": 10, "memcg": 10}
_APART = ("kernel", "cpus", "memcg", "pcpu_lock", "mutex_owner", "mutex_waiters", "work", "stack",
          "types", "owner", "chunks")  # fmt: skip
"""Lines that a state has elsewhere than among the allocator's variables."""
_OF_CHUNK = (" populated=", " areas=", " blocks=")
"""The lines that every chunk has behind its first."""
_WORK = ("idle", "pending", "running", "pending,running")


def is_state(text: str) -> bool:
    """Return whether a text begins as a saved state does."""
    return text.startswith("kernel ") or re.match(r"pcpu_\w+=", text) is not None


def read_state(path: Path) -> KernelState:
    """Return the state that a file holds, plain or gzip.

    Raises InputError or TraceError with the line for what is malformed or no kernel can have.
    """
    return state_of(path, read_text(path).splitlines())


def state_of(path: Path, lines: Sequence[str]) -> KernelState:
    """Return the state that the lines of `path` hold; raises as read_state does."""
    _check_end(path, lines)
    text = StateText(path, lines)
    values, places = text.globals, text.places
    known = {name: base for name, base in _OPTIONAL.items() if values.get(name, "?") != "?"}
    layout = {name: _value(text, name, base) for name, base in (_LAYOUT | known).items()}
    if layout.get("memcg", 0) > 1:
        raise InputError(path, places["memcg"], "memcg=0 or 1", values["memcg"])
    try:
        first, reserved = (_boot_chunk(path, lines, role) for role in ("first", "reserved"))
        if first is None:
            expected = "a chunk under 'first:', behind which the others stand: the text may be cut"
            raise problem(path, len(lines), expected, lines[-1] if lines else "")
        geometry = geometry_of(layout, first, reserved)
    except ShapeError as error:
        of_first = lines.index("first:") + 2 if "first:" in lines else None
        line = places.get(error.name, of_first)
        expected = f"{error.name}: {error.expected}"
        raise InputError(path, line, expected, error.found) from None
    try:
        snapshot = text.snapshot(geometry)
    except TraceError as error:
        if not str(error).startswith(f"{path}:{len(lines)}: ") or lines[-1] == "end":
            raise
        raise TraceError(f"{error}: it is the last line, the text may be cut in it") from None
    own = {name: value for name, value in values.items() if name not in _APART}
    snapshot = with_floats(replace(snapshot, globals=own))
    release = values.get("kernel", "")
    if not re.match(r"[0-9]+\.[0-9]+", release):
        found = release if "kernel" in places else "none"
        raise InputError(path, places.get("kernel"), "a line 'kernel RELEASE'", found)
    types, counts = values.get("types", "not told"), "chunks" in values
    return KernelState(str(path), release, snapshot, _quiescence(text), types, counts)


def _check_end(path: Path, lines: Sequence[str]) -> None:
    """Raise TraceError for a text that ends before its end: where, and what is missing."""
    told = next((line[7:] for line in lines if re.fullmatch(r"chunks=[0-9]{1,9}", line)), None)
    starts = [number for number, line in enumerate(lines, 1) if line.startswith("chunk ")]
    if "end" in lines[-1:] or (not starts and told is None):
        return
    last = starts[-1] if starts else len(lines)
    missing = [f"'{name}'" for name in _OF_CHUNK
               if starts and not any(line.startswith(name) for line in lines[last:])]  # fmt: skip
    if told is None and not missing:
        return  # an older text, which has no end
    lost = [f"the lines {', '.join(missing)} of the chunk in line {last}"] if missing else []
    if told is not None:
        few = int(told) - len(starts)
        lost += [f"{few} of {counted(int(told), 'chunk')}"] if few > 0 else []
        lost += ["the line 'end'"]
    expected = f"more behind it: the text is cut, {' and '.join(lost)} missing"
    raise problem(path, len(lines), expected, lines[-1])


def _value(text: StateText, name: str, base: int) -> int:
    value = text.globals.get(name, "")
    if re.fullmatch(r"[0-9a-f]{1,16}" if base == 16 else r"[0-9]{1,18}", value):
        return int(value, base)
    what = "hexadecimal number" if base == 16 else "number"
    if name not in text.places:
        raise InputError(text.path, None, f"a line {name}={what}", "none")
    raise InputError(text.path, text.places[name], f"{name}={what}", value)


def _boot_chunk(path: Path, lines: Sequence[str], role: str) -> BootChunk | None:
    """Return where a chunk of boot lies; None if there is none."""
    if f"{role}:" not in lines:
        return None
    number = lines.index(f"{role}:") + 1
    line = lines[number] if number < len(lines) else ""
    fields = dict(re.findall(r"(\w+)=(-?[0-9a-f]{1,20})(?!\S)", line))
    sizes = "start_offset", "end_offset", "nr_pages"
    try:
        chunk = BootChunk(int(fields["base_addr"], 16), *(int(fields[name]) for name in sizes))
    except (KeyError, ValueError):
        raise InputError(path, number + 1, "a chunk: name=number...", line) from None
    for name in sizes[:2]:
        if getattr(chunk, name) % 4 or getattr(chunk, name) < 0:
            raise InputError(path, number + 1, f"{name} of whole granules of 4 bytes", fields[name])
    return chunk


def _quiescence(text: StateText) -> Quiescence:
    """Return who held what, as far as the text tells."""
    values, places = text.globals, text.places

    def told(name: str, form: str, expected: str) -> str | None:
        """Return a value that has a form, None if it is not told."""
        value = values.get(name, "?")
        if value != "?" and not re.fullmatch(form, value):
            raise InputError(text.path, places[name], f"{name}={expected}", value)
        return None if value == "?" else value

    lock = told("pcpu_lock", "[0-9a-f]{1,16}", "hexadecimal number, 0 where it is free")
    owner = told("mutex_owner", ".*", "")
    waiters = told("mutex_waiters", "[01]", "0 or 1")
    work = told("work", rf"({'|'.join(_WORK)})(,running\?.*)?", f"one of {', '.join(_WORK)}")
    known = work and work.partition(",running?")
    stacks = {}
    for line in values["stack"].split("\n") if "stack" in values else ():
        who, between, stack = line.partition(": ")
        if not between:
            form = "stack=WHO: inner < outer"
            raise InputError(text.path, places["stack"], form, values["stack"])
        stacks[who] = stack
    return Quiescence(
        None if lock is None else int(lock, 16),
        "" if owner in ("free", "0") else owner,
        None if waiters is None else waiters == "1",
        "pending" in known[0] if known else None,
        "running" in known[0] if known and not known[1] else None,
        stacks,
    )


def save_state(state: KernelState, path: Path) -> None:
    """Write a state, packed if the file is called so. Raises InputError if it cannot be written."""
    text = "\n".join(state_lines(state)) + "\n"
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    with writing(path):
        path.write_bytes(data)


def state_lines(state: KernelState) -> Iterator[str]:
    """Yield the lines of a state: what read_state reads."""
    snapshot, quiescence = state.snapshot, state.quiescence
    yield f"kernel {state.release}"
    for name, value in snapshot.globals.items():
        yield f"{name}={value}"
    yield f"cpus={snapshot.geometry.cpus}"
    yield f"memcg={int(snapshot.geometry.memcg)}"
    yield f"types={state.types}"
    yield f"chunks={sum(1 for _ in snapshot.chunks())}"
    yield from _quiescence_lines(quiescence)
    names = sorted({name for c in snapshot.chunks() for name in (c.owners or {}).values()})
    owners = {name: number for number, name in enumerate(names, 1)}
    for name, number in owners.items():
        yield f"owner={number} {name}"
    if snapshot.reserved_chunk is not None:
        yield "reserved:"
        yield from _chunk_lines(snapshot.reserved_chunk, owners)
    for chunk in state.chunks:
        if chunk is snapshot.first_chunk:
            yield "first:"
        yield from _chunk_lines(chunk, owners)
    yield "end"


def _quiescence_lines(quiescence: Quiescence) -> Iterator[str]:
    if quiescence.lock is not None:
        yield f"pcpu_lock={quiescence.lock:x}"
    if quiescence.owner is not None:
        yield f"mutex_owner={quiescence.owner or 'free'}"
    if quiescence.waiters is not None:
        yield f"mutex_waiters={int(quiescence.waiters)}"
    if quiescence.pending is not None:
        work = _WORK[quiescence.pending + 2 * bool(quiescence.running)]
        yield f"work={work}{',running?' if quiescence.running is None else ''}"
    for who, stack in quiescence.stacks.items():
        yield f"stack={who}: {stack}"


def _chunk_lines(chunk: ChunkSnapshot, owners: Mapping[str, int]) -> Iterator[str]:
    hints = ",".join(f"{name}:{getattr(chunk.chunk_md, name)}" for name in (*HINTS, "nr_bits"))
    place = f"slot={chunk.slot} pos={chunk.pos} base_addr={chunk.base_addr:016x}"
    counts = " ".join(f"{name}={int(getattr(chunk, name))}" for name in COUNTS)
    yield f"chunk {place} {counts} md={hints}"
    yield f" populated={','.join(f'{a}-{b - 1}' for a, b in runs_of(chunk.populated))}"
    yield f" areas={','.join(f'{off}:{size}' for off, size in chunk.areas.items())}"
    yield f" blocks={';'.join(map(_hints, chunk.md_blocks))}"
    if chunk.has_bounds:
        yield f" bmap={bitmap_text(chunk.bound_map)}"
    if chunk.owners is not None:
        yield f" owners={','.join(f'{off}:{owners[name]}' for off, name in chunk.owners.items())}"


def _hints(block: BlockView) -> str:
    return "/".join(str(getattr(block, name)) for name in HINTS)

"""The allocator's state as the recorded vectors write it, and its checksum.

Field names and their order are those of the vectors; the checksum covers the text as written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from percpu_proofs.run.driver import Outcome
from percpu_proofs.run.operations import WRONG, Operation
from percpu_spec.views import HINTS, AllocatorView

Record = dict[str, Any]
"""One JSON object of a vector: g, x, or a chunk."""

OFF_LIST = -1  # slot of the reserved chunk, which is on no list

_DIGITS = bytes([0x30, 0x31]) + bytes(254)  # byte of a map -> ASCII digit
hints_of = attrgetter(*HINTS)
scalars_of = attrgetter(
    "isolated", "immutable", "free_bytes", "nr_pages", "nr_populated", "nr_empty_pop_pages",
    "start_offset", "end_offset",
)  # fmt: skip
_NAMES = ("iso", "imm", "free", "npages", "npop", "nempty", "so", "eo")

BITMAPS = ("pop", "amap", "bmap")
CHUNK_FIELDS = ("id", "slot", "cslot", *_NAMES, *BITMAPS, "md", "blk")
"""Fields of a chunk, in order; `objcg` follows where the chunk has an object vector."""


def dump(value: object) -> str:
    """Return JSON without spaces, as the checksum takes it."""
    return json.dumps(value, separators=(",", ":"))


def bitmap_text(bits: bytes | bytearray) -> str:
    """Return a map as one hexadecimal integer, bit i for element i.

    >>> bitmap_text(bytearray([0, 1, 0, 0, 1]))
    '12'
    """
    return format(int(bits[::-1].translate(_DIGITS) or b"0", 2), "x")


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One state: global counters, chunk ids by list, and each chunk as record and as text."""

    g: Record
    slots: list[list[Any]]  # [slot, [ids head to tail]], empty lists left out
    chunks: dict[int, Record]
    texts: dict[int, str]

    @property
    def crc(self) -> int:
        """The vectors' checksum: CRC-32 of g, slots and the chunks in id order."""
        chunks = ",".join(self.texts[i] for i in sorted(self.texts))
        return zlib.crc32(f'"g":{dump(self.g)}"slots":{dump(self.slots)}{chunks}'.encode())


class Recordable(AllocatorView, Protocol):
    """An allocator of which records are made: the model, or a compiled kernel's as it was read."""

    env: Any  # counters, by the names of the model's environment
    chunk_lists: Any  # in order, each with its slot, of chunks with a number

    @property
    def work_pending(self) -> bool:
        """Whether balance work has been asked for and not begun."""

    @property
    def atomic_alloc_failed(self) -> bool:
        """Whether a failed atomic allocation has left its mark."""

    def chunk_slot(self, chunk: Any, /) -> int:
        """Return the slot that a chunk's hints ask for."""


class Recorder:
    """Reads one allocator's state again and again; a chunk that is as before is not rewritten."""

    def __init__(self, allocator: Recordable) -> None:
        self.allocator = allocator
        self._known: dict[int, tuple[Record, Record, str]] = {}  # contents, record, text

    def read(self) -> StateRecord:
        """Return the state now. Chunks held by a running step are on no list and left out."""
        known: dict[int, tuple[Record, Record, str]] = {}
        for slot, chunk in placed(self.allocator):
            contents = _contents(chunk, slot, self.allocator.chunk_slot(chunk))
            entry = self._known.get(chunk.id)
            if entry is None or entry[0] != contents:
                record = contents | {name: bitmap_text(contents[name]) for name in BITMAPS}
                entry = contents, record, dump(record)
            known[chunk.id] = entry
        self._known = known
        records = {number: record for number, (_, record, _) in known.items()}
        texts = {number: text for number, (_, _, text) in known.items()}
        lists = list_record(self.allocator)
        return StateRecord(global_record(self.allocator), lists, records, texts)


def placed(allocator: Recordable) -> Iterator[tuple[int, Any]]:
    """Yield the reserved chunk with OFF_LIST, then the chunks on lists with theirs, in order."""
    if allocator.reserved_chunk is not None:
        yield OFF_LIST, allocator.reserved_chunk
    for head in allocator.chunk_lists:
        for chunk in head:
            yield head.slot, chunk


def _contents(chunk: Any, slot: int, computed: int) -> Record:
    """Return a chunk as the vectors write it, but its maps as bytes; nothing in it changes again.

    computed: the slot that its hints ask for.
    """
    contents: Record = {"id": chunk.id, "slot": slot, "cslot": computed}
    contents.update(zip(_NAMES, map(int, scalars_of(chunk)), strict=True))
    contents["pop"] = bytes(chunk.populated)
    contents["amap"] = bytes(chunk.alloc_map)
    contents["bmap"] = bytes(chunk.bound_map)
    contents["md"] = list(hints_of(chunk.chunk_md))
    contents["blk"] = [list(hints_of(block)) for block in chunk.md_blocks]
    if chunk.obj_exts is not None:
        contents["objcg"] = sorted(chunk.obj_exts)
    return contents


def global_record(allocator: Recordable) -> Record:
    """Return the counters under the checksum."""
    env = allocator.env
    return {
        "nr_pop": allocator.nr_populated,
        "nr_empty": allocator.nr_empty_pop_pages,
        "sched": int(allocator.work_pending),
        "atomic_failed": int(allocator.atomic_alloc_failed),
        "live_pages": env.live_pages,
        "page_allocs": env.page_allocs,
        "creates": env.creates,
        "destroys": env.destroys,
    }


def list_record(allocator: Recordable) -> list[list[Any]]:
    """Return the lists that hold chunks: slot and ids, head to tail."""
    lists = ([head.slot, [chunk.id for chunk in head]] for head in allocator.chunk_lists)
    return [entry for entry in lists if entry[1]]


def counter_record(allocator: Recordable) -> Record:
    """Return the counters outside the checksum, cumulative."""
    env = allocator.env
    return {
        "tlb": env.tlb_flushes,
        "warn": env.warnings,
        "prwarn": env.printed,
        "stacks": env.stack_dumps,
        "charged": env.charged,
        "objrefs": env.objcg_refs,
        "nsched": env.balance_requests,
    }


def checksum(allocator: Recordable) -> int:
    """Return the checksum of the allocator's state."""
    return Recorder(allocator).read().crc


def outcome_record(operation: Operation, ok: bool, chunk: int, off: int, warned: int) -> Record:
    """Return the result fields of an operation as the vectors write them.

    chunk, off: number and byte offset of an area that was allocated. warned: warnings raised.
    """
    kind, arg = operation[:2]
    if kind == "a":
        if not ok:
            return {"h": arg, "ok": 0, "warn": warned}
        return {"h": arg, "ok": 1, "chunk": chunk, "off": off}
    if kind == "f":
        return {"h": arg, "ok": int(ok)}
    if kind in WRONG:
        return {"arg": arg, "ok": int(ok), "warn": warned}
    if kind in "bB":
        return {"ran": int(ok)}
    return {"arg": arg}


def model_record(operation: Operation, outcome: Outcome, warned: int) -> Record:
    """Return the result fields of an operation that the model has done."""
    chunk, off = (outcome.area[0].id, outcome.area[1]) if outcome.area else (0, 0)
    return outcome_record(operation, outcome.ok, chunk, off, warned)


_SHOWN = 4  # differing bit ranges shown


class Difference(NamedTuple):
    """The first field that differs, both values, and for a bitmap the first differing bits."""

    field: str
    kernel: object
    model: object
    detail: str = ""

    @property
    def plain(self) -> tuple[Any, Any]:
        """Both values as JSON has them."""
        kernel, model = (
            value if isinstance(value, int | str | list | dict) else repr(value)
            for value in (self.kernel, self.model)
        )
        return kernel, model


MISSING = "nothing"
"""Stands for the value of a field that one side does not have."""


def differences(
    kernel: Record, model: Record, order: Iterable[str], skip: frozenset[str] = frozenset()
) -> Iterator[Difference]:
    """Yield every difference in the order of fields given, the others after them.

    skip names nested fields that are not compared.
    """
    for name in dict.fromkeys([*order, *kernel, *model]):
        ours = model.get(name, MISSING)
        yield from _compare(name, name, kernel.get(name, MISSING), ours, skip)


def _compare(
    path: str, name: str, kernel: object, model: object, skip: frozenset[str]
) -> Iterator[Difference]:
    if kernel == model:
        return
    if isinstance(kernel, dict) and isinstance(model, dict):
        for key in dict.fromkeys([*kernel, *model]):
            if key in skip:
                continue
            inner = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
            ours = model.get(key, MISSING)
            yield from _compare(inner, key, kernel.get(key, MISSING), ours, skip)
        return
    if isinstance(kernel, list) and isinstance(model, list) and len(kernel) == len(model):
        for index, (left, right) in enumerate(zip(kernel, model, strict=True)):
            yield from _compare(f"{path}[{index}]", name, left, right, skip)
        return
    detail = ""
    if name in BITMAPS and isinstance(kernel, str) and isinstance(model, str):
        detail = differing_bits(kernel, model)
    yield Difference(path, kernel, model, detail)


def differing_bits(kernel: str, model: str) -> str:
    """Say which bits of two hexadecimal maps differ, the first few ranges.

    >>> differing_bits("f0", "31")
    'bits 0 (model 1), 6-7 (model 0)'
    """
    try:
        ours, theirs = int(model, 16), int(kernel, 16)
    except ValueError:
        return "not a hexadecimal number"
    bits = range((ours ^ theirs).bit_length())
    ranges: list[str] = []
    for (differs, value), run in groupby(bits, lambda n: ((ours ^ theirs) >> n & 1, ours >> n & 1)):
        first, *others = run
        if differs:
            span = f"{first}-{others[-1]}" if others else f"{first}"
            ranges.append(f"{span} (model {value})")
    return f"bits {', '.join(ranges[:_SHOWN])}" + (", ..." if len(ranges) > _SHOWN else "")

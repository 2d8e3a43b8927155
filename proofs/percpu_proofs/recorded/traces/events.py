"""What a recorded kernel run consists of: one record type per kind of event.

Sizes, alignments and offsets are in bytes except where a field says bits or pages. Addresses are
plain integers. `t` is the recorder's clock, None for allocations logged before tracing began;
`pid` is known only where the source prints it (text does, jsonl does not).
Beside the records stand the forms in which traces have them, and the meaning of printed flags.
Source: include/trace/events/percpu.h and the probes listed in a run's manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Final, Literal, NamedTuple

from percpu_spec import gfp

GRANULE: Final = 4
"""Bytes of which sizes and offsets are multiples, a bit of a chunk's map (PCPU_MIN_ALLOC_SIZE)."""
UNKNOWN: Final = -1
"""The address of what a kernel printed as (ptrval): it had no key to hash addresses with yet."""
HASHES: Final = 1 << 32
"""Hashes of addresses lie below: 64-bit kernels have all their addresses above."""
FIRST: Final = 1 << 63
"""The name of a first chunk whose address is not told; others have those behind (reader.py)."""


def is_plain(base: int) -> bool:
    """Return whether the address of a chunk is a true one: no hash, and no name for want of it.

    Those of 32-bit kernels cannot be told from hashes.
    """
    return base >= HASHES and not 0 <= base - FIRST < HASHES


@dataclass(slots=True)
class TraceEvent:
    """Any recorded event."""

    t: int | None
    cpu: int | None
    pid: int | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class ChunkEvent(TraceEvent):
    """Concerns the chunk at an address."""

    base: int


@dataclass(slots=True)
class PagesEvent(ChunkEvent):
    """Concerns pages [start, end) of a chunk."""

    start: int
    end: int


@dataclass(slots=True)
class Alloc(TraceEvent):
    """A successful allocation, printed after both locks are released (percpu_alloc_percpu)."""

    reserved: bool
    atomic: bool
    size: int
    align: int
    base: int
    off: int
    ptr: int
    call_site: str | None = None
    bytes_alloc: int | None = None
    gfp: str | None = None  # flag names joined by |, or a hexadecimal number


@dataclass(slots=True)
class Free(ChunkEvent):
    """A free, printed under pcpu_lock (percpu_free_percpu)."""

    off: int
    ptr: int


@dataclass(slots=True)
class Fail(TraceEvent):
    """A failed allocation, printed after pcpu_lock is released (percpu_alloc_percpu_fail)."""

    reserved: bool
    atomic: bool
    size: int
    align: int


@dataclass(slots=True)
class CreateChunkEvent(ChunkEvent):
    """A chunk created, under the mutex, before it is listed (percpu_create_chunk)."""


@dataclass(slots=True)
class DestroyChunkEvent(ChunkEvent):
    """A chunk destroyed, under the mutex, after it is unlisted (percpu_destroy_chunk)."""


@dataclass(slots=True)
class Mark(TraceEvent):
    """A line that the guest wrote into the trace (tracing_mark_write)."""

    text: str


@dataclass(slots=True)
class Lost(TraceEvent):
    """Here events are missing, as the recorder says: of one CPU, or of any (cpu None).

    They lie behind the last event of that CPU before this one. `missing` is how many, None where
    that is not told.
    """

    missing: int | None = None


@dataclass(slots=True)
class AllocArea(ChunkEvent):
    """Entry of pcpu_alloc_area, under pcpu_lock: bits wanted, alignment and start hint in bits."""

    bits: int
    align: int
    start: int


@dataclass(slots=True)
class AreaReturn(TraceEvent):
    """Return of pcpu_alloc_area, under pcpu_lock: byte offset, negative if nothing was found."""

    off: int


@dataclass(slots=True)
class AreaFree(ChunkEvent):
    """Entry of pcpu_free_area, under pcpu_lock."""

    off: int


@dataclass(slots=True)
class Populated(PagesEvent):
    """Pages [start, end) book-kept as populated, under pcpu_lock."""


@dataclass(slots=True)
class Depopulated(PagesEvent):
    """Pages [start, end) book-kept as given back, under pcpu_lock."""


@dataclass(slots=True)
class PopulateCall(PagesEvent):
    """Population of pages [start, end) asked for, pcpu_lock released."""


@dataclass(slots=True)
class BalanceEntry(TraceEvent):
    """Entry of the balance work, before the mutex."""


@dataclass(slots=True)
class BalanceReturn(TraceEvent):
    """Return of the balance work, the mutex released."""


@dataclass(slots=True)
class BalanceFree(TraceEvent):
    """Entry of pcpu_balance_free, both locks held."""

    empty_only: bool


@dataclass(slots=True)
class Relocate(ChunkEvent):
    """Entry of pcpu_chunk_relocate, under pcpu_lock, with the slot the chunk had before."""

    oslot: int


Kind = Literal["number", "natural", "flag", "address", "words"]


class Field(NamedTuple):
    """One field of an event: its name in jsonl, in the kernel's text, and how it is written."""

    json: str
    text: str
    kind: Kind
    optional: bool = False


class EventForm(NamedTuple):
    """One kind of event: its name in jsonl and in text, its record type, fields in text order."""

    op: str
    name: str
    record: type[TraceEvent]
    fields: tuple[Field, ...]

    @property
    def in_record(self) -> list[Field]:
        """The same fields in the order of the record, in which optional ones come last."""
        return sorted(self.fields, key=lambda one: one.optional)


_NAMES: Final = {"base": "base_addr", "atomic": "is_atomic", "gfp": "gfp_flags"}
"""Fields of records that are called otherwise in a trace."""
_KINDS: Final[dict[str, Kind]] = {
    "reserved": "flag", "atomic": "flag", "empty_only": "flag", "base": "address", "ptr": "address",
    "call_site": "words", "gfp": "words", "oslot": "number",
}  # fmt: skip
"""The kinds of fields by their names in records, where they are no natural numbers."""


def _form(op: str, name: str, record: type[TraceEvent]) -> EventForm:
    """Return the form of an event whose fields stand in a record, behind those of all events."""
    made = []
    for one in fields(record)[len(fields(TraceEvent)) :]:
        json = _NAMES.get(one.name, one.name)
        text = one.name if json == "base_addr" and op.startswith("k_") else json  # of a probe
        kind = "number" if record is AreaReturn else _KINDS.get(one.name, "natural")
        made.append(Field(json, text, kind, optional=one.default is None))
    made.sort(key=lambda one: one.json != "call_site")  # which the kernel prints first
    return EventForm(op, name, record, tuple(made))


FORMS: tuple[EventForm, ...] = (
    _form("alloc", "percpu_alloc_percpu", Alloc),
    _form("free", "percpu_free_percpu", Free),
    _form("fail", "percpu_alloc_percpu_fail", Fail),
    _form("create_chunk", "percpu_create_chunk", CreateChunkEvent),
    _form("destroy_chunk", "percpu_destroy_chunk", DestroyChunkEvent),
    _form("k_area", "area", AllocArea),
    _form("k_area_ret", "area_ret", AreaReturn),
    _form("k_farea", "farea", AreaFree),
    _form("k_populated", "populated", Populated),
    _form("k_depopulated", "depopulated", Depopulated),
    _form("k_popcall", "popcall", PopulateCall),
    _form("k_balance", "balance", BalanceEntry),
    _form("k_balance_ret", "balance_ret", BalanceReturn),
    _form("k_bfree", "bfree", BalanceFree),
    _form("k_relocate", "relocate", Relocate),
)
"""Every event but the marks, which have one free text."""

_WRITTEN: dict[Kind, str] = {
    "number": r"-?[0-9]{1,19}",
    "natural": r"[0-9]{1,20}",
    "flag": r"[01]|true|false",
    "address": r"(?:0x)?[0-9a-fA-F]+|\((?:nil|null|_*ptrval_*)\)",
    "words": r"\S+(?: \[[^\]=]+\])?",  # a place in a module has its name behind it
}


def is_written(kind: Kind, text: str) -> bool:
    """Return whether a text is how values of a kind are written.

    >>> is_written("address", "(____ptrval____)"), is_written("natural", "-1")
    (True, False)
    """
    return re.fullmatch(_WRITTEN[kind], text) is not None


def text_pattern(form: EventForm) -> re.Pattern[str]:
    """Return a pattern for what follows an event's name in text, a group per field, named."""
    parts = []
    for f in form.fields:
        value = f"(?P<{f.json}>{_WRITTEN[f.kind]})"
        # tracefs leaves gfp_flags= empty for flags whose names it does not know
        parts.append(rf"(?:{f.text}={value}?\s*)?" if f.optional else rf"{f.text}={value}\s*")
    # kprobe events print where they sit, in brackets, before their fields
    return re.compile(r"(?:\([^()]*(?:\([^()]*\)[^()]*)*\)\s*)?" + "".join(parts))


def form_words(form: EventForm) -> str:
    """Return the fields of an event in words, for messages.

    >>> form_words(FORMS[1])
    'percpu_free_percpu: base_addr= off= ptr='
    """
    names = " ".join(f"[{f.text}=]" if f.optional else f"{f.text}=" for f in form.fields)
    return f"{form.name}: {names}".rstrip()


_NAMED: Final = {
    "GFP_KERNEL": gfp.KERNEL,
    "GFP_KERNEL_ACCOUNT": gfp.KERNEL,
    "GFP_USER": gfp.KERNEL,
    "GFP_HIGHUSER": gfp.KERNEL,
    "GFP_HIGHUSER_MOVABLE": gfp.KERNEL,
    "GFP_TRANSHUGE": gfp.KERNEL,
    "GFP_TEMPORARY": gfp.KERNEL,
    "GFP_NOFS": gfp.NOFS,
    "GFP_NOIO": gfp.NOIO,
    "GFP_ATOMIC": gfp.ATOMIC,
    "GFP_NOWAIT": gfp.NOWAIT,
    "__GFP_HIGH": gfp.HIGH,
    "__GFP_IO": gfp.IO,
    "__GFP_FS": gfp.FS,
    "__GFP_RECLAIM": gfp.RECLAIM,
    "__GFP_DIRECT_RECLAIM": gfp.DIRECT_RECLAIM,
    "__GFP_KSWAPD_RECLAIM": gfp.KSWAPD_RECLAIM,
    "__GFP_NOWARN": gfp.NOWARN,
    "__GFP_NOFAIL": gfp.NOFAIL,
    "__GFP_NORETRY": gfp.NORETRY,
}


def model_flags(printed: str | None, atomic: bool) -> int:
    """Return the model's flags for a printed request.

    `atomic` is the kernel's own decision, printed beside the flags; it stands where no flags are
    printed (kernels before 5.19, failures) or only a number. Charging is left out: traces do not
    tell which requests were charged, and no placement depends on it.

    >>> model_flags("GFP_USER|__GFP_NOWARN|__GFP_ACCOUNT", False) == gfp.KERNEL | gfp.NOWARN
    True
    """
    if printed is None or printed.startswith("0x"):
        return gfp.NOWAIT if atomic else gfp.KERNEL
    flags = 0
    for name in printed.split("|"):
        flags |= _NAMED.get(name, 0)
    return flags

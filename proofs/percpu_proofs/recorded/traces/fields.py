"""How each event is written: one table, from which the jsonl and the text readers are made.

And what allocation flags mean that the kernel prints by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from percpu_proofs.recorded.traces import events as ev
from percpu_spec import gfp

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
    record: Callable[..., ev.TraceEvent]
    fields: tuple[Field, ...]

    @property
    def in_record(self) -> list[Field]:
        """The same fields in the order of the record, in which optional ones come last."""
        return sorted(self.fields, key=lambda one: one.optional)


_BASE = Field("base_addr", "base_addr", "address")
_PROBED = Field("base_addr", "base", "address")
_RESERVED = Field("reserved", "reserved", "flag")
_ATOMIC = Field("is_atomic", "is_atomic", "flag")
_SIZE = Field("size", "size", "natural")
_ALIGN = Field("align", "align", "natural")
_OFF = Field("off", "off", "natural")
_FOUND = Field("off", "off", "number")  # negative: nothing was found
_PTR = Field("ptr", "ptr", "address")
_START = Field("start", "start", "natural")
_END = Field("end", "end", "natural")
_CALL_SITE = Field("call_site", "call_site", "words", optional=True)
_BYTES = Field("bytes_alloc", "bytes_alloc", "natural", optional=True)
_GFP = Field("gfp_flags", "gfp_flags", "words", optional=True)


def _form(op: str, name: str, record: Callable[..., ev.TraceEvent], *fields: Field) -> EventForm:
    return EventForm(op, name, record, fields)


FORMS: tuple[EventForm, ...] = (
    _form(
        "alloc", "percpu_alloc_percpu", ev.Alloc,
        _CALL_SITE, _RESERVED, _ATOMIC, _SIZE, _ALIGN, _BASE, _OFF, _PTR, _BYTES, _GFP,
    ),
    _form("free", "percpu_free_percpu", ev.Free, _BASE, _OFF, _PTR),
    _form("fail", "percpu_alloc_percpu_fail", ev.Fail, _RESERVED, _ATOMIC, _SIZE, _ALIGN),
    _form("create_chunk", "percpu_create_chunk", ev.CreateChunkEvent, _BASE),
    _form("destroy_chunk", "percpu_destroy_chunk", ev.DestroyChunkEvent, _BASE),
    _form(
        "k_area", "area", ev.AllocArea, _PROBED, Field("bits", "bits", "natural"), _ALIGN, _START
    ),
    _form("k_area_ret", "area_ret", ev.AreaReturn, _FOUND),
    _form("k_farea", "farea", ev.AreaFree, _PROBED, _OFF),
    _form("k_populated", "populated", ev.Populated, _PROBED, _START, _END),
    _form("k_depopulated", "depopulated", ev.Depopulated, _PROBED, _START, _END),
    _form("k_popcall", "popcall", ev.PopulateCall, _PROBED, _START, _END),
    _form("k_balance", "balance", ev.BalanceEntry),
    _form("k_balance_ret", "balance_ret", ev.BalanceReturn),
    _form("k_bfree", "bfree", ev.BalanceFree, Field("empty_only", "empty_only", "flag")),
    _form("k_relocate", "relocate", ev.Relocate, _PROBED, Field("oslot", "oslot", "number")),
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


def shape(form: EventForm) -> str:
    """Return the fields of an event in words, for messages.

    >>> shape(FORMS[1])
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

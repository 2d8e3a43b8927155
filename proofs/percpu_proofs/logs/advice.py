"""What a failure means and what to change, in entries of the Markdown files beside this module.

Lines that no mainline kernel prints with their numbers are told as that: they are damaged, made up,
or of a patch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.logs.failures import ILLEGAL, UNKNOWN, Failure
from percpu_proofs.run import failures
from percpu_reference.variants import of_release, variant_class
from percpu_spec.counts import counted
from percpu_spec.geometry import LEAST_UNIT, Geometry
from percpu_spec.gfp import DIRECT_RECLAIM
from percpu_spec.releases import BACKPORTED

FOLDER = Path(__file__).parent
_HEADING = re.compile(r"^## ", re.M)
_PARAGRAPH = re.compile(r"(>|harmless:)?\s*(?:\[(\w+)\] )?(.*)")


class Paragraph(NamedTuple):
    """A text with holes. kind: what it begins with; condition: a value, without which it is not."""

    kind: str
    condition: str
    text: str


class Texts(NamedTuple):
    """An entry filled in. marks: clauses and what else its heading says."""

    marks: tuple[str, ...]
    harmless: str
    says: tuple[str, ...]
    advice: tuple[str, ...]


def texts(file: str, name: str, **values: object) -> Texts:
    """Return an entry of a file, filled in."""
    marks, paragraphs = entries(file)[name]
    by_kind: dict[str, list[str]] = {"": [], ">": [], "harmless:": []}
    for kind, condition, text in paragraphs:
        if not condition or values[condition]:
            by_kind[kind].append(text.format(**values))
    listed = tuple(filter(None, marks.format(**values).split(", ")))
    return Texts(listed, "".join(by_kind["harmless:"]), tuple(by_kind[""]), tuple(by_kind[">"]))


@cache
def entries(file: str) -> dict[str, tuple[str, list[Paragraph]]]:
    """Return the entries of a file by name, with the marks that stand behind it in the heading."""
    found = {}
    for entry in _HEADING.split((FOLDER / f"{file}.md").read_text("utf-8"))[1:]:
        heading, _, body = entry.partition("\n")
        name, _, marks = heading.partition(":")
        found[name] = marks.strip(), list(map(_paragraph, body.strip().split("\n\n")))
    return found


def _paragraph(lines: str) -> Paragraph:
    """Return a paragraph on one line.

    >>> _paragraph("> [short] batches: at most\\n> {most}")
    Paragraph(kind='>', condition='short', text='batches: at most {most}')
    """
    match = _PARAGRAPH.fullmatch(" ".join(lines.replace("\n>", "\n").split()))
    assert match is not None
    return Paragraph(match[1] or "", match[2] or "", match[3])


LOW, HIGH = Geometry().empty_low, Geometry().empty_high  # pages
_GRANULE: Final = Geometry().granule
_RESERVE: Final = 8192  # PERCPU_MODULE_RESERVE; 65536 with CONFIG_MEM_ALLOC_PROFILING (6.10)
_USUAL_PAGE: Final = 4096
_PRINTS_ATOMIC: Final = (6, 6)
_CALLERS: Final = {
    "bpf": r"bpf_mem_|alloc_bulk|unit_alloc|htab_", "vxlan": r"dst_cache_init|vxlan_",
    "nftables": r"nft_|nf_tables", "block": r"blk_|sbitmap_|scsi_|iscsi",
}  # fmt: skip
"""Callers of whom something is known, and how their functions begin."""
_WORDS: Final = {True: "yes", False: "no", None: "not known"}
_BITS: Final = 64  # of the longest size_t
_ALIGN_CHECKED: Final = (4, 10)  # from where on an alignment that is no power of two is refused
_DONE_IN: Final = "9a5b183941b5"


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is known of the machine of a log. Sizes in bytes; None: not known."""

    page: int | None = None
    unit: int | None = None
    units: int | None = None
    cpus: int | None = None
    reserved: int | None = None
    backing: str = "vm"
    release: str | None = None
    geometry: str | None = None  # as --geometry takes it

    @property
    def version(self) -> tuple[int, int] | None:
        """The release as numbers."""
        match = re.match(r"(\d+)\.(\d+)", self.release or "")
        return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a failure means.

    harmless: whether nothing needs mending, None where that is not known; effect: why, and for whom
    it is not. advice: what to change.
    """

    says: tuple[str, ...]
    clauses: tuple[str, ...]
    harmless: bool | None
    effect: str
    advice: tuple[str, ...]

    @property
    def harm(self) -> str:
        """Whether it does harm, in words."""
        return f"{_WORDS[self.harmless]}: {self.effect}"


def explain(failure: Failure, machine: MachineFacts) -> Explanation:
    """Return what a failure means on a machine."""
    page = machine.page or _USUAL_PAGE
    known = "" if machine.page else " (4 KiB are assumed)"
    wrong = impossible(failure, page, machine.version)
    if wrong is not None:
        (clause,), (why,) = wrong.marks, wrong.says
        assumed = known if clause == "API-1" else ""  # only there the page matters
        return _explanation("impossible", clause=clause, assumed=assumed, why=why)
    entry, values_of = _BY_REASON[failure.reason]
    return _explanation(
        entry, asked=_size(failure), size=failure.size, page=page, known=known,
        caller=failure.stack.caller, **values_of(failure, machine, page),
    )  # fmt: skip


def _explanation(entry: str, **values: object) -> Explanation:
    """Return what an entry of advice.md says."""
    found = texts("advice", entry, **values)
    word, _, effect = found.harmless.partition(": ")
    harmless = next(value for value, known in _WORDS.items() if known == word)
    return Explanation(found.says, found.marks, harmless, effect, found.advice)


def _atomic(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    step = _step(failure)
    each, pages = page // step, -(-step // page)
    enough = ""
    if pages >= HIGH:
        enough = (
            f", side by side where a hole allows it: for {pages} in a row it may take several "
            "failures and runs, and where holes are shorter no run provides them"
        )
    elif pages > 1:
        enough = ", side by side where a hole allows it, so mostly enough for this request"
    burst = f"--size {failure.size} --align {failure.align or _GRANULE}"
    burst += f" --geometry {machine.geometry}" if machine.geometry else ""
    names, version = failure.stack.callers, machine.version
    variant = of_release(machine.release or "")
    noio_sleeps = bool(variant) and variant_class(variant).BLOCKING == DIRECT_RECLAIM
    return {
        "low": LOW, "high": HIGH, "short": step <= page, "long": step > page,
        "of_a_page": counted(each, "such area"), "of_low": LOW * each, "of_high": HIGH * each,
        "pages": counted(pages, "page"), "enough": enough, "burst": burst,
        "release": machine.release, "backported": version is not None and version < _PRINTS_ATOMIC,
        "done_in": _DONE_IN, "backported_to": BACKPORTED,
        "noio_fails": not noio_sleeps,
    } | {who: any(re.match(form, n) for n in names) for who, form in _CALLERS.items()}  # fmt: skip


def _reserved(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    reserve = machine.reserved or _RESERVE
    where = "as the layout says"
    if machine.reserved is None:
        where = "unless built otherwise; 65536 with allocation profiling"
    caller, fits = failure.stack.caller, failure.size <= reserve
    return {
        "sized": failure.align is not None,
        "whose": f"module {failure.module}" if failure.module else "a module",
        "reserve": reserve, "where": where, "by_loader": failure.source == "module loader",
        "too_large": not fits, "fits": fits, "search": "FIT-1" if fits else "",
        "rc": machine.version == (4, 14) and "-rc" in (machine.release or ""),
        "wrong_caller": caller is not None and not re.search(r"module", caller),
    }  # fmt: skip


def _create(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    space = ""
    if machine.unit and machine.units:
        space = f" ({machine.units} units of {machine.unit} bytes here)"
    km = machine.backing == "km"
    return {"space": space, "km": km, "vm": not km}


def _populate(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    pages = max(-(-failure.size // page), 1)
    cost = "one on every possible CPU"
    if machine.cpus:
        per = machine.cpus * page // 1024
        cost = f"one on each of {machine.cpus} possible CPUs, {per} kB for each page of a unit"
    most_pages = counted(pages + 1, "page")
    return {"cost": cost, "pages": counted(pages, "page"), "most_pages": most_pages}


def _illegal(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    largest = _largest(page)
    size, align = failure.size, failure.align or _GRANULE
    no_power, overflow = align & (align - 1) != 0, size >= 1 << 31
    return {
        "align": align, "largest": largest, "empty": size == 0, "overflow": overflow,
        "too_large": size > largest and not overflow, "no_power": no_power,
        "above_page": align > page and not no_power, "no_caller": failure.stack.caller is None,
    }  # fmt: skip


def _unknown(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    event = failure.source == "event"
    clauses = "API-5, BAL-5" if failure.atomic else "API-9"
    return {"event": event, "message": not event, "printed": failure.printed, "clauses": clauses}


def _extend(failure: Failure, machine: MachineFacts, page: int) -> dict[str, object]:
    return {}


_BY_REASON: Final[dict[str, tuple[str, Callable[..., dict[str, object]]]]] = {
    failures.ATOMIC: ("atomic", _atomic),
    failures.RESERVED: ("reserved", _reserved),
    failures.CREATE: ("create", _create),
    failures.POPULATE: ("populate", _populate),
    failures.EXTEND: ("extend", _extend),
    failures.EXTEND_RESERVED: ("extend", _extend),
    ILLEGAL: ("illegal", _illegal),
    UNKNOWN: ("unknown", _unknown),
}
"""What is said of each reason: an entry of advice.md, and what fills it in."""


def _largest(page: int) -> int:
    """Return the largest request: PCPU_MIN_UNIT_SIZE in whole pages."""
    return -(-LEAST_UNIT // page) * page


def _step(failure: Failure) -> int:
    """Return what each of such areas takes in a row of them."""
    align = max(failure.align or _GRANULE, _GRANULE)
    size = -(-failure.size // _GRANULE) * _GRANULE
    return max(-(-size // align) * align, _GRANULE)


def _size(failure: Failure) -> str:
    granules = -(-failure.size // _GRANULE)
    how = {None: "", True: ", atomic: it may not sleep", False: ", it may sleep"}[failure.atomic]
    text = f"{failure.size} bytes, {counted(granules, 'granule')} of {_GRANULE}"
    return text + (f", aligned to {failure.align}" if failure.align else "") + how


def impossible(
    failure: Failure, page: int, version: tuple[int, int] | None = None
) -> Texts | None:
    """Return why no mainline kernel prints a failure, an entry of impossible.md; None if it may.

    page: in bytes; version: of the kernel, None where it is not known.
    """
    size, align = failure.size, failure.align
    if max(size, align or 0) >> _BITS:
        return texts("impossible", "too long", bits=_BITS)
    if failure.source == "module loader":  # it tells what it asked for, whatever became of it
        return None
    largest = _largest(page)
    illegal = ""
    if not 0 < size <= largest:
        illegal = f"{size} bytes are not between 1 and the largest request, {largest}"
    elif align is not None and align > page:
        illegal = f"the alignment {align} is above a page of {page} bytes"
    elif align is not None and align & (align - 1) and (
        version is None or version >= _ALIGN_CHECKED or failure.reason == ILLEGAL
    ):  # fmt: skip
        illegal = f"the alignment {align} is no power of two"
    if failure.reason == ILLEGAL:
        return None if illegal else texts("impossible", "legal", page=page, size=size, align=align)
    if illegal:
        return texts("impossible", "illegal", illegal=illegal, size=size, align=align)
    if failure.atomic and failure.reason in (failures.POPULATE, failures.CREATE):
        done = "populates pages" if failure.reason == failures.POPULATE else "makes a chunk"
        return texts("impossible", "atomic", done=done, reason=failures.ATOMIC)
    if failure.atomic is False and failure.reason == failures.ATOMIC:
        return texts("impossible", "not atomic", reason=failures.ATOMIC)
    return None

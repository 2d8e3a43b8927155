"""What the kernel prints of the percpu layout at boot, whatever stands around it.

Before a message may stand anything: levels, times, hosts, colours, marks of quotation. A long one
may go on in the next lines, as mail programs and terminals break it. A console may print a boot
twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.recorded.source import problem
from percpu_spec.geometry import LEAST_UNIT

_N: Final = r"([0-9]{1,18})"  # longer numbers are no sizes
_PARTS: Final = rf"\s+s{_N}\s+r{_N}\s+d{_N}"
_AT: Final = r"(?:\s+@\s*\S+)?"  # the address, up to 5.1
_SIZES: Final = re.compile(rf"pcpu-alloc:{_PARTS}\s+u{_N}\s+alloc={_N}\*{_N}(?!\S)")
_UNITS: Final = re.compile(r"pcpu-alloc:((?:\s+\[[0-9]{1,9}\](?:\s+(?:[0-9]{1,9}|-+))*)+)\s*$")
_GROUP: Final = re.compile(r"\[([0-9]{1,9})\]((?:\s+(?:[0-9]{1,9}|-+))*)")
_EMBEDDED: Final = re.compile(
    rf"percpu: Embedded {_N}\s+pages/cpu{_AT}{_PARTS}\s+u{_N}(?!\S)", re.I
)
_PAGED: Final = re.compile(rf"percpu: {_N}\s+([0-9]{{1,9}})K\s+pages/cpu{_AT}{_PARTS}(?!\S)", re.I)
_FIRST: Final = re.compile(r"percpu: (?:Embedded|[0-9]+\s+[0-9]+K\b)", re.I)
_LAYOUT: Final = re.compile(rf"{_FIRST.pattern}|pcpu-alloc:", re.I)
_FALLBACK: Final = re.compile(
    r"percpu: (max_distance=.* too large for .*|.* allocator failed .*)", re.I
)
_WASTING: Final = re.compile(r"percpu: wasting [0-9]+ pages per chunk", re.I)  # of km alone
_SETUP: Final = re.compile(r"setup_percpu: NR_CPUS:[0-9].* nr_cpu_ids:([0-9]{1,9})\b")
_CPU_IDS: Final = re.compile(
    r"RCU restricting CPUs from NR_CPUS=[0-9]+ to nr_cpu_ids=([0-9]{1,9})\b"
    r"|SLUB: .*\bCPUs=([0-9]{1,9})\b"
)
_TABLE: Final = re.compile(
    r"hash table entries: [0-9]+ \(order: (-?[0-9]{1,2}), ([0-9]{1,18}) bytes\b"
)
_BEFORE: Final = re.compile(r"^(?:[>|\s]|<[0-9]+>|\[\s*[0-9]+\.[0-9]+\]|\[\s*[TC][0-9]+\])*")
_REST: Final = re.compile(  # what the rest of a broken message consists of
    r"(?:Embedded|[0-9]+K?|pages/cpu|@\S*|\(\w*\)|[srdu][0-9]+|alloc=[0-9]+\*[0-9]+|\[[0-9]+\]|-+)"
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_COMPLETE: Final = (
    "`dmesg` has all from boot, unless later messages have overwritten them (log_buf_len=4M)"
)
_MOST_BREAKS: Final = 8  # lines that one message takes


@dataclass(frozen=True, slots=True)
class Parts:
    """What lines of the layout tell of a unit, in bytes; unit: None where it is not printed."""

    line: int = field(compare=False)
    static: int
    reserved: int
    dyn: int
    unit: int | None

    @property
    def total(self) -> int:
        """The bytes of a unit that are served, and its static part."""
        return self.static + self.reserved + self.dyn

    @property
    def text(self) -> str:
        """The sizes as the kernel prints them, without those of allocations."""
        unit = "" if self.unit is None else f" u{self.unit}"
        return f"s{self.static} r{self.reserved} d{self.dyn}{unit}"


@dataclass(frozen=True, slots=True)
class FirstChunk(Parts):
    """The line of the first chunk. `page` is printed where the pages are mapped one by one, else
    the unit is.
    """

    pages: int  # that hold static, reserved and dynamic part
    page: int | None

    def holds(self, page: int) -> bool:
        """Whether so many pages of a size are what the parts fill, or the least unit."""
        total = self.total if self.page is None else max(self.total, LEAST_UNIT)  # a whole unit
        return -(-total // page) == self.pages


@dataclass(frozen=True, slots=True)
class Sizes(Parts):
    """The line of sizes: a group's units come in allocations of atoms * atom bytes."""

    atoms: int
    atom: int


class HashTable(NamedTuple):
    """A hash table of so many bytes (alloc_large_system_hash)."""

    line: int
    order: int
    size: int

    @property
    def page(self) -> int:
        """The page whose order it is. Kernels up to 5.x round it down, below 0 if need be."""
        return 1 << max(self.size.bit_length() - 1 - self.order, 0)

    def fits(self, page: int) -> bool:
        """Whether pages may be of a size; later kernels round the order up (get_order)."""
        up = (-(-self.size // page) - 1).bit_length()
        return page == self.page or up == self.order


@dataclass(frozen=True, slots=True)
class UnitGroup:
    """Units that were allocated together: the CPU of each, None for one that belongs to none."""

    line: int = field(compare=False)
    group: int
    cpus: tuple[int | None, ...]


@dataclass(slots=True)
class BootLog:
    """What one boot says; the number of a line goes with each statement.

    tables: hash tables, which tell the page by their order. cpu_ids: CPUs at most.
    """

    where: Path
    lines: int = 0
    first_chunk: FirstChunk | None = None
    sizes: Sizes | None = None
    allocations: list[UnitGroup] = field(default_factory=list)
    tables: list[HashTable] = field(default_factory=list)
    setup_ids: tuple[int, int] | None = None  # as x86 prints them with the layout
    cpu_ids: tuple[int, int] | None = None
    is_km: bool = False
    fallback: list[str] = field(default_factory=list)  # why the first chunk is not embedded


def is_layout(text: str) -> bool:
    """Return whether a line is, or begins, one of the layout's."""
    return _LAYOUT.search(text) is not None


def read_bootlog(where: Path, lines: Iterable[tuple[int, str]]) -> BootLog:
    """Return what numbered lines say of the layout.

    Raises TraceError for a message of the layout that is not whole, and for two boots that differ.
    """
    log = BootLog(where)
    rounds: list[list[UnitGroup]] = []  # the groups' lines behind each line of sizes
    for number, text in _messages(log, lines):
        if match := _EMBEDDED.search(text):
            pages, static, reserved, dyn, unit = map(int, match.groups())
            _enter(log, FirstChunk(number, static, reserved, dyn, unit, pages, None))
        elif match := _PAGED.search(text):
            pages, kib, static, reserved, dyn = map(int, match.groups())
            _enter(log, FirstChunk(number, static, reserved, dyn, None, pages, kib << 10))
        elif match := _SIZES.search(text):
            _enter(log, Sizes(number, *map(int, match.groups())))
            rounds.append([])
        elif match := _UNITS.search(text):
            rounds = rounds or [[]]
            rounds[-1] += _allocations(number, match[1])
        elif _LAYOUT.search(text):
            expected = (
                "percpu: N pages/cpu s.. r.. d.., or Embedded with u.." if _FIRST.search(text)
                else "pcpu-alloc: [group] cpu..., or s.. r.. d.. u.. alloc=..*.."
            )  # fmt: skip
            raise problem(where, number, expected, text)
        elif match := _FALLBACK.search(text):
            if match[1] not in log.fallback:
                log.fallback.append(match[1])
        elif _WASTING.search(text):
            log.is_km = True
        elif match := _SETUP.search(text):
            log.setup_ids = log.cpu_ids = number, int(match[1])
        elif match := _CPU_IDS.search(text):
            log.cpu_ids = log.cpu_ids or (number, int(match[1] or match[2]))
        elif (match := _TABLE.search(text)) and int(match[2]):
            log.tables.append(HashTable(number, int(match[1]), int(match[2])))
    for one in filter(None, rounds):  # some may have lost lines
        few, many = sorted((log.allocations, one), key=len)
        if not set(few) <= set(many):
            _same(log, log.allocations, one)
        log.allocations = many
    return log


def _messages(log: BootLog, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield each message with the number of its first line; one of the layout is made whole."""
    number, text, breaks = 0, "", 0
    per_allocation = 0
    for log.lines, printed in lines:
        line = _COLOUR.sub("", printed)
        rest = _BEFORE.sub("", line).split()
        may_go_on = text and breaks < _MOST_BREAKS and all(map(_REST.fullmatch, rest))
        if may_go_on and _goes_on(text, per_allocation):
            text = " ".join([text.rstrip(), *rest])
            breaks += 1
            continue
        if text:
            if sizes := _SIZES.search(text):
                unit, atoms, atom = map(int, sizes.groups()[3:])
                per_allocation = atoms * atom // unit if unit else 0
            yield number, text
            text = ""
        if _LAYOUT.search(line):
            number, text, breaks = log.lines, line.rstrip(), 0
        else:
            yield log.lines, line
    if text:
        yield number, text


def _goes_on(text: str, per_allocation: int) -> bool:
    """Return whether a message of the layout lacks something."""
    if units := _UNITS.search(text):
        last = _GROUP.findall(units[1])[-1][1].split()
        return len(last) % (per_allocation or 1) > 0 or not last
    return not any(form.search(text) for form in (_EMBEDDED, _PAGED, _SIZES))


def _allocations(number: int, text: str) -> Iterator[UnitGroup]:
    for group, units in _GROUP.findall(text):
        cpus = (None if unit.startswith("-") else int(unit) for unit in units.split())
        yield UnitGroup(number, int(group), tuple(cpus))


def _enter(log: BootLog, line: FirstChunk | Sizes) -> None:
    """Take over a line; a boot may be printed twice, but two boots are too many."""
    name = "first_chunk" if isinstance(line, FirstChunk) else "sizes"
    known = getattr(log, name)
    if known is not None:
        _same(log, [known], [line])
    else:
        setattr(log, name, line)


def _same(
    log: BootLog, known: Sequence[Parts | UnitGroup], again: Sequence[Parts | UnitGroup]
) -> None:
    if known and known != again:
        expected = f"the messages of one boot; line {known[0].line} tells of another"
        raise problem(log.where, again[0].line, expected)


def missing(log: BootLog) -> str:
    """Return which lines of units are not there, and where they are, in words; empty if none.

    The kernel prints the groups in order, numbered from 0, and of each the CPUs from the lowest up.
    nr_cpu_ids is one more than the last CPU. On x86 every number below it is a CPU; elsewhere some
    may be none, which looks as if their lines were lost: then it is open. Without nr_cpu_ids a last
    group that is shorter than others may have lost its end. Source: pcpu_dump_alloc_info,
    setup_nr_cpu_ids.
    """
    units = Counter[int]()
    cpus: set[int] = set()
    for one in log.allocations:
        units[one.group] += len(one.cpus)
        cpus.update(cpu for cpu in one.cpus if cpu is not None)
    if not cpus:
        return ""
    last, ids = max(units), log.cpu_ids
    groups = [group for group in range(last) if group not in units]
    among = [cpu for cpu in range(max(cpus)) if cpu not in cpus]
    behind = range(max(cpus) + 1, 0 if ids is None else ids[1])
    if groups or behind or among:
        parts = [*_ranges("group", groups), *_ranges("CPU", (*among, *behind))]
        by = f" (nr_cpu_ids in line {ids[0]} is {ids[1]})" if ids is not None else ""
        holes = among and not (groups or behind or log.setup_ids)
        other = ", unless this machine has no such CPUs" if holes else ""
        return f"{', '.join(parts)}{by} in no line 'pcpu-alloc: [group] cpu...'{other}; {_COMPLETE}"
    if ids is None and units[last] < max(units.values()):
        return (
            f"the last group, {last}, has {units[last]} units, others have {max(units.values())}, "
            f"and no line has nr_cpu_ids: lines of it may be missing; {_COMPLETE}"
        )
    return ""


def _ranges(noun: str, numbers: Iterable[int]) -> Iterator[str]:
    """Yield numbers as ranges behind a noun, in one text."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda e: e[1] - e[0])]
    if not runs:
        return
    several = len(runs) > 1 or len(runs[0]) > 1
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    yield f"{noun}{'s' if several else ''} {' and '.join(texts)}"

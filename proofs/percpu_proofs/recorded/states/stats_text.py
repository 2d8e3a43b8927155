"""The text of percpu_stats (debugfs), as the kernel prints it or as a mail quotes it.

Source: mm/percpu-stats.c. The kernel prints it under pcpu_lock: it is one moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from percpu_proofs.recorded.traces.events import GRANULE
from percpu_proofs.run.inputs import InputError, read_text
from percpu_spec.geometry import PAGE_SIZES

TITLE = "Percpu Memory Statistics"

_QUOTED = re.compile(r"^[>\s]*")
_CHUNK = re.compile(r"Chunk(?: \((\w+)\))?:?(?:\s*<- (First|Reserved) Chunk)?:?")
_ROW = re.compile(r"([a-z_]\w*)\s*:\s*(\S+)")
_LAYOUT = ("unit_size", "static_size", "reserved_size", "dyn_size")
_GLOBAL = ("nr_alloc", "nr_dealloc", "nr_cur_alloc", "nr_chunks", "empty_pop_pages")
_IN_BYTES = (
    "free_bytes", "contig_bytes", "sum_frag", "max_frag", "cur_min_alloc", "cur_med_alloc",
    "cur_max_alloc",
)  # fmt: skip
_TYPE = "memcg_aware"  # printed by kernels with two types of chunks, for every chunk
_OF_CHUNK = ("nr_alloc", "empty_pop_pages", "free_bytes", "contig_bytes", "sum_frag", "max_frag")


@dataclass(frozen=True, slots=True)
class ChunkStats:
    """One chunk's rows, by name; sizes in bytes of one unit. line: of its heading.

    role: first, reserved, sidelined, to_depopulate, or empty.
    """

    number: int
    line: int
    role: str
    rows: Mapping[str, int]

    @property
    def isolated(self) -> bool:
        """Whether it is out of circulation."""
        return self.role in ("sidelined", "to_depopulate")

    @property
    def chunk_type(self) -> int:
        """Its type where there are two (5.9 to 5.13): 1 for accounted memory."""
        return self.rows.get(_TYPE, 0)

    @property
    def longest(self) -> int:
        """The longest free run: a hole between areas, or what is free behind the last one."""
        return max(self.rows["max_frag"], self.rows["free_bytes"] - self.rows["sum_frag"])


@dataclass(frozen=True, slots=True)
class PercpuStats:
    """The whole text: layout and counters by name, and the chunks in the order of their lists."""

    where: Path
    layout: Mapping[str, int]
    counters: Mapping[str, int]
    chunks: Sequence[ChunkStats]

    @property
    def unit(self) -> int:
        """Bytes of a unit."""
        return self.layout["unit_size"]

    @property
    def types(self) -> int:
        """How many types of chunks the kernel keeps apart."""
        return 2 if any(_TYPE in chunk.rows for chunk in self.chunks) else 1

    @property
    def pages(self) -> tuple[int, ...]:
        """The sizes of a page that fit: they divide a unit and its parts, and what is allocated."""
        parts = sum(self.layout[f"{name}_size"] for name in ("static", "reserved", "dyn"))
        atom = self.layout.get("atom_size", 0)
        if atom in PAGE_SIZES:  # where units are not put together from large pages
            return (atom,)
        return tuple(
            page for page in PAGE_SIZES
            if not self.unit % page and not parts % page and not atom % page
        )  # fmt: skip

    def capacity(self, chunk: ChunkStats) -> int:
        """Return the bytes of a unit that requests may get in a chunk, at most."""
        served = {"first": "dyn_size", "reserved": "reserved_size"}.get(chunk.role, "unit_size")
        return self.layout[served]

    def used(self, chunk: ChunkStats) -> int:
        """Return the bytes of a unit that areas take in a chunk."""
        return max(self.capacity(chunk) - chunk.rows["free_bytes"], 0)


def is_stats(text: str) -> bool:
    """Return whether a text is that of percpu_stats, whatever stands before it."""
    return any(_QUOTED.sub("", line).startswith(TITLE) for line in text.splitlines())


def read_stats(path: Path) -> PercpuStats:
    """Return what a file says, plain or gzip.

    Raises InputError with the line for a wrong number, and for a text that ends early.
    """
    return stats_of(path, read_text(path).splitlines())


def stats_of(path: Path, lines: Sequence[str]) -> PercpuStats:
    """Return what the lines of `path` say; raises as read_stats does."""
    layout: dict[str, int] = {}
    counters: dict[str, int] = {}
    chunks: list[tuple[int, str, dict[str, int]]] = []
    places: dict[tuple[int, str], int] = {}  # lines of rows, by what they are rows of
    rows: dict[str, int] | None = None
    number = 0
    for number, printed in enumerate(lines, 1):
        line = _QUOTED.sub("", printed).rstrip()
        if line.startswith(TITLE):
            if chunks or counters:
                raise InputError(path, number, "one text of percpu_stats", line)
            rows = layout
        elif rows is None:
            continue  # of the mail around it
        elif line.startswith("Allocation Info"):
            rows = layout
        elif line.startswith("Global Stats"):
            rows = counters
        elif line.startswith("Per Chunk Stats"):
            rows = {}
        elif match := _CHUNK.fullmatch(line):
            rows = {}
            chunks.append((number, (match[2] or match[1] or "").lower(), rows))
        elif match := _ROW.fullmatch(line):
            name, value = match.groups()
            if name in rows:
                raise InputError(path, number, f"{name} once", line)
            if re.fullmatch(r"[0-9]{1,20}", value):
                rows[name] = int(value)
                places[id(rows), name] = number
            elif value != "-":  # unknown, as `show --stats` writes it
                raise InputError(path, number, f"{name} : number", value)
    _require(path, number, layout, _LAYOUT, "the layout")
    _require(path, number, counters, _GLOBAL, "the global counters")
    if not any(role == "first" for _, role, _ in chunks):
        raise InputError(path, number, "a chunk marked 'First Chunk': the text is not whole")
    typed = any(_TYPE in of_chunk for *_, of_chunk in chunks)
    for line_of, _, of_chunk in chunks:
        _require(path, line_of, of_chunk, _OF_CHUNK, "the chunk")
        if typed and _TYPE not in of_chunk:  # what is missing would be taken for type 0
            raise InputError(path, line_of, f"{_TYPE} of every chunk, as others have it", "none")
    numbered = iter(range(len(chunks)))
    stats = PercpuStats(
        path, layout, counters,
        [ChunkStats(-1 if role == "reserved" else next(numbered), line, role, of_chunk)
         for line, role, of_chunk in chunks],
    )  # fmt: skip
    for of, name, expected in _impossible(stats):
        raise InputError(path, places[id(of), name], f"{name}: {expected}", str(of[name]))
    return stats


def _impossible(stats: PercpuStats) -> Iterator[tuple[Mapping[str, int], str, str]]:
    """Yield (rows, name, what was expected) of what no kernel prints."""
    layout, unit = stats.layout, stats.unit
    if not unit or unit % min(PAGE_SIZES):
        yield layout, "unit_size", "whole pages"
    left = unit
    for name in _LAYOUT[1:]:
        if layout[name] > left:
            yield layout, name, f"at most {left}, what the unit of {unit} bytes has left"
        left -= layout[name]
    for chunk in stats.chunks:
        rows = chunk.rows
        for name in _IN_BYTES:
            most = stats.capacity(chunk) if name == "free_bytes" else unit
            if not 0 <= rows.get(name, 0) <= most or rows.get(name, 0) % GRANULE:
                yield rows, name, f"granules of {GRANULE} bytes, at most {most} bytes"
        pages, bits = unit // min(PAGE_SIZES), unit // GRANULE
        free, holes = rows["free_bytes"], rows["sum_frag"]
        for name, most, expected in (
            ("empty_pop_pages", pages, f"at most {pages}, the pages of a unit"),
            ("first_bit", bits, f"at most {bits}, the bits of a unit"),
            ("sum_frag", free, f"at most the {free} free bytes"),
            ("max_frag", holes, f"at most the {holes} bytes of all holes"),
            (_TYPE, 1, "0 or 1"),
        ):
            if rows.get(name, 0) > most:
                yield rows, name, expected


def _require(
    path: Path, line: int, rows: Mapping[str, int], names: Sequence[str], of: str
) -> None:
    missing = [name for name in names if name not in rows]
    if missing:
        raise InputError(path, line, f"{missing[0]} of {of}: the text is not whole")

"""The shape of a machine, from what its kernel printed at boot, and sizes given beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from percpu_proofs.recorded.boot.log import BootLog, FirstChunk, Sizes, missing, read_bootlog
from percpu_proofs.recorded.source import lines_of, problem
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_proofs.run.sizes import size_of
from percpu_spec.geometry import (
    LEAST_UNIT,
    PAGE_SIZES,
    PAGES_ARE,
    Backing,
    Geometry,
    GeometryError,
)

EARLIEST: Final = 12288
"""Bytes. PERCPU_DYNAMIC_EARLY_SIZE of older kernels: what they booted with is no question."""
GROUP_LINES: Final = "lines 'pcpu-alloc: s.. r.. d.. u.. alloc=..' and 'pcpu-alloc: [group] cpu...'"
WHERE_FROM: Final = (
    "the kernel prints them at KERN_DEBUG, so `dmesg` has them and a console log has not, unless "
    "the kernel was booted with ignore_loglevel or loglevel=8"
)
_GROUPS: Final = f"{GROUP_LINES} ({WHERE_FROM})"
NO_LINES: Final = (
    "the percpu layout: a line 'percpu: Embedded N pages/cpu s.. r.. d.. u..' (KERN_INFO: a "
    "console log has it unless the kernel was booted with quiet or loglevel=6 or less) or "
    f"{_GROUPS}; where later messages have overwritten them, boot with log_buf_len=4M"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a machine's layout. Sizes in bytes; None is what the log leaves open.

    pages: the sizes of a page that fit; page_by: what decides between them, in words.
    """

    where: Path
    line: int  # that has the sizes
    static: int
    reserved: int
    dyn: int
    pages: tuple[int, ...]
    page_by: str
    unit: int
    cpus: int | None
    groups: int | None
    units: int | None
    backing: Backing
    first_chunk: str  # how it is mapped, in words
    notes: tuple[str, ...]
    missing: str = ""  # what lines of CPUs and groups are not there, in words

    @property
    def page(self) -> int | None:
        """The page size, if only one fits."""
        return self.pages[0] if len(self.pages) == 1 else None

    @property
    def geometry(self) -> Geometry:
        """The geometry. Raises TraceError if something of it is open, or a kernel would refuse it.
        """
        if self.page is None:
            raise problem(self.where, self.line, self.open_page)
        if self.cpus is None or self.groups is None:
            raise problem(self.where, self.line, self.open_cpus)
        try:
            return self._geometry(self.page, self.cpus, self.groups)
        except GeometryError as error:
            text = f"{self.where}:{self.line}: a layout the kernel would refuse: {error}"
            raise TraceError(text) from None

    def _geometry(self, page: int, cpus: int, groups: int) -> Geometry:
        return Geometry(
            unit=self.unit, static=self.static, reserved=self.reserved, dyn=self.dyn,
            cpus=cpus, groups=groups, spare=(self.units or cpus) - cpus,
            page=page, backing=self.backing, early=EARLIEST,
        ).require_kernel()  # fmt: skip

    def check_sizes(self) -> None:
        """Raise InputError if a kernel could not have these CPUs and groups."""
        groups = 1 if self.groups is None else self.groups
        cpus = groups if self.cpus is None else self.cpus
        try:
            self._geometry(self.pages[0], cpus, groups)
        except GeometryError as error:
            expected = f"sizes that a kernel boots with ({error})"
            raise InputError("--geometry", None, expected) from None

    @property
    def open_page(self) -> str:
        """What is expected where several page sizes fit."""
        fit = " or ".join(f"page={page}" for page in self.pages)
        return f"a log that tells the page size: {fit} fit ({self.page_by}); --geometry tells which"

    @property
    def open_cpus(self) -> str:
        """What is expected where the CPUs are open."""
        lines = f"all lines of units: {self.missing}" if self.missing else _GROUPS
        return f"{lines}, or --geometry cpus=N,groups=N to tell what they say"

    def as_json(self) -> dict[str, Any]:
        """Return the layout with plain values only; page_cost and percpu_page are bytes.

        A populated page takes page_cost, and Percpu of /proc/meminfo counts percpu_page for it.
        """
        page, whole = self.page, None
        if page is not None and self.cpus is not None and self.groups is not None:
            whole = self.geometry.text
        return {
            "page": page, "pages": list(self.pages), "page_by": self.page_by,
            "unit": self.unit, "unit_pages": self.unit // page if page else None,
            "static": self.static, "reserved": self.reserved, "dyn": self.dyn,
            "units": self.units, "cpus": self.cpus, "groups": self.groups,
            "spare": None if self.units is None or self.cpus is None else self.units - self.cpus,
            "page_cost": page * self.cpus if page and self.cpus else None,
            "percpu_page": page * self.units if page and self.units else None,
            "backing": self.backing, "first_chunk": self.first_chunk, "geometry": whole,
            "notes": list(self.notes),
        }  # fmt: skip


def read_layout(path: Path, sizes: Mapping[str, str] | None = None) -> Layout:
    """Return the layout of the machine whose boot messages `path` holds (plain or gzip).

    Consoles carry bytes that are no text; none of the layout's lines has some.
    """
    return layout(path, lines_of(path, errors="replace"), sizes)


def has_layout(path: Path) -> bool:
    """Return whether a log has lines of the layout; later messages may have overwritten them."""
    log = read_bootlog(path, lines_of(path, errors="replace"))
    return log.sizes is not None or log.first_chunk is not None


def layout(
    where: Path, lines: Iterable[tuple[int, str]], sizes: Mapping[str, str] | None = None
) -> Layout:
    """Return the layout that numbered boot messages give.

    sizes: by name, for what the messages leave open. Raises TraceError if there are no lines
    of the layout, or if they contradict each other; InputError if the sizes contradict them.
    Source: pcpu_build_alloc_info, pcpu_dump_alloc_info, pcpu_embed_first_chunk,
    pcpu_page_first_chunk.
    """
    log = read_bootlog(where, lines)
    parts = log.sizes or log.first_chunk
    if parts is None:
        raise problem(where, None, NO_LINES)
    _agree(log)
    _possible(log)
    units = [unit for one in log.allocations for unit in one.cpus]
    there = {
        "cpus": sum(unit is not None for unit in units),
        "groups": len({one.group for one in log.allocations}),
        "units": len(units),
    }
    lost = missing(log)
    first, smp = log.first_chunk, parts.static > 0
    pages, page_by = _page(log, parts, smp)
    unit = parts.unit or 0
    if isinstance(parts, FirstChunk) and parts.unit is None:  # pages are mapped one by one
        unit = parts.pages * pages[0]
    found = Layout(
        where, parts.line, parts.static, parts.reserved, parts.dyn, pages, page_by,
        unit, backing="vm" if smp and not log.is_km else "km",
        first_chunk=_mapped(first, smp), notes=tuple(_notes(log, lost)), missing=lost,
        **{name: None if lost else number or None for name, number in there.items()},
    )  # fmt: skip
    whole = _with_sizes(found, sizes or {})
    _hold(whole, there, log.cpu_ids)
    return whole


def _hold(found: Layout, there: Mapping[str, int], ids: tuple[int, int] | None) -> None:
    """Raise InputError if fewer CPUs or groups were given than there are lines of, or more CPUs."""
    for name, number in (("cpus", found.cpus), ("groups", found.groups)):
        if number is not None and number < there[name]:
            expected = f"{name}={there[name]} at least: the boot messages have as many"
            raise InputError("--geometry", None, expected, str(number))
    if ids is not None and found.cpus is not None and found.cpus > ids[1]:
        expected = f"cpus={ids[1]} at most, as nr_cpu_ids in line {ids[0]} says"
        raise InputError("--geometry", None, expected, str(found.cpus))


def _possible(log: BootLog) -> None:
    """Check what each line says by itself, whatever the page. Raises TraceError."""
    for line in (log.sizes, log.first_chunk):
        if line is None:
            continue
        least = max(line.total, LEAST_UNIT)
        if not line.dyn:
            expected = "d.. of more than 0 bytes: every kernel has a dynamic part"
        elif line.unit is not None and line.unit < least:
            expected = f"u.. of {least} bytes at least: a unit holds s, r and d"
        elif isinstance(line, FirstChunk) and not line.static:
            expected = "s.. of more than 0 bytes: only a kernel with a static part prints this line"
        else:
            continue
        raise problem(log.where, line.line, expected, line.text)


def _agree(log: BootLog) -> None:
    """Check the lines against each other. Raises TraceError."""
    where, first, sizes = log.where, log.first_chunk, log.sizes
    if first is not None and sizes is not None:
        same = sizes if first.unit is not None else replace(sizes, unit=None)
        if first.text != same.text:
            expected = f"{same.text}, as line {sizes.line} says"
            raise problem(where, first.line, expected, first.text)
        if first.page is not None and first.pages * first.page != sizes.unit:
            expected = f"as many pages as u{sizes.unit} of line {sizes.line} has"
            got = f"{first.pages} of {first.page} bytes"
            raise problem(where, first.line, expected, got)
    units = len(log.allocations[0].cpus) if log.allocations else 0
    said_at = log.allocations[0].line if log.allocations else 0
    if sizes is not None:
        whole = sizes.atoms * sizes.atom
        if not sizes.unit or not whole or whole % sizes.unit:
            got = f"alloc={sizes.atoms}*{sizes.atom} u{sizes.unit}"
            raise problem(where, sizes.line, "alloc=N*M of whole units", got)
        units, said_at = whole // sizes.unit, sizes.line
    seen: dict[int, int] = {}  # CPUs with their lines
    for one in log.allocations:
        if len(one.cpus) != units:
            expected = f"{units} units behind each [group], as line {said_at} says"
            raise problem(where, one.line, expected, str(len(one.cpus)))
        for cpu in one.cpus:
            if cpu is None:
                continue
            if cpu in seen:
                expected = f"CPU {cpu} in one unit only: line {seen[cpu]} has it"
                raise problem(where, one.line, expected)
            seen[cpu] = one.line
    ids = log.setup_ids
    if ids is not None and seen and max(seen) >= ids[1]:
        expected = f"nr_cpu_ids:{max(seen) + 1}, as the CPUs of line {seen[max(seen)]} say"
        raise problem(where, ids[0], expected, str(ids[1]))


def _page(log: BootLog, parts: Sizes | FirstChunk, smp: bool) -> tuple[tuple[int, ...], str]:
    """Return the page sizes that fit all that is printed, and what decides, in words.

    Raises TraceError if none does.
    """
    where, first, sizes = log.where, log.first_chunk, log.sizes
    total = parts.total
    fit = [page for page in PAGE_SIZES if not parts.unit or parts.unit % page == 0]
    by = f"a unit of {parts.unit} bytes is of whole pages"
    if sizes is not None:
        fit = [page for page in fit if sizes.atom % page == 0]
    if first is not None:
        fit = [page for page in fit if first.page in (None, page) and first.holds(page)]
        by = f"{first.pages} pages/cpu hold s+r+d, {total} bytes"
        if first.page is not None:
            by = f"line {first.line} prints it"
        if not fit:
            expected, got = _filled(first, sizes)
            raise problem(where, first.line, expected, got)
    whole = [page for page in fit if total % page == 0]  # so fills them pcpu_build_alloc_info
    if smp and first is None and not whole:
        raise problem(where, parts.line, "s, r and d that fill whole pages", str(total))
    if smp and whole:
        fit = whole
    told_at = parts.line
    for table in log.tables if fit else ():
        if not any(map(table.fits, fit)):
            pages = " or ".join(map(str, fit))
            expected = f"an order of pages of {pages} bytes, as line {told_at} says ({by})"
            raise problem(where, table.line, expected, f"one of pages of {table.page} bytes")
        if len(fit) > 1 and table.page in fit:
            told_at = table.line
            fit, by = [table.page], f"the order of a hash table, line {told_at}"
    if not fit:
        got = f"s+r+d {total}, u{parts.unit}"
        raise problem(where, parts.line, f"sizes of whole pages of one size ({by})", got)
    return tuple(fit), by


def _filled(first: FirstChunk, sizes: Sizes | None) -> tuple[str, str]:
    """Return how many pages the parts fill, in words, and what is there that no page size fits."""
    total = first.total
    if first.page is not None:
        if first.page not in PAGE_SIZES:
            return f"a page size, {PAGES_ARE}", f"{first.page} bytes"
        filled = f"{-(-max(total, LEAST_UNIT) // first.page)} of {first.page} bytes"
        return f"as many pages as s, r and d fill: {filled}", str(first.pages)
    unit, atom = first.unit or 0, 0 if sizes is None else sizes.atom
    fit = [page for page in PAGE_SIZES if unit % page == 0 and atom % page == 0]
    if not fit:
        return f"u.. of whole pages, of {PAGE_SIZES[0]} bytes at least", str(unit)
    whole = f" (u{unit} is of whole ones)" if unit else ""
    filled = " or ".join(f"{-(-total // page)} of {page}" for page in fit)
    would = f"pages of {-(-total // first.pages)} bytes" if first.pages else "nothing"
    return f"as many pages as s, r and d, {total} bytes, fill: {filled}" + whole, (
        f"{first.pages}, which would be {would}"
    )


def _mapped(first: FirstChunk | None, smp: bool) -> str:
    if not smp:
        return "one block without static part: a kernel without SMP"
    if first is None:
        return "not told"
    return "embedded in linear memory" if first.page is None else "page by page in vmalloc space"


def _notes(log: BootLog, lost: str) -> Iterable[str]:
    if lost:
        yield f"CPUs, groups and units are open: {lost}; --geometry cpus=N,groups=N tells them"
    if log.fallback:
        yield f"the first chunk could not be embedded: {'; '.join(log.fallback)}"
    if any(line.startswith("max_distance") for line in log.fallback):
        yield (
            "the groups (nodes) lie farther apart than 3/4 of vmalloc space, in which each chunk "
            "must have them at the same distances: the pages are mapped one by one there instead"
        )
    if log.sizes is not None and not log.sizes.static:
        yield (
            "static variables are not percpu memory in this kernel: the first chunk of "
            f"{log.sizes.unit} bytes is wholly free at first"
        )
    if not log.allocations:
        yield f"CPUs, groups and units are not in this log; {GROUP_LINES} tell them ({WHERE_FROM})"
        if log.cpu_ids is not None:
            yield f"at most {log.cpu_ids[1]} CPUs, by nr_cpu_ids in line {log.cpu_ids[0]}"


def _with_sizes(found: Layout, sizes: Mapping[str, str]) -> Layout:
    """Return the layout with sizes in the place of what is open. Raises InputError."""
    spare = None if found.units is None or found.cpus is None else found.units - found.cpus
    possible: dict[str, tuple[Any, ...]] = {  # empty: anything
        "page": found.pages, "unit": (found.unit,), "static": (found.static,),
        "reserved": (found.reserved,), "dyn": (found.dyn,), "spare": _known(spare),
        "cpus": _known(found.cpus), "groups": _known(found.groups),
        "backing": (found.backing,) if found.backing == "km" else ("vm", "km"),
    }  # fmt: skip
    values: dict[str, Any] = {}
    for name, text in sizes.items():
        if name not in possible:
            raise InputError("--geometry", None, f"one of {', '.join(possible)}", name)
        value = text if name == "backing" else size_of(name, text)
        if possible[name] and value not in possible[name]:
            why = found.page_by if name == "page" else "as the boot messages say"
            expected = f"{' or '.join(f'{name}={fit}' for fit in possible[name])}: {why}"
            raise InputError("--geometry", None, expected, text)
        values[name] = value
    if "page" in values:
        found = replace(found, pages=(values["page"],), page_by="told")
    cpus = values.get("cpus", found.cpus)
    beside = [name for name in ("groups", "spare") if name in values]
    if beside and cpus is None:
        raise InputError("--geometry", None, f"cpus=N beside {beside[0]}: the log does not tell it")
    units = found.units if found.units or cpus is None else cpus + values.get("spare", 0)
    whole = replace(
        found, cpus=cpus, units=units, groups=values.get("groups", found.groups),
        backing=values.get("backing", found.backing),
    )  # fmt: skip
    if values:
        whole.check_sizes()
    return whole


def _known(size: int | None) -> tuple[int, ...]:
    return () if size is None else (size,)

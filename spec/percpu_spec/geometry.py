"""The shape of an allocator: every size and threshold that the kernel fixes at build or boot.

Nothing in the model is a module constant: proofs run the same code at a geometry of a few bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Backing = Literal["vm", "km"]


LARGEST_UNIT = 1 << 26
"""Bytes. A unit holds the static part, the reserve and a few dynamic pages, rounded up to part of
an atom: 2 MiB where atoms are largest in use (pmd, x86). Static parts grow to some MiB with lock
debugging, so no kernel comes near 64 MiB, and a model of such a unit still fits in memory."""

MOST_CPUS = 8192
"""The largest NR_CPUS that a kernel can be configured with (x86, MAXSMP)."""

LEAST_UNIT = 32768
"""Bytes. PCPU_MIN_UNIT_SIZE before it is rounded up to pages."""

PAGE_SIZES = tuple(4096 << shift for shift in range(7))
"""Bytes of the pages that kernels are built with: 4 KiB, and 256 KiB at most (hexagon, 44x)."""

PAGES_ARE = f"one of {', '.join(map(str, PAGE_SIZES))}, which kernels are built with"
_DIGITS = 20  # of the longest number that fits a kernel's size_t
_IN_BYTES = ("page", "unit", "static", "reserved", "dyn")
_SUFFIXES = {"K": 1 << 10, "M": 1 << 20}


class GeometryError(ValueError):
    """A geometry that the kernel would refuse (or that means nothing)."""


def number_of(name: str, text: str) -> int:
    """Return the number of a size; one in bytes may have K or M behind it, as the kernel's have.

    >>> number_of("page", "64K"), number_of("cpus", "4")
    (65536, 4)

    Raises GeometryError for what is no number.
    """
    units = _SUFFIXES if name in _IN_BYTES else {}
    digits, suffix = (text[:-1], text[-1:].upper()) if text[-1:].upper() in units else (text, "")
    if len(digits) > _DIGITS:
        raise GeometryError(f"{name}: expected a number of at most {_DIGITS} digits")
    try:
        return int(digits, 10) * units.get(suffix, 1)
    except ValueError:
        more = ", or one with K or M behind it: 64K is 65536" if units else ""
        raise GeometryError(f"{name}={text}: expected a whole number{more}") from None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes unless named otherwise.

    `unit`, `static`, `reserved` and `dyn` are as given to first-chunk set-up, before the static
    size is rounded up to the granule. `page` is page and block size at once: one hint block covers
    one page. A chunk has a unit for each CPU, and `spare` ones that belong to none, left over in
    the groups' allocations: they get no pages, but Percpu of /proc/meminfo counts them. Without
    static part the kernel is one without SMP. Source: pcpu_setup_first_chunk,
    include/linux/percpu.h.
    """

    unit: int = 65536
    static: int = 8192
    reserved: int = 8192
    dyn: int = 28672
    cpus: int = 4
    groups: int = 1
    spare: int = 0  # units that belong to no CPU
    memcg: bool = False  # chunks carry an object vector; accounted requests are charged
    async_enabled: bool = True  # balance work can be asked for from the start
    backing: Backing = "vm"
    page: int = 4096
    granule: int = 4  # PCPU_MIN_ALLOC_SIZE
    empty_low: int = 2  # PCPU_EMPTY_POP_PAGES_LOW, pages
    empty_high: int = 4  # PCPU_EMPTY_POP_PAGES_HIGH, pages
    relegation_slot: int = 3  # PCPU_SLOT_FAIL_THRESHOLD
    slot_base_shift: int = 5  # PCPU_SLOT_BASE_SHIFT
    reclaim_divisor: int = 4  # a chunk is reclaimed with at least unit_pages // this empty pages
    least_unit: int = LEAST_UNIT
    early: int = 20480  # PERCPU_DYNAMIC_EARLY_SIZE: the least dyn the kernel accepts
    largest: int = field(init=False)  # PCPU_MIN_UNIT_SIZE: the largest request, the least unit
    units: int = field(init=False)  # pcpu_nr_units: of a chunk
    block_bits: int = field(init=False)  # map bits per block
    unit_pages: int = field(init=False)
    unit_bits: int = field(init=False)  # map bits per chunk

    def __post_init__(self) -> None:
        """Derive the map sizes. Raises GeometryError for sizes that fit no bitmap."""
        if self.page <= 0 or self.granule <= 0 or self.page % self.granule:
            raise GeometryError(f"page={self.page}: expected a multiple of granule={self.granule}")
        bits = self.page // self.granule
        if bits & (bits - 1):
            raise GeometryError(
                f"page={self.page}: expected a power of two times the granule, {self.granule}"
            )
        if self.unit <= 0 or self.unit % self.page:
            raise GeometryError(f"unit={self.unit}: expected a multiple of the page, {self.page}")
        if not 1 <= self.groups <= self.cpus:
            raise GeometryError(
                f"cpus={self.cpus}, groups={self.groups}: expected at least one CPU in each group, "
                "and a group"
            )
        if min(self.static, self.reserved, self.dyn, self.spare) < 0:
            raise GeometryError("static, reserved, dyn and spare: expected no negative size")
        if self.static + self.reserved + self.dyn > self.unit:
            raise GeometryError(
                f"static+reserved+dyn={self.static + self.reserved + self.dyn}: "
                f"expected at most unit={self.unit}"
            )
        if self.reserved % self.granule:
            raise GeometryError(
                f"reserved={self.reserved}: expected a multiple of {self.granule} bytes"
            )
        if self.backing not in ("vm", "km"):
            raise GeometryError(f"backing={self.backing!r}: expected vm or km")
        if self.backing == "km" and self.groups != 1:
            raise GeometryError(f"groups={self.groups}: expected 1 with backing=km")
        object.__setattr__(self, "largest", -(-self.least_unit // self.page) * self.page)
        object.__setattr__(self, "units", self.cpus + self.spare)
        object.__setattr__(self, "block_bits", bits)
        object.__setattr__(self, "unit_pages", self.unit // self.page)
        object.__setattr__(self, "unit_bits", self.unit // self.granule)

    def require_kernel(self) -> Geometry:
        """Return self if a kernel would boot with it, else raise GeometryError.

        Source: the sanity checks of pcpu_setup_first_chunk. Beyond them: sizes that a kernel can
        have (LARGEST_UNIT, MOST_CPUS), and a dynamic part that ends on a granule once the static
        part is rounded up to one at its cost; every kernel's does, as pcpu_build_alloc_info fills
        whole pages.
        """
        if self.page not in PAGE_SIZES:
            raise GeometryError(f"page={self.page}: expected {PAGES_ARE}")
        if self.granule != 4:
            raise GeometryError(f"granule={self.granule}: expected 4")
        if self.unit < self.largest:
            raise GeometryError(
                f"unit={self.unit}: expected at least {self.largest}, "
                f"{self.least_unit} in whole pages of {self.page}"
            )
        if self.unit > LARGEST_UNIT:
            raise GeometryError(f"unit={self.unit}: expected at most {LARGEST_UNIT}")
        if self.cpus > MOST_CPUS or self.spare > MOST_CPUS:
            name = "cpus" if self.cpus > MOST_CPUS else "spare"
            raise GeometryError(f"{name}={getattr(self, name)}: expected at most {MOST_CPUS}")
        if not self.smp and (self.units, self.backing) != (1, "km"):
            raise GeometryError(
                "static=0: expected a static part, or cpus=1, spare=0 and backing=km: only a "
                "kernel without SMP has none"
            )
        if self.dyn < self.early:
            raise GeometryError(f"dyn={self.dyn}: expected at least {self.early}")
        rest = self.dyn - -self.static % self.granule
        if rest <= 0 or rest % self.granule:
            raise GeometryError(
                f"static={self.static}, dyn={self.dyn}: expected a dynamic part of whole granules "
                f"of {self.granule} bytes, it has {rest} left once the static part is rounded up"
            )
        return self

    @property
    def smp(self) -> bool:
        """Whether the kernel is built for several CPUs: one that is not has no static part."""
        return self.static > 0

    @property
    def text(self) -> str:
        """The sizes in which kernels differ, as with_changes takes them."""
        spare = f"spare={self.spare}," if self.spare else ""
        page = f"page={self.page}," if self.page != 4096 else ""
        return (
            f"{page}unit={self.unit},static={self.static},reserved={self.reserved},dyn={self.dyn},"
            f"cpus={self.cpus},groups={self.groups},{spare}memcg={int(self.memcg)},"
            f"async={int(self.async_enabled)},backing={self.backing}"
        )

    def with_changes(self, text: str) -> Geometry:
        """Return a geometry with `name=value,...` applied; raise GeometryError on bad text.

        >>> Geometry().with_changes("unit=32768,reserved=0,dyn=20480").unit_pages
        8
        """
        changes: dict[str, str] = {}
        for part in filter(None, text.split(",")):
            name, sep, value = part.partition("=")
            if not sep:
                raise GeometryError(f"{part!r}: expected name=value")
            changes[name.strip()] = value.strip()
        return self.with_mapping(changes)

    def with_mapping(self, changes: Mapping[str, object]) -> Geometry:
        """Return a geometry with fields replaced; `async` is accepted for `async_enabled`."""
        names = {f.name for f in fields(self) if f.init}
        done: dict[str, Any] = {}
        for given, value in changes.items():
            name = "async_enabled" if given == "async" else given
            if name not in names:
                known = ", ".join(sorted(names - {"async_enabled"} | {"async"}))
                raise GeometryError(f"{given}: no such size; expected one of {known}")
            if name == "backing":
                done[name] = value
                continue
            number = int(value) if isinstance(value, int) else number_of(given, str(value))
            done[name] = bool(number) if name in ("memcg", "async_enabled") else number
        return replace(self, **done)

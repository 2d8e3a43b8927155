"""The algorithms under the specification, each a thin override of another."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from percpu_contracts.attach import checked
from percpu_contracts.contract import Level
from percpu_contracts.monitor import Monitor
from percpu_reference.backing import KmBacking
from percpu_reference.balance import Balance
from percpu_reference.events import Event
from percpu_reference.variants.composition import with_findings_mended
from percpu_reference.variants.from_file import VariantFileError, variant_from_file
from percpu_reference.variants.linux_5_12 import Linux512
from percpu_reference.variants.linux_5_14 import Linux514
from percpu_reference.variants.linux_5_17 import Linux517
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.linux_6_13 import Linux613
from percpu_reference.variants.linux_6_15 import Linux615
from percpu_reference.variants.linux_7_0 import Linux70
from percpu_reference.variants.linux_7_1 import Linux71
from percpu_reference.variants.linux_mm import LinuxMm
from percpu_reference.variants.reference import Reference
from percpu_reference.variants.rfc_1 import Rfc1
from percpu_reference.variants.rfc_1_reviewed import Rfc1Reviewed
from percpu_reference.variants.rfc_series import RfcSeries
from percpu_spec.geometry import Geometry

__all__ = [
    "DEFAULT", "MERGED", "RELEASES", "SINCE", "VARIANTS", "Allocator", "UnknownVariantError",
    "VariantFileError", "build",
]  # fmt: skip

Allocator = Balance
VARIANTS: dict[str, type[Allocator]] = {
    "linux_5_12": Linux512,
    "rfc_1": Rfc1,
    "rfc_series": RfcSeries,
    "rfc_1_reviewed": Rfc1Reviewed,
    "linux_6_12": Linux612,
    "reference": Reference,
}
"""The algorithms that are reviewed beside one another."""
RELEASES: dict[str, type[Allocator]] = {
    "linux_5_14": Linux514,
    "linux_5_17": Linux517,
    "linux_6_13": Linux613,
    "linux_6_15": Linux615,
    "linux_7_0": Linux70,
    "linux_7_1": Linux71,
    "linux_mm": LinuxMm,
}
"""linux_6_12 as other kernels have it: one for each change of what the allocator does."""
SINCE: dict[str, tuple[int, int]] = {
    "linux_5_12": (5, 9),
    "linux_5_14": (5, 14),
    "linux_5_17": (5, 17),
    "linux_6_12": (6, 12),
    "linux_6_13": (6, 13),
    "linux_6_15": (6, 15),
    "linux_7_0": (7, 0),
    "linux_7_1": (7, 1),
}
"""The first release that each variant stands for, oldest first."""
STABLE: dict[tuple[int, int], int] = {(6, 1): 159, (6, 6): 117, (6, 12): 59}
"""The stable trees that are linux_6_12, with the first release of each: from there on they have
9a5b183941b5 of 6.15. 6.13.y and 6.14.y had ended before, and 5.15.y did not take it.
"""
DEFAULT = "linux_7_1"
"""The newest mainline, for whatever no kernel was recorded for."""
MERGED = "linux_6_12"
"""Partial depopulation as it was merged: what vectors are recorded of, and `reference` mends."""


class UnknownVariantError(ValueError):
    """A variant name that is not in VARIANTS."""


_RELEASE = re.compile(r"v?([1-9]\d*)\.(0|[1-9]\d*)(?:\.(\d+))?((?:\.\d+)*(?:[-+]\S*)?)", re.ASCII)
_PACKAGE = re.compile(r"-\d")
"""Follows the release in the names that distributions give, whose third number is always 0."""


def of_release(release: str) -> str:
    """Return the newest variant that is not newer than a kernel release; empty if all are.

    What a stable tree got by backport counts from the release that brought it. "6.12" alone names
    the variant, a package that does not tell its third number ("6.1.0-32-amd64") the newest of its
    stable tree, and any other release without one, and each candidate, that of mainline.

    >>> of_release("5.10.0-32-cloud-amd64"), of_release("6.14"), of_release("5.2")
    ('linux_5_12', 'linux_6_13', '')
    >>> of_release("6.1.192"), of_release("6.1.158"), of_release("6.1"), of_release("6.12")
    ('linux_6_12', 'linux_5_17', 'linux_5_17', 'linux_6_12')
    """
    found = re.match(_RELEASE, release)
    if found is None:
        return ""
    version, rest = (int(found[1]), int(found[2])), found[4]
    if version in STABLE:
        told = found[3] is not None
        packaged = told and int(found[3]) == 0 and _PACKAGE.match(rest) is not None
        named = version == SINCE[MERGED] and not told and not rest.startswith("-rc")
        newest = packaged or named or (told and int(found[3]) >= STABLE[version])
        return MERGED if newest else "linux_5_17"
    return next((name for name in reversed(SINCE) if SINCE[name] <= version), "")


_LAST = {5: 19, 6: 19}
"""The last minor number of major ones that have ended."""


def variant_name(name: str) -> str:
    """Return the name of a variant that is named, or of the one for a release ("v6.14-rc1").

    A name may be written with hyphens, as trees are ("linux-mm"). A release that is newer than all
    variants has the newest. Raises UnknownVariantError for one that is too old, or that never was.
    """
    base, fixes = _split(name)
    if fixes:
        return "+".join((variant_name(base), *fixes))
    found = None if name.endswith(".py") else _RELEASE.fullmatch(name)
    if found is None:
        written = name.replace("-", "_")
        return written if written in VARIANTS or written in RELEASES else name
    major, minor = int(found[1]), int(found[2])
    if not of_release(name):
        oldest = ".".join(map(str, min(SINCE.values())))
        raise UnknownVariantError(f"variant {name!r}: expected a release from {oldest} on")
    if minor > _LAST.get(major, minor):
        raise UnknownVariantError(
            f"variant {name!r}: expected a release, of which {major}.{_LAST[major]} is the last "
            f"with {major}"
        )
    return of_release(name)


def _split(name: str) -> tuple[str, list[str]]:
    """Return a name without the fixes behind it, and those; a release may end in + alone.

    >>> _split("6.14+L1+R2"), _split("6.14.0-rc1+")
    (('6.14', ['L1', 'R2']), ('6.14.0-rc1+', []))
    """
    base, *fixes = name.split("+")
    named = all(re.fullmatch(r"[A-Za-z]\w*", fix) for fix in fixes)
    return (base, fixes) if named else (name, [])


def variant_class(name: str) -> type[Allocator]:
    """Return the class of a named variant, of a release ("6.14"), or of a Python file with one.

    With fixes of `reference` behind it, "linux_7_1+R1+L3", it has those. Raises UnknownVariantError
    with near matches, VariantFileError for a file that will not do.
    """
    if name.endswith(".py"):
        return variant_from_file(Path(name).resolve())
    base, fixes = _split(name)
    if fixes:
        cls = variant_class(base)
        try:
            return with_findings_mended(cls, frozenset(fixes))
        except ValueError as error:
            raise UnknownVariantError(f"variant {name!r}: fix {error}") from None
    name = variant_name(name)
    known = VARIANTS | RELEASES
    try:
        return known[name]
    except KeyError:
        near = get_close_matches(name, known)
        part = f" (the nearest of {len(known)})" if near else ""
        raise UnknownVariantError(
            f"variant {name!r}: expected one of {', '.join(near or known)}{part}, or a release "
            "such as 6.14"
        ) from None


def base_of(name: str) -> str:
    """Return the shipped variant that a variant extends, the nearest.

    It is one that adds only what it declares where what is extended is behind one, as Balance is.
    """
    shipped = (VARIANTS | RELEASES).items()
    extended = variant_class(name).__mro__[1:]
    named = (known for base in extended for known, cls in shipped if cls is base)
    behind = (known for base in extended for known, cls in shipped if cls.__bases__ == (base,))
    return next(named, None) or next(behind)


_ON_KM: dict[type[Allocator], type[Allocator]] = {}


def with_backing(variant: type[Allocator], backing: str) -> type[Allocator]:
    """Return the variant on vm backing, or with km in its place."""
    if backing == "vm":
        return variant
    if variant not in _ON_KM:
        name = f"{variant.__name__}Km"
        _ON_KM[variant] = type(name, (KmBacking, variant), {"__slots__": ()})
    return _ON_KM[variant]


def build(
    variant: str | type[Allocator],
    geometry: Geometry,
    *,
    contracts: Level = "off",
    strict: bool = True,
    stats: bool = False,
    trace: Callable[[Event], None] | None = None,
    place_chunk: Callable[[], int] | None = None,
    around: Callable[[type[Allocator]], type[Allocator]] | None = None,
) -> Allocator:
    """Return a booted allocator of a variant, its contracts enforced at the given level.

    around derives the class that is built from the one with its contracts. With strict a
    violation that the variant does not declare raises at once.
    """
    cls = variant if isinstance(variant, type) else variant_class(variant)
    cls = with_backing(cls, geometry.backing)
    monitor = None
    if contracts != "off":
        inapplicable = set(cls.NOT_APPLICABLE) | ({"POP-5"} if geometry.backing == "vm" else set())
        monitor = Monitor(cls.EXPECTED, inapplicable, strict=strict)
        cls = checked(cls, contracts)
    if around is not None:
        cls = around(cls)
    allocator = cls(geometry, stats=stats, trace=trace, place_chunk=place_chunk)
    allocator.monitor = monitor
    allocator.spin_lock()  # boot is alone, which is as good as the lock
    allocator.setup_first_chunk()
    allocator.spin_unlock()
    return allocator

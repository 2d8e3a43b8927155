"""The sizes of a machine that are asked for by name, as --geometry takes them."""

from __future__ import annotations

from typing import Final

from percpu_proofs.run.inputs import InputError
from percpu_spec.geometry import PAGE_SIZES, PAGES_ARE, Geometry, GeometryError, number_of

SIZES: Final = {
    "page": "bytes of a page, which is a block of hints too",
    "unit": "bytes of a unit: what a chunk has for each CPU",
    "static": "bytes of the static part of the first chunk",
    "reserved": "bytes reserved for modules' static variables",
    "dyn": "bytes of the dynamic part of the first chunk",
    "cpus": "CPUs, each with a unit in every chunk",
    "groups": "groups of units that are allocated together, as NUMA nodes are",
    "spare": "units that belong to no CPU",
    "memcg": "1 where accounted requests are charged to a memory cgroup",
    "async": "1 where balance work can be asked for from the start",
    "backing": "vm: pages are mapped as they are needed; km: a chunk is one block of memory",
}
"""What sizes of --geometry are; the others are constants of the kernel that the model is of."""

_SWITCHES: Final = ("memcg", "async")


def geometry_with(changes: str | None, geometry: Geometry) -> Geometry:
    """Return a geometry with the changes of the command line, one that a kernel boots with."""
    try:
        return geometry.with_mapping(_whole_pages(sizes(changes), geometry)).require_kernel()
    except GeometryError as error:
        raise InputError("--geometry", None, f"sizes that a kernel boots with ({error})") from None


def _whole_pages(given: dict[str, str], geometry: Geometry) -> dict[str, str]:
    """Return the sizes asked for, with a dynamic part that fills pages of a size that is one.

    So pcpu_build_alloc_info does. Raises GeometryError for a page that no kernel has.
    """
    if "page" not in given:
        return given
    if given["page"] not in map(str, PAGE_SIZES):
        raise GeometryError(f"page={given['page']}: expected {PAGES_ARE}")
    if "dyn" in given or int(given["page"]) == geometry.page:
        return given
    static, reserved = (
        int(given[name]) if given.get(name, "").isdecimal() else getattr(geometry, name)
        for name in ("static", "reserved")
    )
    filled = -(static + reserved + geometry.dyn) % int(given["page"])
    return given | {"dyn": str(geometry.dyn + filled)}


def page_size(changes: str | None) -> int:
    """Return the page size of the command line, the only size asked for. Raises InputError."""
    if sizes(changes).keys() - {"page"}:
        raise InputError("--geometry", None, "page=N alone: other sizes follow from it", changes)
    return geometry_with(changes, Geometry(unit=PAGE_SIZES[-1])).page


def sizes(text: str | None) -> dict[str, str]:
    """Return the sizes of the command line by name. Raises InputError."""
    found: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        name, sep, value = (word.strip() for word in part.partition("="))
        if not sep:
            raise InputError("--geometry", None, "name=value", part)
        if name not in SIZES:
            raise InputError("--geometry", None, f"one of {', '.join(SIZES)}", name)
        if name in _SWITCHES and value not in ("0", "1"):
            raise InputError("--geometry", None, f"{name}=0 or {name}=1", part)
        if name in found:
            raise InputError("--geometry", None, f"{name} once", text)
        found[name] = value if name == "backing" else str(size_of(name, value))
    return found


def size_of(name: str, text: str) -> int:
    """Return the size that a text gives by name. Raises InputError."""
    try:
        return number_of(name, text)
    except GeometryError as error:
        raise InputError("--geometry", None, f"a size ({error})") from None

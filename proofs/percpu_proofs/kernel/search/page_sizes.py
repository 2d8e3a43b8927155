"""The searches of a tree at pages of other sizes than those that they are written for."""

from __future__ import annotations

from dataclasses import replace

from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.run.operations import Operation
from percpu_spec.geometry import LEAST_UNIT, Geometry


def at_page(search: TreeSearch, page: int) -> TreeSearch:
    """Return an open search at pages of so many bytes, its requests by pages as before.

    The dynamic part of the first chunk is what one request may take, and a unit no larger than
    that part and what is before it: the kernel allows no request of more, so that a search of so
    few operations would never fill a larger unit.
    """
    before = search.plan.geometry
    if page == before.page:
        return search
    largest = -(-LEAST_UNIT // page) * page
    static = page if before.static == before.page else before.static
    reserved = page if before.reserved else 0
    unit = -(-(static + reserved + largest) // page) * page
    if not before.smp:
        unit = 1 << (unit - 1).bit_length()
    sizes = replace(
        before, page=page, unit=unit, static=static, reserved=reserved,
        dyn=unit - static - reserved,
    ).require_kernel()  # fmt: skip
    requests = dict.fromkeys(_scaled(o, before, sizes) for o in search.plan.operations)
    return replace(
        search,
        plan=replace(search.plan, sizes=sizes.text, operations=tuple(requests)),
    )


def _scaled(operation: Operation, before: Geometry, after: Geometry) -> Operation:
    """Return a request by pages: what is near a whole first chunk stays as near to it."""
    kind, arg, size, align, reserved, gfp = operation
    scale = after.page // before.page
    if size > before.largest:
        size += after.largest - before.largest
    elif size > before.dyn // 2:
        size = min(after.dyn - (before.dyn - size), after.largest)
    elif size >= before.page // 4:
        size = min(size * scale, after.largest)
    if align >= before.page // 4:
        align *= scale
    return kind, arg, size, align, reserved, gfp

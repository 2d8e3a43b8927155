"""Where two records of the same shape first differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from percpu_proofs.run.state_record import Record

BITMAPS = frozenset({"pop", "amap", "bmap"})
_SHOWN = 4  # differing bit ranges shown


class Difference(NamedTuple):
    """The first field that differs, both values, and for a bitmap the first differing bits."""

    field: str
    kernel: object
    model: object
    detail: str = ""


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands for the value of a field that one side does not have."""


def first_difference(
    kernel: Record, model: Record, order: Iterable[str], skip: frozenset[str] = frozenset()
) -> Difference | None:
    """Return the first difference in the order of fields given, the others after them.

    skip names nested fields that are not compared.
    """
    return next(differences(kernel, model, order, skip), None)


def differences(
    kernel: Record, model: Record, order: Iterable[str], skip: frozenset[str] = frozenset()
) -> Iterator[Difference]:
    """Yield every difference, in the same order."""
    for name in dict.fromkeys([*order, *kernel, *model]):
        ours = model.get(name, MISSING)
        yield from _compare(name, name, kernel.get(name, MISSING), ours, skip)


def _compare(
    path: str, name: str, kernel: object, model: object, skip: frozenset[str]
) -> Iterator[Difference]:
    if kernel == model:
        return
    if isinstance(kernel, dict) and isinstance(model, dict):
        for key in dict.fromkeys([*kernel, *model]):
            if key in skip:
                continue
            inner = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
            ours = model.get(key, MISSING)
            yield from _compare(inner, key, kernel.get(key, MISSING), ours, skip)
        return
    if isinstance(kernel, list) and isinstance(model, list) and len(kernel) == len(model):
        for index, (left, right) in enumerate(zip(kernel, model, strict=True)):
            yield from _compare(f"{path}[{index}]", name, left, right, skip)
        return
    detail = ""
    if name in BITMAPS and isinstance(kernel, str) and isinstance(model, str):
        detail = differing_bits(kernel, model)
    yield Difference(path, kernel, model, detail)


def differing_bits(kernel: str, model: str) -> str:
    """Say which bits of two hexadecimal maps differ, the first few ranges.

    >>> differing_bits("f0", "31")
    'bits 0 (model 1), 6-7 (model 0)'
    """
    try:
        ours = int(model, 16)
        differ = ours ^ int(kernel, 16)
    except ValueError:
        return "not a hexadecimal number"
    ranges: list[str] = []
    while differ and len(ranges) < _SHOWN:
        first = (differ & -differ).bit_length() - 1
        value = ours >> first & 1
        last = first
        while differ >> (last + 1) & 1 and ours >> (last + 1) & 1 == value:
            last += 1
        span = str(first) if first == last else f"{first}-{last}"
        ranges.append(f"{span} (model {value})")
        differ &= ~((1 << (last + 1)) - 1)
    return f"bits {', '.join(ranges)}" + (", ..." if differ else "")

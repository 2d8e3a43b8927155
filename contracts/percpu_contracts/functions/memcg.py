"""Contracts of the memcg hooks."""

from __future__ import annotations

from typing import Any

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_spec.definitions import charged_size
from percpu_spec.gfp import ACCOUNT


def _owed(self: ModelView, size: int) -> int:
    return charged_size(self.geometry, size, vector=self.CHARGES_VECTOR)


def _is_charged(self: ModelView, wanted: int) -> str | None:
    found = self.env.charged
    return None if found == wanted else f"{found} bytes charged, expected {wanted}"


def charged_before(self: ModelView) -> int:
    """Return the bytes charged at entry."""
    return self.env.charged


def charges_in_full(
    self: Any, size: int, gfp: int, result: tuple[bool, object | None], OLD: Any
) -> str | None:
    """A charged request pays for every unit and its part of the vector, any other nothing.

    One that is to be charged, its task having an object cgroup, does not go on otherwise.
    """
    go_on, objcg = result
    due = self.geometry.memcg and bool(gfp & ACCOUNT) and self.env.has_objcg
    if go_on and due != (objcg is not None):
        return f"a request that is {'' if due else 'not '}to be charged goes on {'un' * due}charged"
    if objcg is None and self.env.charged == OLD.charged:
        return NOT_ASKED
    return _is_charged(self, OLD.charged + (_owed(self, size) if objcg is not None else 0))


def settles_charge(
    self: ModelView, objcg: object | None, chunk: LinkedChunk | None, off: int, size: int, OLD: Any
) -> str | None:
    """The charge is noted at the area's bit, or undone."""
    if objcg is None and self.env.charged == OLD.charged:
        return NOT_ASKED
    if objcg is None:
        return _is_charged(self, OLD.charged)
    if chunk is None or chunk.obj_exts is None:
        return _is_charged(self, OLD.charged - _owed(self, size))
    if chunk.obj_exts.get(off // self.geometry.granule) is not objcg:
        return f"no object cgroup noted for the area at byte {off}"
    return _is_charged(self, OLD.charged)


def owed_before(self: ModelView, chunk: LinkedChunk, off: int, size: int) -> int:
    """Return what the area at byte off was charged."""
    noted = (chunk.obj_exts or {}).get(off // self.geometry.granule)
    return _owed(self, size) if noted is not None else 0


def uncharges(self: ModelView, chunk: LinkedChunk, off: int, OLD: Any) -> str | None:
    """A free uncharges what its area was charged, once."""
    if off // self.geometry.granule in (chunk.obj_exts or {}):
        return f"the area freed at byte {off} still holds an object cgroup"
    if not OLD.owed and self.env.charged == OLD.charged:
        return NOT_ASKED
    return _is_charged(self, OLD.charged - OLD.owed)

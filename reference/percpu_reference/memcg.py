"""Charging accounted areas to object cgroups (ACC-1)."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old
from percpu_contracts.functions import memcg as must
from percpu_reference.backing import VmBacking
from percpu_reference.chunk import Chunk
from percpu_spec.definitions import OBJECT_POINTER
from percpu_spec.gfp import ACCOUNT
from percpu_spec.steps import CHARGE


class Memcg(VmBacking):
    """The three memcg hooks. Sizes in bytes."""

    __slots__ = ()

    def obj_full_size(self, size: int) -> int:
        """Return what an area of size bytes costs: every unit, and its part of the vector."""
        vector = self.geometry.memcg and self.CHARGES_VECTOR
        extra = size // self.geometry.granule * OBJECT_POINTER if vector else 0
        return size * self.geometry.cpus + extra

    @old("charged", must.charged_before)
    @ensure("ACC-1", must.charges_in_full)
    def memcg_pre_alloc_hook(self, size: int, gfp: int) -> tuple[bool, object | None]:
        """Charge an accounted request; return whether to go on, and the group charged."""
        if not self.geometry.memcg or not gfp & ACCOUNT or not self.env.has_objcg:
            return True, None
        self.env.note(CHARGE, gfp)
        if self.env.charge_fault.strikes():
            return False, None
        self.env.charged += self.obj_full_size(size)
        return True, "objcg"

    @old("charged", must.charged_before)
    @ensure("ACC-1", must.settles_charge)
    def memcg_post_alloc_hook(
        self, objcg: object | None, chunk: Chunk | None, off: int, size: int
    ) -> None:
        """Note the charged group at the area's offset, or undo the charge.

        Undone after a failure, and in a chunk without object vector (the first and the reserved).
        """
        if objcg is None:
            return
        if chunk is not None and chunk.obj_exts is not None:
            self.env.objcg_refs += 1
            chunk.obj_exts[off // self.geometry.granule] = objcg
        else:
            self.env.charged -= self.obj_full_size(size)

    @old("charged", must.charged_before)
    @old("owed", must.owed_before)
    @ensure("ACC-1", must.uncharges)
    def memcg_free_hook(self, chunk: Chunk, off: int, size: int) -> None:
        """Uncharge the area at off if it was charged."""
        if chunk.obj_exts is None:
            return
        if chunk.obj_exts.pop(off // self.geometry.granule, None) is not None:
            self.env.charged -= self.obj_full_size(size)
            self.env.objcg_refs -= 1

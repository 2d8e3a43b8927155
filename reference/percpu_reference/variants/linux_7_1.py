"""linux_7_1: tasks of the root memory cgroup have an object cgroup; 7.1."""

from __future__ import annotations

from percpu_reference.variants.linux_7_0 import Linux70


class Linux71(Linux70):
    """The newest mainline, since d5aa8c1d136e: pcpu_memcg_pre_alloc_hook asks obj_cgroup_is_root.

    A task of the root group had no object cgroup; from 7.1 it has the root's. The hook lets that
    pay nothing, as before (ACC-1), so nothing is overridden: `has_objcg` is whether the task's
    group is one that pays.
    """

    __slots__ = ()

"""The functions of mm/percpu.c by name: which places of a stack lie inside the allocator.

Other code has functions named alike (pcpu_freelist_init of bpf, pcpu_alloc_lowcore of s390): it
calls the allocator. Source: mm/percpu*.c of 5.14 to 7.1, names of older kernels, and what
mm/vmalloc.c and the setups of CPUs have for it alone.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from percpu_reference.kernel_names import FILES

_ENTRIES: Final = (
    "pcpu_alloc", "pcpu_alloc_noprof", "__alloc_percpu", "__alloc_percpu_gfp",
    "__alloc_reserved_percpu",
)  # fmt: skip
_NAMES: Final = """
    addr_in_chunk addr_to_page alloc_alloc_info alloc_bootmem alloc_size alloc_tag_alloc_hook
    alloc_tag_free_hook block_off_to_off build_alloc_info chunk_addr chunk_addr_search
    chunk_map_bits chunk_nr_blocks chunk_page chunk_update chunk_update_hint
    count_occupied_pages cpu_distance cpu_to_node dfl_fc_alloc dfl_fc_free dump_alloc_info
    embed_first_chunk extend_area_map fc_alloc fc_free fit_in_area free_alloc_info free_chunk
    free_pages_and_bitmap free_vm_areas get_page_chunk get_pages get_pages_and_bitmap
    get_vm_areas index_alloc_map init_md_block init_md_blocks map_pages mem_alloc mem_free
    mem_zalloc need_to_extend nr_pages nr_pages_to_map_bits off_to_block_index off_to_block_off
    page_first_chunk page_idx populate_pte post_map_flush pre_unmap_flush realloc reclaim
    region_concat set_page_chunk split_block stats_save_ai unit_page_offset unmap_pages
    verify_alloc_info
"""
"""What stands behind pcpu_ in the names of those that the model does not follow."""
_INSIDE: Final = {
    *_ENTRIES, *chain.from_iterable(FILES.values()), *(f"pcpu_{name}" for name in _NAMES.split()),
    "percpu_enable_async", "__pcpu_balance_workfn", "__pcpu_map_pages", "__pcpu_unmap_pages",
}  # fmt: skip


def plain_name(name: str) -> str:
    """Return a function's name without what stands behind it, or compilers add to it.

    >>> plain_name("pcpu_alloc.constprop.0+0x3d8/0x9a0"), plain_name(".pcpu_alloc (mm/percpu.c:9)")
    ('pcpu_alloc', 'pcpu_alloc')
    """
    head = name.lstrip(".").split("+", 1)[0].split(" ", 1)[0]
    return head.split(".", 1)[0].split("$", 1)[0]


def asks(name: str) -> bool:
    """Return whether a function is one that a caller asks for memory.

    >>> asks("pcpu_alloc_noprof"), asks("pcpu_alloc_area"), asks("pcpu_alloc_lowcore")
    (True, False, False)
    """
    return plain_name(name) in _ENTRIES


def is_inside(name: str) -> bool:
    """Return whether a function is one of the allocator.

    >>> is_inside("pcpu_alloc_area.isra.0"), is_inside("pcpu_freelist_init+0x3/0x9")
    (True, False)
    """
    return plain_name(name) in _INSIDE

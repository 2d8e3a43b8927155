"""Which kernel function each function of the model is, or is part of.

A model function `x` is the kernel's `pcpu_x`, unless it is listed here: under another name, cut out
of a kernel function, or ours. Names are those of Linux 6.12.
"""

from __future__ import annotations

from typing import NamedTuple

_NAMES = {
    "mm/percpu.c": """
        __pcpu_chunk_move __pcpu_size_to_slot free_percpu pcpu_alloc_area pcpu_alloc_chunk
        pcpu_alloc_first_chunk pcpu_alloc_noprof pcpu_balance_free pcpu_balance_populated
        pcpu_balance_workfn pcpu_block_refresh_hint pcpu_block_update pcpu_block_update_hint_alloc
        pcpu_block_update_hint_free pcpu_block_update_scan pcpu_check_block_hint
        pcpu_chunk_depopulated pcpu_chunk_move pcpu_chunk_populated pcpu_chunk_refresh_hint
        pcpu_chunk_relocate pcpu_chunk_slot pcpu_find_block_fit pcpu_find_zero_area pcpu_free_area
        pcpu_is_populated pcpu_isolate_chunk pcpu_memcg_free_hook pcpu_memcg_post_alloc_hook
        pcpu_memcg_pre_alloc_hook pcpu_next_fit_region pcpu_next_hint pcpu_next_md_free_region
        pcpu_reclaim_populated pcpu_region_overlap pcpu_reintegrate_chunk pcpu_schedule_balance_work
        pcpu_setup_first_chunk pcpu_size_to_slot pcpu_update_empty_pages
    """,
    "mm/percpu-vm.c": """
        pcpu_alloc_pages pcpu_create_chunk pcpu_depopulate_chunk pcpu_destroy_chunk pcpu_free_pages
        pcpu_populate_chunk pcpu_post_unmap_tlb_flush pcpu_should_reclaim_chunk
    """,
    "mm/percpu-km.c": """
        pcpu_create_chunk pcpu_depopulate_chunk pcpu_destroy_chunk pcpu_populate_chunk
        pcpu_post_unmap_tlb_flush pcpu_should_reclaim_chunk
    """,
    "mm/percpu-internal.h": """
        pcpu_obj_full_size pcpu_stats_area_alloc pcpu_stats_area_dealloc pcpu_stats_chunk_alloc
        pcpu_stats_chunk_dealloc
    """,
}
FILES = {file: names.split() for file, names in _NAMES.items()}
"""The kernel functions that the model follows, by the file that defines them."""

NAMED = {
    "alloc_percpu": "pcpu_alloc_noprof",
    "free_percpu": "free_percpu",
    "area_alloc": "pcpu_stats_area_alloc",
    "area_dealloc": "pcpu_stats_area_dealloc",
    "chunk_alloc": "pcpu_stats_chunk_alloc",
    "chunk_dealloc": "pcpu_stats_chunk_dealloc",
    "_chunk_move": "__pcpu_chunk_move",
    "_size_to_slot": "__pcpu_size_to_slot",
}
"""Functions with another name than the kernel's."""

PART_OF = {
    "add_chunk": "pcpu_alloc_noprof",
    "alloc_block": "pcpu_create_chunk",
    "alloc_failed": "pcpu_alloc_noprof",
    "ask_when_low": "pcpu_alloc_noprof",
    "balance_create": "pcpu_balance_populated",
    "check_freed_chunk": "free_percpu",
    "chunk_created": "pcpu_create_chunk",
    "chunk_destroyed": "pcpu_destroy_chunk",
    "chunk_update_hint_free": "pcpu_block_update_hint_free",
    "clear_area": "pcpu_alloc_noprof",
    "condemn_chunk": "pcpu_balance_free",
    "depopulate_empty": "pcpu_reclaim_populated",
    "end_work": "pcpu_balance_workfn",
    "enter_chunk": "pcpu_create_chunk",
    "enter_populated": "pcpu_balance_populated",
    "enter_released": "pcpu_reclaim_populated",
    "first_unpopulated": "pcpu_balance_populated",
    "has_vector": "pcpu_alloc_chunk",
    "is_atomic": "pcpu_alloc_noprof",
    "is_start": "pcpu_free_area",
    "list_del": "pcpu_balance_free",
    "new_chunk": "pcpu_alloc_chunk",
    "pages_to_populate": "pcpu_balance_populated",
    "populate_area": "pcpu_alloc_noprof",
    "populate_holes": "pcpu_balance_populated",
    "refuse_free": "free_percpu",
    "search_lists_for": "pcpu_alloc_noprof",
    "setup_lists": "pcpu_setup_first_chunk",
    "setup_slots": "pcpu_setup_first_chunk",
    "sideline_chunk": "pcpu_reclaim_populated",
    "task_of": "pcpu_alloc_noprof",
    "undo_area": "pcpu_alloc_noprof",
}
"""Functions cut out of a kernel function."""

OF_PATCHES = {"shrink_populated": ("pcpu_shrink_populated", "mm/percpu.c of the RFC")}
"""Functions that patches add, with the file; no release has them."""

OURS = {
    "alloc": "an allocation from begin to end, with nothing else running",
    "ask": "requests of the backing are recorded",
    "as_list": "the hints as recorded vectors have them",
    "balance": "the balance work from begin to end, with nothing else running",
    "chunk_type": "pcpu_chunk_type of kernels with two types of chunks; 6.12 has one",
    "chunks": "a view of the state",
    "clone": "a search comes back to states",
    "faults": "memory runs out where a script says so",
    "float_of": "pcpu_nr_empty_pop_pages, of which there was one for each type",
    "free": "a free from begin to end, with nothing else running",
    "free_list": "a view of the state",
    "listed_chunks": "a view of the state",
    "may_create": "a place for a fix (R4): the kernel always may",
    "note": "requests of the backing are recorded",
    "own_state": "a search compares states",
    "owned_chunks": "a view of the state",
    "quiescent": "a view of the state",
    "request_type": "which chunks serve a request, where there are types",
    "restore": "a search comes back to states",
    "set_floats": "a recorded state is restored",
    "slot_chunks": "a view of the state",
    "slot_table": "pcpu_size_to_slot for every size, computed once",
    "spin_lock": "pcpu_lock taken",
    "spin_unlock": "pcpu_lock released",
    "strikes": "memory runs out where a script says so",
    "armed": "memory runs out where a script says so",
}
"""Functions that the kernel has none of, and why they are there."""


class Origin(NamedTuple):
    """Where a model function comes from: a kernel function and its files, or why it is ours."""

    function: str  # empty if it is ours
    files: tuple[str, ...]
    is_part: bool  # cut out of the kernel function
    reason: str

    def __str__(self) -> str:
        """In words.

        >>> str(origin("depopulate_empty"))
        'part of pcpu_reclaim_populated (mm/percpu.c)'
        """
        if not self.function:
            return f"none, ours: {self.reason}"
        part = "part of " if self.is_part else ""
        return f"{part}{self.function} ({', '.join(self.files)})"


def origin(name: str) -> Origin | None:
    """Return where a model function comes from; None for a name that nothing is said of."""
    if name in OURS:
        return Origin("", (), False, OURS[name])
    if name in OF_PATCHES:
        function, file = OF_PATCHES[name]
        return Origin(function, (file,), False, "")
    function = PART_OF.get(name) or NAMED.get(name, f"pcpu_{name}")
    files = tuple(file for file, functions in FILES.items() if function in functions)
    return Origin(function, files, name in PART_OF, "") if files else None


def model_name(word: str) -> str:
    """Return the model's name of a kernel function; of any other word, the word itself.

    >>> model_name("pcpu_isolate_chunk"), model_name("pcpu_alloc"), model_name("Slots.chunk_slot")
    ('isolate_chunk', 'alloc_percpu', 'chunk_slot')
    """
    word = word.rpartition(".")[2].removesuffix("()")
    known = {kernel: name for name, kernel in NAMED.items()} | {"pcpu_alloc": "alloc_percpu"}
    return known.get(word, word.removeprefix("pcpu_"))

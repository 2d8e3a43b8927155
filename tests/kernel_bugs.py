"""One-line bugs for the kernel's own C: where each goes, found by a short anchor at test time."""

from __future__ import annotations

import re
from typing import NamedTuple


class Bug(NamedTuple):
    """A change of one line: the function, an anchor inside it, and what to put there."""

    name: str
    function: str
    anchor: str  # regular expression; the first match behind the function's head is replaced
    instead: str
    gaps: bool = False  # shows only where pcpu_lock is dropped
    clause: str = ""  # what it breaks at the step at which the kernel parts from the model
    file: str = "mm/percpu.c"


BUGS = (
    Bug("left_free forgotten", "pcpu_block_update", r"if \(start == 0\)", "if (0)"),
    Bug("right_free forgotten", "pcpu_block_update", r"if \(end == block->nr_bits\)", "if (0)"),
    Bug(
        "equal run counts as longer",
        "pcpu_block_update",
        r"contig > block->contig_hint\b",
        "contig >= block->contig_hint",
    ),
    Bug("alignment the wrong way", "pcpu_block_update", r"__ffs\(start\) >", "__ffs(start) <"),
    Bug("scan looks before", "pcpu_block_update_scan", r"l_bit \+ 1", "l_bit"),
    Bug(
        "promotion keeps the start",
        "pcpu_chunk_refresh_hint",
        r"chunk_md->contig_hint_start = chunk_md->scan_hint_start",
        "(void)0",
    ),
    Bug("refresh keeps right_free", "pcpu_block_refresh_hint", r"block->right_free = 0", "(void)0"),
    Bug(
        "empty pages not subtracted",
        "pcpu_block_update_hint_alloc",
        r"nr_empty_pages\+\+",
        "(void)0",
    ),
    Bug(
        "end block's left_free kept",
        "pcpu_block_update_hint_alloc",
        r"e_block->left_free = 0",
        "(void)0",
    ),
    Bug(
        "first_free one short",
        "pcpu_block_update_hint_alloc",
        r"s_block->first_free = find_next_zero_bit\(",
        "s_block->first_free = -1 + find_next_zero_bit(",
    ),
    Bug("freed page not counted", "pcpu_block_update_hint_free", r"nr_empty_pages\+\+", "(void)0"),
    Bug(
        "no refresh across blocks",
        "pcpu_block_update_hint_free",
        r"\|\| s_index != e_index",
        "&& s_index != e_index",
    ),
    Bug(
        "fit by less than the size",
        "pcpu_check_block_hint",
        r"<= block->contig_hint",
        "< block->contig_hint",
    ),
    Bug("populated not asked", "pcpu_find_block_fit", r"!pop_only \|\|", "1 ||"),
    Bug(
        "largest hole is the last",
        "pcpu_find_zero_area",
        r"area_bits > \*largest_bits",
        "area_bits > 0",
    ),
    Bug(
        "end of area not marked",
        "pcpu_alloc_area",
        r"set_bit\(bit_off \+ alloc_bits",
        "(void)(bit_off + alloc_bits",
    ),
    Bug("free_bytes forgotten", "pcpu_free_area", r"chunk->free_bytes \+= freed", "(void)0"),
    Bug("first_free not lowered", "pcpu_free_area", r"chunk_md->first_free = min\(", "(void)min("),
    Bug("wrong list end", "pcpu_chunk_relocate", r"oslot < nslot", "oslot > nslot"),
    Bug("relocates isolated chunks", "pcpu_chunk_relocate", r"if \(chunk->isolated\)", "if (0)"),
    Bug(
        "isolation to the free list",
        "pcpu_isolate_chunk",
        r"pcpu_to_depopulate_slot",
        "pcpu_free_slot",
        clause="ISO-2",
    ),
    Bug(
        "float kept on isolation",
        "pcpu_isolate_chunk",
        r"pcpu_nr_empty_pop_pages -= chunk->nr_empty_pop_pages",
        "(void)0",
        clause="FLT-1",
    ),
    Bug(
        "search stops before the free list",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"slot <= pcpu_free_slot",
        "slot < pcpu_free_slot",
    ),
    Bug(
        "relegation one slot lower",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"slot < PCPU_SLOT_FAIL_THRESHOLD",
        "slot <= PCPU_SLOT_FAIL_THRESHOLD",
    ),
    Bug(
        "hit does not reintegrate",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"pcpu_reintegrate_chunk\(chunk\)",
        "(void)0",
    ),
    Bug(
        "last byte of an area not cleared",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"\+ off, 0, size\)",
        "+ off, 0, size - 1)",
    ),
    Bug(
        "failed population keeps the area",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"pcpu_free_area\(chunk, off\)",
        "(void)0",
    ),
    Bug(
        "spares the second free chunk too",
        "pcpu_balance_free",
        r"chunk->nr_empty_pop_pages == 0",
        "chunk->nr_empty_pop_pages >= 0",
    ),
    Bug(
        "mark of a failure kept",
        "pcpu_balance_populated",
        r"pcpu_atomic_alloc_failed = false",
        "(void)0",
    ),
    Bug(
        "populates one page more",
        "pcpu_balance_populated",
        r"re - rs, nr_to_pop",
        "re - rs, nr_to_pop + 1",
    ),
    Bug(
        "reclaim starts below the last page",
        "pcpu_reclaim_populated",
        r"i = chunk->nr_pages - 1",
        "i = chunk->nr_pages - 2",
    ),
    Bug(
        "reclaim ignores the float",
        "pcpu_reclaim_populated",
        r"pcpu_nr_empty_pop_pages < PCPU_EMPTY_POP_PAGES_HIGH",
        "0",
    ),
    Bug("sidelined at the head", "pcpu_reclaim_populated", r"list_move_tail\(", "list_move("),
    Bug(
        "destroyed chunk's memory leaks",
        "pcpu_free_chunk",
        r"pcpu_mem_free\(chunk->bound_map\)",
        "(void)0",
    ),
    Bug(
        "failed creation leaks",
        "pcpu_alloc_chunk",
        r"md_blocks_fail:\s*pcpu_mem_free\(chunk->bound_map\)",
        "md_blocks_fail: (void)0",
    ),
    Bug(
        "flushes the last range only",
        "pcpu_reclaim_populated",
        r"max\(freed_page_end, end \+ 1\)",
        "end + 1",
    ),
    Bug(
        "no flush",
        "pcpu_reclaim_populated",
        r"freed_page_start < freed_page_end",
        "0",
        clause="ISO-1",
    ),
    Bug(
        "mutex left held",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"mutex_unlock\(&pcpu_alloc_mutex\)",
        "(void)0",
    ),
    Bug("no work for a second free chunk", "free_percpu", r"need_balance = true", "(void)0"),
    Bug(
        "charge kept on failure",
        "pcpu_memcg_post_alloc_hook",
        r"obj_cgroup_uncharge\(objcg, pcpu_obj_full_size\(size\)\)",
        "(void)0",
    ),
    Bug(
        "one page leaks",
        "pcpu_free_pages",
        r"i = page_start",
        "i = page_start + 1",
        file="mm/percpu-vm.c",
    ),
    Bug(
        "an eighth is enough",
        "pcpu_should_reclaim_chunk",
        r"nr_pages / 4",
        "nr_pages / 8",
        file="mm/percpu-vm.c",
    ),
    Bug(
        "reclaims the first chunk",
        "pcpu_should_reclaim_chunk",
        r"chunk == pcpu_first_chunk \|\| ",
        "",
        file="mm/percpu-vm.c",
    ),
    Bug(
        "lists a chunk while it is released",
        "free_percpu",
        r"if \(!chunk->isolated && chunk->free_bytes",
        "if (chunk->free_bytes",
        gaps=True,
    ),
    Bug(
        "cursor's page released twice",
        "pcpu_reclaim_populated",
        r"\bend = -1;(?=\s*\})",
        "(void)0;",
        clause="POP-3",
    ),
    Bug(
        "no free chunk spared",
        "pcpu_balance_free",
        r"if \(chunk == list_first_entry\(free_head, struct pcpu_chunk, list\)\)",
        "if (0)",
        clause="BAL-6",
    ),
    Bug(
        "search goes on into to_depopulate",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"slot <= pcpu_free_slot",
        "slot < pcpu_nr_slots",
        gaps=True,
    ),
    Bug(
        "mutex released before the population",
        "(?:pcpu_alloc|pcpu_alloc_noprof)",
        r"rs = PFN_DOWN\(off\)",
        "mutex_unlock(&pcpu_alloc_mutex); rs = PFN_DOWN(off)",
        gaps=True,
    ),
)

EQUIVALENT = (
    # first_free is exact (HINT-2), so no run begins before it: the scan only takes longer
    Bug("refresh from bit 0", "pcpu_block_refresh_hint", r"start = block->first_free", "start = 0"),
    # a block between the first and the last of an area is covered by it alone, and the allocation
    # of that area has already set scan_hint to 0
    Bug(
        "middle blocks keep a scan hint",
        "pcpu_block_update_hint_free",
        r"block->scan_hint = 0",
        "(void)0",
    ),
    # the same start and, as no scan_hint exceeds contig_hint, the same length: nothing is changed
    Bug(
        "equal run entered again",
        "pcpu_block_update",
        r"start > block->scan_hint_start \|\|",
        "start >= block->scan_hint_start ||",
    ),
    # a search starts at a run of the block that fits or at one before it (pcpu_next_hint), so the
    # runs that it skips lie before the fitting one and none of them ends its block; a run that does
    # and goes on into the next block either fits or is not where a search starts. No call with such
    # a run in any of 223,711 states reached from boot at 2 pages of 4 bits, 589,744 at 3 pages of 4
    # bits (neither complete), and no difference in 100,000 drawn operations
    Bug(
        "hole at a block's end not entered",
        "pcpu_block_update_scan",
        r"e_off > PCPU_BITMAP_BLOCK_BITS",
        "e_off >= PCPU_BITMAP_BLOCK_BITS",
    ),
)
"""Changes that no draw tells from the kernel, each with the reason."""


def seeded(source: str, bug: Bug) -> str:
    """Return a file's text with a bug put in; raises ValueError where the anchor is not found."""
    head = re.search(rf"^[a-z][^\n;#]*\b{bug.function}\([^;{{]*\)\s*\{{", source, re.MULTILINE)
    if head is None:
        raise ValueError(f"{bug.name}: no function {bug.function}")
    end = source.index("\n}\n", head.end())
    body, count = re.subn(bug.anchor, bug.instead, source[head.end() : end], count=1)
    if not count:
        raise ValueError(f"{bug.name}: no {bug.anchor} in {bug.function}")
    return source[: head.end()] + body + source[end:]

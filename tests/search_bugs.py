"""One-place edits of the kernel's own C, each with the clauses that it breaks and who shows it."""

from __future__ import annotations

from typing import NamedTuple

from kernel_bugs import BUGS, Bug

ALLOC = "(?:pcpu_alloc|pcpu_alloc_noprof)"
VM = "mm/percpu-vm.c"


class Edit(NamedTuple):
    """An edit, the clauses of which it breaks one at least that its base does not, and a search."""

    bug: Bug
    clauses: frozenset[str]
    search: str


def _edit(
    clauses: str,
    search: str,
    name: str,
    function: str,
    anchor: str,
    instead: str = "(void)0",
    file: str = "mm/percpu.c",
) -> Edit:
    bug = Bug(name, function, anchor, instead, file=file)
    return Edit(bug, frozenset(clauses.split()), search)


NAMED = {bug.name: bug for bug in BUGS}
"""Edits that the comparison with the model is tried on too."""

_KNOWN = {
    "left_free forgotten": ("HINT-1 HINT-2", "quarters"),
    "right_free forgotten": ("LIST-3", "pages"),
    "promotion keeps the start": ("HINT-1", "quarters"),
    "refresh keeps right_free": ("HINT-1", "reserved"),
    "empty pages not subtracted": ("POP-1", "pages"),
    "end block's left_free kept": ("HINT-1 HINT-2", "crumbs"),
    "first_free one short": ("HINT-2", "crumbs"),
    "freed page not counted": ("POP-1", "crumbs"),
    "no refresh across blocks": ("LIST-3", "pages"),
    "populated not asked": ("POP-1 POP-2", "pages"),
    "end of area not marked": ("MAP-3", "quarters"),
    "free_bytes forgotten": ("MAP-2", "quarters"),
    "first_free not lowered": ("HINT-1 HINT-7", "crumbs"),
    "isolation to the free list": ("ISO-2 LIST-3", "pages"),
    "float kept on isolation": ("FLT-1", "pages"),
    "hit does not reintegrate": ("ISO-3", "pages"),
    "last byte of an area not cleared": ("API-6", "quarters"),
    "failed population keeps the area": ("POP-1 POP-2 LOCK-3", "refused"),
    "reclaim ignores the float": ("RCL-6 RCL-1", "whole"),
    "destroyed chunk's memory leaks": ("POP-4", "refused"),
    "failed creation leaks": ("POP-4", "refused"),
    "flushes the last range only": ("ISO-1", "pages"),
    "no flush": ("ISO-1 TLB-1", "pages"),
    "one page leaks": ("POP-4", "refused"),
    "reclaims the first chunk": ("RCL-5 RCL-2", "pages"),
    "cursor's page released twice": ("POP-3 POP-1", "pages"),
    "search goes on into to_depopulate": ("ISO-4", "pages"),
    "mark of a failure kept": ("BAL-5", "pages"),
    "mutex left held": ("LOCK-2", "crumbs"),
    "charge kept on failure": ("ACC-1", "charged"),
    "no free chunk spared": ("BAL-6", "pages"),
    "mutex released before the population": ("LOCK-2 LOCK-3", "pairs"),
}

EDITS = (
    *(Edit(NAMED[n], frozenset(c.split()), search) for n, (c, search) in _KNOWN.items()),
    _edit("ACC-1", "charged", "a free is not uncharged", "pcpu_memcg_free_hook",
          r"obj_cgroup_uncharge\(", "if (0) obj_cgroup_uncharge("),
    _edit("ACC-2", "charged", "an area is in no vector", "pcpu_memcg_post_alloc_hook",
          r"(chunk->obj_\w+\[[^\]]*\][.\w]* = objcg)", "(void)0"),
    _edit("ACC-1", "charged", "half is charged", "pcpu_memcg_pre_alloc_hook",
          r"pcpu_obj_full_size\(size\)", "pcpu_obj_full_size(size) / 2"),
    _edit("LIST-3 LIST-4", "pages", "a whole unit has no slot of its own", "pcpu_size_to_slot",
          r"if \(size == pcpu_unit_size\)", "if (0)"),
    _edit("LIST-4 LIST-2", "quarters", "every slot is one higher", "__pcpu_size_to_slot",
          r"PCPU_SLOT_BASE_SHIFT \+ 2", "PCPU_SLOT_BASE_SHIFT + 3"),
    _edit("FLT-1", "pages", "reintegration leaves the float", "pcpu_reintegrate_chunk",
          r"pcpu_nr_empty_pop_pages \+= chunk->nr_empty_pop_pages"),
    _edit("ISO-2 ISO-3 FLT-1", "pages", "reintegration leaves the flag", "pcpu_reintegrate_chunk",
          r"chunk->isolated = false"),
    _edit("ISO-2", "pages", "isolation sets no flag", "pcpu_isolate_chunk",
          r"chunk->isolated = true"),
    _edit("POP-3", "pages", "released pages stay counted", "pcpu_reclaim_populated",
          r"pcpu_chunk_depopulated\(chunk, i \+ 1, end \+ 1\)"),
    _edit("ISO-2 LIST-3", "pages", "sidelines to the free list", "pcpu_reclaim_populated",
          r"\[pcpu_sidelined_slot\]", "[pcpu_free_slot]"),
    _edit("RCL-7", "pages", "always reintegrates", "pcpu_reclaim_populated",
          r"if \(reintegrate \|\|", "if (1 ||"),
    _edit("RCL-4", "whole", "reclaim ends early", "pcpu_reclaim_populated",
          r"if \(pcpu_nr_empty_pop_pages < PCPU_EMPTY_POP_PAGES_HIGH\)",
          "if (pcpu_nr_empty_pop_pages < 2 * PCPU_EMPTY_POP_PAGES_HIGH)"),
    _edit("BAL-7", "pages", "the work populates one page less", "pcpu_balance_populated",
          r"clamp\(PCPU_EMPTY_POP_PAGES_HIGH -", "clamp(PCPU_EMPTY_POP_PAGES_HIGH - 1 -"),
    _edit("SLOT-1 LIST-4", "drawn", "a chunk's slot is by its free bytes", "pcpu_chunk_slot",
          r"chunk_md->contig_hint \* PCPU_MIN_ALLOC_SIZE", "chunk->free_bytes"),
    _edit("POP-3", "crumbs", "nr_populated of a chunk forgotten", "pcpu_chunk_populated",
          r"chunk->nr_populated \+= nr"),
    _edit("POP-3", "crumbs", "nr_populated of all forgotten", "pcpu_chunk_populated",
          r"pcpu_nr_populated \+= nr"),
    _edit("POP-3", "crumbs", "no bit of populated pages", "pcpu_chunk_populated",
          r"bitmap_set\(chunk->populated, page_start, nr\)"),
    _edit("POP-1", "pages", "released pages stay in the float", "pcpu_chunk_depopulated",
          r"pcpu_update_empty_pages\(chunk, -nr\)"),
    _edit("POP-2", "pages", "an area without its pages", ALLOC,
          r"pcpu_chunk_populated\(chunk, rs, re\)"),
    _edit("BAL-4", "pages", "a low float asks for nothing", ALLOC,
          r"if \(pcpu_nr_empty_pop_pages < PCPU_EMPTY_POP_PAGES_LOW\)", "if (0)"),
    _edit("BAL-5", "pages", "a failure leaves no mark", ALLOC,
          r"pcpu_atomic_alloc_failed = true"),
    _edit("LOCK-1", "pages", "a free takes no lock", "free_percpu",
          r"spin_lock_irqsave\(&pcpu_lock, flags\)", "flags = 0"),
    _edit("LOCK-2", "pairs", "the work takes no mutex", "pcpu_balance_workfn",
          r"mutex_lock\(&pcpu_alloc_mutex\)"),
    _edit("LOCK-1 LOCK-2", "pages", "a release with the lock held", "pcpu_reclaim_populated",
          r"spin_unlock_irq\(&pcpu_lock\)"),
    _edit("TLB-1 TLB-2 ISO-1", "refused", "a failed mapping is not flushed", "pcpu_map_pages",
          r"pcpu_post_unmap_tlb_flush\(chunk, page_start, page_end\)", file=VM),
    _edit("API-7", "reserved", "reserved requests from anywhere", ALLOC,
          r"if \(reserved && pcpu_reserved_chunk\)", "if (0)"),
    _edit("API-1 API-4", "reserved", "any alignment will do", ALLOC,
          r"!is_power_of_2\(align\)", "0"),
    _edit("API-5", "pages", "atomic requests may sleep", ALLOC,
          r"is_atomic = !gfpflags_allow_blocking\(gfp\)", "is_atomic = false"),
    _edit("GFP-2", "limits", "the work is in no scope", "pcpu_balance_workfn",
          r"memalloc_noio_save\(\)", "0"),
    _edit("LOCK-1", "accesses in pages", "the float touched and put back", "free_percpu",
          r"if \(need_balance\)",
          "pcpu_nr_empty_pop_pages++; pcpu_nr_empty_pop_pages--; if (need_balance)"),
    _edit("LOCK-1", "accesses in pages", "a list touched before the lock", "free_percpu",
          r"spin_lock_irqsave\(&pcpu_lock, flags\)",
          "chunk->free_bytes += 0; spin_lock_irqsave(&pcpu_lock, flags)"),
)  # fmt: skip

HARMLESS = (
    _edit("", "", "half a chunk before it is reclaimed", "pcpu_should_reclaim_chunk",
          r"nr_pages / 4", "nr_pages / 2", file=VM),
    _edit("", "", "reclaim counts in another way", "pcpu_reclaim_populated",
          r"chunk->nr_empty_pop_pages == 0", "!chunk->nr_empty_pop_pages"),
    _edit("", "", "the float is read into a local", "pcpu_isolate_chunk",
          r"pcpu_nr_empty_pop_pages -= chunk->nr_empty_pop_pages",
          "{ int nr = chunk->nr_empty_pop_pages; pcpu_nr_empty_pop_pages -= nr; }"),
)  # fmt: skip
"""Edits that break nothing that is promised."""

HIGH = (r"#define PCPU_EMPTY_POP_PAGES_HIGH\s+4", "#define PCPU_EMPTY_POP_PAGES_HIGH\t8")
"""A larger float."""

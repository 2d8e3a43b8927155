"""Seeded bugs that linux_6_12's own monitor lets pass, and those that level fast catches."""

from __future__ import annotations

import re

from percpu_proofs.bugs.planting import Row

# They break a clause that linux_6_12 breaks itself, or is not asked. With the fixes of `reference`
# on top of the bug the clause is the first to be broken.
REPAIRED: list[Row] = [
    ("block_update_hint_free", "block.right_free = block_bits", "pass", "HINT-3"),
    ("block_refresh_hint", "block.scan_hint = 0", "pass", "HINT-4"),
    ("chunk_refresh_hint", "chunk_md.scan_hint = 0", "pass", "HINT-4"),
    ("next_md_free_region", "if bits and start >= block_off", "if False", "HINT-5"),
    ("next_md_free_region", "block_off = 0", "pass", "HINT-5"),
    ("block_update", "contig > block.scan_hint\n", "False\n", "HINT-5"),
    ("block_refresh_hint", "self.block_update(block, start - base, end - base)",
     "end - start > 1 + block.contig_hint and self.block_update(block, start - base, end - base)",
     "HINT-6"),
    ("block_update_hint_free", "e_off = end if s_index == e_index",
     "e_off = e_off if s_index == e_index", "HINT-6"),
    ("check_block_hint", "<= block.contig_hint", "< block.contig_hint", "FIT-1"),
    ("next_fit_region", "hint >= alloc_bits:", "hint > alloc_bits:", "FIT-1"),
    ("next_fit_region", "base + start >= bit_off", "start >= bit_off & self.block_mask", "FIT-1"),
    ("free_area", "self.chunk_relocate(chunk, oslot)", "pass", "LIST-2"),
    ("enter_populated", "page_start, page_end)", "page_start, page_end - 1)", "BAL-1"),
    ("balance_free", "chunk is not free_head.next and (", "False and (", "BAL-2"),
    ("check_freed_chunk", "any(pos is not chunk for pos in others)", "False", "BAL-2"),
    ("reclaim_populated", " or chunk.free_bytes == self.unit_size", "", "BAL-2"),
    ("balance_workfn", "yield from self.reclaim_populated()", "pass", "RCL-3"),
    ("reclaim_populated", "while head.next is not head:", "if head.next is not head:", "RCL-3"),
    ("check_freed_chunk", "return True", "return False", "RCL-3"),
    ("should_reclaim_chunk", "(chunk.isolated and nr_empty > 0) or ", "", "RCL-3"),
]  # fmt: skip

# The shipped vectors tell all of these from the kernel. Some break a promise: the last column names
# the clause that catches them. Of the others no clause speaks: it says why what they do is no
# promise of the allocator but a heuristic, policy, cost, diagnostics or the environment's affair.
UNLIKE: list[Row] = [
    ("block_update", "(start & -start) > (hint_start & -hint_start)", "True",
     "which of equally long runs is contig_hint is placement policy: the later one, not the "
     "better aligned"),
    ("block_update", "not start or (start", "False or (start",
     "which of equally long runs is contig_hint is placement policy: 0 is not the best alignment"),
    ("block_update", "if hint > block.scan_hint:\n", "if hint >= block.scan_hint:\n",
     "which of two equal runs scan_hint remembers is a heuristic; HINT-4 asks for its order alone"),
    ("block_update", "elif contig == hint:", "elif False:",
     "what is remembered of equal runs is a heuristic: an equal run is forgotten"),
    ("block_update_scan", "if e_off > self.block_bits:", "if True:",
     "scan_hint may know less (HINT-1 is a bound): skipped runs are forgotten"),
    ("alloc_area", "if area_bits:", "if False:",
     "scan_hint may know less (HINT-1 is a bound): skipped runs are forgotten"),
    ("find_zero_area", "area_bits > largest_bits or", "",
     "scan_hint may know less (HINT-1 is a bound): the largest run skipped is not told"),
    ("chunk_refresh_hint", "not full_scan and chunk_md.scan_hint", "False",
     "how much a refresh reads is cost only: a partial one is a full one"),
    ("chunk_refresh_hint", "self.block_update(chunk_md, bit_off, bit_off + bits)",
     "bits == chunk_md.contig_hint or self.block_update(chunk_md, bit_off, bit_off + bits)",
     "which of equal runs is contig_hint is placement policy: those of later blocks are not "
     "entered"),
    ("block_refresh_hint", "find(0, base + start, limit)", "find(0, base, limit)",
     "how much a refresh reads is cost only: more than it must"),
    ("block_update_hint_alloc", "e_off > e_block.scan_hint_start", "True",
     "scan_hint may know less (HINT-1 is a bound): it is dropped without need"),
    ("chunk_update_hint_free", " or s_index != e_index", "",
     "L1 in more places: HINT-5, which linux_6_12 breaks itself; the fix of L1 has no such line"),
    ("next_hint", "return block.first_free", "return block.contig_hint_start",
     "which hole is filled first is placement policy"),
    ("next_hint", "alloc_bits > block.scan_hint", "alloc_bits >= block.scan_hint",
     "where a scan begins is cost only: a scan_hint that would do is passed over"),
    ("check_block_hint", "(-block.contig_hint_start & (align - 1)) + bits", "bits",
     "a chunk that pcpu_check_block_hint skips may be searched: the test is cost only"),
    ("alloc_area", "start + alloc_bits + self.block_bits", "start + alloc_bits",
     "FIT-3"),
    ("free_area", "oslot = self.chunk_slot(chunk)", "oslot = -1",
     "the order in a list is search policy, and a move to the computed list is LIST-4: every "
     "free moves its chunk"),
    ("search_lists_for", "number = self.slot_of_bits[bits]", "number = 0",
     "which lists are searched first is cost only (COST-1 aside): those of too short runs are, "
     "too"),
    ("search_lists_for", "if head.slot < threshold:", "if False:",
     "relegation is a heuristic against long searches; LIST-4 allows it and asks for none"),
    ("search_lists_for", "self.reintegrate_chunk(chunk)", "pass",
     "ISO-3"),
    ("alloc_percpu", "if reserved and self.reserved_chunk is not None:", "if False:",
     "API-7"),
    ("alloc_percpu", "if reserved and self.reserved_chunk is not None:",
     "if self.reserved_chunk is not None:", "API-7"),
    ("alloc_percpu", "if gfp & ACCOUNT:", "if False:", "ACC-2"),
    ("alloc_percpu", "self.env.warnings += 1", "pass",
     "a warning is diagnostics: illegal requests do not warn"),
    ("alloc_percpu", " and not gfp & NOFAIL", "", "API-8"),
    ("alloc_failed", "self.warn_limit -= 1", "pass",
     "the limit on messages is diagnostics: failures are printed without limit"),
    ("should_reclaim_chunk", " and nr_empty >= chunk.nr_pages // geometry.reclaim_divisor", "",
     "a quarter is a threshold of policy: RCL-1 and RCL-6 bound what reclaim may take, not what "
     "it must"),
    ("create_chunk", " or self.env.vm_fault.strikes()", "",
     "which requests the environment refuses is no promise: creation never fails for addresses"),
    ("create_chunk", "if chunk is None or", "if True or", "API-9"),
    ("alloc_chunk", "if fault.armed:", "if False:",
     "which requests the environment refuses is no promise: metadata are always to be had"),
    ("populate_chunk", "if not self.pages_array:", "if True:",
     "the array of pages is made once to save work: it is made each time"),
    ("populate_chunk", "self.post_unmap_tlb_flush(chunk, page_start, page_end)", "pass",
     "TLB-2"),
    ("post_unmap_tlb_flush", "self.env.tlb_flushes += 1", "pass", "TLB-2"),
    ("balance_free", "chunk is not free_head.next and (", "(", "BAL-6"),
    ("balance_free", "is not free_head.next and", "is not free_head.prev and",
     "which fully free chunk is spared is policy: BAL-6 asks for one, here the last of the list"),
    ("balance_workfn", "yield from self.balance_free(True)", "pass",
     "a second chunk without pages costs no page; R4 leaves more, and BAL-2 is asked of "
     "reference, which runs the work again"),
    ("balance_workfn", "yield from self.balance_populated()", "pass",
     "BAL-7"),
    ("pages_to_populate", "if self.atomic_alloc_failed:", "if False:",
     "BAL-5"),
    ("pages_to_populate", "self.atomic_alloc_failed = False", "pass", "BAL-5"),
    ("pages_to_populate", "high - self.float_of", "2 * high - self.float_of",
     "BAL-7"),
    ("first_unpopulated", "if chunk.nr_pages - chunk.nr_populated:", "if True:",
     "which chunk is populated is policy, and a chunk is created where none is found: full "
     "chunks stand in the way"),
    ("populate_holes", "        nr_to_pop = 0\n", "        pass\n",
     "after a refusal the work may give up or go on: it was refused memory, and BAL-7 is not "
     "asked"),
    ("sideline_chunk", "self.sidelined_slot, False", "self.sidelined_slot, True",
     "the order in a list is search policy: sidelined chunks are searched in another one"),
    ("depopulate_empty", "if self.nr_empty_pop_pages < self.geometry.empty_high:", "if False:",
     "RCL-6"),
    ("depopulate_empty", "return freed_start, freed_end, False",
     "return freed_start, freed_end, True", "RCL-7"),
]  # fmt: skip

_CLAUSES = re.compile(r"[A-Z]+-[0-9]+( [A-Z]+-[0-9]+)*")


def names_clauses(row: Row) -> bool:
    """Return whether the last column of a row names clauses, and no reason."""
    return _CLAUSES.fullmatch(row[3]) is not None


# As REPAIRED, and what only steps tell.
LIMITS: list[Row] = [
    ("ask", " & ~task.forbids", " & ~(task.forbids if task is self.WORK else 0)", "GFP-1"),
]

PROMISED: list[Row] = [row for row in UNLIKE if names_clauses(row)]
EXACT: list[Row] = [row for row in UNLIKE if not names_clauses(row)]

# One and the same program, for the reason in the last column.
EQUAL: list[Row] = [
    ("block_update_hint_free", "block.first_free = 0", "pass",
     "a block covered whole by one allocation keeps its first_free, which was 0"),
    ("block_update_hint_free", "block.contig_hint_start = 0", "pass",
     "a block covered whole by one allocation keeps its contig_hint_start, which was 0"),
    ("block_update_hint_alloc", "+ s_block.scan_hint,", "+ s_block.scan_hint + 1,",
     "a run ends at a used bit, so no allocation starts just behind it"),
    ("depopulate_empty", "freed_start = min(freed_start, i + 1)", "freed_start = i + 1",
     "pages are visited downwards"),
    ("memcg_pre_alloc_hook", "not gfp & ACCOUNT or ", "",
     "the caller asks for accounted requests only"),
    ("reintegrate_chunk", "if chunk.isolated:", "if True:",
     "nobody else reintegrates it when nothing else runs"),
    ("balance_free", "reversed(to_free)", "to_free", "nothing tells the order of destruction"),
    ("balance_populated", "self.size_to_slot(self.geometry.page)", "1",
     "a chunk with an unpopulated page has a free page, unless its hints fall short (HINT-5)"),
]  # fmt: skip

# Level fast sees the first block of an area and, after balance work, the counters.
FAST: list[Row] = [
    ("alloc", "size, align, reserved, gfp", "size - self.granule, align, reserved, gfp", "MAP-1"),
    ("alloc", "return run(self.alloc_percpu(",
     "return (lambda steps: (area := run(steps)) and (area[0], area[1] + self.granule))("
     "self.alloc_percpu(", "MAP-1"),
    ("free", "run(self.free_percpu(area))",
     "area and area[0].alloc_map.__setitem__(area[1] // self.granule, 0)", "HINT-1"),
    ("balance", "run(self.balance_workfn())",
     "run(self.balance_workfn()); self.nr_empty_pop_pages += 1", "FLT-1"),
    ("block_update", "contig = end - start", "contig = end - start + 1", "HINT-1"),
    ("block_update", "block.left_free = contig", "pass", "HINT-2"),
    ("block_update", "block.right_free = contig", "block.right_free = end", "HINT-1"),
    ("block_refresh_hint", "block.right_free = 0", "pass", "HINT-1"),
    ("block_update_hint_alloc", "self.block_refresh_hint(chunk, s_index)", "pass", "HINT-1"),
    ("block_update_hint_alloc", "s_block.left_free = s_off", "pass", "HINT-1"),
    ("block_update_hint_alloc", "s_block.right_free = 0", "pass", "HINT-1"),
    ("block_update_hint_free", "start = start - base if start else 0", "start = s_off", "HINT-2"),
    ("block_update_hint_free", "self.block_update(e_block, 0, end)", "pass", "HINT-1"),
    ("block_update_hint_free", "(chunk, nr_empty_pages)", "(chunk, 1)", "FLT-1"),
    ("find_block_fit", "self.is_populated(chunk, bit_off, bits)",
     "self.is_populated(chunk, bit_off, 1)", "POP-2"),
    ("alloc_area", "chunk.alloc_map[bit_off:stop] = ones", "chunk.alloc_map[start:stop] = ones",
     "MAP-1"),
    ("alloc_area", "bound_map[bit_off] = 1", "pass", "MAP-3"),
    ("alloc_area", "bound_map[stop] = 1", "pass", "MAP-3"),
    ("alloc_area", "return bit_off * granule", "return start * granule", "MAP-1"),
    ("free_area", "chunk.alloc_map[bit_off:end]", "chunk.alloc_map[bit_off:end - 1]", "HINT-1"),
    ("alloc_percpu", "rs = off // self.page", "rs = off // self.page + 1", "POP-2"),
    ("alloc_percpu", "-(-(off + size) // self.page)", "(off + size) // self.page", "POP-2"),
    ("populate_area", "self.chunk_populated(chunk, rs, re)", "self.chunk_populated(chunk, rs, rs)",
     "POP-2"),
    ("isolate_chunk", "self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages", "pass", "FLT-1"),
    ("reintegrate_chunk", "self.nr_empty_pop_pages += chunk.nr_empty_pop_pages", "pass", "FLT-1"),
    ("update_empty_pages", " and not chunk.isolated", "", "FLT-1"),
    ("chunk_depopulated", "self.update_empty_pages(chunk, -nr)", "pass", "FLT-1"),
]  # fmt: skip

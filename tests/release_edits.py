"""Edits of Debian's 6.12 tree that bring it the behaviour of other releases."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kernel_trees import FOUND, tree_of

from percpu_proofs.kernel.tree import Tree, copy_tree

SOURCE, INTERNAL, KM = "mm/percpu.c", "mm/percpu-internal.h", "mm/percpu-km.c"
Change = Callable[[dict[str, str]], None]
"""Changes the texts of a tree's files."""

_LOW = re.compile(
    r"\n\tif \(pcpu_nr_empty_pop_pages < PCPU_EMPTY_POP_PAGES_LOW\)\n\t\tpcpu_schedule_\w+\(\);\n"
)
# our own words for what block_update of RegionHints does
_UPDATE = """
static bool meets(int start, int end, struct pcpu_region hint)
{
    return hint.size && start <= hint.start + hint.size && hint.start <= end;
}

static void pcpu_block_update(struct pcpu_block_md *block, int start, int end)
{
    struct pcpu_region *c = &block->contig_hint, *s = &block->scan_hint, run;
    const bool grows = meets(start, end, *c);

    if (meets(start, end, *s)) {
        end = max(end, s->start + s->size);
        start = min(start, s->start);
        s->size = 0;
    }
    if (grows) {
        end = max(end, c->start + c->size);
        start = min(start, c->start);
    }
    run = (struct pcpu_region){ start, end - start };
    block->first_free = min(block->first_free, start);
    if (!start)
        block->left_free = run.size;
    if (end == block->nr_bits)
        block->right_free = run.size;
    if (grows) {
        if (run.size > s->size && s->start > start)
            s->size = 0;
        *c = run;
    } else if (run.size > c->size) {
        if (!c->size || start <= c->start)
            s->size = !c->size || start < s->start ? 0 : s->size;
        else if (c->size > s->size || start < s->start)
            *s = *c;
        *c = run;
    } else if (run.size < c->size) {
        if (start < c->start &&
            (run.size > s->size || (run.size == s->size && start > s->start)))
            *s = run;
    } else if (c->start && (!start || __ffs(start) > __ffs(c->start))) {
        if (c->size > s->size)
            *s = start < c->start ? *c : *s;
        else if (start > s->start)
            s->size = 0;
        c->start = start;
    } else if (c->size > s->size) {
        if (start > c->start)
            *s = run;
        else if (start < s->start)
            s->size = 0;
    } else if (start > s->start) {
        *s = run;
    }
}

"""


def replaced(file: str, old: str, new: str) -> Change:
    """Return the change of one text, which stands once in a file."""

    def change(texts: dict[str, str]) -> None:
        assert texts[file].count(old) == 1, old
        texts[file] = texts[file].replace(old, new)

    return change


def float_tested_locked(texts: dict[str, str]) -> None:
    """6.13: the float is tested as soon as an area is found."""
    test = _LOW.search(texts[SOURCE])
    assert test is not None
    text = texts[SOURCE].replace(test[0], "\n")
    found = "area_found:\n\tpcpu_stats_area_alloc(chunk, size);\n"
    assert text.count(found) == 1
    texts[SOURCE] = text.replace(found, found + test[0])


def float_tested_twice(texts: dict[str, str]) -> None:
    """6.13 half applied: the float is tested in both places."""
    test = _LOW.search(texts[SOURCE])
    assert test is not None
    float_tested_locked(texts)
    memset = "\t/* clear the areas and return address relative to base address */\n"
    assert texts[SOURCE].count(memset) == 1
    texts[SOURCE] = texts[SOURCE].replace(memset, test[0] + memset)


def float_never_tested(texts: dict[str, str]) -> None:
    """6.13 half applied: the float is tested in neither place."""
    texts[SOURCE], count = _LOW.subn("\n", texts[SOURCE])
    assert count == 1


def regions(texts: dict[str, str]) -> None:
    """linux-mm, 3/4: a hint is a struct pcpu_region; what is done with it stays."""
    declared = re.compile(
        r"\tint\s+(\w+_hint);[^\n]*\n\tint\s+\1_start;.*?\*/\n", re.DOTALL
    )
    region = "struct pcpu_region {\n\tint start;\n\tint size;\n};\n\n"
    head = texts[INTERNAL].index("struct pcpu_block_md {")
    body, count = declared.subn(r"\tstruct pcpu_region \1;\n", texts[INTERNAL][head:])
    assert count == 2
    texts[INTERNAL] = texts[INTERNAL][:head] + region + body
    text = re.sub(r"(?<=->)((?:scan|contig)_hint)_start\b", r"\1.start", texts[SOURCE])
    texts[SOURCE] = re.sub(r"(->(?:scan|contig)_hint)\b(?!\.)", r"\1.size", text)
    texts[SOURCE] = re.sub(
        r"(chunk_md\.(?:scan|contig)_hint)\b(?!\.)", r"\1.size", texts[SOURCE]
    )


def hints_invariant(texts: dict[str, str]) -> None:
    """linux-mm, 4/4, in words of our own."""
    text = texts[SOURCE]
    begin = text.index("static void pcpu_block_update(struct pcpu_block_md")
    end = text.index("\n}\n", begin) + 3
    texts[SOURCE] = text[:begin] + _UPDATE + text[end:]


NO_VECTOR = replaced(INTERNAL, "extra_size += size /", "extra_size += 0 * size /")
NO_SLEEP = (
    replaced(SOURCE, "is_atomic = !gfpflags_allow_blocking(gfp);",
             "is_atomic = (gfp & GFP_KERNEL) != GFP_KERNEL;"),
    replaced(SOURCE, "unsigned int flags = memalloc_noio_save();", ""),
    replaced(SOURCE, "memalloc_noio_restore(flags);", ""),
)  # fmt: skip
"""Before 6.15: what lacks a flag of GFP_KERNEL is atomic, and the work is in no scope."""
REFUSED = (
    replaced(SOURCE, "\t/* find end index */\n", "\tif (!test_bit(bit_off, chunk->alloc_map) ||\n"
             "\t    !test_bit(bit_off, chunk->bound_map))\n\t\treturn 0;\n"),
    replaced(SOURCE, "\tsize = pcpu_free_area(chunk, off);\n",
             "\tsize = pcpu_free_area(chunk, off);\n\tif (!size) {\n"
             "\t\tspin_unlock_irqrestore(&pcpu_lock, flags);\n\t\tWARN_ON_ONCE(1);\n"
             "\t\treturn;\n\t}\n"),
)  # fmt: skip
ROOT = replaced(SOURCE, "\tif (!objcg)\n\t\treturn true;\n",
                "\tif (!objcg || obj_cgroup_is_root(objcg))\n\t\treturn true;\n")  # fmt: skip
CHUNK_END = re.compile(r"(pcpu_block_off_to_off\(s_index, start\),\s*)end\)")
EVERY_UNIT = replaced(
    KM, "pcpu_chunk_populated(chunk, 0, chunk->nr_pages)",
    "pcpu_chunk_populated(chunk, 0, nr_pages)",
)  # fmt: skip


def chunk_end(texts: dict[str, str]) -> None:
    """linux-mm, 1/4: the end of a freed run is relative to the chunk."""
    texts[SOURCE], count = CHUNK_END.subn(
        r"\1pcpu_block_off_to_off(e_index, end))", texts[SOURCE]
    )
    assert count == 1


_PAGES = "PAGE_ALIGN(pcpu_obj_full_size(size)) >> PAGE_SHIFT"
PRECHARGED = (
    replaced(SOURCE, "obj_cgroup_charge(objcg, gfp, pcpu_obj_full_size(size))",
             f"obj_cgroup_precharge(objcg, gfp, {_PAGES})"),
    replaced(SOURCE, "\t\tobj_cgroup_get(objcg);\n",
             "\t\tunsigned int bytes[MAX_NUMNODES] = { 0 };\n\t\tint nid;\n\n"
             "\t\tobj_cgroup_get(objcg);\n"
             "\t\tbytes[page_to_nid(NULL)] = pcpu_obj_full_size(size);\n"
             "\t\tfor_each_online_node(nid) {\n"
             f"\t\t\tobj_cgroup_account_kmem(obj_cgroup_nid(objcg, nid), {_PAGES});\n"
             "\t\t\tobj_cgroup_uncharge(objcg, PAGE_ALIGN(bytes[nid]) - bytes[nid]);\n"
             "\t\t\tmod_memcg_lruvec_state(mem_cgroup_lruvec(NULL, NODE_DATA(nid)), NR_PERCPU_B,\n"
             "\t\t\t\t\t       bytes[nid]);\n\t\t}\n"),
    replaced(SOURCE, "\t} else {\n\t\tobj_cgroup_uncharge(objcg, pcpu_obj_full_size(size));\n",
             f"\t}} else {{\n\t\tobj_cgroup_unprecharge(objcg, {_PAGES});\n"),
    replaced(SOURCE, "\tpcpu_nr_populated += nr;\n",
             "\tpcpu_nr_populated += nr;\n\tfor (int nid = 0; nid < num_possible_nodes(); nid++)\n"
             "\t\tmod_node_page_state(NODE_DATA(nid), NR_PERCPU_B, nr * nr_cpus_node(nid));\n"),
)  # fmt: skip
"""As under review: whole pages are charged before an area is there, and nodes have counters."""

SLEEPS_WITHOUT_SCOPE = NO_SLEEP[1:]
SCOPE_WITHOUT_SLEEP = NO_SLEEP[:1]
SLEEPS_WITH_IO = replaced(
    SOURCE, "is_atomic = !gfpflags_allow_blocking(gfp);",
    "is_atomic = (gfp & (GFP_KERNEL & ~__GFP_FS)) != (GFP_KERNEL & ~__GFP_FS);",
)  # fmt: skip
"""Parts of 6.15: the one without the other, and of requests without file systems alone."""
KEPT_VECTOR = replaced(
    SOURCE, "\tobj_cgroup_uncharge(objcg, pcpu_obj_full_size(size));\n\n\trcu",
    "\tobj_cgroup_uncharge(objcg, size * num_possible_cpus());\n\n\trcu",
)  # fmt: skip
"""Of 5.17: a free gives back the bytes alone."""


def hints_that_stay(texts: dict[str, str]) -> None:
    """linux-mm, 4/4 in part: a run that meets scan_hint is entered apart from it."""
    hints_invariant(texts)
    replaced(SOURCE, "if (meets(start, end, *s))", "if (false)")(texts)


STARTS_OF_SET_HINTS = tuple(
    replaced(SOURCE, old, new)
    for old, new in (
        ("if (pcpu_region_overlap(s_block->scan_hint_start,",
         "if (s_block->scan_hint && pcpu_region_overlap(s_block->scan_hint_start,"),
        ("if (e_off > e_block->scan_hint_start)",
         "if (e_block->scan_hint && e_off > e_block->scan_hint_start)"),
        ("if (pcpu_region_overlap(chunk_md->scan_hint_start,",
         "if (chunk_md->scan_hint && pcpu_region_overlap(chunk_md->scan_hint_start,"),
        ("if (start > block->contig_hint_start) {",
         "if (block->contig_hint && start > block->contig_hint_start) {"),
        ("} else if (start < block->scan_hint_start) {",
         "} else if (block->scan_hint && start < block->scan_hint_start) {"),
        ("} else if (start > block->scan_hint_start ||",
         "} else if ((block->scan_hint && start > block->scan_hint_start) ||"),
    )
)  # fmt: skip
"""linux-mm, 2/4: starts are read of hints that are set."""


_7_0 = (float_tested_locked, *REFUSED)
EDITS: dict[str, tuple[Change, ...]] = {
    "linux_5_14": (NO_VECTOR, *NO_SLEEP),
    "linux_5_17": NO_SLEEP,
    "linux_6_13": (float_tested_locked, *NO_SLEEP),
    "linux_6_15": (float_tested_locked,),
    "linux_7_0": _7_0,
    "linux_7_1": (*_7_0, ROOT),
    "linux_mm": (*_7_0, ROOT, chunk_end, regions, hints_invariant),
}
"""What makes a tree of 6.12.117 do what a variant does."""


def edited(into: Path, *edits: Change) -> Tree:
    """Return a copy of the newest tree, with its files changed."""
    tree = copy_tree(tree_of(FOUND[-1]), into)
    texts = {name: (into / name).read_text() for name in (SOURCE, INTERNAL, KM)}
    for edit in edits:
        edit(texts)
    for name, text in texts.items():
        (into / name).write_text(text)
    return replace(tree, source=into)

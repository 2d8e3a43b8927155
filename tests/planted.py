"""Faults planted in a copy of the kernel's allocator, each of them set off by requests of one size.

One compiled library has them all: a search of it asks for the sizes that it is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

HOLD: Final = "spin_lock_irq(&pcpu_lock); {} spin_unlock_irq(&pcpu_lock);"
CHUNK: Final = "unsigned long at = pcpu_chunk_addr(second(), 0, {0}), end = at + PAGE_SIZE; "
"""The address of a page of the chunk that the setup has made, in the unit of the first CPU."""
UNMAP: Final = CHUNK + "struct page *page = vmalloc_to_page(at); vunmap_range_noflush(at, end); "
REMAP: Final = UNMAP + "vmap_pages_range_noflush(at, end, PAGE_KERNEL, &page, PAGE_SHIFT); "
SETUP: Final = ("a 1 28672 4 -", "a 2 4096 4 -", "b")
"""The first chunk is full; a second one has an area in its first page, empty pages behind it."""


@dataclass(frozen=True)
class Plant:
    """What requests of a size do first, and what is said of it."""

    code: str = ""  # with `return true` the request fails
    found: str = ""  # a clause and a part of what is said, or nothing: then nothing is broken
    in_work: str = ""  # what balance work does, once it was set off
    in_reclaim: tuple[str, str] = ("", "")  # a condition of reclaim's, and another once set off
    scenario: str = ""  # beside whose actors it is set off
    populating: str = ""  # what the request does before it populates pages
    search: dict[str, Any] = field(default_factory=dict)  # of the plan, beside the usual
    size: int = 0  # of the request in bytes; 0: any that no other has
    after: str = ""  # another plant that is set off before


_FOURTH = "kfree(kzalloc(64, GFP_KERNEL)); " * 3
PLANTS: Final = {
    "nothing": Plant("break;"),
    "freed twice": Plant("p = kzalloc(64, GFP_KERNEL); kfree(p); kfree(p);", "POP-4: freed twice"),
    "written behind": Plant(
        "p = kzalloc(64, GFP_KERNEL); kfree(p); p[8] = 1; kfree(kzalloc(64, GFP_KERNEL));",
        "POP-4: written after it was freed",
    ),
    "never allocated": Plant("kfree((void *)second() + 8);", "POP-4: was never allocated"),
    "leak": Plant("kzalloc(64, GFP_KERNEL); return true;", "POP-4: nothing points any more"),
    "page leaks": Plant("alloc_pages_node(0, GFP_KERNEL, 0);", "POP-4: pages are allocated"),
    "goes round": Plant("for (;;) { " + HOLD.format("") + " }", "BAL-3: that runs alone does not"),
    "nested": Plant(HOLD.format("spin_lock(&inner); barrier(); spin_unlock(&inner);")),
    "sleeps": Plant(HOLD.format("cond_resched();"), "LOCK-2: may sleep"),
    "lock kept": Plant("spin_lock_irq(&pcpu_lock); return true;", "LOCK-1: a step ends"),
    "lock asked for": Plant("lockdep_assert_held(&pcpu_lock);", "LOCK-1: is wanted is not held"),
    "mutex kept": Plant("mutex_lock(&pcpu_alloc_mutex); return true;", "LOCK-2: the mutex is held"),
    "nobody goes on": Plant(
        "mutex_lock(&pcpu_alloc_mutex); return true;", "BAL-3: can never go on",
        search={"waiting": True, "longest": 2},
    ),
    "warning": Plant("WARN_ON(1);", "BUG: WARN"),
    "area unmapped": Plant(UNMAP.format(0), "POP-2: page 0 holds an area and is not mapped"),
    "empty page unmapped": Plant(UNMAP.format(1), "ISO-1: page 1 is counted and not mapped"),
    "empty page unmapped and flushed": Plant(
        UNMAP.format(1) + "flush_tlb_kernel_range(at, end);",
        "ISO-1: page 1 is counted and not mapped",
    ),
    "not flushed": Plant(REMAP.format(1), "ISO-1: page 1 is not flushed yet"),
    "flushed": Plant(REMAP.format(1) + "flush_tlb_kernel_range(at, end);"),
    "mapped, not counted": Plant(
        "bitmap_clear(second()->populated, 1, 1); return true;",
        "POP-3: page 1 is mapped, not counted",
    ),
    "mark": Plant("pcpu_atomic_alloc_failed = true; return true;", "BAL-5: the mark of a failed"),
    "asks for itself": Plant(
        "schedule_work(&pcpu_balance_work); return true;", "BAL-3: asks for itself without end",
        "schedule_work(&pcpu_balance_work);",
    ),
    "work goes round": Plant(
        "schedule_work(&pcpu_balance_work); return true;",
        "BAL-3: a run of balance work that does not end",
        "for (;;) { " + HOLD.format("") + " }",
    ),
    "creates on": Plant(
        "schedule_work(&pcpu_balance_work); return true;", "BAL-3: creates chunk on chunk",
        "for (;;) { struct pcpu_chunk *c = pcpu_create_chunk(GFP_KERNEL); "
        + HOLD.format("pcpu_chunk_relocate(c, -1);") + " }",
    ),
    "charged": Plant(
        "obj_cgroup_charge(current_obj_cgroup(), gfp, 8); return true;", "ACC-1: ",
        search={"sizes": "memcg=1"},
    ),
    "refused page": Plant(
        "page = alloc_pages_node(0, GFP_KERNEL, 0); if (page) __free_page(page); else WARN_ON(1);",
        "BUG: WARN", search={"failures": 1, "faults": ("page",)},
    ),
    "refused metadata": Plant(
        "p = kzalloc(64, GFP_KERNEL); kfree(p); if (!p) WARN_ON(1);",
        "BUG: WARN", search={"failures": 1, "faults": ("metadata",)},
    ),
    "refused fourth": Plant(
        _FOURTH + "p = kzalloc(64, GFP_KERNEL); kfree(p); if (!p) WARN_ON(1);",
        "BUG: WARN", search={"failures": 1, "faults": ("fourth metadata",)},
    ),
    "mutex in between": Plant(
        found="LOCK-3: awaits its pages without", size=28668,
        populating="mutex_unlock(&pcpu_alloc_mutex); mutex_lock(&pcpu_alloc_mutex);",
    ),
    "two at once": Plant(
        HOLD.format("own++;") + " WARN_ON(own == 2); own--; return true;", "BUG: WARN",
        search={"together": 2, "longest": 2},
    ),
    "a variable": Plant("own = 1; return true;"),
    "a variable told": Plant(
        "if (own) pcpu_nr_empty_pop_pages++; return true;", "FLT-1: ", after="a variable"
    ),
    "a field": Plant("second()->own = 1; return true;"),
    "a field told": Plant(
        "if (second()->own) pcpu_nr_empty_pop_pages++; return true;", "FLT-1: ", after="a field"
    ),
    "reintegrates": Plant(
        "return true;", "RCL-7: lists a chunk again", in_reclaim=(r"reintegrate(?= \|\|)", "true"),
        scenario="reclaim-free",
    ),
    "ignores the float": Plant(
        "return true;", "RCL-6: pages", scenario="float-falls",
        in_reclaim=(r"pcpu_nr_empty_pop_pages < PCPU_EMPTY_POP_PAGES_HIGH", "false"),
    ),
    "only locked": Plant(HOLD.format("pcpu_nr_populated += 0;"), "LOCK-2: writes pcpu_nr_popul"),
    "not locked": Plant("second()->free_bytes += 0;", "LOCK-1: writes free_bytes"),
}  # fmt: skip
SIZES: Final = {name: plant.size or 8 + 4 * n for n, (name, plant) in enumerate(PLANTS.items())}

_FUNCTION = """
static struct pcpu_chunk *second(void)
{
    struct pcpu_chunk *chunk;
    for (int slot = 0; slot < pcpu_nr_slots; slot++)
        list_for_each_entry(chunk, &pcpu_chunk_lists[slot], list)
            if (chunk != pcpu_first_chunk)
                return chunk;
    return NULL;
}
static bool planted(size_t size, gfp_t gfp)
{
    static DEFINE_SPINLOCK(inner);
    struct page *page;
    char *p;
    (void)inner; (void)page; (void)p;
    switch (size) {
%s
    }
    return false;
}
"""


def plant_all(text: str) -> str:
    """Return the text of mm/percpu.c with all plants."""
    cases = "".join(
        f"    case {SIZES[name]}: {'set_off = size;' if plant.in_work or plant.scenario else ''} "
        f"{{ {plant.code} }} break;\n"
        for name, plant in PLANTS.items()
    )
    work = "".join(
        f"\tif (set_off == {SIZES[name]}) {{ {plant.in_work} }}\n"
        for name, plant in PLANTS.items()
        if plant.in_work
    )
    populating = "".join(
        f"if (size == {SIZES[name]}) {{ {plant.populating} }}\n"
        for name, plant in PLANTS.items()
        if plant.populating
    )
    for anchor, new in (
        (r"static (?:DEFINE_SPINLOCK|spinlock_t|DEFINE_MUTEX)", r"static int own, set_off;\n\g<0>"),
        (r"static void pcpu_balance_workfn\(struct work_struct \*work\)\n\{", rf"\g<0>\n{work}"),
        (r"void __percpu \*pcpu_alloc(_noprof)?\(", rf"{_FUNCTION % cases}\g<0>"),
        (r"gfp = current_gfp_context\(gfp\);", r"\g<0> if (planted(size, gfp)) return NULL;"),
        (r"ret = pcpu_populate_chunk\(", rf"{populating}\g<0>"),
    ):
        text, count = re.subn(anchor, new, text, count=1)
        assert count, anchor
    begin = text.index("static void pcpu_reclaim_populated(")
    for name, plant in PLANTS.items():
        anchor, instead = plant.in_reclaim
        if anchor:
            both = rf"(set_off == {SIZES[name]} ? {instead} : \g<0>)"
            reclaim, count = re.subn(anchor, both, text[begin:], count=1)
            assert count, anchor
            text = text[:begin] + reclaim
    return text


def with_field(text: str) -> str:
    """Return the text of mm/percpu-internal.h with a field of a chunk that no clause knows."""
    return text.replace("\tbool\t\t\tisolated;", "\tbool\t\t\tisolated;\n\tint own;", 1)

"""What is said of each kind of report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from percpu_proofs.logs.block import AT, OUR_LOCKS, ReportAnswer, ReportBlock, lock_name
from percpu_proofs.recorded.traces.functions import plain_name

_HELD: Final = re.compile(r"already holding lock|takes? .*lock.* while holding|is holding", re.I)
_WANTED: Final = re.compile(r"trying to (?:acquire )?lock|wants? to acquire", re.I)
_LINK: Final = re.compile(r"^\s*-> #\d+ \(((?:[^(){}]|\([^(){}]*\))+)\)\{")
_RECLAIM: Final = re.compile(r"fs_reclaim|reclaim|mmu_notifier_invalidate")
_HUNG: Final = re.compile(r"task (\S+):(\d+) blocked for more than (\d+) seconds")


def _lockdep(block: ReportBlock) -> ReportAnswer:
    others = [lock for lock in block.locks if lock not in OUR_LOCKS]
    wanted, held = block.lock_after(_WANTED), block.lock_after(_HELD)
    said = "an order of locks"
    if wanted is not None and held is not None:
        said = f"{wanted} is wanted while {held} is held"
    if not block.locks:
        return ReportAnswer(
            True, ("LOCK-1", "LOCK-2"),
            ("the report itself is not in this text: outside of the specification, unless the "
             "cycle is of pcpu_alloc_mutex and pcpu_lock alone",),
            ("give the whole report, with 'is trying to acquire lock' and the chain below it",),
        )  # fmt: skip
    if not others:
        return ReportAnswer(
            False, ("LOCK-1", "LOCK-2"),
            (f"{said}: percpu's own two locks, of which pcpu_alloc_mutex comes first, and "
             "pcpu_lock is released before anything sleeps: the code of this kernel breaks that",),
            ("percpu-spec review --source TREE asks the clauses of that code",),
        )  # fmt: skip
    outside = (
        "outside of the specification: it has percpu's own two locks and their order, which cannot "
        "make this cycle, not those of callers and of reclaim"
    )
    mutex = "pcpu_alloc_mutex" in block.locks
    if mutex and any(map(_RECLAIM.search, others)):
        callers = _held_for_mutex(block, wanted, held) or "the caller's lock"
        return ReportAnswer(
            True, ("GFP-1", "GFP-2", "LOCK-2"),
            (said,
             "pcpu_alloc_mutex -> fs_reclaim: whoever allocates with GFP_KERNEL creates chunks and "
             "populates pages with the mutex held (LOCK-2), so reclaim may run under it; reclaim "
             f"may need {callers}, whose holder waits for the mutex", outside),
            (f"the caller allocates before it takes {callers} (before it freezes the queue), or "
             "inside of memalloc_noio_save (memalloc_nofs_save for a file system's lock): its own "
             "requests then stay out of that (GFP-1), but another task's, with the mutex held, do "
             "not",
             "or the allocator must not allocate pages under the mutex: percpu.c would have to "
             "change; from 6.15 on the balance work does without I/O and file systems (GFP-2)"),
        )  # fmt: skip
    if mutex and wanted == "pcpu_alloc_mutex" and not any("->" in name for name in others):
        return _sleeps_in(others)
    if mutex:
        return ReportAnswer(
            True, ("LOCK-2", "API-3"),
            (said, f"pcpu_alloc_mutex with {', '.join(others[:4])}", outside),
            ("a request that may sleep takes the mutex: allocate before taking the other lock, or "
             "with GFP_NOWAIT, which takes pcpu_lock alone",),
        )  # fmt: skip
    with_them = f"pcpu_lock with {', '.join(others[:4])}"
    if "pcpu_lock" not in block.locks:
        with_them = f"{', '.join(others[:4])}, with percpu functions in the stacks"
    return ReportAnswer(
        True, ("LOCK-1",), (said, with_them, outside),
        ("pcpu_lock is taken with interrupts off and is meant to be innermost: nothing that takes "
         "another lock (printk, wakeups, frees) belongs under it; on PREEMPT_RT it sleeps, so it "
         "is not for raw sections",),
    )  # fmt: skip


def _held_for_mutex(block: ReportBlock, wanted: str | None, held: str | None) -> str | None:
    """Return the lock under which somebody takes pcpu_alloc_mutex.

    lockdep lists a chain backwards: each lock was taken with the next one held.
    """
    if wanted == "pcpu_alloc_mutex":
        return held
    chain = [lock_name(match[1]) for text in block.texts if (match := _LINK.match(text))]
    after = chain[chain.index("pcpu_alloc_mutex") + 1 :] if "pcpu_alloc_mutex" in chain else chain
    return next((lock for lock in after if not _RECLAIM.search(lock)), None)


def _context(block: ReportBlock) -> ReportAnswer:
    """Answer for a lock that may sleep, taken where nobody may."""
    others = [lock for lock in block.locks if lock not in OUR_LOCKS]
    if "pcpu_alloc_mutex" in block.locks:
        return _sleeps_in(others)
    return _lockdep(block)


def _rcu(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        True, ("LOCK-1",), ("a use of RCU around percpu memory: outside of the specification",),
        ("RCU is the caller's: percpu's own state is under its two locks",),
    )  # fmt: skip


def _sleeps_in(others: Sequence[str]) -> ReportAnswer:
    """Answer for a request that may sleep, made with other locks held."""
    where = f" inside of {', '.join(others[:3])}" if others else ""
    return ReportAnswer(
        True, ("API-3", "LOCK-2"),
        (f"a request that may sleep was made{where}, where nobody may: it takes pcpu_alloc_mutex, "
         "as its flags alone decide (API-3), not where the caller is",
         "outside of the specification: where a caller stands is its own"),
        ("the caller allocates before it takes the spinlock, enters RCU or turns interrupts off, "
         "or asks with GFP_ATOMIC or GFP_NOWAIT and copes with failure",),
    )  # fmt: skip


def _sleeping(block: ReportBlock) -> ReportAnswer:
    spinning = [lock for lock in block.locks if lock not in OUR_LOCKS and "wq_" not in lock
                and not lock.endswith("_work")]  # fmt: skip
    if "pcpu_lock" in block.locks:
        return ReportAnswer(
            False, ("LOCK-2",),
            ("something sleeps with pcpu_lock held: percpu code that must not",),
            ("percpu-spec review --source TREE asks the clauses of that code",),
        )  # fmt: skip
    if block.in_(r"_*pcpu_balance_workfn|pcpu_get_vm_areas|pcpu_populate_chunk|pcpu_create_chunk"):
        under = f" ({', '.join(spinning[:3])})" if spinning else ""
        return ReportAnswer(
            True, ("LOCK-2",),
            (f"percpu's own work sleeps below a lock of a function that it calls{under}: percpu "
             "itself holds pcpu_alloc_mutex alone there, under which it may sleep (LOCK-2)",
             "outside of the specification: the fault is where that lock is taken (for "
             "pcpu_get_vm_areas mm/vmalloc.c)"),
            ("report it to those who keep that code",),
        )  # fmt: skip
    return _sleeps_in(spinning)


def _hung(block: ReportBlock) -> ReportAnswer:
    match = _HUNG.search(block.title)
    who = f"{match[1]} ({match[2]}) waits for more than {match[3]} s" if match else "a task waits"
    if block.in_(r"pcpu_balance_workfn|__pcpu_balance_workfn|pcpu_balance_\w+"):
        who += ", the balance work among the stacks"
    return ReportAnswer(
        True, ("LOCK-2", "API-8", "BAL-3"),
        (f"{who}: requests that may sleep wait for pcpu_alloc_mutex, whose holder allocates pages "
         "and so may be in reclaim (LOCK-2)",
         "how long reclaim takes, and what it waits for, is outside of the specification"),
        ("find the mutex's holder: percpu-spec state on a core or live, or sysrq-w and sysrq-t; "
         "the stack that is inside of pcpu_populate_chunk, pcpu_create_chunk or the balance work "
         "has it",
         "then ask why that one does not get on: memory pressure, or a lock that reclaim needs"),
    )  # fmt: skip


class _Race(NamedTuple):
    """A value that is read or written without pcpu_lock: functions that tell it, what follows."""

    functions: str
    value: str
    clauses: tuple[str, ...]
    says: str


_RACES: Final = (
    _Race(
        r"pcpu_update_empty_pages|pcpu_nr_empty_pop_pages", "pcpu_nr_empty_pop_pages (the float)",
        ("BAL-4", "FLT-1"),
        "pcpu_alloc reads the float without the lock, up to 6.12, to decide whether to ask for the "
        "balance work: benign, as a request too few is made up for at the next allocation that "
        "finds it low or fails, and one too many finds nothing to do; under the lock from 6.13 on "
        "(807655a3f611)",
    ),
    _Race(
        r"pcpu_nr_pages|meminfo_proc_show|si_meminfo\w*", "pcpu_nr_populated", ("POP-3",),
        "a reader of /proc/meminfo takes the number as it is: benign, it may be a page old",
    ),
    _Race(
        r"pcpu_schedule_balance_work", "pcpu_async_enabled or the work's own state", ("BAL-5",),
        "schedule_work orders it: a request for work is not lost once asynchronous work is enabled",
    ),
    _Race(
        r"pcpu_chunk_populated|pcpu_chunk_depopulated|pcpu_is_populated|bitmap_set|__bitmap_\w+|"
        r"_?find_next_(?:zero_)?bit\w*", "chunk->populated", ("LOCK-1",),
        "populated bits change with both locks held and are read under either, so such a race "
        "would be a real one: one side holds neither",
    ),
)  # fmt: skip


def _kcsan(block: ReportBlock) -> ReportAnswer:
    race = next((r for r in _RACES if block.in_(r.functions)), None)
    outside = (
        "races of plain reads are outside of the specification: its steps read and write whole "
        "values; what is read without the lock is listed in LOCK-1, and each such read is a step"
    )
    if race is None:
        return ReportAnswer(
            True, ("LOCK-1",), ("a value that percpu code reads or writes without a lock", outside),
            ("see whether LOCK-1 lists the value among those that change without pcpu_lock",),
        )  # fmt: skip
    return ReportAnswer(
        True, race.clauses, (f"{race.value}: {race.says}", outside),
        ("READ_ONCE/WRITE_ONCE or data_race() at the plain access says that it is meant",),
    )  # fmt: skip


def _memory(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        True, ("API-2", "MAP-1", "POP-2"),
        ("a bad access in percpu memory or in the allocator's own data; contents of memory are "
         "outside of the specification",
         "usual causes: a second free or a free of another pointer (API-2: up to 6.19 the "
         "allocator takes what it is given), use after free_percpu, when the page may be gone "
         "(POP-2)"),
        ("percpu-spec state on a core tells whether maps and hints are still sound (MAP-1, HINT-1) "
         "and whose area it is; CONFIG_DEBUG_OBJECTS, KASAN or a kernel from 7.0 on tells wrong "
         "frees",),
    )  # fmt: skip


def _stall(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        True, ("COST-1", "BAL-3"),
        ("a CPU is busy in percpu code for long: a search that examines very many chunks (COST-1), "
         "or spins on pcpu_lock",
         "how long something takes is outside of the specification; how many chunks a request "
         "examines is not: percpu-spec workload cost"),
        ("percpu-spec state on a core: how many chunks there are, how many are sidelined, and how "
         "fragmented they are",),
    )  # fmt: skip


def _no_pages(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        False, ("API-9", "POP-4"),
        ("pages for percpu memory were refused: this is the cause of 'failed to populate' or "
         "'failed to allocate new chunk'; the area is freed again and nothing leaks (POP-4)",),
        ("memory is short, on the node that is named: see what took it; each populated page takes "
         "one on every possible CPU (nr_cpus=, possible_cpus= where many are only possible)",),
    )  # fmt: skip


def _no_addresses(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        False, ("API-9",),
        ("vmalloc space ran out: new chunks of percpu memory need areas in it",),
        ("vmalloc=SIZE on 32 bits; fewer possible CPUs",),
    )  # fmt: skip


def _warning(block: ReportBlock) -> ReportAnswer:
    match = AT.search(block.title)
    function = plain_name(match[3]) if match and match[3] else ""
    names = (function, *block.functions[:2])
    if any(re.fullmatch(r"free_percpu|pcpu_free_area", name) for name in names):
        return ReportAnswer(
            False, ("API-2",),
            ("a free that names no live area was refused: freed twice, or another pointer (API-2); "
             "told once, from 7.0 on, and nothing changed",),
            ("the caller of free_percpu in the stack is at fault: find its second free",),
        )  # fmt: skip
    if any(re.fullmatch(r"pcpu_mem_zalloc", name) for name in names):
        return ReportAnswer(
            False, ("API-9",), ("a chunk was to be made before the slab allocator is there",),
            ("the caller allocates too early in boot for more than the first chunk holds",),
        )  # fmt: skip
    if re.fullmatch(r"_*pcpu_alloc(?:_noprof)?", next(filter(None, names), "")):
        return ReportAnswer(
            False, ("API-1", "RCL-2"),
            ("one of two checks, and which one this line alone does not tell: the size or the "
             "alignment of the request is illegal, which is the caller's fault and changes nothing "
             "(API-1); or pages of an immutable chunk, the first or the reserved one, were to be "
             "populated (RCL-2)",),
            ("look at the next line: 'illegal size (...) or align (...) for percpu allocation' "
             "tells the first, and the caller in the stack is to be mended; without it, save a "
             "core (or percpu-spec state live --save) and judge it",),
        )  # fmt: skip
    return ReportAnswer(
        False, ("RCL-2", "POP-2"),
        ("a check of the allocator itself failed, that pages of the first or the reserved chunk "
         "are to be populated or given back, or that a page to unmap is not there: its state is "
         "damaged",),
        ("save a core (or percpu-spec state live --save) and judge it: the first broken clause "
         "tells what went wrong before",),
    )  # fmt: skip


def _boot(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        False, ("MAP-5",),
        ("the layout of the first chunk is refused at boot: "
         f"{block.title.partition('failed to initialize,')[2].strip() or block.title}",),
        ("sizes of the first chunk come from the architecture's setup_per_cpu_areas, percpu_alloc= "
         "and percpu_dyn; try percpu_alloc=page, or the configuration before",),
    )  # fmt: skip


def _unknown_allocator(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        False, (), ("percpu_alloc= names no way to set up the first chunk; it is ignored",),
        ("percpu_alloc=embed (linear memory, large pages) or percpu_alloc=page (vmalloc space, "
         "page by page), where the architecture has both",),
    )  # fmt: skip


def _leak(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        True, ("API-2", "ACC-1"),
        ("an area that nobody seems to point to: whether it is a leak is its owner's question, "
         "outside of the specification",),
        ("percpu-spec state --who, or conform trace --who: who holds areas, and which pages they "
         "pin",),
    )  # fmt: skip


def _reference(block: ReportBlock) -> ReportAnswer:
    return ReportAnswer(
        True, ("API-2",),
        ("percpu_ref (lib/percpu-refcount.c) is a user of percpu memory: its count went wrong, "
         "outside of the specification",),
        ("find the put without a get; the allocator has no part in it",),
    )  # fmt: skip


class ReportKind(NamedTuple):
    """A kind of report: how it begins, and what is said of one. always: ours by its words."""

    name: str
    begins: re.Pattern[str]
    answer: Callable[[ReportBlock], ReportAnswer]
    always: bool = False


def _starts(*forms: str) -> re.Pattern[str]:
    return re.compile("|".join(forms), re.I)


KINDS: Final = (
    ReportKind("lock order", _starts(
              r"possible (?:circular locking dependency|recursive locking|irq lock inversion)",
              r"inconsistent lock state", r"SAFE -> \w+-unsafe lock order", r"bad unlock balance",
              r"possible deadlock in \w"), _lockdep),
    ReportKind("RCU", _starts(r"suspicious RCU usage"), _rcu),
    ReportKind("wait context", _starts(r"invalid wait context"), _context),
    ReportKind("sleeping in atomic context", _starts(
        r"BUG: sleeping function called from invalid context", r"BUG: scheduling while atomic"),
        _sleeping),
    ReportKind("hung task", _starts(r"INFO: task .* blocked for more than \d+ seconds",
                                    r"INFO: task hung in"), _hung),
    ReportKind("data race", _starts(r"KCSAN: data-race in"), _kcsan),
    ReportKind("bad access", _starts(
        r"BUG: K[AM]SAN:", r"BUG: unable to handle (?:kernel )?(?:page fault|paging|NULL)",
        r"Unable to handle kernel (?:paging|NULL|read|write|access)", r"general protection fault",
        r"Oops:", r"kernel BUG at "), _memory),
    ReportKind("stall", _starts(r"soft lockup", r"hard lockup", r"self-detected stall",
                                r"detected stalls? on CPU", r"detected expedited stalls"), _stall),
    ReportKind("no pages", _starts(r"page allocation failure: order", r"invoked oom-killer"),
               _no_pages),
    ReportKind("no addresses", _starts(r"vmap allocation for size \d+ failed"), _no_addresses),
    ReportKind("refused layout", _starts(
        r"percpu: failed to initialize,", r"percpu: failed to allocate \S+ page for cpu",
        r"Failed to (?:initialize|allocate memory for) percpu areas"), _boot, True),
    ReportKind("boot parameter", _starts(r"percpu: unknown allocator .* specified"),
               _unknown_allocator, True),
    ReportKind("leak", _starts(r"unreferenced percpu object", r"unreferenced object 0x"), _leak),
    ReportKind("warning", _starts(r"WARNING: (?:.*\bat )?(?:\S*/)?mm/percpu[\w-]*\.[ch]:\d+",
                                  r"WARNING in (?:_*pcpu_\w+|free_percpu)"), _warning),
    ReportKind("percpu_ref", _starts(r"percpu ref \(.*\) <= 0",
                                     r"percpu_ref_\w+ called more than once"),
               _reference, True),
)  # fmt: skip


_WORDS: Final = (
    "lock", "rcu", "context", "bug", "task", "data-race", "fault", "unable", "oops", "stall",
    "oom-killer", "vmap", "percpu", "unreferenced", "warning", "page allocation failure",
)  # fmt: skip
"""In every line that begins a report stands one of these; logs are long, and few lines have one."""


def kind_of(text: str) -> ReportKind | None:
    """Return the kind of the report that a line begins, None if it begins none."""
    small = text.lower()
    if not any(word in small for word in _WORDS):
        return None
    return next((kind for kind in KINDS if kind.begins.search(text)), None)

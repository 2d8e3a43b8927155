"""What a failure means: the clause that explains it, whether it does harm, what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from percpu_proofs.logs.failures import ILLEGAL, UNKNOWN, Failure
from percpu_proofs.logs.impossible import impossible
from percpu_proofs.run import reasons
from percpu_proofs.run.runner import counted
from percpu_reference.variants import of_release, variant_class
from percpu_spec.geometry import LEAST_UNIT, Geometry
from percpu_spec.gfp import DIRECT_RECLAIM
from percpu_spec.releases import BACKPORTED

LOW, HIGH = Geometry().empty_low, Geometry().empty_high  # pages
_GRANULE: Final = Geometry().granule
_RESERVE: Final = 8192  # PERCPU_MODULE_RESERVE; 65536 with CONFIG_MEM_ALLOC_PROFILING (6.10)
_USUAL_PAGE: Final = 4096
_PRINTS_ATOMIC: Final = (6, 6)
_CALLERS: Final = {
    r"bpf_mem_|alloc_bulk|unit_alloc|htab_": "bpf: per-CPU maps with preallocation; without it "
    "elements are refilled with GFP_NOWAIT (at creation with GFP_KERNEL from 6.6 on), and an "
    "update may fail with ENOMEM",
    r"dst_cache_init|vxlan_": "vxlan: from 6.16 on it does without the cache where this fails, and "
    "does not warn",
    r"nft_|nf_tables": "nftables: counters and limits of set elements are allocated in one batch: "
    "smaller transactions, or none of them in large sets",
    r"blk_|sbitmap_|scsi_|iscsi": "block: queues set up by a task that may do no I/O",
}
"""What is known of callers, by how their functions begin."""
_WORDS: Final = {True: "yes", False: "no", None: "not known"}
_DONE_IN: Final = "9a5b183941b5"


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is known of the machine of a log. Sizes in bytes; None: not known."""

    page: int | None = None
    unit: int | None = None
    units: int | None = None
    cpus: int | None = None
    reserved: int | None = None
    backing: str = "vm"
    release: str | None = None
    geometry: str | None = None  # as --geometry takes it

    @property
    def version(self) -> tuple[int, int] | None:
        """The release as numbers."""
        match = re.match(r"(\d+)\.(\d+)", self.release or "")
        return (int(match[1]), int(match[2])) if match else None

    def before(self, version: tuple[int, int]) -> bool:
        """Return whether the kernel is known to be older."""
        return self.version is not None and self.version < version


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a failure means.

    harmless: whether nothing needs mending, None where that is not known; effect: why, and for whom
    it is not. advice: what to change.
    """

    says: tuple[str, ...]
    clauses: tuple[str, ...]
    harmless: bool | None
    effect: str
    advice: tuple[str, ...]

    @property
    def harm(self) -> str:
        """Whether it does harm, in words."""
        return f"{_WORDS[self.harmless]}: {self.effect}"

    def as_json(self) -> dict[str, Any]:
        """Return the explanation with plain values only."""
        return {
            "says": list(self.says), "clauses": list(self.clauses), "harmless": self.harmless,
            "effect": self.effect, "advice": list(self.advice),
        }  # fmt: skip


def explain(failure: Failure, machine: MachineFacts) -> Explanation:
    """Return what a failure means on a machine."""
    page, known = _page(machine)
    wrong = impossible(failure, page, machine.version)
    if wrong is None:
        return _BY_REASON[failure.reason](failure, machine)
    known = known if wrong.clause == "API-1" else ""  # only there the page matters
    return Explanation(
        (
            f"no mainline kernel prints this for these numbers{known}: {wrong.why}",
            "the line may be damaged or made up, or of a patched kernel or one with other pages; "
            f"the nearest clause is {wrong.clause}",
        ),
        (wrong.clause,),
        None,
        "nothing follows from such a line",
        ("compare it with the kernel's own log (dmesg, journalctl -k)",),
    )


def _atomic(failure: Failure, machine: MachineFacts) -> Explanation:
    page, known = _page(machine)
    step = _step(failure)
    says = [_size(failure)]
    says.append(
        "not out of memory: the request could not sleep, so it could neither create a chunk nor "
        "populate pages (API-5), and no populated page had such a hole"
    )
    if step <= page:
        each = page // step
        says.append(
            f"the balance work keeps {LOW} to {HIGH} empty pages: a page of {page} bytes{known} "
            f"holds {counted(each, 'such area')}, {HIGH} pages hold {HIGH * each}; a burst of more "
            "between two runs of the work outruns it"
        )
    else:
        says.append(
            f"it is longer than a page of {page} bytes{known} and needs a populated hole over at "
            f"least {counted(-(-step // page), 'page')}, of which all but the outer two are empty; "
            f"the balance work keeps {LOW} to {HIGH} empty pages, which may lie apart"
        )
    says.append(
        "atomic=1 is any request without direct reclaim: GFP_ATOMIC, GFP_NOWAIT; before 6.15, and "
        f"in stable kernels without its backport ({_DONE_IN}), GFP_NOIO and GFP_NOFS too, and all "
        "requests of a task under memalloc_noio or PR_SET_IO_FLUSHER (iscsid, multipathd): API-3"
    )
    if machine.before(_PRINTS_ATOMIC):
        says.append(
            f"{machine.release} prints atomic failures by a backport: mainline does from 6.6 on"
        )
    return Explanation(
        tuple(says),
        ("API-5", "BAL-5", "BAL-7", "API-3"),
        True,
        "the allocator loses and leaks nothing; the caller got NULL: for it it depends on whether "
        "it tries again or does without",
        tuple(_advice_atomic(failure, machine, page, step)),
    )


def _advice_atomic(failure: Failure, machine: MachineFacts, page: int, step: int) -> Iterator[str]:
    pages = -(-step // page)
    enough = ""
    if pages >= HIGH:
        enough = (
            f", side by side where a hole allows it: for {pages} in a row it may take several "
            "failures and runs, and where holes are shorter no run provides them"
        )
    elif pages > 1:
        enough = ", side by side where a hole allows it, so mostly enough for this request"
    yield (
        "try again later: the failure itself asked for the balance work (BAL-5), which populates "
        f"up to {HIGH} pages more{enough}; no setting makes it go away, as {LOW} and {HIGH} are "
        "constants of mm/percpu.c, which neither percpu_alloc= nor vm.min_free_kbytes changes"
    )
    yield (
        "in the caller: allocate with GFP_KERNEL (GFP_KERNEL_ACCOUNT) before taking the lock or "
        "outside of the RCU section, preallocate, or pass __GFP_NOWARN and do without"
    )
    if step <= page:
        yield (
            f"batches: at most about {HIGH * (page // step)} such requests, rather "
            f"{LOW * (page // step)}, then let the work run (cond_resched, a commit of its own); "
            f"how many are served: percpu-spec workload burst --size {failure.size} --align "
            f"{failure.align or _GRANULE}"
            + (f" --geometry {machine.geometry}" if machine.geometry else "")
        )
    for form, said in _CALLERS.items():
        if any(re.match(form, name) for name in failure.stack.callers):
            yield said
    if _noio_sleeps(machine.release):
        return
    yield (
        f"if the caller may sleep and only forbids I/O or file systems: a kernel with {_DONE_IN} "
        f"(6.15; stable {BACKPORTED}), where such requests wait instead of failing"
    )


def _noio_sleeps(release: str | None) -> bool:
    """Return whether requests without I/O are known to sleep in a release."""
    variant = of_release(release or "")
    return bool(variant) and variant_class(variant).BLOCKING == DIRECT_RECLAIM


def _reserved(failure: Failure, machine: MachineFacts) -> Explanation:
    reserve, known = machine.reserved or _RESERVE, machine.reserved is not None
    where = "as the layout says"
    if not known:
        where = "unless built otherwise; 65536 with allocation profiling"
    says = [_size(failure)] if failure.align is not None else []
    whose = f"module {failure.module}" if failure.module else "a module"
    says.append(
        f"the static per-CPU data (.data..percpu) of {whose} take it from the reserved chunk, "
        f"{reserve} bytes a CPU for all modules ({where}); the rest of percpu memory does not "
        "serve it (API-7)"
    )
    if failure.source == "module loader":
        says.append("the allocator's own line is missing: limit reached, or not in this text")
    clauses = ["API-7"]
    if failure.size > reserve:
        says.append("it is larger than the whole reserve: it never fits")
    else:
        says.append(
            f"it takes {failure.size} of the {reserve} bytes: the others' data leave no hole so "
            "long, or the search missed one (FIT-1); which of them, the reserved chunk's holes "
            "tell (percpu-spec state, log --state)"
        )
        clauses.append("FIT-1")
    version = machine.version
    if version == (4, 14) and "-rc" in (machine.release or ""):
        says.append(
            "4.14-rc1 brought the bitmap allocator with a bug: its iterator skipped blocks, so "
            "the search missed holes (FIT-1); mended by "
            '"percpu: fix iteration to prevent skipping over '
            'block"'
        )
    caller = failure.stack.caller
    if caller is not None and not re.search(r"module", caller):
        says.append(f"{caller} is not the module loader: it asks for the modules' reserve wrongly")
    advice = [
        "make the module's data dynamic (alloc_percpu); a static srcu_struct alone takes hundreds "
        "of bytes, with lock debugging thousands",
        "build the module in, or unload others: what they hold comes back when they go",
        "build the kernel with a larger PERCPU_MODULE_RESERVE (include/linux/percpu.h); "
        "percpu_alloc= and other boot parameters do not change it",
    ]
    if version == (4, 14) and "-rc" in (machine.release or ""):
        advice.insert(0, "a release from 4.14 on, where the search is mended")
    effect = "the module is not loaded; the allocator itself is sound unless FIT-1 is broken"
    return Explanation(tuple(says), tuple(clauses), False, effect, tuple(advice))


def _create(failure: Failure, machine: MachineFacts) -> Explanation:
    space = ""
    if machine.unit and machine.units:
        space = f" ({machine.units} units of {machine.unit} bytes here)"
    says = [
        _size(failure),
        "no chunk had room, and a new one could not be made: it needs an area of addresses in "
        f"vmalloc space, the same for all groups of CPUs{space}, and memory for its maps",
    ]
    if machine.backing == "km":
        says[1] = (
            "no chunk had room, and a new one could not be made: percpu-km needs contiguous pages "
            "for a whole chunk, so memory may be fragmented"
        )
    return Explanation(
        tuple(says), ("API-9",),
        False, "memory or addresses ran out; the allocator keeps its state (the caller got NULL)",
        (
            "32 bits: vmalloc=SIZE, and fewer possible CPUs (nr_cpus=, possible_cpus=), as each "
            "adds a unit to every chunk",
            "see what is around: 'vmap allocation ... failed', page allocation failures, OOM; "
            "VmallocUsed and Percpu of /proc/meminfo",
            "if Percpu grows without end, somebody leaks: percpu-spec state --who",
        ),
    )  # fmt: skip


def _populate(failure: Failure, machine: MachineFacts) -> Explanation:
    page, known = _page(machine)
    pages = max(-(-failure.size // page), 1)
    cost = "one on every possible CPU"
    if machine.cpus:
        per = machine.cpus * page // 1024
        cost = f"one on each of {machine.cpus} possible CPUs, {per} kB for each page of a unit"
    says = (
        _size(failure),
        f"a hole was found, but its pages could not be had: {counted(pages, 'page')} of {page} "
        f"bytes{known}, up to {counted(pages + 1, 'page')} if it lies across, {cost}; all or "
        "nothing, and the area is freed again (POP-4)",
        "a request that may sleep fails only where memory is refused (API-9); with __GFP_NORETRY, "
        "or a task that is being killed, that is soon",
    )
    return Explanation(
        says, ("API-9", "POP-4"),
        False, "memory is short; the allocator leaks nothing",
        (
            "look for 'page allocation failure' and the OOM killer around it, and for what took "
            "the memory",
            "fewer possible CPUs where many are only possible (nr_cpus=, possible_cpus=): every "
            "populated page is taken for each",
            "if Percpu grows without end, somebody leaks: percpu-spec state --who",
        ),
    )  # fmt: skip


def _extend(failure: Failure, machine: MachineFacts) -> Explanation:
    return Explanation(
        (
            _size(failure),
            "up to 4.13 a chunk's map was an array of areas that grew with them: the memory for a "
            "longer one was refused, or it was an atomic request, which leaves it to the work",
        ),
        ("API-9", "BAL-5"),
        True,
        "the allocator loses nothing; the caller got NULL",
        ("try again; from 4.14 on the maps are bitmaps of fixed size and this cannot happen",),
    )


def _illegal(failure: Failure, machine: MachineFacts) -> Explanation:
    page, known = _page(machine)
    largest = -(-LEAST_UNIT // page) * page
    size, align = failure.size, failure.align or _GRANULE
    says = [f"asked for {size} bytes aligned to {align}: no percpu allocator serves that (API-1)"]
    advice = []
    if size == 0:
        says.append(
            "size 0: the type is empty in this configuration (without SMP and lock debugging "
            "arch_spinlock_t is), a count was 0, or a size overflowed when it was rounded up to 4"
        )
        advice.append("the caller must not ask for an empty type: allocate only if it has a size")
    elif size >= 1 << 31:
        says.append("a size like this is a negative number or an overflow of the caller's")
        advice.append("check the caller's arithmetic (array_size, struct_size)")
    elif size > largest:
        says.append(
            f"the largest request is {largest} bytes, PCPU_MIN_UNIT_SIZE in whole pages{known}; "
            "from 4.14 on the size is printed rounded up to 4"
        )
        advice.append(
            "split it, or allocate a pointer a CPU (alloc_percpu) and memory for each CPU behind "
            "it (kmalloc_node, vmalloc_node); for bpf: smaller values of per-CPU maps"
        )
    if align & (align - 1):
        says.append(f"the alignment {align} is no power of two")
        advice.append("round the alignment up to a power of two")
    elif align > page:
        says.append(f"an alignment above a page of {page} bytes{known} cannot be given")
        advice.append("align within a page, or allocate pages for each CPU")
    if failure.stack.caller is None:
        says.append("the caller is at fault; the stack below the warning names it, here is none")
    else:
        says.append(f"the caller is at fault: {failure.stack.caller}")
    return Explanation(
        tuple(says), ("API-1",),
        False, "the caller got NULL and has a bug; for the allocator nothing has changed",
        (*advice, "the warning does not use up the limit of 10 failures that are printed"),
    )  # fmt: skip


def _unknown(failure: Failure, machine: MachineFacts) -> Explanation:
    says = [_size(failure)]
    if failure.source == "event":
        says.append(
            "a trace event tells no reason: a request that may sleep fails for want of a chunk or "
            "of pages, so memory or addresses ran out (API-9)"
        )
    else:
        says.append(
            "the reason is not in the words of any mainline kernel (2.6.30 to 7.1), or it is cut "
            f"off: {failure.said}"
        )
    clauses = ("API-5", "BAL-5") if failure.atomic else ("API-9",)
    return Explanation(
        tuple(says), clauses, None, "the caller got NULL, and the allocator keeps its state",
        ("look at what is printed around it",),
    )  # fmt: skip


_BY_REASON: Final[dict[str, Callable[[Failure, MachineFacts], Explanation]]] = {
    reasons.ATOMIC: _atomic,
    reasons.RESERVED: _reserved,
    reasons.CREATE: _create,
    reasons.POPULATE: _populate,
    reasons.EXTEND: _extend,
    reasons.EXTEND_RESERVED: _extend,
    ILLEGAL: _illegal,
    UNKNOWN: _unknown,
}


def _page(machine: MachineFacts) -> tuple[int, str]:
    """Return the size of a page, and in words that it is a guess if it is one."""
    return machine.page or _USUAL_PAGE, "" if machine.page else " (4 KiB are assumed)"


def _step(failure: Failure) -> int:
    """Return what each of such areas takes in a row of them."""
    align = max(failure.align or _GRANULE, _GRANULE)
    size = -(-failure.size // _GRANULE) * _GRANULE
    return max(-(-size // align) * align, _GRANULE)


def _size(failure: Failure) -> str:
    granules = -(-failure.size // _GRANULE)
    how = {None: "", True: ", atomic: it may not sleep", False: ", it may sleep"}[failure.atomic]
    text = f"{failure.size} bytes, {counted(granules, 'granule')} of {_GRANULE}"
    return text + (f", aligned to {failure.align}" if failure.align else "") + how

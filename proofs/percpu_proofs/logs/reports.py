"""Reports of the kernel's checkers and watchdogs in which the percpu allocator has a part.

Most of their questions are outside the specification: orders of locks through reclaim, races of
plain reads, how long something takes. Each is named as that, with the clause that comes nearest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from percpu_proofs.logs.advice import Texts, texts
from percpu_proofs.logs.messages import Message, frame
from percpu_proofs.recorded.traces.functions import plain_name

_LONGEST: Final = 400  # lines of one report
_HELD: Final = re.compile(r"already holding lock|takes? .*lock.* while holding|is holding", re.I)
_WANTED: Final = re.compile(r"trying to (?:acquire )?lock|wants? to acquire", re.I)
_LINK: Final = re.compile(r"^\s*-> #\d+ \(((?:[^(){}]|\([^(){}]*\))+)\)\{")
_RECLAIM: Final = re.compile(r"fs_reclaim|reclaim|mmu_notifier_invalidate")
_WORK_SLEEPS: Final = (
    r"_*pcpu_balance_workfn|pcpu_get_vm_areas|pcpu_populate_chunk|pcpu_create_chunk"
)
_HUNG: Final = re.compile(r"task (\S+):(\d+) blocked for more than (\d+) seconds")
_LOCK: Final = re.compile(r"\(((?:[^(){}]|\([^(){}]*\)){1,80})\)\{[^{}]{2,12}\}")
_CHAIN: Final = re.compile(r"^\s*(\S.* --> .*)$")
_OURS: Final = re.compile(r"_*pcpu_\w+|free_percpu\w*|_*alloc_(?:reserved_)?percpu\w*")
_RACE: Final = re.compile(r"data-race in (\S+)(?: / (\S+))?")
_FUNCTION: Final = re.compile(r"\bin ([A-Za-z_][\w.]*)")
_OUR_LOCKS: Final = frozenset(("pcpu_alloc_mutex", "pcpu_lock"))
_AT: Final = re.compile(
    r"(?:\bat |WARNING: )(?:\S*/)?(mm/percpu[\w-]*\.[ch]):(\d+)(?:[ ,]+(?:at )?([\w.]+))?"
)


class ReportBlock(NamedTuple):
    """The lines of a report and what stands in them."""

    title: str
    texts: tuple[str, ...]
    functions: tuple[str, ...]  # of all stacks, in order
    locks: tuple[str, ...]  # of lockdep, each once
    is_title: bool  # and nothing else of a report

    @property
    def is_ours(self) -> bool:
        """Whether the percpu allocator has a part in it."""
        return bool(_OUR_LOCKS.intersection(self.locks)) or any(
            map(_OURS.fullmatch, self.functions)
        ) or bool(_AT.search(self.title))

    def has_function(self, form: str) -> bool:
        """Return whether a function matches."""
        return any(re.fullmatch(form, name) for name in self.functions)

    def lock_after(self, form: re.Pattern[str]) -> str | None:
        """Return the lock named on the line that matches, or on the next ones."""
        for at, text in enumerate(self.texts):
            if form.search(text):
                for near in self.texts[at : at + 3]:
                    if match := _LOCK.search(near):
                        return lock_name(match[1])
        return None


def lock_name(printed: str) -> str:
    """Return a lock's class without instance and subclass.

    >>> lock_name("&q->q_usage_counter(io)#49"), lock_name("&sb->s_type->i_lock_key#7/1")
    ('&q->q_usage_counter(io)', '&sb->s_type->i_lock_key')
    """
    return re.sub(r"(?:#\d+)?(?:/\d+)?$", "", printed)


def block_of(texts: list[str]) -> ReportBlock:
    """Return a report of its lines; what its first names is a function of it too."""
    title = texts[0]
    named = [match[1] for match in [_FUNCTION.search(title)] if match]
    if match := _RACE.search(title):
        named += filter(None, match.groups())
    frames = [entry[0] for text in texts if (entry := frame(text)) is not None]
    locks: list[str] = []
    for text in texts:
        locks += [lock_name(match[1]) for match in _LOCK.finditer(text)]
        if match := _CHAIN.match(text):
            locks += [lock_name(part.strip()) for part in match[1].split("-->")]
    functions = (*map(plain_name, named), *frames)
    bare = not (frames or locks)
    return ReportBlock(title.strip(), tuple(texts), functions, tuple(dict.fromkeys(locks)), bare)


_answer: Final = partial(texts, "reports")


def _lockdep(block: ReportBlock) -> Texts:
    others = [lock for lock in block.locks if lock not in _OUR_LOCKS]
    wanted, held = block.lock_after(_WANTED), block.lock_after(_HELD)
    order = "an order of locks"
    if wanted is not None and held is not None:
        order = f"{wanted} is wanted while {held} is held"
    if not block.locks:
        return _answer("no locks")
    if not others:
        return _answer("own locks", order=order)
    outside = _answer("order").says[0]
    mutex = "pcpu_alloc_mutex" in block.locks
    if mutex and any(map(_RECLAIM.search, others)):
        callers = _held_for_mutex(block, wanted, held) or "the caller's lock"
        return _answer("reclaim", order=order, callers=callers, outside=outside)
    if mutex and wanted == "pcpu_alloc_mutex" and not any("->" in name for name in others):
        return _sleeps_in(others)
    named = ", ".join(others[:4])
    if mutex:
        return _answer("mutex with others", order=order, others=named, outside=outside)
    with_them = f"pcpu_lock with {named}"
    if "pcpu_lock" not in block.locks:
        with_them = f"{named}, with percpu functions in the stacks"
    return _answer("pcpu_lock with others", order=order, others=with_them, outside=outside)


def _held_for_mutex(block: ReportBlock, wanted: str | None, held: str | None) -> str | None:
    """Return the lock under which somebody takes pcpu_alloc_mutex.

    lockdep lists a chain backwards: each lock was taken with the next one held.
    """
    if wanted == "pcpu_alloc_mutex":
        return held
    chain = [lock_name(match[1]) for text in block.texts if (match := _LINK.match(text))]
    after = chain[chain.index("pcpu_alloc_mutex") + 1 :] if "pcpu_alloc_mutex" in chain else chain
    return next((lock for lock in after if not _RECLAIM.search(lock)), None)


def _context(block: ReportBlock) -> Texts:
    """Answer for a lock that may sleep, taken where nobody may."""
    others = [lock for lock in block.locks if lock not in _OUR_LOCKS]
    if "pcpu_alloc_mutex" in block.locks:
        return _sleeps_in(others)
    return _lockdep(block)


def _sleeps_in(others: Sequence[str]) -> Texts:
    """Answer for a request that may sleep, made with other locks held."""
    where = f" inside of {', '.join(others[:3])}" if others else ""
    return _answer("request sleeps", where=where)


def _sleeping(block: ReportBlock) -> Texts:
    spinning = [lock for lock in block.locks if lock not in _OUR_LOCKS and "wq_" not in lock
                and not lock.endswith("_work")]  # fmt: skip
    if "pcpu_lock" in block.locks:
        return _answer("sleeps with pcpu_lock")
    if block.has_function(_WORK_SLEEPS):
        under = f" ({', '.join(spinning[:3])})" if spinning else ""
        return _answer("work sleeps", under=under)
    return _sleeps_in(spinning)


def _hung(block: ReportBlock) -> Texts:
    match = _HUNG.search(block.title)
    who = f"{match[1]} ({match[2]}) waits for more than {match[3]} s" if match else "a task waits"
    if block.has_function(r"pcpu_balance_workfn|__pcpu_balance_workfn|pcpu_balance_\w+"):
        who += ", the balance work among the stacks"
    return _answer("hung task", who=who)


_RACES: Final = {
    r"pcpu_update_empty_pages|pcpu_nr_empty_pop_pages": "race of the float",
    r"pcpu_nr_pages|meminfo_proc_show|si_meminfo\w*": "race of pcpu_nr_populated",
    r"pcpu_schedule_balance_work": "race of the work",
    r"pcpu_chunk_populated|pcpu_chunk_depopulated|pcpu_is_populated|bitmap_set|__bitmap_\w+|"
    r"_?find_next_(?:zero_)?bit\w*": "race of populated bits",
}
"""What is said of values that are accessed without pcpu_lock, by functions that tell which."""


def _kcsan(block: ReportBlock) -> Texts:
    told = (entry for functions, entry in _RACES.items() if block.has_function(functions))
    race, common = _answer(next(told, "race of an unknown value")), _answer("race")
    return race._replace(says=race.says + common.says, advice=race.advice or common.advice)


def _warning(block: ReportBlock) -> Texts:
    match = _AT.search(block.title)
    function = plain_name(match[3]) if match and match[3] else ""
    names = (function, *block.functions[:2])
    if any(re.fullmatch(r"free_percpu|pcpu_free_area", name) for name in names):
        return _answer("warning of a free")
    if any(re.fullmatch(r"pcpu_mem_zalloc", name) for name in names):
        return _answer("warning of early boot")
    if re.fullmatch(r"_*pcpu_alloc(?:_noprof)?", next(filter(None, names), "")):
        return _answer("warning of a request")
    return _answer("warning")


def _boot(block: ReportBlock) -> Texts:
    why = block.title.partition("failed to initialize,")[2].strip() or block.title
    return _answer("refused layout", why=why)


class ReportKind(NamedTuple):
    """A kind of report: how it begins, and what finds the entry of reports.md for one.

    Without entry_of one entry is for all, of the kind's name. always: ours by its words.
    """

    name: str
    begins: re.Pattern[str]
    entry_of: Callable[[ReportBlock], Texts] | None = None
    always: bool = False

    def report(self, line: int, block: ReportBlock) -> Report:
        """Return what is said of a report of the kind."""
        found = self.entry_of(block) if self.entry_of else _answer(self.name)
        clauses = tuple(mark for mark in found.marks if mark != "outside")
        outside = "outside" in found.marks
        return Report(line, self.name, block.title, outside, clauses, found.says, found.advice)


def _starts(*forms: str) -> re.Pattern[str]:
    return re.compile("|".join(forms), re.I)


KINDS: Final = (
    ReportKind("lock order", _starts(
              r"possible (?:circular locking dependency|recursive locking|irq lock inversion)",
              r"inconsistent lock state", r"SAFE -> \w+-unsafe lock order", r"bad unlock balance",
              r"possible deadlock in \w"), _lockdep),
    ReportKind("RCU", _starts(r"suspicious RCU usage")),
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
        r"Oops:", r"kernel BUG at ")),
    ReportKind("stall", _starts(r"soft lockup", r"hard lockup", r"self-detected stall",
                                r"detected stalls? on CPU", r"detected expedited stalls")),
    ReportKind("no pages", _starts(r"page allocation failure: order", r"invoked oom-killer")),
    ReportKind("no addresses", _starts(r"vmap allocation for size \d+ failed")),
    ReportKind("refused layout", _starts(
        r"percpu: failed to initialize,", r"percpu: failed to allocate \S+ page for cpu",
        r"Failed to (?:initialize|allocate memory for) percpu areas"), _boot, True),
    ReportKind("boot parameter", _starts(r"percpu: unknown allocator .* specified"), always=True),
    ReportKind("leak", _starts(r"unreferenced percpu object", r"unreferenced object 0x")),
    ReportKind("warning", _starts(r"WARNING: (?:.*\bat )?(?:\S*/)?mm/percpu[\w-]*\.[ch]:\d+",
                                  r"WARNING in (?:_*pcpu_\w+|free_percpu)"), _warning),
    ReportKind("percpu_ref", _starts(r"percpu ref \(.*\) <= 0",
                                     r"percpu_ref_\w+ called more than once"), always=True),
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


@dataclass(frozen=True, slots=True)
class Report:
    """One report. outside: whether its question is outside the specification.

    clauses: that answer it, or that come nearest. says: what it is about, then what follows.
    """

    line: int
    kind: str
    title: str
    outside: bool
    clauses: tuple[str, ...]
    says: tuple[str, ...]
    advice: tuple[str, ...]


def read_reports(found: Sequence[Message]) -> list[Report]:
    """Return the reports in a log in which the percpu allocator has a part."""
    reports: list[Report] = []
    bare_title: list[str] = []
    starts = [
        (index, kind) for index, message in enumerate(found)
        if (kind := kind_of(message.text)) is not None
    ]  # fmt: skip
    for number, (index, kind) in enumerate(starts):
        stop = starts[number + 1][0] if number + 1 < len(starts) else len(found)
        block = block_of([m.text for m in found[index : min(stop, index + _LONGEST)]])
        if block.is_ours or kind.always:
            if reports and reports[-1].kind == kind.name and kind.name in bare_title:
                reports.pop()  # which was the subject of the mail with this one in it
            bare_title = [kind.name] if block.is_title else []
            reports.append(kind.report(found[index].line, block))
    return reports


def without_illegal(reports: Sequence[Report], lines: Sequence[int]) -> Iterator[Report]:
    """Yield reports but for the warnings that only announce an illegal request, at these lines."""
    for report in reports:
        if report.kind != "warning" or all(abs(report.line - line) > 2 for line in lines):
            yield report

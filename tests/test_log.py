"""Logs as people send them: failures, reports and what is no log, each with its right answer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.explain.lookup import explain
from percpu_proofs.logs import advice, failure_site, reading
from percpu_proofs.logs import failures as failing
from percpu_proofs.logs.failures import ILLEGAL, UNKNOWN, read_failures
from percpu_proofs.logs.messages import Message, bare, frame, messages
from percpu_proofs.logs.reading import read_log
from percpu_proofs.logs.reports import read_reports
from percpu_proofs.recorded.source import text_of
from percpu_proofs.recorded.states.stats_text import ChunkStats, PercpuStats, stats_of
from percpu_proofs.run import failures
from percpu_proofs.run.inputs import InputError, TraceError, read_text
from percpu_proofs.run.room import Bound, ChunkRoom, Demand, room_of, why
from percpu_proofs.show.stats import stats_text
from percpu_proofs.workload.burst import GEOMETRY
from percpu_reference.variants import Allocator, build
from percpu_spec.catalogue import clauses
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC as ATOMIC_FLAGS
from percpu_spec.gfp import KERNEL

LAYOUT = """\
Linux version 6.8.0-45-generic (gcc) #1 SMP
percpu: Embedded 3 pages/cpu s127832 r8192 d60584 u196608
pcpu-alloc: s127832 r8192 d60584 u196608 alloc=3*65536
pcpu-alloc: [0] 0 [0] 1"""
ATOMIC = "percpu: allocation failed, size=24 align=8 atomic=1, atomic alloc failed, no space left"
MODULE = """\
percpu: allocation failed, size=2056 align=64 atomic=0, alloc from reserved chunk failed
CPU: 0 PID: 41 Comm: modprobe Not tainted 5.10.0-9-amd64 #1 Debian
Call Trace:
 dump_stack+0x6b/0x83
 pcpu_alloc.cold+0x22/0x45
 ? foo_guess+0x1/0x2
 __alloc_reserved_percpu+0x18/0x20
 load_module+0x1a33/0x2500
 do_syscall_64+0x33/0x80
foodrv: Could not allocate 2056 bytes percpu data"""
TOO_LARGE = """\
------------[ cut here ]------------
illegal size (40004) or align (8) for percpu allocation
WARNING: CPU: 2 PID: 9 at mm/percpu.c:1754 pcpu_alloc+0x82b/0x920
Modules linked in: foo
CPU: 2 PID: 9 Comm: loader Tainted: G  W  6.9.0-rc7-gabcdef #7
RIP: 0010:pcpu_alloc+0x82b/0x920
Code: c6 d3 96 5f 8e
Call Trace:
 <TASK>
 ? __warn+0x7f/0x120
 __alloc_percpu_gfp+0x10/0x20
 array_of_counters_alloc+0x22/0x90 [foo]
 </TASK>
---[ end trace 0000000000000000 ]---"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.txt"
    path.write_text(text + "\n")
    return path


def found_in(text: str) -> list[Message]:
    return messages(list(enumerate(text.split("\n"), 1)))


def failures_of(text: str) -> list[failing.Failure]:
    return read_failures(found_in(text))[0]


# before a message


PREFIXES = [
    "", "[   12.345678] ", "<4>[   12.345678] ", "[   12.345678][  T432] ", "4,812,12345678,-;",
    "Nov  3 10:00:01 box kernel: [ 12.3] ", "Nov 03 10:00:01 box kernel: ",
    "2025-11-03T10:00:01.123456+00:00 box kernel: [   12.345678] ",
    "2025-11-03T10:00:01,123456+01:00 ", "[Mon Nov  3 10:00:01 2025] ", "kern  :warn  : [ 12.3] ",
    "> > ", ">>[ 12.3] ", "kernel: ", "\x1b[33m", "10:00:01 kernel: ",
    "<6>1 2026-11-03T10:00:01.123+01:00 box kernel - - - [   12.345678] ",  # RFC 5424
    "[2026-11-03 10:00:01] [   12.345678] ", "[2026-11-03T10:00:01.123] [   12.345678] ",
    "Tue 2026-11-03 10:00:01 CET box kernel: ", "1793700012.300000 box kernel: ",  # journalctl
    "10:00:01 [   12.345678] ", "[  +0.000012] ", "[<   0.000012>] ",
    "[Tue Nov  3 10:00:01 2026 <   12.300000>] ",
]  # fmt: skip


FAILED = "percpu: allocation failed, size={} align=8 atomic=1, atomic alloc failed, no space left"
BOOTED = [
    "Linux version {}", "percpu: Embedded 61 pages/cpu s{} r8192 d28672 u1048576",
    "pcpu-alloc: s{} r8192 d28672 u1048576 alloc=1*2097152", "pcpu-alloc: [0] 0 1",
]  # fmt: skip


@pytest.mark.parametrize("prefix", [
    "", "[{:12.6f}] ", "Nov 03 10:00:01 box kernel: ", "[{:12.6f}] box kernel: ",  # -o short*
    "2026-11-03T10:00:01+0100 box kernel: ", "[Tue Nov  3 10:00:01 2026] ",
    "[2026-11-03 10:00:01] [{:12.6f}] ", "Nov  3 10:00:01 box kernel: [{:12.6f}] ",
])  # fmt: skip
def test_boots_are_told_apart_and_guesses_are_told(prefix: str, tmp_path: Path) -> None:
    def lines(at: float, *texts: str) -> list[str]:
        return [prefix.format(at) + text for text in texts]

    path = tmp_path / "log"
    booted = [
        line for release, static, size in (("6.1.0", 212992, 40), ("6.12.3", 196608, 48))
        for line in (*lines(0, *(text.format(static if "s{}" in text else release)
                                 for text in BOOTED)), *lines(100.5, FAILED.format(size)))
    ]  # fmt: skip
    path.write_text("\n".join(booted))
    report = read_log(path)
    assert [(one.line, one.release, one.guess) for one in report.boots] == [
        (1, "6.1.0", ""), (6, "6.12.3", ""),
    ]  # fmt: skip
    assert [(one.size, one.boot) for one, _ in report.failures] == [(40, 0), (48, 1)]
    assert not any("taken for" in note for note in report.notes)
    # without the message that a boot begins with
    path.write_text("\n".join(lines(1000, FAILED.format(40)) + lines(20, FAILED.format(48))))
    report = read_log(path)
    timed = "{" in prefix
    assert len(report.boots) == 1 + timed
    (note,) = [note for note in report.notes if "taken for" in note]
    assert ("line 2: taken for another boot, as times fall back from 1000 to 20 s" in note) == timed
    assert ("it may be of several" in note) != timed
    # lines of several processors are mixed
    path.write_text("\n".join(lines(20.9, FAILED.format(40)) + lines(19.8, FAILED.format(48))))
    assert len(read_log(path).boots) == 1
    # nor times, with another layout
    path.write_text("\n".join(text.partition("kernel: ")[2] or text for text in booted
                              if "Linux version" not in text))  # fmt: skip
    assert "another layout is told" in [one.guess for one in read_log(path).boots][-1] or timed


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(prefix: str) -> None:
    assert bare(prefix + " pcpu_alloc+0x1/0x2") == " pcpu_alloc+0x1/0x2"
    text = "\n".join(prefix + line for line in MODULE.split("\n"))
    (failure,) = failures_of(text)
    assert (failure.line, failure.size, failure.module) == (1, 2056, "foodrv")
    assert failure.stack.callers == ("load_module", "do_syscall_64")
    assert (failure.stack.task, failure.stack.release) == ("modprobe", "5.10.0-9-amd64")


def test_a_journal_as_json_and_repetitions() -> None:
    entry = json.dumps({"MESSAGE": ATOMIC, "_HOSTNAME": "box"})
    repeated = f"Nov  3 10:00:01 box kernel: message repeated 3 times: [ {ATOMIC}]"
    one, more = failures_of(f"{entry}\n{repeated}")
    assert (one.reason, one.count) == (failures.ATOMIC, 1)
    assert (more.reason, more.count) == (failures.ATOMIC, 3)


# failures


def row(line: str) -> tuple[Any, ...]:
    (one,) = failures_of(line)
    return one.size, one.align, one.atomic, one.reason


@pytest.mark.parametrize("reason", failures.WORDS)
def test_every_reason_of_every_release(reason: str) -> None:
    line = f"percpu: {failures.printed(40, 8, False, reason)}"
    assert row(line) == (40, 8, False, reason)
    # up to 3.17 without atomic, up to 4.6 in capitals
    assert row(f"PERCPU: allocation failed, size=40 align=8, {reason}") == (40, 8, None, reason)
    middle = line.rindex(" ")  # broken by a mail program
    assert row(f"> {line[:middle]}\n> {line[middle + 1:]}") == (40, 8, False, reason)


def test_the_kernels_words_are_all_known() -> None:
    """Each reason that a tree prints is one of ours, and the other way round for the newest."""
    trees = sorted(Path("/tmp/trees").glob("*/mm/percpu.c")) + sorted(
        Path("/tmp").glob("k61*/linux-source-*/mm/percpu.c")
    )
    if not trees:
        pytest.skip("no kernel trees here")
    for tree in trees:
        words = set(re.findall(r'\berr = "([^"]+)"', tree.read_text(errors="replace")))
        assert words
        assert words <= set(failures.WORDS), tree


WRONG = [
    "percpu: allocation failed, size=%zu align=%zu atomic=%d, %s",
    "percpu: allocation failed, size=",
    "illegal size (40) or align",
    'pr_warn("illegal size (%zu) or align (%zu) for percpu allocation")',
]


@pytest.mark.parametrize("line", WRONG)
def test_what_is_no_failure(line: str) -> None:
    assert failures_of(line) == []


def test_words_of_a_vendor_are_told(tmp_path: Path) -> None:
    line = "percpu: allocation failed, size=8 align=8 atomic=0, asi chunk failed"
    assert row(line) == (8, 8, False, UNKNOWN)
    _, explained = read_log(written(tmp_path, line)).failures[0]
    assert "asi chunk failed" in explained.says[1]


STACKS = {
    "x86": " pcpu_alloc+0x1/0x2\n __alloc_percpu_gfp+0x10/0x20\n foo_init+0x3/0x4 [foo]",
    "addresses": " [<ffffffffa7ef83b9>] pcpu_alloc+0x1/0x2\n [<ffffffffa7ef83ba>] foo_init+0x3/0x4",
    "powerpc": "[c000000003f5fa20] [c0000000004b0a2c] pcpu_alloc+0x7cc/0x9c0 (unreliable)\n"
    "[c000000003f5fa20] [c0000000004b0a2c] .foo_init+0x7cc/0x9c0",
    "arm": "[<c0013874>] (pcpu_alloc) from [<c0936350>] (__alloc_percpu+0x20/0x28)\n"
    "[<c0013874>] (__alloc_percpu) from [<c0936350>] (foo_init+0x20/0x28)\n"
    "[<c0013874>] (foo_init) from [<c0936350>] (bar+0x20/0x28)",
    "arm64": " pcpu_alloc_noprof+0x1/0x2 (P)\n foo_init+0x3/0x4",
    "decoded": " pcpu_alloc_noprof (mm/percpu.c:1766 (discriminator 2))\n foo_init (./f/foo.c:12)",
    "syzbot": " pcpu_alloc_noprof+0x9a7/0x10c0 mm/percpu.c:1894\n foo_init f/foo.c:1 [inline]",
    "guesses": " pcpu_alloc+0x1/0x2\n ? bar+0x3/0x4\n foo_init.part.0+0x3/0x4",
}


@pytest.mark.parametrize("name", STACKS)
def test_stacks_name_the_caller(name: str) -> None:
    text = (
        f"percpu: {failures.printed(8, 8, False, failures.POPULATE)}\nCall Trace:\n{STACKS[name]}"
    )
    (failure,) = failures_of(text)
    assert failure.stack.caller == "foo_init"


def test_a_stack_is_not_anothers() -> None:
    first, second = failures_of(f"{ATOMIC}\n{MODULE}")
    assert first.stack.caller is None
    assert second.stack.caller == "load_module"


def test_illegal_requests(tmp_path: Path) -> None:
    report = read_log(written(tmp_path, TOO_LARGE))
    ((failure, explained),) = report.failures
    assert (failure.reason, failure.stack.caller) == (ILLEGAL, "array_of_counters_alloc")
    assert explained.clauses == ("API-1",)
    assert "largest request is 32768" in " ".join(explained.says)
    assert report.reports == ()  # the warning is that of the request
    assert report.release == "6.9.0-rc7-gabcdef"


@pytest.mark.parametrize(
    ("size", "align", "said"),
    [
        (0, 4, "arch_spinlock_t"), (18446744073709551612, 8, "overflow"),
        (40000, 8, "largest request is 32768"), (8, 24, "no power of two"),
        (8, 8192, "above a page of 4096"), (8, 8, "is legal"),
    ],
)  # fmt: skip
def test_what_is_illegal_in_a_request(tmp_path: Path, size: int, align: int, said: str) -> None:
    text = failures.illegal(size, align)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert said in " ".join(explained.says)


def failed(size: int, align: int, atomic: bool, reason: str) -> str:
    return "percpu: " + failures.printed(size, align, atomic, reason)


LONG = 99999999999999999999999


@pytest.mark.parametrize(
    ("line", "said", "clause"),
    [
        (failed(32772, 8, True, failures.ATOMIC), "largest request, 32768", "API-1"),
        (failed(0, 8, False, failures.CREATE), "refused earlier", "API-1"),
        (failed(40, 3, False, failures.CREATE), "no power of two", "API-1"),
        (failed(40, 8192, True, failures.ATOMIC), "above a page", "API-1"),
        (failed(40, 8, True, failures.POPULATE), "never populates", "API-5"),
        (failed(40, 8, True, failures.CREATE), "never makes a chunk", "API-5"),
        (failed(40, 8, False, failures.ATOMIC), "atomic requests only", "API-5"),
        (failures.illegal(8, 8), "is legal", "API-1"),
        (failed(LONG, 8, False, failures.CREATE), "no size_t", "API-1"),
        (failures.illegal(LONG, 8), "no size_t", "API-1"),
    ],
)
def test_what_no_kernel_prints(tmp_path: Path, line: str, said: str, clause: str) -> None:
    """It is not explained as if it were true."""
    _, explained = read_log(written(tmp_path, line)).failures[0]
    assert explained.says[0].startswith("no mainline kernel prints this")
    assert said in explained.says[0]
    assert "patched kernel" in explained.says[1]
    assert (explained.harmless, explained.clauses) == (None, (clause,))


@pytest.mark.parametrize(
    "line",
    [
        failed(32768, 4096, True, failures.ATOMIC), failed(32768, 8, False, failures.POPULATE),
        f"Linux version 4.9.0 (gcc)\n{failed(40, 3, False, failures.CREATE)}",
        "foo: Could not allocate 70000 bytes percpu data",
    ],
)  # fmt: skip
def test_what_kernels_may_print(tmp_path: Path, line: str) -> None:
    _, explained = read_log(written(tmp_path, line)).failures[0]
    assert "no mainline kernel" not in " ".join(explained.says)


def test_long_numbers_are_kept() -> None:
    """A line that is not understood does not take the words of the next one."""
    one = failed(LONG, 8, False, failures.CREATE)
    first, second = failures_of(f"{one}\n{failed(40, 3, False, failures.CREATE)}")
    assert (first.line, first.size, second.line, second.size) == (1, LONG, 2, 40)
    longer = one.replace(str(LONG), "9" * 5000)
    known, torn, _ = read_failures(found_in(f"{longer}\n{ATOMIC}"))
    assert [failure.line for failure in known] == [2]
    assert [message.line for message in torn] == [1]


def test_pages_of_64_kib_change_the_numbers(tmp_path: Path) -> None:
    """40000 bytes are legal there, and four pages hold more."""
    text = f"{LAYOUT}\n{ATOMIC}\n{failures.illegal(40000, 8)}"
    report = read_log(written(tmp_path, text))
    (_, atomic), (_, illegal) = report.failures
    assert f"4 pages hold {4 * (65536 // 24)}" in " ".join(atomic.says)
    assert "is legal" in " ".join(illegal.says)
    assert report.machine.page == 65536
    assert any("--geometry page=65536" in line for line in atomic.advice)


def test_a_batch_is_what_pages_hold(tmp_path: Path) -> None:
    """The advice names the numbers that the model serves between two runs (test_served)."""
    text = "percpu: " + failures.printed(40, 8, True, failures.ATOMIC)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert "4 pages hold 408" in " ".join(explained.says)
    assert "at most about 408" in " ".join(explained.advice)
    text = "percpu: " + failures.printed(20, 64, True, failures.ATOMIC)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert "4 pages hold 256" in " ".join(explained.says)  # each in a step of 64
    text = "percpu: " + failures.printed(9000, 8, True, failures.ATOMIC)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert "a populated hole over at least 3 pages, of which all but the outer two" in " ".join(
        explained.says)  # fmt: skip
    assert "mostly enough" in explained.advice[0]
    text = "percpu: " + failures.printed(32768, 8, True, failures.ATOMIC)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert "for 8 in a row it may take several failures and runs" in explained.advice[0]


@pytest.mark.parametrize(
    ("reason", "clause", "said"),
    [
        (failures.ATOMIC, "BAL-5", "not out of memory"),
        (failures.RESERVED, "API-7", "8192 bytes a CPU"),
        (failures.CREATE, "API-9", "vmalloc"),
        (failures.POPULATE, "POP-4", "pages could not be had"),
        (failures.EXTEND, "API-9", "up to 4.13"),
    ],
)
def test_each_reason_has_its_clause(tmp_path: Path, reason: str, clause: str, said: str) -> None:
    text = "percpu: " + failures.printed(40, 8, reason == failures.ATOMIC, reason)
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert clause in explained.clauses
    assert set(explained.clauses) <= set(clauses())
    assert said in " ".join(explained.says)
    assert explained.harmless is (reason in (failures.ATOMIC, failures.EXTEND))
    assert explained.effect
    assert explained.advice


def test_noio_is_atomic_before_6_15(tmp_path: Path) -> None:
    for release, told in (
        ("6.8.0", True), ("6.18.1", False), ("6.1.158", True), ("6.1.159", False),
        ("6.12.0", True), ("6.12.117", False),
    ):  # fmt: skip
        text = f"Linux version {release} (x)\n{ATOMIC}"
        _, explained = read_log(written(tmp_path, text)).failures[0]
        assert any("only forbids I/O" in line for line in explained.advice) is told
        assert "API-3" in explained.clauses


def test_the_reserve_of_the_layout_and_of_4_14(tmp_path: Path) -> None:
    layout = LAYOUT.replace("r8192 d60584", "r2048 d66728")
    text = layout.replace("6.8.0-45-generic", "5.10.0-9-amd64") + "\n" + MODULE
    _, explained = read_log(written(tmp_path, text)).failures[0]
    assert "larger than the whole reserve" in " ".join(explained.says)
    old = MODULE.replace("5.10.0-9-amd64", "4.14.0-rc3").replace("2056", "16")
    _, explained = read_log(written(tmp_path, old)).failures[0]
    assert "FIT-1" in explained.clauses
    assert "prevent skipping over block" in " ".join(explained.says)
    _, explained = read_log(written(tmp_path, MODULE)).failures[0]
    assert "prevent skipping" not in " ".join(explained.says)


def test_a_module_that_failed_unseen(tmp_path: Path) -> None:
    for text, module in (("foo: Could not allocate 328 bytes percpu data", "foo"),
                         ("Could not allocate 328 bytes percpu data", None)):  # fmt: skip
        failure, _ = read_log(written(tmp_path, text)).failures[0]
        assert (failure.size, failure.module, failure.source) == (328, module, "module loader")


def test_alike_are_told_once_and_the_limit(tmp_path: Path) -> None:
    text = "\n".join([ATOMIC] * 9 + [MODULE, "percpu: limit reached, disable warning"])
    report = read_log(written(tmp_path, text))
    assert [(f.count, f.lines[0]) for f, _ in report.kinds] == [(9, 1), (1, 10)]
    assert [f.line for f, _ in report.failures] == list(range(1, 11))
    assert report.failed == 10
    assert report.limit == 20
    assert any("line 20: limit reached" in note for note in report.notes)


def test_failures_of_requests_that_do_not_warn(tmp_path: Path) -> None:
    """bpf passes __GFP_NOWARN: only the event tells."""
    event = ("  foo-7 [001] d..1. 10.5: percpu_alloc_percpu_fail: reserved=0 is_atomic={} size=64 "
             "align=8")  # fmt: skip
    report = read_log(written(tmp_path, f"{event.format(1)}\n{event.format(0)}"))
    (atomic, _), (blocking, explained) = report.failures
    assert (atomic.reason, atomic.source) == (failures.ATOMIC, "event")
    assert blocking.reason == UNKNOWN
    assert explained.clauses == ("API-9",)


# reports


def chain(*locks: str, wanted: str, held: str) -> str:
    links = "\n".join(f"-> #{len(locks) - 1 - n} ({lock}){{+.+.}}-{{4:4}}:\n       "
                      f"pcpu_alloc_noprof+0x1/0x2" for n, lock in enumerate(locks))  # fmt: skip
    return (
        "WARNING: possible circular locking dependency detected\n6.16.0 #1 Not tainted\n"
        f"a/1 is trying to acquire lock:\nffff0000 ({wanted}){{+.+.}}-{{4:4}}, at: x+0x1/0x2\n\n"
        f"but task is already holding lock:\nffff0001 ({held}){{+.+.}}-{{4:4}}, at: y+0x1/0x2\n"
        f"{links}"
    )


LOCKDEP = {
    "frozen queue": (
        chain("fs_reclaim", "pcpu_alloc_mutex", wanted="pcpu_alloc_mutex",
              held="&q->q_usage_counter(io)#58"),
        True, "GFP-1", "may need &q->q_usage_counter(io),",
    ),
    "wanted by reclaim": (
        chain("fs_reclaim", "pcpu_alloc_mutex", "&fs_info->sem", wanted="&delayed->mutex",
              held="fs_reclaim"),
        True, "GFP-1", "may need &fs_info->sem,",
    ),
    "two of ours": (
        chain("pcpu_lock", "pcpu_alloc_mutex", wanted="pcpu_alloc_mutex", held="pcpu_lock"),
        False, "LOCK-2", "percpu's own two locks",
    ),
    "no reclaim": (
        chain("cpu_hotplug_lock", "pcpu_alloc_mutex", wanted="&a_lock", held="pcpu_alloc_mutex"),
        True, "LOCK-2", "pcpu_alloc_mutex with",
    ),
    "spinlock": (
        chain("&zone->lock", "pcpu_lock", wanted="&zone->lock", held="pcpu_lock"),
        True, "LOCK-1", "pcpu_lock with &zone->lock",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOCKDEP)
def test_lock_chains(name: str) -> None:
    text, outside, clause, said = LOCKDEP[name]
    (report,) = read_reports(found_in(text))
    assert report.outside is outside
    assert clause in report.clauses
    assert said in " ".join(report.says)


REPORTS = {
    "RCU": (
        "[ BUG: Invalid wait context ]\n6.15.0-rc4 #0 Tainted: G W\nx/5832 is trying to lock:\n"
        "ffff (pcpu_alloc_mutex){+.+.}-{4:4}, at: pcpu_alloc_noprof+0x284/0x16b0\n1 lock held:\n"
        " #0: ffff (rcu_read_lock){....}-{1:3}, at: foo+0x1/0x2",
        "wait context", True, "API-3", "rcu_read_lock",
    ),
    "sleeping": (
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283\n"
        "Call Trace:\n mutex_lock_killable+0x1/0x2\n pcpu_alloc+0x1/0x2\n foo_timer+0x1/0x2",
        "sleeping in atomic context", True, "API-3", "may sleep was made",
    ),
    "sleeping below the work": (
        "BUG: sleeping function called from invalid context at mm/page_alloc.c:4681\n"
        " #2: ffff (pcpu_alloc_mutex){+.+.}, at: pcpu_balance_workfn+0xb7/0x1310\n"
        " #3: ffff (vmap_area_lock){+.+.}, at: pcpu_get_vm_areas+0x1/0x2\nCall Trace:\n"
        " __might_sleep+0x1/0x2\n pcpu_get_vm_areas+0x1/0x2\n pcpu_balance_workfn+0x1/0x2",
        "sleeping in atomic context", True, "LOCK-2", "vmap_area_lock",
    ),
    "hung": (
        "INFO: task systemd:1 blocked for more than 120 seconds.\nCall Trace:\n __schedule+0x1/0x2"
        "\n __mutex_lock.constprop.0+0x1/0x2\n pcpu_alloc+0x1/0x2\n mem_cgroup_css_alloc+0x1/0x2",
        "hung task", True, "LOCK-2", "systemd (1) waits for more than 120 s",
    ),
    "float": (
        "BUG: KCSAN: data-race in pcpu_alloc / pcpu_balance_workfn\n"
        "write to 0xf of 4 bytes by task 1 on cpu 0:\n pcpu_update_empty_pages mm/percpu.c:602 "
        "[inline]\n pcpu_balance_workfn+0x1/0x2 mm/percpu.c:2212",
        "data race", True, "BAL-4", "benign",
    ),
    "populated": (
        "BUG: KCSAN: data-race in meminfo_proc_show / pcpu_chunk_populated\n"
        "read to 0xf of 8 bytes by task 1 on cpu 0:\n pcpu_nr_pages+0x1/0x2 mm/percpu.c:3400",
        "data race", True, "POP-3", "/proc/meminfo",
    ),
    "double free": (
        "WARNING: CPU: 0 PID: 7 at mm/percpu.c:2255 free_percpu+0x1/0x2\nCall Trace:\n"
        " foo_exit+0x1/0x2",
        "warning", False, "API-2", "freed twice",
    ),
    "immutable": (
        "WARNING: CPU: 0 PID: 7 at mm/percpu.c:1964 pcpu_balance_free+0x1/0x2",
        "warning", False, "RCL-2", "its state is damaged",
    ),
    "warning of a request": (
        "WARNING: CPU: 0 PID: 0 at mm/percpu.c:1766 pcpu_alloc_noprof+0x1/0x2",
        "warning", False, "API-1", "look at the next line",
    ),
    "newer warning of a request": (
        "WARNING: mm/percpu.c:1766 at pcpu_alloc_noprof+0x1/0x2, CPU#3: insmod/77\nCall Trace:\n"
        " foo_init+0x1/0x2",
        "warning", False, "API-1", "caller's fault",
    ),
    "title of a warning": (
        "[syzbot] WARNING in pcpu_alloc (2)", "warning", False, "API-1", "caller's fault",
    ),
    "newer warning": (
        "WARNING: mm/percpu.c:2255 at free_percpu+0x1/0x2, CPU#3: insmod/77",
        "warning", False, "API-2", "freed twice",
    ),
    "bad access": (
        "BUG: KASAN: use-after-free in pcpu_block_update_hint_alloc+0x1/0x2\nRead of size 8",
        "bad access", True, "API-2", "second free",
    ),
    "page fault": (
        "BUG: unable to handle page fault for address: ffff88810\nRIP: 0010:free_percpu+0x1/0x2\n"
        "Call Trace:\n free_percpu+0x1/0x2\n foo+0x1/0x2",
        "bad access", True, "API-2", "outside",
    ),
    "stall": (
        "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [x:9]\n"
        "RIP: 0010:pcpu_find_block_fit+0x1/0x2\nCall Trace:\n pcpu_find_block_fit+0x1/0x2\n"
        " pcpu_alloc+0x1/0x2",
        "stall", True, "COST-1", "examines",
    ),
    "no pages": (
        "mkdir: page allocation failure: order:0, mode:0x402dc2(GFP_KERNEL|__GFP_HIGHMEM)\n"
        "Call Trace:\n __alloc_pages+0x1/0x2\n pcpu_populate_chunk+0x1/0x2\n pcpu_alloc+0x1/0x2",
        "no pages", False, "POP-4", "failed to populate",
    ),
    "OOM": (
        "runc invoked oom-killer: gfp_mask=0x402dc2, order=0\nCall Trace:\n out_of_memory+0x1/0x2\n"
        " pcpu_populate_chunk.constprop.0+0x1/0x2\n",
        "no pages", False, "API-9", "refused",
    ),
    "parameter": (
        "percpu: unknown allocator huge specified", "boot parameter", False, None, "percpu_alloc=",
    ),
    "boot": (
        "percpu: failed to initialize, ai->dyn_size < PERCPU_DYNAMIC_EARLY_SIZE",
        "refused layout", False, "MAP-5", "ai->dyn_size <",
    ),
    "leak": (
        "unreferenced percpu object 0x607f (size 16):\n  backtrace:\n    pcpu_alloc_noprof+0x1/0x2",
        "leak", True, "API-2", "owner",
    ),
    "percpu_ref": (
        "percpu ref (blk_queue_usage_counter_release) <= 0 (-3) after switching to atomic",
        "percpu_ref", True, "API-2", "lib/percpu-refcount.c",
    ),
    "title": (
        "[syzbot] [mm?] possible deadlock in pcpu_alloc_noprof (3)", "lock order", True, "LOCK-1",
        "outside",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_reports(name: str) -> None:
    text, kind, outside, clause, said = REPORTS[name]
    (report,) = read_reports(found_in(text))
    assert (report.kind, report.outside) == (kind, outside)
    assert clause is None or clause in report.clauses
    assert said in " ".join((*report.says, *report.advice))


def test_a_warning_of_a_request_asserts_no_damage() -> None:
    for name in REPORTS:
        (report, *_) = read_reports(found_in(REPORTS[name][0]))
        if report.kind == "warning" and "API-1" in report.clauses:
            assert "damaged" not in " ".join(report.says)


def test_others_reports_are_not_ours() -> None:
    for name in ("sleeping", "hung", "float", "bad access", "stall", "no pages", "leak"):
        text = re.sub(r"_?_?pcpu_\w+|free_percpu", "ext4_read", REPORTS[name][0])
        assert read_reports(found_in(text)) == [], name
    text = LOCKDEP["frozen queue"][0].replace("pcpu_alloc", "ext4")
    assert read_reports(found_in(text)) == []


def test_a_report_told_in_the_subject_is_told_once() -> None:
    text = f"Subject: KCSAN: data-race in pcpu_alloc / pcpu_balance_workfn\n{REPORTS['float'][0]}"
    (report,) = read_reports(found_in(text))
    assert report.line == 2


@pytest.mark.parametrize("name", [*REPORTS, *LOCKDEP])
def test_clauses_that_are_named_exist(name: str) -> None:
    text = (REPORTS.get(name) or LOCKDEP[name])[0]
    (report,) = read_reports(found_in(text))
    assert set(report.clauses) <= set(clauses())


# what is no log


EVENT = "x-1 [000] .... 0.5: percpu_alloc_percpu: reserved=0 is_atomic=0 size=4 align=4 "
MATERIAL = {
    "percpu_stats": ("Percpu Memory Statistics\nAllocation Info:", "percpu-spec state", "RCL-3"),
    "Percpu of /proc/meminfo": (
        "Percpu:   10 kB\nPercpu:  30 kB", "percpu_stats", "grows from 10 to 30 kB"),
    "trace": (
        f"{EVENT}base_addr=ff1100017aa36000 off=8 ptr=0000000000036008\n"
        f"{EVENT}base_addr=ff1100017aa36000 off=16 ptr=0000000000036010",
        "conform trace", "are plain"),
    "stacks of outstanding areas": (
        "[14:15] Top 10 stacks with outstanding allocations:\n 8 bytes in 1 allocations from stack",
        "--who", "which callers pin which pages"),
    "saved state": ("kernel 6.12.1\npcpu_first_chunk=ff20", "percpu-spec state", "clause"),
    "percpu of memory.stat": ("kernel 1\npercpu 22740992", "--who", "ACC-1"),
    "patch": ("diff --git a/mm/percpu.c b/mm/percpu.c\n", "review --source", "breaks"),
    "operation list": ("# a list\na 1 40 8 A\nf 1\nb", "percpu-spec run", "--every"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MATERIAL)
def test_what_reads_it_is_said(tmp_path: Path, kind: str) -> None:
    text, command, said = MATERIAL[kind]
    report = read_log(written(tmp_path, text))
    (one,) = report.material
    assert one.kind == kind
    assert command in one.command
    assert said in " ".join(one.says)


def test_standard_input_is_read_as_a_file_is(tmp_path: Path) -> None:
    text = f"{ATOMIC}\n{EVENT}base_addr=1 off=8 ptr=2\n"
    run = CliRunner().invoke
    given = run(main, ["log", str(written(tmp_path, text)), "--json"])
    for raw in (text.encode(), gzip.compress(text.encode())):
        piped = run(main, ["log", "-", "--json"], input=raw)
        one, other = json.loads(given.stdout), json.loads(piped.stdout)
        assert (other.pop("file"), one.pop("file") != "-") == ("-", True)
        assert one.pop("material") and " FILE" in other.pop("material")[0]["command"]
        assert one == other and one["failures"]
    for raw, says in ((b"", "-: expected"), (gzip.compress(b"x" * 99)[:-9], "-:1: expected")):
        wrong = run(main, ["log", "-"], input=raw)
        assert wrong.exit_code == 2 and says in wrong.stderr and "/tmp" not in wrong.stderr


def test_hashed_addresses_are_told(tmp_path: Path) -> None:
    lines = [
        "x-1 [000] .... 0.4: percpu_create_chunk: base_addr=000000008456b989",
        f"{EVENT}base_addr=000000008456b989 off=64 ptr=00000000c247612d",
        f"{EVENT}base_addr=00000000fa92a086 off=64 ptr=000000001247612d",
    ]
    (one,) = read_log(written(tmp_path, "\n".join(lines))).material
    said = " ".join(one.says)
    assert "are hashed" in said
    assert "chunk 8456b989: 1 area at offset 64; created here" in said
    assert "chunk fa92a086: 1 area at offset 64; not created here" in said
    assert "before 5.19" in said


# whole files


def test_boots_of_two_kernels(tmp_path: Path) -> None:
    other = LAYOUT.replace("6.8.0-45", "6.1.0").replace("s127832", "s127828")
    other = other.replace("d60584", "d60588")
    report = read_log(written(tmp_path, f"{other}\n{ATOMIC}\n{LAYOUT}"))
    assert report.layout is not None
    assert (report.layout.static, report.layout.line) == (127832, 8)
    assert any("another boot" in note and "s127828" in note for note in report.notes)


def two_boots(first: str, second: str) -> str:
    """Return two boots: pages of 4 KiB, then of 64 KiB; the lines that begin them are given."""
    lines = [
        first, "[    0.1] percpu: Embedded 57 pages/cpu s196608 r8192 d28672 u524288",
        "[    0.2] pcpu-alloc: s196608 r8192 d28672 u524288 alloc=1*2097152",
        "[    0.2] pcpu-alloc: [0] 0 1 2 3", *(f"[   99.00{n}] {ATOMIC}" for n in range(3)),
        second, *(f"[    0.000000] {line}" for line in LAYOUT.split("\n")[1:]),
        f"[    5.000000] {ATOMIC}",
    ]  # fmt: skip
    return "\n".join(line for line in lines if line)


BOOTS = {
    "Linux version": ("Linux version 6.1.0 (gcc)", "Linux version 6.12.1 (gcc)"),
    "another layout": ("Linux version 6.1.0 (gcc)", ""),
}


@pytest.mark.parametrize("name", BOOTS)
def test_each_failure_is_of_its_boot(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, two_boots(*BOOTS[name]))
    second = "6.12.1" if "6.12" in BOOTS[name][1] else None
    found = json.loads(invoke("log", path, "--json").output)
    told = [(one["release"], one["page"]) for one in found["failures"]]
    assert told == [("6.1.0", 4096)] * 3 + [(second, 65536)]
    assert [boot["layout"]["page"] for boot in found["boots"]] == [4096, 65536]
    for one, page in zip(found["failures"], (4096, 4096, 4096, 65536), strict=True):
        assert f"a page of {page} bytes holds" in " ".join(one["says"])
    said = " ".join(invoke("log", path).output.split())
    assert "3 times" in said
    assert "4 times" not in said
    assert "s196608" in said or "static 196608" in said
    assert "static 127832" in said
    assert "in its boot: kernel 6.1.0, page 4096" in said


def test_times_that_fall_back_begin_a_boot(tmp_path: Path) -> None:
    """What the later boot does not tell of its machine is open; small steps back are no boot."""
    first = two_boots(*BOOTS["Linux version"]).split("\n")[:7]
    text = "\n".join([*first, f"[   98.5] {ATOMIC}", f"[    7.000000] {ATOMIC}"])
    report = read_log(written(tmp_path, text))
    assert [report.machine_of(one).page for one, _ in report.failures] == [4096] * 4 + [None]
    assert report.machine_of(report.failures[-1][0]).release is None


def test_a_damaged_layout_beside_a_failure(tmp_path: Path) -> None:
    cut = "percpu: Embedded 3 pages/cpu s127448"
    report = read_log(written(tmp_path, f"{ATOMIC}\n{cut}"))
    assert report.layout is None
    assert any(note.startswith("layout: ") for note in report.notes)
    with pytest.raises(TraceError, match=":1: expected percpu"):
        read_log(written(tmp_path, cut))


def test_a_log_cut_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    whole = "\n".join([LAYOUT, ATOMIC, TOO_LARGE, MODULE, LOCKDEP["frozen queue"][0]])
    for end in range(0, len(whole), 23):
        try:
            found = read_log(written(tmp_path, whole[:end]))
        except TraceError:
            assert end < len(LAYOUT)
            continue
        whole_lines = (ATOMIC, MODULE.split("\n")[0], failures.illegal(40004, 8))
        begun = ("allocation failed, size=", "illegal size (")
        assert sum(map(whole[:end].count, whole_lines)) <= found.failed
        assert found.failed <= sum(map(whole[:end].count, begun))


def test_a_reason_cut_off() -> None:
    assert row(ATOMIC[:-15]) == (24, 8, True, failures.ATOMIC)
    assert row(ATOMIC[: ATOMIC.index("atomic alloc") + 5])[3] == UNKNOWN
    assert row("percpu: " + failures.printed(8, 8, False, "failed to"))[3] == UNKNOWN


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"a failure .*6\.5 .*, or the percpu layout"):
        read_log(written(tmp_path, "nothing of the kind"))
    core = tmp_path / "vmcore"
    core.write_bytes(b"\x7fELF" + bytes(60))
    with pytest.raises(InputError, match="percpu-spec state"):
        read_log(core)
    with pytest.raises(InputError, match="readable"):
        read_log(tmp_path / "missing")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_other_encodings(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """UTF-8 with its mark is read, UTF-16 named, in logs and in the texts of other commands."""
    path = tmp_path / "log"
    layout = LAYOUT.split("\n", 1)[1]
    path.write_bytes(pack(layout.encode("utf-8-sig")))
    found = read_log(path).layout
    assert found is not None
    assert found.page == 65536
    assert "\n".join(text_of(path)) == layout
    assert read_text(path) == layout
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(pack(layout.encode(encoding)))
        with pytest.raises(TraceError, match=r"UTF-16.*iconv"):
            read_log(path)
        with pytest.raises(InputError, match=r"UTF-16.*iconv"):
            read_text(path)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_explain_takes_a_line() -> None:
    found = json.loads(invoke("explain", f"[1] {ATOMIC}", "--json").output)
    assert found["title"].endswith(failures.ATOMIC)
    assert "BAL-5" in [one["clause"] for one in found["clauses"]]
    assert "BAL-5" in invoke("explain", ATOMIC).output


def test_command(tmp_path: Path) -> None:
    text = "\n".join([LAYOUT, ATOMIC, MODULE, LOCKDEP["frozen queue"][0]])
    path = tmp_path / "dmesg.gz"
    path.write_bytes(gzip.compress(text.encode()))
    result = invoke("log", path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for wanted in (
        "line 5: size=24 align=8 atomic=1, atomic alloc failed, no space left",
        "(module foodrv)", "asked for by load_module", "harmless: no: the module is not loaded",
        "nearest clauses, as the question is outside: GFP-1, GFP-2, LOCK-2",
        "--geometry page=65536",
    ):  # fmt: skip
        assert wanted in said
    found = json.loads(invoke("log", path, "--json").output)
    assert found["layout"]["page"] == 65536
    assert [(f["line"], f["reason"], f["atomic"]) for f in found["failures"]] == [
        (5, failures.ATOMIC, True), (6, failures.RESERVED, False),
    ]  # fmt: skip
    assert {"size", "align", "clauses", "harmless", "advice"} <= set(found["failures"][0])
    assert found["reports"][0]["kind"] == "lock order"


ARTEFACTS = {
    "01-": ("144 in 4 groups; 160 units, 16 of them without CPU", "11% too much"),
    "02-": ("page 65536 bytes", "2 in 1 group"),
    "03-": ("page 65536 bytes", "static 127832, reserved 8192, dynamic 60584"),
    "05-": ("page 65536 bytes", "262144 bytes, 4 pages", "KERN_DEBUG"),
    "07-": ("114688 bytes, 28 pages", "page by page in vmalloc space"),
    "09-": ("max_distance=0x1ffffef00000", "3/4 of vmalloc space", "163840 bytes, 40 pages"),
    "10-": ("backed by percpu-km", "wholly free"),
    "12-": ("not out of memory", "4 pages hold 1024", "BAL-5", "GFP_KERNEL_ACCOUNT", "no setting"),
    "13-": ("4 pages hold 408", "workload burst --size 40"),
    "15-": ("FIT-1", "prevent skipping over block", "nft_meta"),
    "17-": ("API-1", "arch_spinlock_t", "the caller is at fault"),
    "18-": ("percpu-spec state",),
    "20-": ("are hashed", "conform trace", "vmalloc memory", "before 5.19"),
    "21-": ("grows from 2976 to 25920 kB", "nr_cur_alloc", "RCL-3"),
    "23-": ("benign", "BAL-4", "outside"),
    "25-": ("PR_SET_IO_FLUSHER", "API-3", "9a5b183941b5"),
    "27-": ("pcpu_alloc_mutex -> fs_reclaim", "memalloc_noio_save", "outside", "LOCK-2"),
    "28-": ("4104 of the 8192 bytes", "PERCPU_MODULE_RESERVE", "scsi_mod", "alloc_percpu"),
    "29-": ("who holds percpu memory", "--who"),
    "30-": ("conform trace", "offsets 2208, 2212", "first chunk"),
    "31-": ("percpu-spec run",),
}  # fmt: skip


@pytest.mark.parametrize("name", ARTEFACTS)
def test_artefacts(tmp_path: Path, name: str) -> None:
    """Each public artefact without its first line, which is the answer."""
    paths = [p for folder in data.shared("artefacts") for p in folder.glob(f"{name}*")]
    if not paths:
        pytest.skip("no artefacts beside the repository")
    text = paths[0].read_text().split("\n", 1)[1]
    result = invoke("log", written(tmp_path, text))
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    for wanted in ARTEFACTS[name]:
        assert wanted in said


# seeded bugs


def keeps_prefix(text: str) -> str:
    return text


def guesses_too(text: str) -> tuple[str, bool] | None:
    entry = FRAME(text)
    return entry and (entry[0], False)


FRAME = frame
BUGS: dict[str, tuple[str, Any, Callable[[Path], None]]] = {
    "prefixes stay": (
        "percpu_proofs.logs.messages.bare", keeps_prefix,
        lambda _: test_prefixes("Nov  3 10:00:01 box kernel: [ 12.3] ")),
    "guesses are callers": (
        "percpu_proofs.logs.messages.frame", guesses_too,
        lambda _: test_stacks_name_the_caller("guesses")),
    "a short reason hides a long one": (
        "percpu_proofs.logs.failures._REASON",
        re.compile("|".join(map(re.escape, reversed(failures.WORDS)))),
        lambda _: test_every_reason_of_every_release(failures.EXTEND_RESERVED)),
    "every report is ours": (
        "percpu_proofs.logs.reports.ReportBlock.is_ours", True,
        lambda _: test_others_reports_are_not_ours()),
    "failures are not told together": (
        "percpu_proofs.logs.reading.merge_alike", list, test_alike_are_told_once_and_the_limit),
    "pages are always of 4 KiB": (
        "percpu_proofs.logs.reading.Boot.machine", reading.MachineFacts(),
        test_pages_of_64_kib_change_the_numbers),
    "reclaim is seen nowhere": (
        "percpu_proofs.logs.reports._RECLAIM", re.compile("nothing"),
        lambda _: test_lock_chains("frozen queue")),
    "the last boot is not told": (
        "percpu_proofs.logs.reading._edges", lambda lines, found: [], test_boots_of_two_kernels),
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_these_tests_see_bugs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, bug, test = BUGS[name]
    monkeypatch.setattr(where, bug)
    with pytest.raises((AssertionError, ValueError)):
        test(tmp_path)


# in a state of the machine


FAILED_THERE = "\n".join(
    "percpu: " + failures.printed(size, align, atomic, reason)
    for size, align, atomic, reason in (
        (40, 8, True, failures.ATOMIC), (30000, 8, True, failures.ATOMIC),
        (4104, 32, False, failures.RESERVED), (30000, 8, False, failures.POPULATE),
    )
)  # fmt: skip


def test_why_it_happened_in_a_state(tmp_path: Path) -> None:
    state = next((data.folder("boot61_2") / "state").glob("*"))
    path = written(tmp_path, FAILED_THERE)
    result = invoke("log", path, "--state", state)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "asked of the model in this state: 40 bytes aligned to 8, atomic: chunk" in said
    assert "4 KiB are assumed" not in said  # the state tells
    found = json.loads(invoke("log", path, "--state", state, "--json").output)
    there = [failure["there"] for failure in found["failures"]]
    assert [one["served"] for one in there][:3] == [True, False, True]
    assert there[1]["reason"] == failures.ATOMIC
    assert any("8192 bytes free" in line for line in there[2]["lines"])
    assert found["state"]["source"] == str(state)


def test_why_it_happened_by_percpu_stats(tmp_path: Path) -> None:
    held = build("linux_6_12", GEOMETRY, stats=True)
    for _ in range(5):
        held.alloc(4096, 4096)
    while held.alloc(40, 8, gfp=ATOMIC_FLAGS) is not None:
        pass
    stats = tmp_path / "percpu_stats"
    stats.write_text(stats_text(held))
    found = json.loads(
        invoke("log", written(tmp_path, FAILED_THERE), "--state", stats, "--json").output
    )
    first = found["failures"][0]["there"]
    assert first["served"] is False
    assert "no populated hole of 40 bytes" in first["lines"][0]
    assert any("percpu_stats has no maps" in note for note in found["state"]["notes"])


def stats_of_a_machine(tmp_path: Path, geometry: Geometry = GEOMETRY) -> Path:
    stats = tmp_path / "percpu_stats"
    stats.write_text(stats_text(build("linux_6_12", geometry, stats=True)))
    return stats


def there_of(tmp_path: Path, text: str, stats: Path) -> tuple[dict[str, Any], str]:
    """Return the answer to the first failure, and the notes on the state."""
    found = json.loads(invoke("log", written(tmp_path, text), "--state", stats, "--json").output)
    return found["failures"][0]["there"], " ".join(found["state"]["notes"])


RESERVED_FAILED = failed(64, 64, False, failures.RESERVED)


def test_a_reserved_failure_is_not_answered_by_other_chunks(tmp_path: Path) -> None:
    held = stats_of_a_machine(tmp_path, replace(GEOMETRY, reserved=0, dyn=36864))
    answer, _ = there_of(tmp_path, RESERVED_FAILED, held)
    assert answer["served"] is None
    (line,) = answer["lines"]
    assert "no reserved chunk in it (r0)" in line


def test_a_reserved_failure_that_is_served_there(tmp_path: Path) -> None:
    answer, _ = there_of(tmp_path, RESERVED_FAILED, stats_of_a_machine(tmp_path))
    assert answer["served"] is True
    assert "it failed at another moment" in answer["lines"][-1]


def test_a_state_of_another_machine(tmp_path: Path) -> None:
    """Nothing is concluded where the layout differs, though no release is told."""
    held = stats_of_a_machine(tmp_path)
    layout = (
        "percpu: Embedded 63 pages/cpu s221184 r8192 d28672 u262144\n"
        "pcpu-alloc: s221184 r8192 d28672 u262144 alloc=1*2097152"
    )
    answer, notes = there_of(tmp_path, f"{layout}\n{RESERVED_FAILED}", held)
    assert answer["served"] is True
    assert "another machine" not in notes
    other = layout.replace("u262144", "u524288")
    answer, notes = there_of(tmp_path, f"{other}\n{RESERVED_FAILED}", held)
    assert answer is None
    assert "another machine or boot" in notes
    assert "bytes of a unit 524288 in the log and 262144 in the state" in notes
    assert "no conclusion" in notes


def test_what_no_kernel_prints_is_not_looked_for(tmp_path: Path) -> None:
    line = failed(40000, 8, True, failures.ATOMIC)
    assert there_of(tmp_path, line, stats_of_a_machine(tmp_path))[0] is None


def drawn(seed: int) -> Allocator:
    """An allocator of a random history, at rest or not."""
    random = Random(seed)
    geometry = Geometry(unit=65536, static=8192, reserved=8192, dyn=28672, cpus=2)
    held = build("linux_6_12", geometry, stats=True)
    areas = []
    for _ in range(400):
        if areas and random.random() < 0.45:
            held.free(areas.pop(random.randrange(len(areas))))
        else:
            size = random.choice((4, 16, 40, 256, 1000, 4096, 9000))
            reserved = random.random() < 0.1
            gfp = random.choice((KERNEL, ATOMIC_FLAGS))
            area = held.alloc(size, random.choice((4, 8, 64)), reserved=reserved, gfp=gfp)
            if area is not None:
                areas.append(area)
        if random.random() < 0.05 and held.work_pending:
            held.balance()
    return held


def bounds_hold(seed: int) -> None:
    """What percpu_stats tells contains what the maps show, and never says the contrary."""
    held = drawn(seed)
    path = Path("percpu_stats")
    stats = stats_of(path, stats_text(held).splitlines())
    for size in (4, 40, 1000, 4096, 16384):
        for align, atomic, reserved in ((4, True, False), (64, True, False), (8, False, True)):
            demand = Demand(size, align, atomic, reserved)
            exact, told = room_of(held, demand), failure_site.room_of_stats(stats, demand)
            for mine, its in zip(exact.chunks, told.chunks, strict=True):
                assert its.hole.least <= mine.hole.least <= its.hole.most, (size, align)
                assert its.backed.least <= mine.backed.least <= its.backed.most, (size, align)
                assert (its.free, its.advertised) == (mine.free, mine.advertised)
            gfp = ATOMIC_FLAGS if atomic else KERNEL
            got = held.clone()[0].alloc(size, align, reserved=reserved, gfp=gfp) is not None
            if reserved or atomic:
                assert why(told).served in (None, got), (size, align, atomic, reserved)


@pytest.mark.parametrize("seed", range(8))
def test_percpu_stats_bound_what_is_there(seed: int) -> None:
    bounds_hold(seed)


def test_the_test_of_bounds_sees_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page is taken for a hole however long, and alignment for nothing."""

    def wrong(stats: PercpuStats, chunk: ChunkStats, demand: Demand) -> ChunkRoom:
        found = RIGHT(stats, chunk, demand)
        whole = Bound(chunk.longest, chunk.longest)
        return replace(found, hole=whole, backed=whole)

    monkeypatch.setattr(failure_site, "_chunk", wrong)
    with pytest.raises(AssertionError):
        for seed in range(8):
            bounds_hold(seed)


RIGHT = failure_site._chunk


# lines of failures that are damaged


@pytest.mark.parametrize(
    "line",
    [
        "illegal size (abc) or align (8) for percpu allocation",
        "illegal size (abc)",
        "illegal size (12",
        "illegal size (0) or align (",
        "percpu: allocation failed, size= align=8 atomic=1, atomic alloc failed",
        "allocation failed, size= align=8",
        "scsi_mod: Could not allocate x bytes percpu data",
        "percpu_alloc_percpu_fail: reserved= is_atomic=1 size=8 align=8",
    ],
)
def test_a_damaged_failure_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    log = tmp_path / "dmesg"
    boot = "percpu: Embedded 56 pages/cpu s188440 r8192 d32744 u262144"
    log.write_text(f"{boot}\n{line}\nhello\n")
    found = read_log(log)
    assert not found.failures
    assert f"line 2: a failure that is not whole: {line}" in found.notes
    exit_code = CliRunner().invoke(main, ["log", str(log)]).exit_code
    assert exit_code == (0 if "trace" in str(found.material) else 2)
    known = explain(line)
    assert "a failure that is not whole" in [one["title"] for one in (known, *known["also"])]


@pytest.mark.parametrize("line", ["mtd: illegal size (12)", "illegal size (12) for a partition"])
def test_other_drivers_sizes_are_no_failures_of_percpu(line: str) -> None:
    assert read_failures([Message(1, line)])[:2] == ([], [])


@pytest.mark.parametrize("file", ["advice", "reports", "material"])
def test_every_text_is_told_of_something(file: str) -> None:
    code = "".join(path.read_text("utf-8") for path in advice.FOLDER.glob("*.py"))
    entries = advice.entries(file)
    assert len(entries) > 5
    assert [name for name in entries if f'"{name}"' not in code] == []

"""Messages of the kernel without what stands before them, and the stacks that follow them.

Consoles, dmesg, journals and mails put levels, times, hosts, callers, colours and marks of
quotation before a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from percpu_proofs.recorded.traces.functions import asks, is_inside, plain_name

COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_QUOTE: Final = re.compile(r"^(?:\s?[>|])+\s?")
_BEFORE: Final = re.compile(
    r"""^(?:
        <\d{1,3}>                                          # level
      | \d{1,3},\d+,\d+,[^;]{0,60};                        # /dev/kmsg
      | (?:kern|user|daemon)\s*:\s*\w+\s*:\s               # dmesg -x
      | \[\s*\d+\.\d+\]\s? | \[\s*[TC]\d+\]\s?             # seconds since boot, the caller
      | \[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s[^\]]{10,45}\]\s?     # dmesg -T, --ctime --show-delta
      | \[\s*[+<]\s*\d+\.\d+>?\]\s?                          # dmesg -e, -d
      | \[\d{4}-\d\d-\d\d[T\s]\d\d:\d\d:\d\d[^\]]{0,15}\]\s?   # serial consoles: minicom, conserver
      | (?:\w{3}\s)?\d{4}-\d\d-\d\d[T\s]\d\d:\d\d:\d\d\S*\s(?:[A-Z]{1,5}\s)?  # ISO; journalctl
      | \d{9,11}\.\d{6}\s(?=\S+\skernel\b)                  # journalctl -o short-unix
      | \d{1,2}\s(?=\d{4}-\d\d-\d\dT)                        # RFC 5424: its version
      | [\w.-]{1,64}\skernel(?:\s\S+){3}\s(?=\[\s*\d+\.\d+\])  # RFC 5424: host, name, ids
      | \d\d:\d\d:\d\d(?:[.,]\d+)?\s(?=\[\s*\d+\.\d+\])      # ts, and consoles that tell the hour
      | (?:\w{3}\s+\d{1,2}\s|)\d\d:\d\d:\d\d(?:[.,]\d+)?\s(?:\S+\s)?(?=kernel\b)   # syslog
      | [\w.-]{1,64}\s(?=kernel(?:\[\d+\])?:\s)            # a host behind a date
      | kernel(?:\[\d+\])?:\s
    )""",
    re.X,
)
_REPEATED: Final = re.compile(r"message repeated (\d{1,9}) times: \[\s?(.*?)\s?\]?$")


class Message(NamedTuple):
    """A message and the number of its line; `times` where a log daemon counted repetitions."""

    line: int
    text: str
    times: int = 1


def bare(printed: str) -> str:
    """Return a line without what stands before its message; leading blanks stay.

    >>> bare("<4>[   12.300000][   T45] percpu: limit reached, disable warning")
    'percpu: limit reached, disable warning'
    >>> bare("> Nov 03 10:00:01 box kernel: [  2.5]  pcpu_alloc+0x5cd/0x5f0")
    ' pcpu_alloc+0x5cd/0x5f0'
    """
    text = _QUOTE.sub("", COLOUR.sub("", printed))
    while match := _BEFORE.match(text):
        text = text[match.end() :]
    return text.rstrip()


def messages(lines: Iterable[tuple[int, str]]) -> list[Message]:
    """Return the messages of numbered lines, `journalctl -o json` among them."""
    found = []
    for number, printed in lines:
        text = bare(_journal(printed) if printed.startswith("{") else printed)
        if match := _REPEATED.search(text):
            found.append(Message(number, bare(match[2]), int(match[1])))
        else:
            found.append(Message(number, text))
    return found


def _journal(line: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return line
    text = entry.get("MESSAGE") if isinstance(entry, dict) else None
    return text if isinstance(text, str) else line


_NAME: Final = r"\.?([A-Za-z_][\w.$]*)"
_FRAMES: Final = (
    re.compile(  # name+0x10/0x20, addresses in front on older kernels and on powerpc
        rf"^\s*(?:\[<?[0-9a-f(_)]{{8,20}}>?\]\s*)*(\?\s+)?{_NAME}\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?\b"
    ),
    re.compile(  # as scripts/decode_stacktrace.sh writes it
        rf"^\s*(\?\s+)?{_NAME}(?:\+0x\S+)?\s+\(?[\w./-]+\.[chS]:\d+"
    ),
    re.compile(rf"^\s*(?:\[<\w+>\]\s*)?\(?(\?\s+)?{_NAME}(?:\+0x\S+)?\)? from \[?<?[\w(]"),  # arm
)
_AT: Final = re.compile(rf"(?:RIP: \w+:|\bpc : |NIP \[\w+\] ){_NAME}\+0x")
_TASK: Final = re.compile(r"\bPID: (\d{1,10}) (?:UID: \d+ )?Comm: (.{1,32}?)(?: Kdump: \w+)?"
                          r" (?:Not tainted|Tainted: [^#]*?)\s*(\d+\.\d+\S*)?(?: #|$)")  # fmt: skip
_RELEASES: Final = (
    re.compile(r"\bLinux version (\d+\.\d+\S*)"),
    re.compile(r"(?:Not tainted|Tainted: .*?)\s+(\d+\.\d+\S*) #"),
    re.compile(r"^\s*(\d+\.\d+\.\d+\S*) #\S+ (?:Not tainted|Tainted)"),
)
_DECORATION: Final = re.compile(
    r"^\s*(?:</?(?:TASK|IRQ|NMI|SOFTIRQ)>|Call [Tt]race|Backtrace|Stack:|R[A-Z0-9]{2}:|RIP|Code:|"
    r"\? 0x|0x[0-9a-f]+|FS:|CS:|CR\d:|DR\d:|PKRU:|Exception stack|=+$|---|EFLAGS|pstate:|"
    r"[pls][rcp] :|x\d+\s?:|NIP|LR|MSR|GPR|CFAR|XER|DAR|r\d+:|Modules linked in|CPU:|Hardware "
    r"name|Workqueue:)"
)
_WARNING: Final = re.compile(
    r"(?:_*dump_(?:stack|backtrace)\w*|"
    r"show_(?:stack|trace|regs)\w*|unwind_\w+|_*warn\w*|report_bug|handle_bug|fixup_bug|asm_exc_\w+|"
    r"exc_\w+|do_(?:error_)?trap\w*|do_invalid_op|invalid_op|el1\w*|bug_handler|brk_handler|"
    r"call_break_hook|do_debug_exception|program_check\w*|_exception|walk_stackframe|print_\w+|"
    r"ret_from_exception|common_exception|handle_exception|warn_alloc\w*|stack_trace\w*)"
)
_SEARCHED: Final = 100  # lines below a message in which its stack begins
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Stack:
    """What stands under a message. frames: function names, innermost first, guesses left out."""

    frames: tuple[str, ...] = ()
    task: str | None = None
    pid: int | None = None
    release: str | None = None

    @property
    def caller(self) -> str | None:
        """The function that asked the percpu allocator, None if no frame of that is there."""
        callers = self.callers
        return callers[0] if callers else None

    @property
    def callers(self) -> tuple[str, ...]:
        """The functions above the allocator, innermost first."""
        inside = [n for n, name in enumerate(self.frames) if asks(name)]
        if not inside:
            return ()
        above = self.frames[inside[-1] + 1 :]
        return tuple(
            name for name in above if not is_inside(name) and not _WARNING.fullmatch(name)
        )[:_SHOWN]


NO_STACK: Final = Stack()


def frame(text: str) -> tuple[str, bool] | None:
    """Return the function of a line of a stack, and whether it is a guess; None for other lines.

    >>> frame(" ? pcpu_alloc.cold.12+0x22/0x45"), frame(" pcpu_alloc_noprof (mm/percpu.c:1766)")
    (('pcpu_alloc', True), ('pcpu_alloc_noprof', False))
    """
    for form in _FRAMES:
        if match := form.match(text):
            return plain_name(match[2]), bool(match[1])
    return None


def stack_below(found: Sequence[Message], index: int) -> Stack:
    """Return the stack that follows a message, given by its place in the list."""
    frames: list[str] = []
    task: re.Match[str] | None = None
    for message in found[index + 1 : index + 1 + _SEARCHED]:
        text = message.text
        if "cut here" in text or "percpu: allocation failed" in text:
            break
        if match := _TASK.search(text):
            task = task or match
            continue
        entry = frame(text)
        if entry is not None:
            if not entry[1]:
                frames.append(entry[0])
        elif match := _AT.search(text):
            if not frames:
                frames.append(plain_name(match[1]))
        elif frames and text.strip() and not _DECORATION.match(text):
            break
    pid, name, release = (int(task[1]), task[2], task[3]) if task else (None, None, None)
    return Stack(tuple(frames), name, pid, release)


def release_in(text: str) -> str | None:
    """Return the kernel release that a line names."""
    for form in _RELEASES:
        if match := form.search(text):
            return match[1]
    return None

"""Messages of the kernel without what stands before them.

Consoles, dmesg, journals and mails put levels, times, hosts, callers, colours and marks of
quotation before a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

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

"""Reads what bcc's memleak --percpu prints: outstanding areas by call stack, no events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.recorded.source import lines_of, problem
from percpu_proofs.recorded.traces.dialects import frame, is_callers
from percpu_proofs.run.inputs import TraceError

_HEAD: Final = re.compile(
    r"\[[0-9]{2}(?::[0-9]{2}){2}\] Top [0-9]+ stacks with outstanding allocations:"
)
_GROUP: Final = re.compile(r"\s*([0-9]{1,18}) bytes in ([0-9]{1,18}) allocations from stack\s*")
_ADDRESS: Final = re.compile(r"\s*addr = \S+ size = [0-9]+\s*")


class Outstanding(NamedTuple):
    """The areas of one call stack: who asked (the first outside the allocator), how much."""

    line: int
    call_site: str
    areas: int
    bytes: int


def is_memleak(path: Path) -> bool:
    """Return whether a file is what memleak prints, by its first line that is no comment."""
    if not path.is_file():
        return False
    try:
        first = next((text for _, text in lines_of(path) if text and text[0] != "#"), "")
    except TraceError:
        return False  # the reader of traces says what is wrong
    return _HEAD.fullmatch(first.strip()) is not None


def read_memleak(path: Path) -> list[Outstanding]:
    """Return the areas of each stack that the last report in a file lists.

    Raises TraceError for a line that memleak does not print.
    """
    found: list[Outstanding] = []
    for number, text in lines_of(path):
        if _HEAD.fullmatch(text.strip()):
            found.clear()
        elif group := _GROUP.fullmatch(text):
            found.append(Outstanding(number, "", int(group[2]), int(group[1])))
        elif text.strip() and text[0] != "#" and not _ADDRESS.fullmatch(text):
            place = frame(text)
            if place is None or not found:
                raise problem(path, number, "N bytes in N allocations from stack, or a place", text)
            place = re.sub(r" \[kernel\]$", "", place)
            if not found[-1].call_site and is_callers(place):
                found[-1] = found[-1]._replace(call_site=place)
    return found

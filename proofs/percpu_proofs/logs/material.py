"""What people send along with a log, or instead of one, and the command that reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.logs.advice import texts
from percpu_proofs.logs.messages import Message
from percpu_proofs.run.operations import parse_operations
from percpu_spec.counts import counted

_PERCPU: Final = re.compile(r"^\s*Percpu:\s+(\d{1,15}) kB")
_EVENT: Final = re.compile(
    r"\bpercpu_(?:alloc_percpu(?:_fail)?|free_percpu|create_chunk|destroy_chunk)\b.*\b"
    r"(?:base_addr|size|reserved)="
)
_AREA: Final = re.compile(r"base_addr=(?:0x)?([0-9a-f]{4,16}) off=(\d+) ptr=(?:0x)?([0-9a-f]+)")
_CREATED: Final = re.compile(r"create_chunk: base_addr=(?:0x)?([0-9a-f]{4,16})")
_CALL_SITE: Final = re.compile(r"\bcall_site=")
_AREAS: Final = 100_000  # that are looked at
_ENOUGH: Final = 5  # lines of an operation list that tell it


@dataclass(frozen=True, slots=True)
class Material:
    """Something in a file that is no message. command: what reads it; says: what it will tell."""

    line: int
    kind: str
    command: str
    says: tuple[str, ...]


class _Kind(NamedTuple):
    name: str
    begins: re.Pattern[str]
    command: str  # {file} is the file
    says_of: Callable[[Sequence[Message]], tuple[str, ...]] | None = None  # else the entry's text


def read_material(found: Sequence[Message], file: str) -> list[Material]:
    """Return what a file holds beside messages, each kind once."""
    kinds: dict[str, Material] = {}
    for message in found:
        for kind in _KINDS:
            if kind.name not in kinds and kind.begins.search(message.text):
                command = kind.command.format(file=file)
                says = kind.says_of(found) if kind.says_of else texts("material", kind.name).says
                kinds[kind.name] = Material(message.line, kind.name, command, says)
    if line := _operations(found):
        says = texts("material", "operation list").says
        command = f"percpu-spec run {file} [--geometry SIZES] [--every N]"
        kinds["operation list"] = Material(line, "operation list", command, says)
    return list(kinds.values())


def _operations(found: Sequence[Message]) -> int:
    """Return the first line of what is an operation list, 0 if the text is none."""
    lines = [m for m in found if m.text.strip() and not m.text.lstrip().startswith("#")]
    if not lines or any(len(message.text) > 60 for message in lines[:_ENOUGH]):
        return 0
    try:
        parse_operations(Path("log"), [message.text for message in lines[:_ENOUGH]])
    except ValueError:
        return 0
    return lines[0].line


def _growth(found: Sequence[Message]) -> tuple[str, ...]:
    values = [int(match[1]) for message in found if (match := _PERCPU.match(message.text))]
    grows = values[-1] > values[0] and all(a <= b for a, b in pairwise(values))
    return texts(
        "material", "Percpu of /proc/meminfo", once=len(values) == 1, changes=len(values) > 1,
        goes="grows" if grows else "goes", first=values[0], last=values[-1], most=max(values),
        count=len(values),
    ).says  # fmt: skip


def _events(found: Sequence[Message]) -> tuple[str, ...]:
    texts = [message.text for message in found if _EVENT.search(message.text)]
    says = [f"{counted(len(texts), 'event')} of percpu: which chunk and offset each area has"]
    areas = [match for text in texts if (match := _AREA.search(text))]
    says += _addresses(areas)
    created = {_base(m[1]) for text in texts if (m := _CREATED.search(text))}
    for base, offsets in _by_base(areas).items():
        what = "not created here: the first chunk, linear memory where that is embedded"
        if base in created:
            what = (
                "created here: vmalloc memory (percpu-vm), for which virt_to_phys and the like are "
                "wrong"
            )
        elif created or len(_by_base(areas)) > 1:
            what = "not created here: the first chunk, or one from before"
        shown = ", ".join(map(str, offsets[:3])) + (", ..." if len(offsets) > 3 else "")
        at = "offset" if len(offsets) == 1 else "offsets"
        says.append(f"chunk {base}: {counted(len(offsets), 'area')} at {at} {shown}; {what}")
    if texts and not any(map(_CALL_SITE.search, texts)):
        says.append("without call_site, bytes_alloc and gfp_flags: a kernel before 5.19")
    return tuple(says)


def _base(printed: str) -> str:
    return printed.lstrip("0") or "0"


def _by_base(areas: Sequence[re.Match[str]]) -> dict[str, list[int]]:
    """Return the offsets of areas by their chunk's address, as printed."""
    found: dict[str, list[int]] = {}
    for area in areas[:_AREAS]:
        found.setdefault(_base(area[1]), []).append(int(area[2]))
    return found


def _shift(area: re.Match[str]) -> int:
    """Return what a per-CPU pointer and its chunk's address and offset differ by."""
    return (int(area[3], 16) - int(area[1], 16) - int(area[2])) % (1 << 64)


def _addresses(areas: Sequence[re.Match[str]]) -> list[str]:
    """Return whether addresses are hashed: no kernel's are below 4 GiB where they have 64 bits."""
    shifts = {_shift(area) for area in areas}
    if len(shifts) > 1 or any(re.fullmatch(r"0{8}[0-9a-f]{8}", area[1]) for area in areas):
        return [
            "base_addr and ptr are hashed (%p in text of the kernel), so ptr - base_addr is no "
            "offset; only off, and equality of addresses, count"
        ]
    if len(areas) > 1:
        return ["base_addr and ptr are plain: they differ by off and one and the same number"]
    return []


_KINDS: Final = (
    _Kind("percpu_stats", re.compile(r"^\s*Percpu Memory Statistics"), "percpu-spec state {file}"),
    _Kind("Percpu of /proc/meminfo", _PERCPU, "percpu-spec state /sys/kernel/debug/percpu_stats",
          _growth),
    _Kind("percpu of memory.stat", re.compile(r"^\s*percpu \d{3,18}$"),
          "percpu-spec state live --who"),
    _Kind("trace", _EVENT, "percpu-spec conform trace {file} [--who]", _events),
    _Kind("stacks of outstanding areas",
          re.compile(r"Top \d+ stacks with outstanding allocations|allocations from stack"),
          "percpu-spec conform trace TRACE --who"),
    _Kind("saved state", re.compile(r"^pcpu_(?:first_chunk|nr_slots|unit_size)="),
          "percpu-spec state {file}"),
    _Kind("vector", re.compile(r'^\{"op": ?"init"|^\{.*"geom": ?\{'), "percpu-spec run {file}"),
    _Kind("patch", re.compile(r"^(?:diff --git a/|\+\+\+ b/)mm/percpu[\w-]*\.[ch]"),
          "percpu-spec review --source TREE --patch {file}"),
)  # fmt: skip

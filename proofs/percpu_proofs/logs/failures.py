"""The lines of a log that tell of allocations that failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from percpu_proofs.logs.messages import NO_STACK, Message, Stack, stack_below
from percpu_proofs.run import failures as reasons

ILLEGAL: Final = "illegal size or align"
"""Stands for a reason where the kernel warns of the request itself."""
UNKNOWN: Final = "not told"

_N: Final = r"([0-9]{1,1000})"  # also what no kernel prints: it is told as that, not left out
_BEGINS: Final = re.compile(
    r"\bpercpu: allocation failed\b|\ballocation failed,\s*size=\S*\s*align=", re.I
)
_FAILED: Final = re.compile(
    rf"\b(?:percpu: )?allocation failed,\s+size={_N}\s+align={_N}(?:\s+atomic=([01]))?,\s*(.*)$",
    re.I,
)
_REASON: Final = re.compile("|".join(re.escape(words) for words in reasons.WORDS))
_ILLEGAL: Final = re.compile(rf"illegal size \({_N}\) or align \({_N}\) for percpu allocation")
_ILLEGAL_BEGINS: Final = re.compile(
    r"illegal size \([^()]*\) or align\b|illegal size \(.*for percpu allocation"
    r"|^illegal size \([^()]*\)?$"  # cut off; of other drivers it stands behind their name
)
_MODULE: Final = re.compile(
    rf"(?:\b([\w-]{{1,64}}): |^)[Cc]ould not allocate {_N} bytes percpu data"
)
_MODULE_BEGINS: Final = re.compile(r"\b[Cc]ould not allocate\b.*\bpercpu data")
_LIMIT: Final = re.compile(r"\bpercpu: limit reached, disable warning", re.I)
_EVENT: Final = re.compile(
    rf"percpu_alloc_percpu_fail: reserved=([01]) is_atomic=([01]) size={_N} align={_N}"
)
_EVENT_BEGINS: Final = re.compile(r"\bpercpu_alloc_percpu_fail:")
_TELLS: Final = 12  # characters of a reason that is cut off
_WRAPPED: Final = 3  # lines over which a mail breaks a message
_NEAR: Final = 60  # lines from a failure to what the module loader says of it


@dataclass(frozen=True, slots=True)
class Failure:
    """One allocation that failed, or several alike. Size and align in bytes, as printed.

    align and atomic: None where the line does not tell. reason: in the kernel's words, ILLEGAL, or
    UNKNOWN with no words known; printed: the line then, as the kernel has no such words. source:
    what told it (message, warning, event, module loader). The stack is the first one's. boot: which
    of the log's, from 0; release: of the kernel that it happened in.
    """

    line: int
    size: int
    align: int | None
    atomic: bool | None
    reason: str
    source: str = "message"
    module: str | None = None
    printed: str = ""
    stack: Stack = NO_STACK
    lines: tuple[int, ...] = ()
    count: int = 1
    boot: int = 0
    release: str | None = None

    @property
    def reserved(self) -> bool:
        """Whether the reserved chunk was to serve it."""
        return self.reason in (reasons.RESERVED, reasons.EXTEND_RESERVED)

    @property
    def title(self) -> str:
        """The failure in a line, the reason in the kernel's words."""
        align = "" if self.align is None else f" align={self.align}"
        atomic = "" if self.atomic is None else f" atomic={int(self.atomic)}"
        whose = f" (module {self.module})" if self.module else ""
        told = "" if self.source in ("message", "warning") else f", told by a {self.source}"
        return f"size={self.size}{align}{atomic}, {self.reason}{whose}{told}"

    @property
    def kind(self) -> tuple[Any, ...]:
        """What is the same in failures alike."""
        return (
            self.size, self.align, self.atomic, self.reason, self.source, self.module, self.printed,
            self.stack.caller, self.boot, self.release,
        )  # fmt: skip


def read_failures(found: Sequence[Message]) -> tuple[list[Failure], list[Message], int | None]:
    """Return the failures of a log in order; the lines of others, not whole; the limit's line.

    The limit's line is the one behind which the kernel prints no more failures.
    """
    failures: list[Failure] = []
    torn: list[Message] = []
    limit: int | None = None
    for index, message in enumerate(found):
        text = message.text
        if _BEGINS.search(text):
            failure = _message(found, index)
        elif _ILLEGAL_BEGINS.search(text):
            failure = _warning(found, index)
        elif match := _MODULE.search(text):
            _enter_module(failures, message, match[1], int(match[2]))
            continue
        elif match := _EVENT.search(text):
            reserved, atomic, size, align = map(int, match.groups())
            reason = reasons.RESERVED if reserved else reasons.ATOMIC if atomic else UNKNOWN
            failure = _new(message, size, align, bool(atomic), reason, source="event")
        elif _MODULE_BEGINS.search(text) or _EVENT_BEGINS.search(text):
            failure = None
        else:
            if _LIMIT.search(text):
                limit = limit or message.line
            continue
        if failure is None:
            torn.append(message)
        else:
            failures.append(failure)
    return failures, torn, limit


def merge_alike(failures: Iterable[Failure]) -> list[Failure]:
    """Return failures with those alike told as one, in the order of the first."""
    kinds: dict[tuple[Any, ...], list[Failure]] = {}
    for one in failures:
        kinds.setdefault(one.kind, []).append(one)
    return [
        replace(alike[0], lines=tuple(line for one in alike for line in one.lines),
                count=sum(one.count for one in alike))
        for alike in kinds.values()
    ]  # fmt: skip


def _new(
    message: Message, size: int, align: int | None, atomic: bool | None, reason: str, **more: Any
) -> Failure:
    lines, count = (message.line,), message.times
    return Failure(message.line, size, align, atomic, reason, lines=lines, count=count, **more)


def _joined(found: Sequence[Message], index: int) -> str:
    return " ".join(m.text.strip() for m in found[index : index + _WRAPPED])


def _whole(begins: re.Pattern[str], form: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return the match of what begins first; what a later line tells is not this one's."""
    begun = begins.search(text)
    return begun and form.match(text, begun.start())


def _message(found: Sequence[Message], index: int) -> Failure | None:
    """Return the failure that a line tells, joined with the next ones where it is broken."""
    message = found[index]
    match = _whole(_BEGINS, _FAILED, _joined(found, index))
    if match is None:
        return None
    size, align = int(match[1]), int(match[2])
    atomic = None if match[3] is None else match[3] == "1"
    reason = _reason(match[4])
    printed = "" if reason != UNKNOWN else message.text.strip()
    stack = stack_below(found, index)
    return _new(message, size, align, atomic, reason, printed=printed, stack=stack)


def _warning(found: Sequence[Message], index: int) -> Failure | None:
    """Return the failure that the kernel warns of as an illegal request."""
    match = _whole(_ILLEGAL_BEGINS, _ILLEGAL, _joined(found, index))
    if match is None:
        return None
    size, align = int(match[1]), int(match[2])
    below = stack_below(found, index)
    return _new(found[index], size, align, None, ILLEGAL, source="warning", stack=below)


def _reason(text: str) -> str:
    """Return the reason that a text begins with; one that is cut off if it can be no other."""
    if known := _REASON.match(text):
        return known[0]
    cut = text.strip()
    begun = [words for words in reasons.WORDS if len(cut) >= _TELLS and words.startswith(cut)]
    return begun[0] if len(begun) == 1 else UNKNOWN


def _enter_module(
    failures: list[Failure], message: Message, module: str | None, size: int
) -> None:
    """Enter what the module loader says: of the failure printed just before, or of one unseen."""
    for at in range(len(failures) - 1, -1, -1):
        known = failures[at]
        if message.line - known.line > _NEAR:
            break
        if known.module is None and known.reserved and known.size in (size, -(-size // 4) * 4):
            failures[at] = replace(known, module=module)
            return
    failures.append(
        _new(message, size, None, None, reasons.RESERVED, source="module loader", module=module)
    )

"""The lines of one report, and what stands in them: functions, locks."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from percpu_proofs.logs.stacks import frame
from percpu_proofs.recorded.traces.functions import plain_name

_LOCK: Final = re.compile(r"\(((?:[^(){}]|\([^(){}]*\)){1,80})\)\{[^{}]{2,12}\}")
_CHAIN: Final = re.compile(r"^\s*(\S.* --> .*)$")
_OURS: Final = re.compile(r"_*pcpu_\w+|free_percpu\w*|_*alloc_(?:reserved_)?percpu\w*")
_RACE: Final = re.compile(r"data-race in (\S+)(?: / (\S+))?")
_FUNCTION: Final = re.compile(r"\bin ([A-Za-z_][\w.]*)")
OUR_LOCKS: Final = frozenset(("pcpu_alloc_mutex", "pcpu_lock"))
AT: Final = re.compile(
    r"(?:\bat |WARNING: )(?:\S*/)?(mm/percpu[\w-]*\.[ch]):(\d+)(?:[ ,]+(?:at )?([\w.]+))?"
)


class ReportAnswer(NamedTuple):
    """What is said of a report."""

    outside: bool
    clauses: tuple[str, ...]
    says: tuple[str, ...]
    advice: tuple[str, ...]


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
        return bool(OUR_LOCKS.intersection(self.locks)) or any(
            map(_OURS.fullmatch, self.functions)
        ) or bool(AT.search(self.title))

    def in_(self, form: str) -> bool:
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

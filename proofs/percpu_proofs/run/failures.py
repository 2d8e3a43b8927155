"""Allocations that fail: why, in the kernel's words (ours where it prints none), and how many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar, Final

from percpu_proofs.run.operations import Operation, OperationList, flags_of, text_of
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator
from percpu_spec.definitions.requests import is_legal, rounded_align, rounded_size
from percpu_spec.geometry import Geometry

RESERVED: Final = "alloc from reserved chunk failed"
ATOMIC: Final = "atomic alloc failed, no space left"
CREATE: Final = "failed to allocate new chunk"
POPULATE: Final = "failed to populate"
EXTEND: Final = "failed to extend area map"
EXTEND_RESERVED: Final = "failed to extend area map of reserved chunk"
"""The last two up to 4.13: maps were arrays of areas then, and grew."""

CHARGE: Final = "the charge to its memory cgroup was refused (the kernel prints nothing)"
KILLED: Final = "killed while it waited for pcpu_alloc_mutex (the kernel prints nothing)"

WORDS: Final = (EXTEND_RESERVED, RESERVED, ATOMIC, CREATE, POPULATE, EXTEND)
"""What can stand behind "allocation failed, size=.. align=.. atomic=..,", longer ones first."""


def illegal(size: int, align: int) -> str:
    """Return the kernel's words for a request that no allocator serves (API-1).

    They are those of a warning of its own. Since 4.14 the size is rounded up to 4 before.
    """
    return f"illegal size ({size}) or align ({align}) for percpu allocation"


def printed(size: int, align: int, atomic: bool, reason: str) -> str:
    """Return the line that the kernel prints of a failed allocation.

    >>> printed(40, 8, True, ATOMIC)
    'allocation failed, size=40 align=8 atomic=1, atomic alloc failed, no space left'
    """
    return f"allocation failed, size={size} align={align} atomic={int(atomic)}, {reason}"


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """The first allocation that failed: its number from 1, its line, what was asked for and why."""

    operation: int
    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedKind:
    """Requests alike that failed: how many, and of how many. Sizes in bytes, flags as in lists."""

    size: int
    align: int
    flags: str
    count: int
    of: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failures:
    """How many allocations failed, the first, and each kind, the most frequent first."""

    count: int = 0
    first: FirstFailure | None = None
    by_size: tuple[FailedKind, ...] = ()


@dataclass(slots=True)
class FailureCount:
    """Counts failures as they come, and what was asked for."""

    requests: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    """Requests by size and align in bytes and letters of flags."""
    failures: Counter[tuple[int, int, str, str]] = field(default_factory=Counter)
    """Failures by the same, and reason."""
    first: FirstFailure | None = None

    def result(self) -> Failures:
        """Return what failed of the requests so far."""
        kinds = (
            FailedKind(*kind[:3], count, self.requests[kind[:3]], kind[3])
            for kind, count in self.failures.most_common()
        )
        return Failures(self.failures.total(), self.first, tuple(kinds))


@dataclass(slots=True)
class FailedOperations:
    """What failed of a run's allocations."""

    listed: OperationList
    geometry: Geometry
    counts: FailureCount = field(default_factory=FailureCount)
    causes: list[str] = field(default_factory=list)  # of the operation that runs

    def with_causes(self, cls: type[Allocator]) -> type[Allocator]:
        """Return the class so that each failure appends its reason to `causes`.

        What runs where nothing fails is left alone. A request that is illegal appends nothing, nor
        does one whose wait for the mutex is killed.
        """
        return type(cls.__name__, (_NamesCauses, cls), {"__slots__": (), "causes": self.causes})

    def note(self, number: int, operation: Operation) -> None:
        """Note that an allocation failed, the operation of a number from 1."""
        _, _, size, align, _, _ = operation
        reason = self.causes[-1] if self.causes else self._reason_before(size, align)
        self.causes.clear()
        self.counts.failures[size, align, flags_of(operation), reason] += 1
        if self.counts.first is None:
            line = self.listed.lines[number - 1]
            self.counts.first = FirstFailure(number, line, text_of(operation), reason)

    def _reason_before(self, size: int, align: int) -> str:
        """Return why a request came to nothing before anything was tried for it."""
        if is_legal(self.geometry, size, align):
            return KILLED
        return illegal(rounded_size(self.geometry, size), rounded_align(self.geometry, align))

    def result(self, done: int) -> Failures:
        """Return what failed of the first `done` operations."""
        if self.counts.first is not None:
            asked = (o for o in self.listed.operations[:done] if o[0] == "a")
            self.counts.requests.update((o[2], o[3], flags_of(o)) for o in asked)
        return self.counts.result()


class _NamesCauses(Allocator):
    """An allocator whose failures are told."""

    __slots__ = ()

    causes: ClassVar[list[str]]

    def undo_area(self, chunk: Chunk, off: int) -> Steps[None]:
        self.causes.append(POPULATE)
        yield from super().undo_area(chunk, off)

    def alloc_failed(
        self, reserved: bool, is_atomic: bool, size: int, align: int, gfp: int
    ) -> None:
        if self.causes[-1:] != [POPULATE]:
            from_others = ATOMIC if is_atomic else CREATE
            has_reserve = self.reserved_chunk is not None
            self.causes.append(RESERVED if reserved and has_reserve else from_others)
        super().alloc_failed(reserved, is_atomic, size, align, gfp)

    def memcg_pre_alloc_hook(self, size: int, gfp: int) -> tuple[bool, object | None]:
        charged = super().memcg_pre_alloc_hook(size, gfp)
        if not charged[0]:
            self.causes.append(CHARGE)
        return charged

"""The allocations of a run that failed, each with the kernel's reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from percpu_proofs.run import reasons
from percpu_proofs.run.operations import Operation, OperationList, flags_of, text_of
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator
from percpu_spec.definitions.requests import is_legal, rounded_align, rounded_size
from percpu_spec.geometry import Geometry


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """The first allocation that failed: its number from 1, its line, itself and the reason."""

    operation: int
    line: int
    text: str
    reason: str


@dataclass(slots=True)
class Failed:
    """What failed of a run's allocations."""

    listed: OperationList
    geometry: Geometry
    count: int = 0
    first: FirstFailure | None = None
    by_request: Counter[tuple[int, int, str, str]] = field(default_factory=Counter)
    """Failures by size and align in bytes, letters of flags, and reason."""
    causes: list[str] = field(default_factory=list)  # told by the operation that runs

    def told_by(self, cls: type[Allocator]) -> type[Allocator]:
        """Return the class so that it tells why a request of it fails, which it then keeps."""
        return telling(cls, self.causes)

    def note(self, number: int, operation: Operation) -> None:
        """Note that an allocation failed, the operation of a number from 1."""
        _, _, size, align, _, _ = operation
        reason = self.causes[-1] if self.causes else self._untold(size, align)
        self.causes.clear()
        self.count += 1
        self.by_request[size, align, flags_of(operation), reason] += 1
        if self.first is None:
            line = self.listed.lines[number - 1]
            self.first = FirstFailure(number, line, text_of(operation), reason)

    def _untold(self, size: int, align: int) -> str:
        """Return why a request came to nothing before anything was tried for it."""
        if is_legal(self.geometry, size, align):
            return reasons.KILLED
        return reasons.illegal(
            rounded_size(self.geometry, size), rounded_align(self.geometry, align)
        )

    def as_json(self, done: int) -> dict[str, Any]:
        """Return what failed of the first `done` operations with plain values only."""
        return {
            "count": self.count,
            "first": None if self.first is None else {
                name: getattr(self.first, name) for name in FirstFailure.__slots__
            },
            "by_size": [
                {"size": size, "align": align, "flags": flags, "count": count, "of": asked,
                 "reason": reason}
                for (size, align, flags, reason), count, asked in self.rows(done)
            ],
        }  # fmt: skip

    def rows(self, done: int) -> list[tuple[tuple[int, int, str, str], int, int]]:
        """Return each kind of request that failed, how often, and how often it was made."""
        if not self.count:
            return []
        asked = Counter(
            (o[2], o[3], flags_of(o)) for o in self.listed.operations[:done] if o[0] == "a"
        )
        return [(kind, n, asked[kind[:3]]) for kind, n in self.by_request.most_common()]


def allocations(operations: Iterable[Operation]) -> int:
    """Return how many operations allocate."""
    return sum(operation[0] == "a" for operation in operations)


class _Telling(Allocator):
    """An allocator whose failures are told."""

    __slots__ = ()

    causes: ClassVar[list[str]]

    def undo_area(self, chunk: Chunk, off: int) -> Steps[None]:
        self.causes.append(reasons.POPULATE)
        yield from super().undo_area(chunk, off)

    def alloc_failed(
        self, reserved: bool, is_atomic: bool, size: int, align: int, gfp: int
    ) -> None:
        if self.causes[-1:] != [reasons.POPULATE]:
            self.causes.append(_reason(reserved and self.reserved_chunk is not None, is_atomic))
        super().alloc_failed(reserved, is_atomic, size, align, gfp)

    def memcg_pre_alloc_hook(self, size: int, gfp: int) -> tuple[bool, object | None]:
        charged = super().memcg_pre_alloc_hook(size, gfp)
        if not charged[0]:
            self.causes.append(reasons.CHARGE)
        return charged


def telling(cls: type[Allocator], causes: list[str]) -> type[Allocator]:
    """Return the class so that each failure appends its reason to `causes`.

    What runs where nothing fails is left alone. A request that is illegal appends nothing, nor does
    one whose wait for the mutex is killed.
    """
    return type(cls.__name__, (_Telling, cls), {"__slots__": (), "causes": causes})


def _reason(reserved: bool, is_atomic: bool) -> str:
    if reserved:
        return reasons.RESERVED
    return reasons.ATOMIC if is_atomic else reasons.CREATE

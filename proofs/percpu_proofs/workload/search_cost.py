"""Chunks that an atomic allocation examines as depopulated ones pile up (COST-1).

The first worry of the review of partial depopulation: the search may meet any number of chunks
whose free room has no pages before it meets one that can serve the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from percpu_contracts.clauses.cost import depopulated_come_late
from percpu_contracts.history import History
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.workload.recorded import Workload, at_rest_after
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator, build, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC, KERNEL

PILES = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # chunks drained
PINNED = 4  # of a drained chunk every such page stays in use
SHAPES = {"last page in use": PINNED - 1, "last page free": 0}
"""Drained chunks, and the first of their pages that stays in use.

rfc_1 never releases a range that reaches the last page (RCL-4), nor does rfc_1_reviewed. In the
second shape they therefore have populated room in every drained chunk, to be found by walking.
"""
_MOST_RUNS = 1000
GEOMETRY = Geometry(reserved=0)  # 16 pages a unit


@dataclass(frozen=True, slots=True)
class Burst:
    """Atomic requests of a page each, one after another, until one fails; no work in between."""

    variant: str
    state: str  # the shape of the pile, or the workload, that it was made in
    chunks: int  # live before it
    depopulated: int  # of them depopulated, and since neither used nor reintegrated
    served: int
    most: int  # chunks that one served request examined, at most
    mean: float
    failing: int  # chunks that the last request examined, in vain
    broken: int  # requests that broke COST-1
    message: str  # the first of them

    def as_json(self) -> dict[str, Any]:
        """Return the burst as JSON types."""
        return asdict(self) | {"mean": round(self.mean, 3)}


class BurstSubject(Protocol):
    """What a burst is made on: an allocator whose history is kept, of the model or compiled."""

    history: History
    geometry: Geometry

    @property
    def work_pending(self) -> bool:
        """Whether the balance work has been asked for."""

    def chunks(self) -> Iterable[Any]:
        """Return the chunks."""

    def alloc(self, size: int, align: int, *, gfp: int = KERNEL) -> tuple[Any, int] | None:
        """Allocate bytes; return chunk and offset in bytes, None if that fails."""

    def free(self, area: Any) -> None:
        """Free an area."""

    def balance(self) -> None:
        """Run the balance work."""

    def close(self) -> None:
        """End it; it is used no more."""


def observed(variant: type[Allocator], geometry: Geometry) -> BurstSubject:
    """Return a variant as booted, with the history that COST-1 speaks of, without any contract."""

    # A class to mix in will not do: its slots and a variant's own are two layouts (linux_5_12,
    # rfc_series); mypy takes no class from a variable for a base.
    class WithHistory(variant):  # type: ignore[valid-type, misc]
        """The variant, what COST-1 asks about noted."""

        __slots__ = ("history",)

        def __init__(self, *args: Any, **given: Any) -> None:
            self.history = History()
            super().__init__(*args, **given)

        def find_block_fit(self, chunk: Chunk, bits: int, align: int, pop_only: bool) -> int:
            if pop_only:
                free = not chunk.isolated and chunk.free_bytes == self.unit_size
                self.history.examine(chunk, free)
            return cast("int", super().find_block_fit(chunk, bits, align, pop_only))

        def search_lists_for(self, *request: Any) -> tuple[Chunk | None, int]:
            found: tuple[Chunk | None, int] = super().search_lists_for(*request)
            if found[0] is not None:
                self.history.back_in_use(found[0])
            return found

        def depopulate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> None:
            super().depopulate_chunk(chunk, page_start, page_end)
            self.history.released(chunk, ())

        def reintegrate_chunk(self, chunk: Chunk) -> None:
            if chunk.isolated:
                self.history.back_in_use(chunk)
            super().reintegrate_chunk(chunk)

        def destroy_chunk(self, chunk: Chunk) -> None:
            super().destroy_chunk(chunk)
            self.history.destroyed(chunk)

        def close(self) -> None:
            """The model holds nothing that is to be given back."""

    WithHistory.__name__ = variant.__name__
    return cast("BurstSubject", build(WithHistory, geometry))


def piles(variant: str | type[Allocator], sizes: tuple[int, ...] = PILES) -> Iterator[Burst]:
    """Yield a burst for each shape and each number of drained chunks; see pile_up."""
    chosen = variant if isinstance(variant, type) else variant_class(variant)
    name = variant if isinstance(variant, str) else variant.__name__
    return piles_on(name, lambda: observed(chosen, GEOMETRY), sizes)


def piles_on(
    name: str, boot: Callable[[], BurstSubject], sizes: tuple[int, ...] = PILES
) -> Iterator[Burst]:
    """Yield the same for whatever a call boots at GEOMETRY."""
    for shape, first in SHAPES.items():
        for drained in sizes:
            subject = boot()
            try:
                pile_up(subject, drained, first)
                yield burst(name, shape, subject)
            finally:
                subject.close()


def pile_up(allocator: BurstSubject, drained: int, first: int) -> None:
    """Make so many drained chunks, and populated room that came free last.

    Chunks are filled with areas of a page. Of each but the last all areas are freed save every
    fourth from page `first` on, the balance work running after each chunk. Then all but the first
    and the last area of the last chunk are, and if that asks for the work, it has yet to run.
    """
    page = GEOMETRY.page
    areas: dict[Any, list[tuple[Any, int]]] = {}
    while len(areas) < drained + 3:  # the first chunk, those drained, the last, and one begun
        area = allocator.alloc(page, page)
        assert area is not None
        areas.setdefault(area[0], []).append(area)
    _require_rest(allocator)
    *drawn, last = [held for held in areas.values() if len(held) == GEOMETRY.unit_pages]
    for held in drawn:
        for area in held:
            if area[1] // page % PINNED != first:
                allocator.free(area)
        _require_rest(allocator)
    for area in last[1:-1]:
        allocator.free(area)


def _require_rest(allocator: BurstSubject) -> None:
    """Run the work until it asks for no more. Raises KernelStopped where it never does."""
    if not settle(allocator):
        raise KernelStopped("BAL-3: balance work asks for itself without end")


def after(workload: Workload, variant: str) -> Burst:
    """Return a burst in the state in which a workload leaves a variant."""
    subject = observed(variant_class(variant), workload.geometry)
    at_rest_after(workload, cast("Allocator", subject))
    return burst(variant, workload.name, subject)


def burst(variant: str, state: str, allocator: BurstSubject) -> Burst:
    """Make atomic requests of a page until one fails, and count the chunks that each examines.

    They have only what is populated, so they come to an end.
    """
    history = allocator.history
    chunks, depopulated = sum(1 for _ in allocator.chunks()), len(history.depopulated)
    counts: list[int] = []
    broken: list[str] = []
    page = allocator.geometry.page
    area: tuple[Any, int] | None = None
    while area is not None or not counts:
        history.examined.clear()
        area = allocator.alloc(page, page, gfp=ATOMIC)
        counts.append(len(history.examined))
        wrong = depopulated_come_late(history.examined)
        if wrong is not None:
            broken.append(wrong)
    *served, failing = counts
    return Burst(
        variant,
        state,
        chunks,
        depopulated,
        len(served),
        max(served, default=0),
        sum(served) / len(served) if served else 0.0,
        failing,
        len(broken),
        broken[0] if broken else "",
    )


def settle(allocator: BurstSubject | Allocator) -> bool:
    """Run the balance work until it is asked for no more; return whether that came about."""
    for _ in range(_MOST_RUNS):
        if not allocator.work_pending:
            return True
        allocator.balance()
    return False

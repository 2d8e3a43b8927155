"""The steps of operations: describing them, and judging them by one judge.

Who runs an operation has an Actor for it. Before a step `before` describes what there is and after
it `after` what the step did; so for the model under contracts, in worlds, and beside a compiled
kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from percpu_contracts.clauses import isolation
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, asked
from percpu_spec import gfp
from percpu_spec.definitions import rounded_size
from percpu_spec.steps import AreaExtent, Deed, Kind, Step
from percpu_spec.views import HINTS, AllocatorView, ChunkView

Judged = tuple[str, str | None]
"""A clause, and what is wrong; None where it holds."""

SEEN = frozenset((*isolation.LOSING, Kind.DRAIN, Kind.PAUSE))
"""Kinds of gaps that are seen by others' steps: clauses about steps are told of no more of them, so
that searches tell apart no more of them."""

KINDS = {"alloc_percpu": "a", "free_percpu": "f", "balance_workfn": "b"}
"""The functions whose steps are those of operations, by the kind of these."""


class Actor:
    """An operation under way: of what kind, where it stands, and what its steps have shown.

    blocking: an allocation that may sleep. gfp: of an allocation, its flags. alone: no other has
    been under way at the same time, as far as contracts know. asked: for balance work, or need not
    (BAL-4). placed: the area last taken, whatever became of it. exposed: in a PAUSE, where the
    chunk that it holds could be found. left_alone: by a free that is to be refused.
    """

    __slots__ = (
        "_requests", "alone", "asked", "blocking", "exposed", "gap", "gfp", "kind", "left_alone",
        "placed",
    )  # fmt: skip

    def __init__(self, kind: str, *, blocking: bool = False, gfp: int = 0) -> None:
        self.kind = kind
        self.gfp = gfp
        self.blocking = blocking
        self.alone = True
        self.asked = False
        self.placed: AreaExtent | None = None
        self.exposed: str | None = None
        self.gap: Any = None
        self.left_alone: Any = None  # what a free that is to be refused must not change
        self._requests = 0  # for balance work, by anybody, before the step under way

    def leave(self, allocator: Any) -> None:
        """Begin a step."""
        allocator.monitor.history.did.clear()
        allocator.env.lately.clear()
        self._requests = allocator.env.balance_requests

    def arrive(self, allocator: Any, actors: Iterable[Actor]) -> None:
        """End a step: keep what it has shown of this actor, and of chunks that the actors hold."""
        if allocator.env.balance_requests != self._requests or not allocator.async_enabled:
            self.asked = True
        self.exposed = None
        if self.kind == "a":
            granule = allocator.geometry.granule
            for done in allocator.monitor.history.did:
                if done.deed is Deed.PLACED:
                    size = (done.end - done.start) * granule
                    self.placed = AreaExtent(done.chunk, done.start * granule, size)
                    kind = allocator.chunk_type(done.chunk)
                    if allocator.TESTS_FLOAT_LOCKED and (
                        allocator.float_of(kind) >= allocator.geometry.empty_low
                    ):
                        self.asked = True
        for other in actors:
            gap = other.gap
            if gap is not None and gap.kind is Kind.PAUSE and gap.chunk is not None:
                other.exposed = other.exposed or isolation.released_is_hidden(allocator, gap.chunk)


def is_seen(gap: Any) -> bool:
    """Return whether others' steps may be judged by where an operation stands."""
    return gap is not None and gap.chunk is not None and gap.kind in SEEN


def floats(allocator: AllocatorView) -> tuple[int, ...]:
    """Return the float of each type of chunks, in pages."""
    return tuple([allocator.float_of(kind) for kind in range(allocator.chunk_types)])


def places(allocator: Any) -> dict[ChunkView, int]:
    """Return the number of each listed chunk's list."""
    found: dict[ChunkView, int] = {}
    for head in allocator.chunk_lists:
        chunk = head.next
        while chunk is not head:
            found[chunk] = head.slot
            chunk = chunk.next
    return found


def handed_out(allocator: AllocatorView, result: Any, size: int) -> AreaExtent | None:
    """Return the area that an allocation of `size` bytes has returned, rounded up."""
    if result is None:
        return None
    return AreaExtent(result[0], result[1], rounded_size(allocator.geometry, size))


def books(allocator: Any) -> tuple[Any, ...]:
    """Return all that a free could change: lists, maps, hints, pages, counters, requests."""
    env = allocator.env
    chunks = [
        (
            chunk, head.slot, chunk.free_bytes, chunk.isolated, chunk.nr_empty_pop_pages,
            bytes(chunk.alloc_map), bytes(chunk.bound_map), bytes(chunk.populated),
            [getattr(b, hint) for b in (chunk.chunk_md, *chunk.md_blocks) for hint in HINTS],
            chunk.obj_exts and sorted(chunk.obj_exts),
        )
        for head in allocator.chunk_lists
        for chunk in head
    ]  # fmt: skip
    return (
        allocator.nr_empty_pop_pages, allocator.nr_populated, allocator.work_pending,
        allocator.atomic_alloc_failed, env.charged, env.live_pages, env.balance_requests,
        allocator.stats and allocator.stats.nr_cur_alloc, chunks,
    )  # fmt: skip


def before(
    allocator: Any, actor: Actor, freed: ChunkView | None = None, *, refusal: bool = False
) -> Step:
    """Return what is to be known of a step before an actor takes it.

    freed: into by its start. refusal: it begins a free that names no live area.
    """
    left = actor.gap
    freed = freed if left is None else None
    asked = refusal and left is None and allocator.CHECKS_FREES
    actor.left_alone = (books(allocator), allocator.env.warnings) if asked else None
    where = floats(allocator), places(allocator)
    return Step(actor.kind, left, None, *where, (), freed=freed, exposed=actor.exposed)


def denied_flags(kind: str, flags: int, needed: int) -> tuple[int, int]:
    """Return which of I/O and file systems an operation must do without: GFP-1, GFP-2.

    The first for all that it asks for, the second where its own flags are handed on. flags: of an
    allocation. needed: the flags that a request needs to sleep; where one without I/O may, it waits
    for the work.
    """
    if kind == "b":
        return (gfp.IO | gfp.FS) & ~needed, 0
    return (gfp.forbidden(flags), gfp.denied(flags)) if kind == "a" else (0, 0)


def waiting(
    allocator: Any, actors: Iterable[Actor], holder: Actor | None
) -> list[tuple[AreaExtent, bool]]:
    """Return the areas that blocking allocations may still populate, and who holds the mutex."""
    return [
        (actor.placed, allocator.alloc_mutex and actor is holder)
        for actor in actors
        if actor.placed is not None
        and actor.blocking
        and actor.gap is not None
        and actor.gap.kind is not Kind.FLAGS
    ]


def after(
    step: Step,
    allocator: Any,
    actor: Actor,
    actors: Iterable[Actor],
    holder: Actor | None,
    area: AreaExtent | None,
) -> Step:
    """Complete the description of a step that an actor has taken.

    area: what it hands out. actors: all that are under way. holder: of pcpu_alloc_mutex.
    """
    step.stand = actor.gap
    step.did = allocator.monitor.history.did
    step.standing = [other.gap for other in actors if is_seen(other.gap)]
    step.waiting = waiting(allocator, actors, holder)
    step.area = area
    step.asked = actor.asked
    if allocator.env.lately:
        step.requests = frozenset(allocator.env.lately)
        step.denied, step.handed = denied_flags(actor.kind, actor.gfp, allocator.BLOCKING)
    if actor.left_alone is not None:
        was, warnings = actor.left_alone
        step.refusal = books(allocator) != was, allocator.env.warnings > warnings
    return step


@cache
def _of_steps() -> tuple[tuple[str, Any], ...]:
    return tuple(asked(Scope.STEP, When.STEP))


def judged_step(step: Step, allocator: AllocatorView, history: History) -> Iterator[Judged]:
    """Yield the verdict of each clause about steps whose question a step raises.

    The allocator is as the step left it.
    """
    for clause, holds in _of_steps():
        wrong = holds(step, allocator, history)
        if wrong != NOT_ASKED:
            yield clause, wrong

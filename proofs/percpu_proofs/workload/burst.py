"""How many atomic requests are served between two runs of the balance work, and why no more.

Who allocates with a lock held cannot wait for pages. It lives on what is populated: the float, 2 to
4 empty pages, and holes between areas. How fast it may go depends on how soon the work runs again,
which no clause promises; counted here is what is served in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

from percpu_proofs.recorded.replay.actors import model_in_state
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import OperationList
from percpu_proofs.run.room import Demand, capacity, room_of, why
from percpu_proofs.workload.search_cost import settle
from percpu_reference.chunk import Area
from percpu_reference.variants import Allocator, build, variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC

GEOMETRY = Geometry(unit=262144, static=221184, reserved=8192, dyn=28672, cpus=4)
"""A 64-bit machine's with a large static part: 7 pages of the first chunk are dynamic."""
PERIODS = (100, 200, 300, 400, 500, 600, 800, 1000)
REQUESTS = 6000
MOST = 20_000  # requests of one round at most, if not more are asked for
ROUNDS = 8  # runs of the balance work after each of which is counted what is served
_WAVE = 2  # units that a wave fills
_PINNED = 4  # of so many of their pages, what one area pins is all that is left


@dataclass(slots=True)
class Served:
    """Atomic requests of one size made on one variant from one state at rest, nothing freed.

    room: how many would fit into populated pages at the start. rounds: served until the first
    failure, before the first run of the work and after each; the last may be cut short. failed: of
    `requests` by N, where the work runs after each N if it is asked for.
    """

    variant: str
    state: str
    size: int
    align: int
    requests: int
    float_pages: int
    room: int
    rounds: list[int] = field(default_factory=list)
    failed: dict[int, int] = field(default_factory=dict)
    ends: tuple[str, ...] = ()  # why the first round is over
    cut: bool = False  # the last round was ended by us

    @property
    def between(self) -> tuple[int, int]:
        """The fewest and the most that are served between two runs."""
        later = self.rounds[1:] or self.rounds
        return min(later), max(later)

    @property
    def safe(self) -> int | None:
        """The longest of the periods tried in which none fails, nor in any shorter; or None."""
        good = takewhile(lambda period: not self.failed[period], sorted(self.failed))
        return max(good, default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        least, most = self.between
        return asdict(self) | {"between": {"least": least, "most": most}, "safe": self.safe}


def after_wave(
    variant: str | type[Allocator], geometry: Geometry, size: int, align: int
) -> Allocator:
    """Return an allocator at rest after a wave: areas fill two units, then one is left in 4 pages.

    The others are freed in the order in which they came, the work running whenever it is asked for.
    """
    allocator = build(variant, geometry)
    each = max(size, align, geometry.granule)
    areas = [allocator.alloc(size, align) for _ in range(_WAVE * geometry.unit // each)]
    bunch = max(_PINNED * geometry.page // each, 2)
    for number, area in enumerate(areas):
        if number % bunch:
            allocator.free(area)
            settle(allocator)
    settle(allocator)
    return allocator


def after_list(
    variant: str | type[Allocator], geometry: Geometry, listed: OperationList
) -> Allocator:
    """Return an allocator at rest after the operations of a list. Raises InputError."""
    allocator = build(variant, geometry)
    Driver(allocator).run(listed)
    settle(allocator)
    return allocator


def in_state(variant: str, snapshot: Snapshot) -> Allocator | None:
    """Return a variant in a kernel's recorded state, the work that is due done.

    None if it has another number of chunk types.
    """
    chosen = variant_class(variant)
    if chosen.chunk_types != snapshot.chunk_types:
        return None
    allocator = model_in_state(chosen, snapshot)
    allocator.work_pending = snapshot.atomic_alloc_failed
    settle(allocator)
    return allocator


def measure(
    name: str,
    state: str,
    start: Allocator,
    size: int,
    align: int,
    *,
    requests: int = REQUESTS,
    periods: Iterable[int] = PERIODS,
) -> Served:
    """Return what is served from a state at rest, which is left as it is."""
    found = Served(
        name, state, size, align, requests, start.nr_empty_pop_pages, capacity(start, size, align)
    )
    allocator, _ = start.clone()
    for number in range(ROUNDS + 1):
        most = max(requests, MOST)
        asked = (_ask(allocator, size, align) for _ in range(most))
        served = sum(1 for _ in takewhile(lambda area: area is not None, asked))
        found.rounds.append(served)
        found.cut = served == most
        if not number:
            found.ends = _ends(allocator, size, align, found.cut)
        if found.cut:
            break
        allocator.balance()
    asking, _ = start.clone()
    made, failed = _until_asked(asking, size, align, requests)
    for period in periods:
        allocator, _ = asking.clone()
        later = failures(allocator, size, align, range(made, requests), period)
        found.failed[period] = failed + later
    return found


def _until_asked(allocator: Allocator, size: int, align: int, most: int) -> tuple[int, int]:
    """Make requests until the work is asked for; return how many, and how many failed.

    So far the work has nothing to do, however often it may run.
    """
    made = failed = 0
    while made < most and not allocator.work_pending:
        failed += _ask(allocator, size, align) is None
        made += 1
    return made, failed


def failures(allocator: Allocator, size: int, align: int, numbers: range, period: int) -> int:
    """Return how many requests fail if the work runs after each `period` where it is asked for.

    numbers: of the requests, that of the first is how many were made before.
    """
    failed = 0
    for number in numbers:
        if number and number % period == 0 and allocator.work_pending:
            allocator.balance()
        failed += _ask(allocator, size, align) is None
    return failed


def _ask(allocator: Allocator, size: int, align: int) -> Area | None:
    return allocator.alloc(size, align, gfp=ATOMIC)


def _ends(allocator: Allocator, size: int, align: int, is_whole: bool) -> tuple[str, ...]:
    if is_whole:
        return ("no end was seen: more --requests would tell",)
    return why(room_of(allocator, Demand(size, align, atomic=True), 0)).lines

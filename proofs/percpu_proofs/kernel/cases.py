"""Cases of a differential run: drawn in phases, run on both, gone on with behind a difference.

A phase has chances of its own for requests, frees, balance work and scripted failures, and the seed
that its operations follow from.

Behind a difference the kernel is judged by itself. Both may agree again, as where a patch moves a
threshold: then the lists hold equal chunks in the same order, all hints and maps are equal, and
every area lies in the same place. Numbers of chunks and counts of what was done since boot need not
be equal any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count, islice
from operator import attrgetter
from pathlib import Path
from typing import Final

from percpu_proofs.kernel.instance import BuildForm, KernelStopped, Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.run.choices import Choices, drawn
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.operations import Operation, parse_operations, text_of
from percpu_proofs.run.state_record import Difference, placed
from percpu_spec.geometry import LEAST_UNIT, Geometry

_SEEDS: Final = 1 << 32
_PAGE: Final = 4096
"""Bytes of the pages that the sizes below are drawn for."""
_UNITS: Final = (32768, 65536, 131072)
_PAGES_OF_UNIT: Final = (1, 2, 3, 4, 8)
"""Where pages are larger."""
_SMALL: Final = (1, 4, 8, 12, 20, 40, 64, 128, 256, 300)
_PAGES: Final = (4096, 8192, 4100, 4092, 12288, 2048, 20000)
_LARGE: Final = (16384, 24576, 32764, 32768, 9000)
_SIZES: Final = (
    _SMALL, _PAGES, _LARGE, _SMALL + _PAGES, _PAGES + _LARGE, _SMALL + _PAGES + _LARGE,
    (1024, 2048), (2560,), (3072, 1024), (4, 12, 28), (0, 32769, 8, 4096),
)  # fmt: skip
# areas that cross pages: freed, they change a chunk's slot without emptying a page
_STRADDLING: Final = ((2560,), (1200, 2560), (3000,), (6000, 1000), _SMALL + _PAGES)
_ALIGNS: Final = ((4,), (4,), (4, 8, 16), (4, 64, 256, 4096), (1, 2, 2048), (0, 3, 12, 8192))
_FLAGS: Final = (
    ("-",), ("-", "A"), ("A", "AW", "N"), ("-", "O", "N", "W", "F"), ("-", "R", "RA"),
    ("G", "AG", "-"), ("-", "A", "G", "RG", "ROW", "NG"),
)  # fmt: skip
_LIMITS: Final = ("S", "O", "s", "o", "Y", "SY", "oW")
_FAULTS: Final = (
    "P 1", "P 3", "Q 1", "Q 4", "Q 9", "M 1", "m 2", "C 1", "Z 1", "Z 3", "Z 5", "K 1", "H 1",
    "U 0", "U 1", "E",
)  # fmt: skip


_MOST_SHOWN: Final = 12  # differences
_gauges = attrgetter("live_pages", "charged", "objcg_refs")
_PIN: Final = parse_operations(Path("pin"), ["a 0 4 4 -"]).operations
"""Holds the first chunk of a kernel without SMP: were it wholly free, the work would destroy it,
and the kernel goes on with what is gone. Areas from boot keep every such kernel from that."""


@dataclass(frozen=True, slots=True)
class DrawPhase:
    """A stretch of operations and its chances, of 100."""

    length: int
    seed: int
    grow: int  # that an operation allocates; else it frees
    work: int  # that pending balance work runs after an operation
    fault: int  # that a failure is scripted
    order: int  # of frees: 0 any, 1 newest first, 2 oldest first, 3 every second
    sizes: Sequence[int]
    aligns: Sequence[int]
    flags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A geometry and the operations to run on it."""

    geometry: Geometry
    operations: list[Operation]

    @property
    def texts(self) -> list[str]:
        """The operations as the language writes them."""
        return list(map(text_of, self.operations))


def draw_case(choices: Choices, form: BuildForm, operations: int) -> Case:
    """Draw a case of about so many operations, for a kernel of a form."""
    geometry = _draw_geometry(choices, form) if form.smp else _draw_single(choices, form)
    longest = max(operations // 4, 8)
    if choices.number(3):
        phases = [_draw_phase(choices, longest) for _ in range(2 + choices.number(6))]
    else:
        phases = [p for _ in range(1 + choices.number(2)) for p in _draw_wave(choices, 2 * longest)]
    operations_drawn = expand([paged(phase, geometry) for phase in phases], geometry)
    return Case(geometry, operations_drawn if form.smp else [*_PIN, *operations_drawn])


def paged(phase: DrawPhase, geometry: Geometry) -> DrawPhase:
    """Return a phase for pages of other sizes: its sizes and alignments by pages are of those.

    Every second phase stays as it is, so that areas lie within a page.
    """
    scale = geometry.page // _PAGE
    if scale == 1 or phase.seed % 2:
        return phase
    most = geometry.largest + geometry.granule  # a size that is refused
    sizes = [min(size * scale, most if size > LEAST_UNIT else most - 4) for size in phase.sizes]
    return replace(phase, sizes=sizes, aligns=[a * scale if a > 2048 else a for a in phase.aligns])


def _draw_unit(choices: Choices, page: int) -> int:
    if page == _PAGE:
        return choices.pick(_UNITS)
    return max(page * choices.pick(_PAGES_OF_UNIT), -(-LEAST_UNIT // page) * page)


def _draw_single(choices: Choices, form: BuildForm) -> Geometry:
    """Draw sizes of a kernel without SMP: its unit is a power of two, and all of it dynamic."""
    unit = 1 << (_draw_unit(choices, form.page) - 1).bit_length()
    return Geometry(
        unit=unit, static=0, reserved=0, dyn=unit, cpus=1, page=form.page, backing=form.backing,
        memcg=choices.bit(), async_enabled=choices.number(10) > 0,
    )  # fmt: skip


def _draw_geometry(choices: Choices, form: BuildForm) -> Geometry:
    """Draw sizes that a kernel boots with, part by part. Units of odd CPUs come in pairs."""
    pick, number = choices.pick, choices.number
    unit = _draw_unit(choices, form.page)
    static, reserved = pick((4096, 8192, 10002, 4100, 100)), pick((0, 0, 8192, 4608, 200))
    if static + reserved + 20480 > unit:
        static, reserved = 4096, 0
    room = unit - static - reserved
    dyn = room if choices.bit() else 20480 + -static % 4 + (room - 20480) // 8 * 4
    cpus = 1 + number(4)
    groups = 1 if form.backing == "km" else min(1 + number(2), cpus)
    return Geometry(
        unit=unit, static=static, reserved=reserved, dyn=min(dyn, room), cpus=cpus, groups=groups,
        spare=cpus % 2, memcg=choices.bit(), async_enabled=number(10) > 0, backing=form.backing,
        page=form.page,
    )  # fmt: skip


def _draw_phase(choices: Choices, longest: int) -> DrawPhase:
    pick, number = choices.pick, choices.number
    length = longest // 4 + number(longest - longest // 4 + 1)
    return DrawPhase(
        length, number(_SEEDS), pick((5, 25, 40, 50, 55, 65, 80, 95)), pick((0, 2, 10, 30, 100)),
        pick((0, 0, 3, 12)), number(4), pick(_SIZES), pick(_ALIGNS), pick(_FLAGS),
    )  # fmt: skip


def _draw_wave(choices: Choices, longest: int) -> list[DrawPhase]:
    """Draw phases that fill chunks and drain them again, with the balance work at their heels."""
    pick, number = choices.pick, choices.number
    length, seed = longest // 2 + number(longest - longest // 2 + 1), number(_SEEDS)
    order = pick((0, 0, 3, 1))
    fill = DrawPhase(length, seed, 96, 5, 0, order, pick(_STRADDLING), (4,), ("-",))
    work = pick((30, 100, 100))
    return [fill, replace(fill, seed=seed + 1, length=length * 5 // 6, grow=4, work=work)]


def expand(chosen: Sequence[DrawPhase], geometry: Geometry) -> list[Operation]:
    """Return the operations of phases, one after the other."""
    lines: list[str] = []
    live: list[int] = []
    handles = count(1)
    for phase in chosen:
        lines += _lines(phase, live, handles, geometry)
    return parse_operations(Path("drawn"), lines).operations if lines else []


class Aside:
    """What few operations have, drawn from a supply of its own: limits of requests, wrong frees.

    sizes: bytes asked for by handle. gone: the handle freed last.
    """

    def __init__(self, seed: str, geometry: Geometry) -> None:
        self._choices = drawn(seed)
        nowhere = f"s {16 * geometry.unit}"  # a pointer into no chunk
        self._strays = ("s 40", nowhere) if geometry.static > 40 else (nowhere,)
        self.sizes: dict[int, int] = {}
        self.gone: int | None = None

    def limited(self, flags: str) -> str:
        """Return the flags of a request, some of which forbid I/O or file systems."""
        if flags != "-" or self._choices.number(8):
            return flags
        return self._choices.pick(_LIMITS)

    def wrong_frees(self, live: Sequence[int]) -> Iterator[str]:
        """Yield a free that API-2 forbids, seldom."""
        pick, number = self._choices.pick, self._choices.number
        if number(40):
            return
        kind = number(5)
        if kind < 2 and self.gone is not None:
            yield f"d {self.gone}"
        elif kind < 4 and live:
            handle = pick(live)
            granules = -(-self.sizes.get(handle, 0) // 4)
            if granules > 1:
                yield f"w {handle} {4 * (1 + number(granules - 1))}"
        elif kind == 4:
            yield pick(self._strays)


def _lines(
    phase: DrawPhase, live: list[int], handles: Iterator[int], geometry: Geometry
) -> Iterator[str]:
    choices, aside = drawn(phase.seed), Aside(f"{phase.seed}/aside", geometry)
    pick, number = choices.pick, choices.number
    for _ in range(phase.length):
        if number(100) < phase.fault:
            yield pick(_FAULTS)
        if number(100) < phase.grow or not live:
            handle = next(handles)
            live.append(handle)
            size, align, flags = pick(phase.sizes), pick(phase.aligns), pick(phase.flags)
            aside.sizes[handle] = size
            yield f"a {handle} {size} {align} {aside.limited(flags)}"
        else:
            at = (number(len(live)), len(live) - 1, 0, max(len(live) - 2, 0) // 2 * 2)[phase.order]
            aside.gone = live.pop(at)
            yield f"f {aside.gone}"
        yield from aside.wrong_frees(live)
        if number(100) < phase.work:
            yield "B" if number(10) < 8 else "b"


def run_case(
    library: Library,
    case: Case,
    model: ModelVariant,
    *,
    judge: bool = False,
    every: bool = True,
    hasty: bool = False,
) -> tuple[int, tuple[Difference, ...]] | None:
    """Run a case on both up to the first difference; return after how many operations, and all.

    None if there is no difference.

    Without `every` states are compared after the last operation only, which is much faster.
    hasty: as of a Kernel. Raises HandleError.
    """
    try:
        pair = Pair(library, case.geometry, model, judge=judge, hasty=hasty)
    except KernelStopped as stopped:
        return 0, (Difference("stopped", str(stopped), "boots"),)
    with closing(pair):
        number, found = pair.run(case.operations, every=every)
        if found is None:
            return None
        return number, (found, *_beside(pair, found))


def _beside(pair: Pair, found: Difference) -> Iterator[Difference]:
    """Yield what else differs where a difference was found."""
    if found.field == "stopped":
        return
    try:
        yield from (other for other in islice(pair.differences(), _MOST_SHOWN) if other != found)
    except KernelStopped:
        return


@dataclass(frozen=True, slots=True)
class Divergence:
    """What became of a case in which model and kernel have parted."""

    at: int  # the operation after which they first differed, from 1; 0: at boot
    operations: int  # that both did behind it
    alike: int  # after how many of these they agreed
    again: int | None  # the first operation after which they did
    by: str  # that operation
    stopped: str  # why the kernel did not do all of them
    left: int  # operations that it did not do


def go_on(pair: Pair, at: int, operations: Sequence[Operation]) -> Divergence:
    """Let both do the operations behind a difference; see after each whether they agree again."""
    alike, again, stopped = 0, None, ""
    done = 0
    for operation in operations:
        try:
            pair.do(at + done + 1, operation)
            pair.state.read()
        except KernelStopped as reason:
            stopped = str(reason)
            break
        except HandleError:  # a handle whose allocation failed on one side only
            break
        done += 1
        pair.judge_alone()
        if agree(pair):
            alike += 1
            again = again or at + done
    by = "" if again is None else text_of(operations[again - at - 1])
    return Divergence(at, done, alike, again, by, stopped, len(operations) - done)


def agree(pair: Pair) -> bool:
    """Return whether both states, as read last, are alike but for numbers and counts."""
    model, state = pair.driver.allocator, pair.state
    ours, theirs = list(placed(model)), list(placed(state))
    if [slot for slot, _ in ours] != [slot for slot, _ in theirs]:
        return False
    if (
        _gauges(state.env) != _gauges(model.env)
        or state.work_pending != model.work_pending
        or not pair.same_totals()
        or not all(pair.same_chunk(b, a) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    ):
        return False
    place = {chunk.id: at for at, (_, chunk) in enumerate(ours)}
    place_there = {chunk.id: at for at, (_, chunk) in enumerate(theirs)}
    return {
        handle: area and (place[area[0].id], area[1])
        for handle, area in pair.driver.handles.items()
    } == {
        handle: area and (place_there.get(area[0]), area[1]) for handle, area in pair.areas.items()
    }

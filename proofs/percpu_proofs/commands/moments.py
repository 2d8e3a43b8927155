"""What `percpu-spec show` can draw: a moment of a list, a trace or a schedule, a kernel's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from percpu_proofs.explore.scenario import FIELDS, SECTIONS, read_scenario
from percpu_proofs.explore.schedulers.fixed import ImpossibleStepError, InTurn, ScheduleReplay
from percpu_proofs.explore.system import Scheduler, actor_of, scheduled
from percpu_proofs.explore.token import Token, with_handles
from percpu_proofs.explore.world import World
from percpu_proofs.kernel.instance import Library
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.records import FIRST, RESERVED, Record, SearchState, present_state
from percpu_proofs.kernel.search.tree_token import TreeToken
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import text_of
from percpu_proofs.run.runner import Progress
from percpu_proofs.show.mail import WIDTH
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.svg import chunk_svg, overview_svg
from percpu_proofs.show.text import chunk_text, overview_text
from percpu_reference.variants import Allocator


@dataclass(frozen=True, slots=True)
class StateDrawing:
    """A state to draw. changed: the chunk that was changed last, the first of several.

    allocator: the model's, where it is one.
    """

    picture: StatePicture
    changed: str | None = None
    allocator: Allocator | None = None
    step: int = 0
    steps: int = 0  # that there are

    @property
    def chunk(self) -> str:
        """The chunk to draw where none is asked for: the one that changed, else the first."""
        if self.changed is not None and self.changed in self.picture.chunks:
            return self.changed
        return next(iter(self.picture.chunks)) if "0" not in self.picture.chunks else "0"


def map_text(picture: StatePicture, chunk: str | None, width: int = WIDTH) -> str:
    """Return the map of a chunk, or of all on one page, in characters."""
    if chunk is None:
        return overview_text(picture, width)
    return chunk_text(picture.chunks[chunk], width)


def map_svg(picture: StatePicture, chunk: str | None) -> str:
    """Return the same as an SVG document."""
    return overview_svg(picture) if chunk is None else chunk_svg(picture, chunk)


def picture_of_kernel(state: KernelState, title: str = "") -> StatePicture:
    """Return what maps of a real kernel's state are drawn from."""
    names: dict[Any, str] = dict(state.names)
    title = title or f"{Path(state.source).name}, {state.release}"
    return picture_of_state(state.snapshot, names.__getitem__, title, state.quiescence.pending)


def picture_of_model(allocator: Allocator, title: str) -> StatePicture:
    """Return what maps of the model's state are drawn from."""
    return picture_of_state(allocator, title=title, pending=allocator.work_pending)


def is_scenario(text: str) -> bool:
    """Return whether a text begins as a scenario file does.

    >>> is_scenario("# mine\\nactors\\n  b\\n"), is_scenario("a 1 8 8 -\\n")
    (True, False)
    """
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        if words:
            return words[0] in FIELDS or words[0] in SECTIONS
    return False


def scenario_start(path: Path, variant: str | None) -> StateDrawing:
    """Return the moment in which the actors of a scenario begin. Raises InputError."""
    scenario = read_scenario(path)
    variant = variant or scenario.usual_variant
    allocator = scenario.start(variant).allocator
    title = f"scenario {scenario.name}, {variant}, before its actors begin"
    return StateDrawing(picture_of_model(allocator, title), None, allocator)


def of_trace(
    path: Path,
    at: int | None,
    *,
    variant: str | None,
    sizes: Mapping[str, str] | None,
    state: Path | None,
    progress: Progress | None,
) -> StateDrawing:
    """Return the moment after so many events of a trace, or of the folder of a run; all without at.

    The model stands there as a replay finds it; variant, sizes, state: as for `conform trace`.
    Raises TraceError, InputError for a moment that no replay reaches.
    """
    seen: list[StateDrawing] = []

    def look(events: int, of: int, model: Allocator) -> None:
        title = f"{path.name}, after event {events} of {of}"
        seen.append(StateDrawing(picture_of_model(model, title), None, model, events, of))

    report = conform_trace(
        path, variant=variant, sizes=sizes, state=state, at=at, look=look, progress=progress
    )
    if not seen:
        reason = report.waiting or _replayed_lines(report)
        which = "its end" if at is None else f"event {at}"
        raise InputError(path, None, f"a trace that a replay explains up to {which}: {reason}")
    moment = seen[-1]
    changed = _changed(seen[0].picture, moment.picture) if seen[1:] else None
    title = f"{report.variant}, {moment.picture.title}"
    return replace(moment, picture=replace(moment.picture, title=title), changed=changed)


def _replayed_lines(report: TraceReport) -> str:
    """Return how far a replay of a trace gets."""
    if not report.stretches:
        return f"{report.start}; boot messages or a state (--state) tell where it begins"
    lines = ", ".join(f"{one.first_line} to {one.last_line}" for one in report.stretches)
    wrong = [f"line {one.line}: {one.what}: {one.detail}" for one in report.mismatches[:1]]
    return "; ".join([f"replayed are lines {lines}", *wrong])


def of_token(token: Token, step: int | None) -> StateDrawing:
    """Return the moment after a step of a token's schedule, the last unless given; 0: before it.

    Raises InputError for a step that there is not.
    """
    token = with_handles(token)
    world = World(token.scenario.start(token.variant))
    order: Scheduler = InTurn(range(len(token.actors)))
    if token.schedule:
        order = ScheduleReplay(token.schedule)
    picture = _of_world(world, token, "before its actors begin")
    changed = None
    number = 0
    try:
        for label in scheduled(world, order):
            if number == step:
                break
            world.step(label)
            number += 1
            before, picture = picture, _of_world(world, token, _step_words(world, number, label))
            changed = _changed(before, picture) or changed
    except (ImpossibleStepError, KeyError) as error:
        raise InputError("token", None, f"a schedule of its actors ({error})") from None
    steps = max(len(token.schedule), number)
    if step is not None and step > number:
        raise InputError("--step", None, f"at most {number}, the steps that there are", str(step))
    return StateDrawing(picture, changed, world.allocator, number, steps)


def _of_world(world: World, token: Token, where: str) -> StatePicture:
    return picture_of_model(world.allocator, f"{token.variant}, {token.clause}, {where}")


def _step_words(world: World, number: int, step: int) -> str:
    """Return a step in words: who took it, and where that one stands."""
    actor = actor_of(step)
    runner = world.runners[actor]
    gap = runner.gap
    where = "done" if runner.done or gap is None else gap.name
    return f"after step {number}: actor {actor} [{text_of(runner.operation)}] {where}"


def _changed(before: StatePicture, after: StatePicture) -> str | None:
    return next((n for n, c in after.chunks.items() if before.chunks.get(n) != c), None)


def of_tree_token(token: TreeToken, library: Library, step: int | None) -> StateDrawing:
    """Return the moment after a step of a schedule of compiled code, the last unless given.

    Chunks are numbered as the lists have them; 0 is the first one. Raises InputError.
    """
    steps = len(token.labels)
    last = steps if step is None else step
    if last > steps:
        raise InputError("--step", None, f"at most {steps}, the steps that there are", str(step))
    pictures = []
    for done in (max(last - 1, 0), last):
        with CompiledSearch(library, token.plan) as compiled:
            if not compiled.replay(token.labels[:done]):
                raise InputError("--step", None, "a step that the kernel survives", str(done))
            state = present_state(compiled)
            names = dict(_names(state))
            title = f"Linux {library.release}, {token.clause}, after step {done} of {steps}"
            pictures.append(picture_of_state(state, names.__getitem__, title, state.work_pending))
    return StateDrawing(pictures[1], _changed(*pictures), None, last, steps)


def _names(state: SearchState) -> Iterator[tuple[Record, str]]:
    numbers = count(1)
    for chunk in state.chunks:
        yield chunk, {FIRST: "0", RESERVED: "-1"}.get(chunk.kind) or str(next(numbers))

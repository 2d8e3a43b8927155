"""Schedules of the model, run again, as counterexamples.

Each step has the kernel function that it stands in, and the line of the model for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from traceback import walk_tb
from types import FrameType, GeneratorType
from typing import Any, Final, NamedTuple

import percpu_contracts
import percpu_proofs
from percpu_proofs.counterexample.record import WORK, Counterexample, CpuStep
from percpu_proofs.counterexample.words import Names, position_of
from percpu_proofs.explore.rerun import Rerun, StepRecord, broken_by
from percpu_proofs.explore.schedulers.fixed import ImpossibleStepError
from percpu_proofs.explore.searches import bound_of
from percpu_proofs.explore.system import Runner, actor_of
from percpu_proofs.explore.token import Token, from_record, read_token, with_handles
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import WRONG, text_of
from percpu_proofs.run.variant_errors import guard
from percpu_proofs.show.text import StateRows, state_of
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Kind
from percpu_reference.kernel_names import origin
from percpu_reference.variants import Allocator, fixes, variant_class
from percpu_reference.variants.reference import with_fixes
from percpu_spec.catalogue import findings

_AROUND: Final = str(Path(percpu_contracts.__file__).parent)
"""Contracts run around the functions of the model; their frames are none of it."""
_NOT_THE_MODEL: Final = (_AROUND, str(Path(percpu_proofs.__file__).parent), "<")
"""What else is on the stack of an error: who runs the model, and conditions that are compiled."""


class ModelPlace(NamedTuple):
    """A kernel function, and the line of the model or of a variant's file that stands for it."""

    function: str = ""
    where: str = ""


def place_of(steps: Any) -> ModelPlace:
    """Return where a generator of the model stands; nothing for one that has ended."""
    return _innermost([(frame, frame.f_lineno) for frame in _frames(steps)])


def place_of_error(error: BaseException) -> ModelPlace:
    """Return where in the model an error arose; nothing for one that arose elsewhere."""
    stack = walk_tb(error.__traceback__)
    return _innermost(
        [one for one in stack if not one[0].f_code.co_filename.startswith(_NOT_THE_MODEL)]
    )


def _innermost(stack: list[tuple[FrameType, int]]) -> ModelPlace:
    """Return the place of a stack of frames, each with its line, the outermost first."""
    if not stack:
        return ModelPlace()
    inner, line = stack[-1]
    where = f"{Path(inner.f_code.co_filename).name}:{line}"
    return ModelPlace(_kernel_function([frame.f_code.co_name for frame, _ in stack]), where)


def _frames(steps: Any) -> Iterator[FrameType]:
    """Yield the frames of a generator and of those that it waits for, the outermost first."""
    while isinstance(steps, GeneratorType) and steps.gi_frame is not None:
        frame, waits_for = steps.gi_frame, steps.gi_yieldfrom
        if frame.f_code.co_filename.startswith(_AROUND):
            waits_for = frame.f_locals["running"]  # percpu_contracts.evaluate: what it runs
        else:
            yield frame
        steps = waits_for


def _kernel_function(names: list[str]) -> str:
    """Return the innermost kernel function among those of a stack, the outermost name first.

    What is cut out of another function, or a variant's own, belongs to the one around it.
    """
    whole = {name: source for name in names if (source := origin(name)) and source.function}
    on_stack = {source.function for source in whole.values() if not source.is_part}
    for name in reversed(names):
        source = whole.get(name)
        if source is not None and (not source.is_part or source.function in on_stack):
            return source.function
    return next((source.function for source in whole.values()), names[0])


_RELEASING = (Kind.RELEASE, Kind.DRAIN)
_ENTRY = {"a": "alloc_percpu", "b": "balance_workfn", "B": "balance_workfn"}
_ENTRY |= dict.fromkeys(("f", *WRONG), "free_percpu")


class ScheduleWalk:
    """A schedule run again, each step as a record."""

    def __init__(self, rerun: Rerun, names: Names) -> None:
        self._rerun = rerun
        self._world = rerun.world
        self._names = names
        self._places: dict[int, ModelPlace] = {}  # where actors stand

    def state(self) -> StateRows:
        """Return the present state."""
        world = self._world
        holder = "" if world.holder is None else self._cpu(world.holder)
        losing = {
            (runner.gap.chunk.id, page)
            for runner in world.runners
            if runner.gap is not None and runner.gap.chunk is not None
            and runner.gap.kind in _RELEASING
            for page in range(runner.gap.start, runner.gap.end)
        }  # fmt: skip

        def took(chunk: Chunk) -> str:
            """Return who took a chunk off the lists: who stands at it, or else has the mutex."""
            at_it = [
                actor for actor, runner in enumerate(world.runners)
                if not runner.done and runner.gap is not None and runner.gap.chunk is chunk
            ]  # fmt: skip
            return self._cpu(at_it[0]) if len(at_it) == 1 else "" if at_it else holder

        return state_of(
            world.allocator, holder, lambda chunk, page: (chunk.id, page) in losing, holder=took
        )

    def steps(self) -> Iterator[CpuStep]:
        """Take the steps and yield each."""
        for taken in self._rerun.steps(self.state):
            yield self._step(taken)

    def _step(self, taken: StepRecord[StateRows]) -> CpuStep:
        actor, left = actor_of(taken.step), taken.left
        runner = self._world.runners[actor]
        before = self._places.get(actor, ModelPlace())
        if runner.done:
            place = ModelPlace(_entry(runner, at_once=left is None))
        elif taken.stopped is not None:
            place = place_of_error(taken.stopped)
        else:
            place = self._places[actor] = place_of(runner.steps)
        return CpuStep(
            taken.number,
            actor - self._rerun.first,
            self._cpu(actor),
            self._names.words(runner.operation),
            text_of(runner.operation),
            left is None,
            "memory" if taken.step < 0 else "",
            before.function,
            before.where,
            place.function,
            place.where,
            *self._stands(runner, taken),
            runner.done,
            taken.locked,
            "begins" if left is None else left.name,
            "done" if runner.gap is None or taken.stopped is not None else runner.gap.name,
            taken.seen,
            tuple(taken.broken.items()),
        )

    def _cpu(self, actor: int) -> str:
        is_work = self._world.runners[actor].operation[0] in "bB"
        return WORK if is_work else f"CPU {actor - self._rerun.first}"

    def _stands(self, runner: Runner, taken: StepRecord[StateRows]) -> tuple[str, str, str]:
        """Return where an actor stands after its step, what it does next, and what came of it."""
        if taken.stopped is not None:
            return "stopped, as it would go on without end,", "", ""
        if not runner.done:
            assert runner.gap is not None
            return *position_of(runner.gap, locked=taken.locked), ""
        kind, handle, *_ = runner.operation
        if not _entry(runner, at_once=taken.left is None):
            return "no step of the kernel's", "", ""
        result = ""
        if kind in WRONG and self._world.errors:
            result = f"the caller's error (API-2), {self._world.errors[-1]}"
        elif kind == "a" and runner.result is None:
            result = f"{self._names.of(handle)} gets no memory"
        elif kind == "a":
            chunk, off = runner.result
            result = f"{self._names.of(handle)} is at byte {off} of chunk {chunk.id}"
        return "ends", "", result


def _entry(runner: Runner, *, at_once: bool) -> str:
    """Return the kernel function that an operation is; none for what prepares a failure.

    at_once: it ended with its first step. The work passes points, unless it was not asked for.
    """
    kind = runner.operation[0]
    source = origin(_ENTRY.get(kind, "")) if kind != "B" or not at_once else None
    return source.function if source is not None else ""


def of_token(text: str, bound: str = "", file: str | None = None) -> Counterexample:
    """Return what the token of a schedule of the model shows.

    bound: how far was searched where it was found. file: as read_token has it. Raises InputError
    for a token that is damaged, of a variant that has changed, or of a schedule that is not
    possible.
    """
    return of_schedule(read_token(text, file), bound)


def of_schedule(token: Token, bound: str = "") -> Counterexample:
    """Return what a token shows, with handles from 1 on.

    Raises InputError for a schedule that is not possible.
    """
    text, token = str(token), with_handles(from_record(token))
    scenario = token.scenario
    names = Names([*scenario.prepared, *scenario.concurrent])
    try:
        with guard():
            walk = ScheduleWalk(Rerun(token), names)
            before, steps = walk.state(), tuple(walk.steps())
    except (ImpossibleStepError, KeyError) as error:
        raise InputError("token", None, f"a schedule of its actors ({error})") from None
    wrong = (wrong for s in reversed(steps) for c, wrong in s.broken if c == token.clause)
    return Counterexample(
        token.variant,
        token.clause,
        next(wrong, ""),
        token.geometry,
        tuple(map(names.operation_words, scenario.prepared)),
        tuple(map(names.operation_words, scenario.concurrent)),
        before,
        steps,
        text,
        mechanism(token),
        bound,
        origin=bound_of(token.search),
    )


def mechanism(token: Token) -> str:
    """Return what a variant declares of a clause, in words; empty where it declares nothing.

    Of several findings those are named without which the same steps do not break it: each with its
    fix on the variant, as far as the steps are then possible.
    """
    reason = variant_class(token.variant).EXPECTED.get(token.clause, "")
    known = [name for name in re.findall(r"\b[LR]\d+\b", reason) if name in findings()]
    if len(known) > 1:
        known = [
            name for name in known
            if token.clause not in broken_by(token, _mended(token.variant, name), lenient=True)
        ] or known  # fmt: skip
    return "; ".join(f"{name}, {findings()[name].title}" for name in known) or reason


@cache
def _mended(variant: str, finding: str) -> type[Allocator]:
    """Return a variant with the fixes of a finding: contracts are put on each once."""
    chosen = [getattr(fixes, name) for name in findings()[finding].fixes]
    return with_fixes(*chosen, base=variant_class(variant))

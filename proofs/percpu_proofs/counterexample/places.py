"""Which kernel function a running step of the model stands in, and on which line of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from types import FrameType, GeneratorType
from typing import Any, Final, NamedTuple

import percpu_contracts
import percpu_proofs
from percpu_reference.kernel_names import origin

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

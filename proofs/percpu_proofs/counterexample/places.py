"""Which kernel function a running step of the model stands in, and on which line of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FrameType, GeneratorType
from typing import Any, NamedTuple

import percpu_contracts
from percpu_reference.kernel_names import origin

_AROUND = str(Path(percpu_contracts.__file__).parent)
"""Contracts run around the functions of the model; their frames are none of it."""


class ModelPlace(NamedTuple):
    """A kernel function, and the line of the model or of a variant's file that stands for it."""

    function: str = ""
    where: str = ""


def place_of(steps: Any) -> ModelPlace:
    """Return where a generator of the model stands; nothing for one that has ended."""
    frames = list(_frames(steps))
    if not frames:
        return ModelPlace()
    inner = frames[-1]
    where = f"{Path(inner.f_code.co_filename).name}:{inner.f_lineno}"
    return ModelPlace(_kernel_function([frame.f_code.co_name for frame in frames]), where)


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

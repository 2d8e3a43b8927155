"""A difference made presentable: its operations, both memory maps, and a file that repeats it."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from percpu_proofs.kernel.cases import run_case
from percpu_proofs.kernel.changes import REFUSES, ROOT, SCOPE, SLEEPABLE, WORDS
from percpu_proofs.kernel.differential import DifferingCase
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.kernel.random_schedules import DifferingSchedule
from percpu_proofs.kernel.record import OPERATION, VectorRecording, meaning, write_vector
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.run.inputs import writing
from percpu_proofs.run.operations import OperationList, text_of
from percpu_proofs.run.state_record import Difference
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.text import chunk_text, state_text
from percpu_reference.variants.reference import FIXES
from percpu_spec.gfp import NORETRY, NOWARN, flag_words

_CHUNK = re.compile(r"chunks\[(-?\d+)\]")
_MOVED: Final = {
    "charged": ("5.17", ROOT), "nsched": ("6.13",), "sched": ("6.13",), "ran": ("6.13",),
    "ok": (SLEEPABLE,), "asked for": (SCOPE,), "warn": (REFUSES,),
    "md": ("mm 1/4", "mm 4/4"), "blk": ("mm 4/4",),
}  # fmt: skip
"""The changes of releases, by the field that shows them first."""
_OF_WORK: Final = flag_words(NOWARN | NORETRY)
"""Ends the flags with which the balance work, which 6.15 took I/O from, asks for pages."""


def moved_by(difference: Difference, model: ModelVariant) -> list[str]:
    """Return which changes of releases moved what differs, and how the model stands to them.

    A tree that has a part of one shows so, where the probes do not look.
    """
    names = re.findall(r"[a-z_][a-z_ ]*", difference.field)
    if difference.field.rstrip("]").endswith(_OF_WORK):
        names = ["ok"]
    return [
        f"{release} changed it ({WORDS[release]}); the model is as {when} that: a tree that "
        "differs here may be between the two"
        for name in dict.fromkeys(names)
        for release in _MOVED.get(name, ())
        for when in ("since" if release in model.changes else "before",)
    ]


def where(found: DifferingCase) -> str:
    """Return after which operation of a case a difference shows, and the function of it."""
    operations = found.case.operations
    if not operations:
        return "at boot"
    function = OPERATION.get(operations[-1][0])
    inside = f", {function}" if function else ""
    return f"after operation {len(operations)}, {text_of(operations[-1])}{inside}"


def mending(found: DifferingCase, model: ModelVariant) -> list[str]:
    """Return the fixes of `reference` with which the model does in the case what the kernel does.

    Only of a model without fixes.
    """
    if model.fixes:
        return []
    library = found.task.library
    fixed = ((fix.NAME, replace(model, fixes=(fix.NAME,))) for fix in FIXES)
    return [name for name, other in fixed if run_case(library, found.case, other) is None]


def as_json(found: DifferingCase, model: ModelVariant) -> dict[str, Any]:
    """Return a difference with plain values only."""
    operations = found.case.operations
    return {
        "geometry": found.case.geometry.text,
        "operations": found.case.texts,
        "function": OPERATION.get(operations[-1][0]) if operations else None,
        **_plain(found.difference),
        "others": [_plain(other) for other in found.others],
        "moved_by": moved_by(found.difference, model),
        "equal_with_fix": mending(found, model),
        "more_may_be_left_out": found.stopped or None,
    }


def _plain(difference: Difference) -> dict[str, Any]:
    kernel, model = difference.plain
    return {
        "field": difference.field,
        "words": meaning(difference).words,
        "kernel": kernel,
        "model": model,
        "detail": difference.detail,
        "set_by": meaning(difference).functions.split(),
        "clauses": meaning(difference).clauses.split(),
    }


def schedule_as_json(found: DifferingSchedule) -> dict[str, Any]:
    """Return a schedule that shows a difference, with plain values only."""
    return {
        "setup": list(found.plan.setup),
        "actors": list(found.plan.actors),
        "schedule": list(found.schedule),
        "difference": found.difference,
        "token": found.token,
    }


def schedule_text(found: DifferingSchedule) -> str:
    """Return the same for people."""
    lines = [f"differs at step {len(found.schedule)} of a schedule: {found.difference}", "setup"]
    lines += [f"{n:5}  {text}" for n, text in enumerate(found.plan.setup, 1)]
    lines += ["actors, 0 the first; later numbers are runs of the balance work"]
    lines += [f"{n:5}  {text}" for n, text in enumerate(found.plan.actors)]
    lines += [f"schedule {' '.join(map(str, found.schedule))}", f"--token {found.token}"]
    return "\n".join(lines)


def maps(found: DifferingCase, model: ModelVariant) -> tuple[str, str]:
    """Return the memory maps of kernel and model at the difference; a reason where there is none.

    Drawn is the chunk that differs, or lists and counters where no chunk does.
    """
    match = _CHUNK.search(found.difference.field)
    name = match[1] if match else None
    try:
        pair = Pair(found.task.library, found.case.geometry, model)
    except KernelStopped as stopped:
        return str(stopped), ""
    with closing(pair):
        pair.run(found.case.operations)
        allocator = pair.driver.allocator
        ours = picture_of_state(allocator, pending=allocator.work_pending)
        try:
            state = CompiledState(pair.kernel)
            theirs = _drawn(picture_of_state(state, pending=state.work_pending), name)
        except KernelStopped as stopped:
            theirs = f"the kernel's lists cannot be read: {stopped}"
        return theirs, _drawn(ours, name)


def _drawn(picture: StatePicture, name: str | None) -> str:
    if name is None or name not in picture.chunks:
        return state_text(picture)
    return chunk_text(picture.chunks[name])


def save(found: DifferingCase, model: ModelVariant, path: Path) -> Path:
    """Write what repeats a difference: a vector of the kernel, or operations if there is none.

    Raises InputError where nothing can be written.
    """
    library, lines = found.task.library, found.case.texts
    listed = OperationList(path, found.case.operations, range(2, len(lines) + 2))
    recording = VectorRecording(path.name, found.case.geometry, listed, lines)
    with writing(path):
        try:
            write_vector(path, library, model.version, recording)
            return path
        except KernelStopped as stopped:
            reason = str(stopped)
        path = path.with_name(path.name.partition(".")[0] + ".ops")
        head = f"# {library.release}: {reason}\n# --geometry {found.case.geometry.text}\n"
        path.write_text(head + "".join(f"{line}\n" for line in lines))
    return path

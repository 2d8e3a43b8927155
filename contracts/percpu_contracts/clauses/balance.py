"""The balance work. Kernel: pcpu_balance_workfn, pcpu_balance_free, pcpu_balance_populated."""

from __future__ import annotations

from percpu_contracts.clauses.isolation import LOSING
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    chunks_of_type,
    is_fully_free,
    listed_chunks,
    slots_per_type,
)
from percpu_spec.geometry import Geometry
from percpu_spec.steps import Deed, Step
from percpu_spec.views import AllocatorView


@states("BAL-1")
def population_raises_float(before: int, after: int, pages: int) -> str | None:
    """The book-keeping of one population by balance work raises the float by its `pages`."""
    if after - before == pages:
        return None
    return (
        f"balance work populated {counted(pages, 'page')}, the float went from {before} to "
        f"{after}"
    )


@states("BAL-2", Scope.ALLOCATOR, When.QUIESCENT)
def one_free_chunk(allocator: AllocatorView) -> str | None:
    """Quiescent: at most one fully free chunk of a type, the reserved and immutable ones apart."""
    geometry = allocator.geometry
    for kind in range(allocator.chunk_types):
        free = sum(
            not chunk.immutable and is_fully_free(chunk, geometry)
            for chunk in chunks_of_type(allocator, kind)
        )
        if free > 1:
            of = f" of type {kind}" if allocator.chunk_types > 1 else ""
            return f"{free} fully free chunks{of} and no work is pending"
    return None


@states("BAL-3", Scope.HISTORY)
def work_drains(runs: int, chunks: int) -> str | None:
    """With nothing else running, work asks for itself at most once per live chunk, plus once."""
    if runs <= chunks + 1:
        return None
    return (
        f"balance work still pending after {counted(runs - 1, 'run')} with "
        f"{counted(chunks, 'chunk')}"
    )


@states("BAL-3", Scope.HISTORY)
def creations_end(creations: int, types: int, geometry: Geometry) -> str | None:
    """With nothing else running, one run creates at most HIGH chunks and one, for each type.

    The first may answer a failed atomic allocation; of the others each brings at least one of the
    HIGH pages that the float can lack.
    """
    if creations <= types * (geometry.empty_high + 1):
        return None
    return f"one run of the balance work has created {counted(creations, 'chunk')} and goes on"


@states("BAL-4")
def low_float_asks(floating: int, asked: bool, geometry: Geometry) -> str | None:
    """A successful allocation that ends with the float below LOW asked for balance work."""
    if asked or floating >= geometry.empty_low:
        return None
    return (
        f"float {counted(floating, 'page')}, below {geometry.empty_low}, and no balance work "
        "asked for"
    )


@states("BAL-5")
def atomic_failure_asks(marked: bool, asked: bool) -> str | None:
    """A failed atomic allocation left its mark and asked for balance work."""
    if marked and asked:
        return None
    missing = "mark" if not marked else "request for balance work"
    return f"failed atomic allocation left no {missing}"


@states("BAL-1", Scope.STEP, When.STEP)
def work_raises_float(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """Pages that the balance work has populated are in the float.

    A chunk reintegrated in the same step adds the empty pages that it had before.
    """
    populated = step.deeds(Deed.POPULATED)
    if step.kind != "b" or not populated:
        return NOT_ASKED
    for kind, before in enumerate(step.floats):
        mine = [done for done in populated if allocator.chunk_type(done.chunk) == kind]
        pages = sum(done.end - done.start for done in mine)
        risen = min(allocator.float_of(kind) - before, pages)
        wrong = population_raises_float(before, before + risen, pages)
        if wrong is not None:
            return wrong
    return None


@states("BAL-4", Scope.STEP, When.STEP)
def success_asks_when_low(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """An allocation whose last step finds the float below LOW has asked for balance work, or found
    it high enough when it looked.
    """
    if step.area is None:
        return NOT_ASKED
    kind = allocator.chunk_type(step.area.chunk)
    if step.floats[kind] >= allocator.geometry.empty_low:
        return NOT_ASKED
    return low_float_asks(step.floats[kind], step.asked, allocator.geometry)


@states("BAL-6", Scope.STEP, When.STEP)
def one_free_chunk_is_spared(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """Balance work that takes fully free chunks off their list leaves one of the type there.

    Not so where it takes them to release pages of theirs.
    """
    if step.kind != "b" or (step.stand is not None and step.stand.kind in LOSING):
        return NOT_ASKED
    slots = slots_per_type(allocator)
    now = {chunk: number for number, chunk in listed_chunks(allocator)}
    taken = {
        number
        for chunk, number in step.places.items()
        if number % slots == allocator.free_slot and chunk not in now
    }
    if not taken:
        return NOT_ASKED
    bare = taken.difference(now.values())
    return "balance work leaves no fully free chunk to the next request" if bare else None


@states("BAL-7")
def float_is_topped_up(after: int, geometry: Geometry) -> str | None:
    """Work that ran alone and was refused nothing leaves HIGH empty populated pages at least.

    Or a chunk's, where that is fewer: a second fully free chunk is one too many (BAL-2).
    """
    least = min(geometry.empty_high, geometry.unit_pages)
    if after >= least:
        return None
    return f"balance work leaves {counted(after, 'empty page')}, fewer than {least}"


@states("BAL-7")
def float_rises_as_wanted(before: int, after: int, marked: bool, geometry: Geometry) -> str | None:
    """Population lifts the float to HIGH and no further, or by HIGH at most for a mark."""
    most = before + geometry.empty_high if marked else max(before, geometry.empty_high)
    if after <= most:
        return None
    return (
        f"balance work lifts the float from {before} to {counted(after, 'page')}, {most} were "
        "wanted"
    )


@states("BAL-5")
def mark_is_answered(before: int, after: int, holes: bool, marked: bool) -> str | None:
    """Population takes the mark of a failed request back, and populates pages if it can.

    holes: a list that it looks at held a chunk with an unpopulated page. before, after: the float.
    """
    if marked:
        return "the mark of a failed atomic allocation is still set after the balance work"
    if holes and after <= before:
        return f"a failed atomic allocation left its mark; the float went from {before} to {after}"
    return None

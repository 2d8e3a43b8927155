"""The balance work. Kernel: pcpu_balance_workfn, pcpu_balance_free, pcpu_balance_populated."""

from __future__ import annotations

from percpu_contracts.binding import states
from percpu_spec.definitions import chunks_of_type, is_fully_free
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView


@states("BAL-1")
def population_raises_float(before: int, after: int, pages: int) -> str | None:
    """The book-keeping of one population by balance work raises the float by its `pages`."""
    if after - before == pages:
        return None
    return f"balance work populated {pages} pages, the float went from {before} to {after}"


@states("BAL-2")
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


@states("BAL-3")
def work_drains(runs: int, chunks: int) -> str | None:
    """With nothing else running, work asks for itself at most once per live chunk, plus once."""
    if runs <= chunks + 1:
        return None
    return f"balance work still pending after {runs - 1} runs with {chunks} chunks"


@states("BAL-3")
def creations_end(creations: int, types: int, geometry: Geometry) -> str | None:
    """With nothing else running, one run creates at most HIGH chunks and one, for each type.

    The first may answer a failed atomic allocation; of the others each brings at least one of the
    HIGH pages that the float can lack.
    """
    if creations <= types * (geometry.empty_high + 1):
        return None
    return f"one run of the balance work has created {creations} chunks and goes on"


@states("BAL-4")
def low_float_asks(floating: int, asked: bool, geometry: Geometry) -> str | None:
    """A successful allocation that ends with the float below LOW asked for balance work."""
    if asked or floating >= geometry.empty_low:
        return None
    return f"float {floating} pages, below {geometry.empty_low}, and no balance work asked for"


@states("BAL-5")
def atomic_failure_asks(marked: bool, asked: bool) -> str | None:
    """A failed atomic allocation left its mark and asked for balance work."""
    if marked and asked:
        return None
    missing = "mark" if not marked else "request for balance work"
    return f"failed atomic allocation left no {missing}"

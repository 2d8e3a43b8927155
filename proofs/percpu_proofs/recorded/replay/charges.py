"""What events say that an area costs on all CPUs, against its size: the field bytes_alloc.

Source: pcpu_obj_full_size (mm/percpu-internal.h), trace_percpu_alloc_percpu (from 5.19 on).
"""

from __future__ import annotations

from collections.abc import Iterator

from percpu_proofs.recorded.replay.report import EventMismatch, Undetermined
from percpu_proofs.recorded.traces.events import Alloc
from percpu_proofs.recorded.traces.reader import TraceRun

_GRANULE = 4  # bytes
_VECTORS = (0, 4, 8)  # bytes to a granule of a pointer to an object's owner, 0 without cgroups


def wrong_charges(run: TraceRun) -> Iterator[EventMismatch]:
    """Yield the allocations whose bytes_alloc does not follow from their size and the CPUs."""
    if run.sizes is None:
        return
    cpus = run.sizes.cpus
    for line, event in zip(run.trace.lines, run.trace.events, strict=True):
        if not isinstance(event, Alloc) or event.bytes_alloc is None:
            continue
        plain, granules = event.size * cpus, -(-event.size // _GRANULE)
        if event.bytes_alloc not in [plain + granules * pointer for pointer in _VECTORS]:
            detail = (
                f"{event.bytes_alloc} bytes for {event.size} on {cpus} CPUs: expected {plain}, or "
                f"{plain + granules * _VECTORS[-1]} with the vector of owners"
            )
            yield EventMismatch(line, event.t, "bytes_alloc", detail)


def unchecked_charges(run: TraceRun) -> list[Undetermined]:
    """Return what is left open where no layout tells the number of CPUs."""
    told = sum(isinstance(e, Alloc) and e.bytes_alloc is not None for e in run.trace.events)
    if run.sizes is not None or not told:
        return []
    what = "bytes_alloc of allocations, as no layout tells how many CPUs there are"
    return [Undetermined(what, told, "not checked")]

"""What each field of a record is, in words: the kernel's name for it, who sets it, its clauses."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from percpu_proofs.kernel.instance import Kernel, Library
from percpu_proofs.kernel.views import CompiledState
from percpu_proofs.recorded.vectors import MANIFEST, changed_chunks, state_fields
from percpu_proofs.run.driver import HandleError, handle_problem
from percpu_proofs.run.inputs import writing
from percpu_proofs.run.operations import OperationList
from percpu_proofs.run.state_record import (
    Difference,
    Record,
    Recorder,
    dump,
    outcome_record,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS


class FieldMeaning(NamedTuple):
    """A field in words, the kernel functions that set it, and the clauses that speak of it."""

    words: str
    functions: str = ""
    clauses: str = ""


_MOVES: Final = "pcpu_chunk_relocate pcpu_isolate_chunk pcpu_reintegrate_chunk"
_HINTS_SET: Final = "pcpu_block_update_hint_alloc pcpu_block_update_hint_free"
_PLACES: Final = "pcpu_find_block_fit pcpu_alloc_area"
_ASKS: Final = "pcpu_schedule_balance_work"
_COUNTS: Final = "pcpu_chunk_populated pcpu_chunk_depopulated"
_CHARGES: Final = "pcpu_memcg_pre_alloc_hook pcpu_memcg_post_alloc_hook pcpu_memcg_free_hook"

MEANINGS: Final = {
    "stopped": FieldMeaning("the kernel stops"),
    "id": FieldMeaning("the number of the chunk", "pcpu_create_chunk"),
    "slot": FieldMeaning("the list that it is on", _MOVES, "LIST-1 LIST-2 LIST-3 LIST-4"),
    "slots": FieldMeaning("chunks, head to tail", _MOVES, "LIST-1 LIST-2 LIST-3 LIST-4"),
    "cslot": FieldMeaning("the list that its hints ask for", "pcpu_chunk_slot", "SLOT-1"),
    "iso": FieldMeaning("isolated", "pcpu_isolate_chunk pcpu_reintegrate_chunk", "ISO-2 ISO-3"),
    "imm": FieldMeaning("immutable", "pcpu_alloc_first_chunk", "RCL-2"),
    "free": FieldMeaning("free_bytes", "pcpu_alloc_area pcpu_free_area", "MAP-2 MAP-4"),
    "npages": FieldMeaning("nr_pages", "pcpu_alloc_chunk pcpu_alloc_first_chunk"),
    "npop": FieldMeaning("nr_populated, its populated pages", _COUNTS, "POP-3"),
    "nempty": FieldMeaning(
        "nr_empty_pop_pages, its empty populated pages", "pcpu_update_empty_pages", "POP-1"
    ),
    "so": FieldMeaning("start_offset, in bytes", "pcpu_alloc_first_chunk"),
    "eo": FieldMeaning("end_offset, in bytes", "pcpu_alloc_first_chunk"),
    "pop": FieldMeaning("populated, the bitmap of its pages", _COUNTS, "POP-2 POP-3"),
    "amap": FieldMeaning("alloc_map", f"{_PLACES} pcpu_free_area", "MAP-1 FIT-1 FIT-2"),
    "bmap": FieldMeaning("bound_map", "pcpu_alloc_area pcpu_free_area", "MAP-3"),
    "md": FieldMeaning(
        "of its own hints", f"{_HINTS_SET} pcpu_chunk_refresh_hint", "HINT-1 HINT-5 HINT-7"
    ),
    "blk": FieldMeaning(
        "of the hints", f"{_HINTS_SET} pcpu_block_refresh_hint", "HINT-1 HINT-2 HINT-3 HINT-4"
    ),
    "objcg": FieldMeaning("bits at which charged areas begin", _CHARGES, "ACC-1 ACC-2"),
    "nr_pop": FieldMeaning("pcpu_nr_populated, in pages", _COUNTS, "POP-3"),
    "nr_empty": FieldMeaning(
        "the float, pcpu_nr_empty_pop_pages",
        "pcpu_update_empty_pages pcpu_isolate_chunk pcpu_reintegrate_chunk", "FLT-1 BAL-1",
    ),
    "atomic_failed": FieldMeaning(
        "pcpu_atomic_alloc_failed", "pcpu_alloc pcpu_balance_populated", "BAL-5"
    ),
    "live_pages": FieldMeaning(
        "pages held for all units", "pcpu_alloc_pages pcpu_free_pages", "POP-4"
    ),
    "page_allocs": FieldMeaning("pages allocated since boot", "pcpu_alloc_pages"),
    "creates": FieldMeaning("chunks created since boot", "pcpu_create_chunk", "BAL-3 API-5"),
    "destroys": FieldMeaning("chunks destroyed since boot", "pcpu_balance_free", "BAL-6"),
    "tlb": FieldMeaning("flushes of translations", "pcpu_post_unmap_tlb_flush", "TLB-1 ISO-1"),
    "charged": FieldMeaning("bytes charged", _CHARGES, "ACC-1 ACC-2"),
    "objrefs": FieldMeaning("references to the cgroup", _CHARGES, "ACC-1"),
    "sched": FieldMeaning("balance work is pending", _ASKS, "BAL-4 BAL-5"),
    "nsched": FieldMeaning("requests for balance work", _ASKS, "BAL-4 BAL-5"),
    "chunk": FieldMeaning("the chunk of the area handed out", _PLACES, "FIT-1 FIT-2 LIST-4"),
    "off": FieldMeaning("offset of the area handed out, in bytes", _PLACES, "FIT-1 FIT-2 API-4"),
    "ok": FieldMeaning("success", "pcpu_alloc", "FIT-1 API-9"),
    "ran": FieldMeaning("the balance work runs", _ASKS, "BAL-4"),
    "warn": FieldMeaning("warnings", "pcpu_alloc", "API-1"),
    "prwarn": FieldMeaning("failures printed", "pcpu_alloc"),
    "stacks": FieldMeaning("stacks printed", "pcpu_alloc"),
    "async": FieldMeaning("pcpu_async_enabled", "percpu_enable_async"),
    "memory touched or freed wrongly": FieldMeaning(
        "memory touched or freed wrongly", "", "ISO-1 POP-2"
    ),
    "blocks of memory left behind": FieldMeaning("blocks of memory left behind", "pcpu_free_chunk"),
    "locks taken wrongly": FieldMeaning("locks taken or released wrongly", "", "LOCK-1 LOCK-2"),
    "asked for": FieldMeaning(
        "requests since boot", "pcpu_alloc pcpu_create_chunk pcpu_populate_chunk", "GFP-1 GFP-2"
    ),
    "repeat": FieldMeaning("the code does not do the same twice"),
}  # fmt: skip

_PART: Final = re.compile(r"\.?([a-z_][a-z_ ]*)|\[(-?\d+)\]")
OPERATION: Final = {
    "a": "pcpu_alloc", "f": "free_percpu", "b": "pcpu_balance_workfn", "B": "pcpu_balance_workfn",
    "d": "free_percpu", "w": "free_percpu", "s": "free_percpu",
}  # fmt: skip
"""The kernel function that an operation calls."""


def meaning(difference: Difference) -> FieldMeaning:
    """Return what differs in words, with where: the chunk, the block, the hint."""
    clause = difference.field.removeprefix("clause ")
    if clause != difference.field:
        return FieldMeaning(f"{clause} is broken", "", clause)
    names: list[str] = []
    numbers: list[int] = []
    for name, number in _PART.findall(difference.field):
        if name:
            names.append(name)
        else:
            numbers.append(int(number))
    if names[0] == "chunks":
        at, *inner = numbers
        if len(names) == 1:
            return FieldMeaning(f"chunk {at}", "pcpu_create_chunk pcpu_destroy_chunk", "LIST-1")
        name = names[-1]
        what = MEANINGS.get(name, FieldMeaning(name))
        words = f"chunk {at}: {what.words}"
        if inner and name == "md":
            words = f"chunk {at}: {HINTS[inner[0]]} {what.words}"
        elif inner and name == "blk":
            words = f"chunk {at}, block {inner[0]}: {HINTS[inner[1]]}"
        return what._replace(words=words)
    if names[0] == "asked for":
        asked = MEANINGS["asked for"]
        return asked._replace(words=f"{asked.words} of {difference.field.partition('.')[2]}")
    if names[0] == "slots" and numbers:
        return MEANINGS["slots"]._replace(words=f"list {numbers[0]}: {MEANINGS['slots'].words}")
    return MEANINGS.get(names[-1], FieldMeaning(difference.field))


def sentence(difference: Difference) -> str:
    """Return a difference in one line."""
    detail = f" ({difference.detail})" if difference.detail else ""
    kernel, model = (
        "has it" if isinstance(value, dict) else value
        for value in (difference.kernel, difference.model)
    )
    return f"{meaning(difference).words}: kernel {kernel}, model {model}{detail}"


LEVEL: Final = 9
"""Of compression; with no name and no time in the header the bytes depend on the text alone."""


@dataclass(frozen=True, slots=True)
class VectorRecording:
    """What one vector is made from: a geometry, operations and their texts."""

    name: str
    geometry: Geometry
    listed: OperationList
    texts: Sequence[str]


def records(library: Library, version: str, recording: VectorRecording) -> Iterator[Record]:
    """Yield the lines of a vector: the boot state, then one operation a line.

    Raises InputError for a handle named wrongly, KernelStopped.
    """
    geometry = recording.geometry
    with Kernel(library, geometry) as kernel:
        state = CompiledState(kernel)
        recorder = Recorder(state)
        before = recorder.read()
        yield {
            "n": 0, "op": "init", "geom": _sizes(geometry), "nr_slots": state.nr_slots,
            "sidelined_slot": state.sidelined_slot, "free_slot": state.free_slot,
            "to_depop_slot": state.to_depopulate_slot, "version": version,
            **state_fields(before, state), "chunks": changed_chunks(before, None),
        }  # fmt: skip
        for n, operation in enumerate(recording.listed.operations, 1):
            try:
                result = kernel.apply(operation)
            except HandleError as error:
                raise handle_problem(recording.listed, n - 1, error) from None
            state.read()
            after = recorder.read()
            yield {
                "in": recording.texts[n - 1], "n": n, "op": operation[0],
                **outcome_record(operation, *result),
                **state_fields(after, state), "changed": changed_chunks(after, before),
            }  # fmt: skip
            before = after


def _sizes(geometry: Geometry) -> Record:
    rest = {"page": geometry.page, "spare": geometry.spare, "backing": geometry.backing}
    return {
        "unit": geometry.unit, "static": geometry.static, "reserved": geometry.reserved,
        "dyn": geometry.dyn, "cpus": geometry.cpus, "groups": geometry.groups,
        "memcg": int(geometry.memcg), "async": int(geometry.async_enabled),
        **{name: value for name, value in rest.items() if value != getattr(Geometry(), name)},
    }  # fmt: skip


def write_vector(path: Path, library: Library, version: str, recording: VectorRecording) -> Record:
    """Write a vector file and return its entry of a manifest."""
    text = io.StringIO()
    last: Record = {}
    for last in records(library, version, recording):
        text.write(dump(last) + "\n")
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as stream:
        stream.write(text.getvalue().encode())
    with writing(path):
        path.write_bytes(packed.getvalue())
    return {
        "file": path.name,
        "geom": _sizes(recording.geometry),
        "ops": len(recording.listed.operations),
        "sha256": hashlib.sha256(packed.getvalue()).hexdigest(),
        "final_crc": last["crc"],
    }


def write_manifest(folder: Path, source: str, entries: list[dict[str, Any]]) -> None:
    """Write the manifest of a folder's vectors."""
    text = json.dumps({"source": source, "files": entries}, indent=1)
    with writing(folder / MANIFEST):
        (folder / MANIFEST).write_text(text + "\n")

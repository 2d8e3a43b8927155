"""The plain meaning of every derived quantity, straight from the bitmaps.

No hint is read here (`chunk_slot` excepted, which is defined over one). A map is read only through
`find`, `rfind`, `count`, `[]` and `len`, so a bytearray and a symbolic list of booleans both do.
Ranges are half open; positions and lengths are map bits unless named bytes or pages.
"""

from percpu_spec.definitions.areas import (
    area_size,
    live_areas,
    served_areas,
    served_range,
)
from percpu_spec.definitions.pages import (
    empty_populated_pages,
    is_fully_free,
    is_populated,
    pages_of,
)
from percpu_spec.definitions.requests import (
    OBJECT_POINTER,
    charged_size,
    is_legal,
    rounded_align,
    rounded_size,
)
from percpu_spec.definitions.runs import (
    first_free,
    free_bits,
    free_runs,
    is_free,
    left_free,
    longest_across,
    longest_free_run,
    longest_run,
    longest_run_and_place,
    right_free,
    runs_of_at_least,
)
from percpu_spec.definitions.slots import (
    SlotLayout,
    active_slot,
    chunk_slot,
    computed_list,
    list_number,
    lists_of_slot,
    size_to_slot,
    slot_layout,
    slots_per_type,
)
from percpu_spec.definitions.totals import (
    Listing,
    chunks_of_type,
    dynamic_chunks,
    empty_page_float,
    first_chunk_pages,
    listed_chunks,
    live_chunks,
)

__all__ = [
    "OBJECT_POINTER", "Listing", "SlotLayout", "active_slot", "area_size", "charged_size",
    "chunk_slot", "chunks_of_type", "computed_list", "dynamic_chunks", "empty_page_float",
    "empty_populated_pages", "first_chunk_pages", "first_free", "free_bits", "free_runs", "is_free",
    "is_fully_free", "is_legal", "is_populated", "left_free", "list_number", "listed_chunks",
    "lists_of_slot", "live_areas", "live_chunks", "longest_across", "longest_free_run",
    "longest_run", "longest_run_and_place", "pages_of", "right_free", "rounded_align",
    "rounded_size", "runs_of_at_least", "served_areas", "served_range", "size_to_slot",
    "slot_layout", "slots_per_type",
]  # fmt: skip

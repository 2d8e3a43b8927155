"""Rows for test_predicates: clause, predicate, call that holds, breakage, part of message."""

from __future__ import annotations

from collections.abc import Callable

from plain_state import SMALL as G
from plain_state import Allocator, Chunk

from percpu_contracts.clauses import (
    accounting,
    api,
    balance,
    floats,
    hints,
    isolation,
    lists,
    maps,
    population,
    reclaim,
)
from percpu_contracts.registry import Predicate
from percpu_spec.geometry import Geometry

Call = Callable[[Allocator], str | None]
Break = Callable[[Allocator], object]


def poke(target: Callable[[Allocator], object], **values: object) -> Break:
    """Return a breakage that sets attributes of a part of the state."""

    def change(state: Allocator) -> None:
        for name, value in values.items():
            setattr(target(state), name, value)

    return change


def on_busy(predicate: Predicate) -> Call:
    """Ask a chunk predicate of the busy chunk, with the geometry."""
    return lambda s: predicate(s.busy, G)


def on_block_1(predicate: Predicate) -> Call:
    """Ask a block predicate of the busy chunk's second block: EE....FF."""
    return lambda s: predicate(s.busy, 1, G)


def chunk_of(s: Allocator) -> Chunk:
    return s.busy


def md(s: Allocator) -> object:
    return s.busy.chunk_md


def block1(s: Allocator) -> object:
    return s.busy.md_blocks[1]


def move(source: int, target: int) -> Break:
    """Return a breakage that moves the head of one list to another."""
    return lambda s: s.slot_chunks(target).append(s.slot_chunks(source).pop(0))


def take_area(s: Allocator) -> None:
    """Allocate bits 10 and 11 of the busy chunk behind the hints' back."""
    s.busy.alloc_map[10:12] = b"\1\1"


CASES: list[tuple[str, Predicate, Call, Break, str]] = [
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     take_area, "block 1: contig_hint of 4 bits at 2"),
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     poke(block1, scan_hint=2, scan_hint_start=7), "scan_hint of 2 bits at 7"),
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     poke(block1, first_free=3), "first_free 3 lies behind free bit 2"),
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     poke(block1, left_free=1), "left_free 1 of 0"),
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     poke(block1, right_free=1), "right_free 1 of 0"),
    ("HINT-1", hints.block_hints_are_sound, on_block_1(hints.block_hints_are_sound),
     poke(block1, contig_hint=-1), "contig_hint of -1"),
    ("HINT-1", hints.chunk_hint_is_sound, lambda s: hints.chunk_hint_is_sound(s.busy, G),
     poke(md, contig_hint=17), "chunk: contig_hint of 17 bits at 16"),
    ("HINT-1", hints.hints_are_sound, on_busy(hints.hints_are_sound), take_area, "block 1"),
    ("HINT-1", hints.hints_are_sound, on_busy(hints.hints_are_sound),
     poke(md, first_free=11), "chunk: first_free 11"),
    ("HINT-2", hints.block_left_is_exact, on_block_1(hints.block_left_is_exact),
     poke(block1, first_free=1), "first_free 1, expected 2"),
    ("HINT-2", hints.block_left_is_exact, on_block_1(hints.block_left_is_exact),
     poke(block1, left_free=2), "left_free 2, expected 0"),
    ("HINT-2", hints.left_is_exact, on_busy(hints.left_is_exact),
     poke(lambda s: s.busy.md_blocks[3], left_free=7), "block 3: left_free 7, expected 8"),
    ("HINT-3", hints.block_right_is_exact, lambda s: hints.block_right_is_exact(s.busy, 2, G),
     poke(lambda s: s.busy.md_blocks[2], right_free=0), "block 2: right_free 0, expected 8"),
    ("HINT-3", hints.right_is_exact, on_busy(hints.right_is_exact),
     poke(block1, right_free=1), "block 1: right_free 1, expected 0"),
    ("HINT-4", hints.block_hints_are_ordered, on_block_1(hints.block_hints_are_ordered),
     poke(block1, scan_hint=4, scan_hint_start=0), "scan_hint of 4 bits at 0"),
    ("HINT-4", hints.chunk_hints_are_ordered, on_busy(hints.chunk_hints_are_ordered),
     poke(md, scan_hint=4, scan_hint_start=20), "chunk: scan_hint of 4 bits at 20"),
    ("HINT-4", hints.hints_are_ordered, lambda s: hints.hints_are_ordered(s.busy, G),
     poke(block1, scan_hint=1, scan_hint_start=5), "block 1: scan_hint of 1 bit "),
    ("HINT-5", hints.chunk_hint_is_close, on_busy(hints.chunk_hint_is_close),
     poke(md, contig_hint=8), "contig_hint 8 is a page or more off the longest run, 16 bits"),
    ("HINT-5", hints.chunk_hint_is_close, on_busy(hints.chunk_hint_is_close),
     poke(md, contig_hint=17), "off the longest run, 16 bits"),
    ("HINT-5", hints.chunk_hint_is_close, lambda s: hints.chunk_hint_is_close(s.first_chunk, G),
     poke(lambda s: s.first_chunk.chunk_md, contig_hint=4), "expected 6 bits, a run inside one"),
    ("HINT-6", hints.block_hint_is_longest, on_block_1(hints.block_hint_is_longest),
     poke(block1, contig_hint=3), "contig_hint 3, longest run 4 bits"),
    ("HINT-6", hints.chunk_hint_is_longest, lambda s: hints.chunk_hint_is_longest(s.busy, G),
     poke(md, contig_hint=15), "contig_hint 15, longest run 16 bits"),
    ("HINT-6", hints.hints_are_longest, on_busy(hints.hints_are_longest),
     poke(block1, contig_hint=0), "block 1: contig_hint 0"),
    ("HINT-7", hints.chunk_first_free_is_exact,
     lambda s: hints.chunk_first_free_is_exact(s.busy, G),
     poke(md, first_free=0), "first_free 0, expected bit 10"),
    ("HINT-8", hints.block_emptiness_shows, lambda s: hints.block_emptiness_shows(s.busy, 2, G),
     poke(lambda s: s.busy.md_blocks[2], contig_hint=7), "contig_hint 7 of 8 bits, all free"),
    ("HINT-8", hints.emptiness_shows, on_busy(hints.emptiness_shows),
     poke(block1, contig_hint=8), "block 1: contig_hint 8 of 8 bits, not all free"),
    ("MAP-1", maps.areas_match, lambda s: maps.areas_match(s.busy, [(0, 32), (56, 8), (32, 8)], G),
     take_area, "in the map but not held [(40, 16)]"),
    ("MAP-2", maps.free_bytes_are_counted, on_busy(maps.free_bytes_are_counted),
     take_area, "free_bytes 80, 72 bytes free"),
    ("MAP-3", maps.bounds_delimit_areas, on_busy(maps.bounds_delimit_areas),
     lambda s: s.busy.bound_map.__setitem__(16, 0), "end at 16: no boundary bit ends"),
    ("MAP-3", maps.bounds_delimit_areas, lambda s: maps.bounds_delimit_areas(s.first_chunk, G),
     lambda s: s.first_chunk.bound_map.__setitem__(0, 0), "bit 0: no boundary bit starts"),
    ("MAP-3", maps.block_bounds_delimit_areas,
     lambda s: maps.block_bounds_delimit_areas(s.first_chunk, 0, G),
     lambda s: s.first_chunk.bound_map.__setitem__(0, 0), "bit 0: no boundary bit starts"),
    ("MAP-3", maps.hidden_parts_are_areas,
     lambda s: maps.hidden_parts_are_areas(s.reserved_chunk, G),
     lambda s: s.reserved_chunk.bound_map.__setitem__(6, 0), "no boundary bit at 6"),
    ("MAP-3", maps.hidden_parts_are_areas,
     lambda s: maps.hidden_parts_are_areas(s.reserved_chunk, G),
     lambda s: s.reserved_chunk.alloc_map.__setitem__(5, 0), "hidden bit 5 is not allocated"),
    ("MAP-3", maps.hidden_parts_are_areas,
     lambda s: maps.hidden_parts_are_areas(s.reserved_chunk, G),
     poke(lambda s: s.reserved_chunk, end_offset=4), "hidden bit 15 is not allocated"),
    ("MAP-5", maps.shape_fits, on_busy(maps.shape_fits),
     lambda s: s.busy.md_blocks.pop(), "md_blocks: 3, expected 4"),
    ("MAP-5", maps.shape_fits, on_busy(maps.shape_fits),
     lambda s: s.busy.bound_map.pop(), "bound_map: 32, expected 33"),
    ("API-2", api.free_names_area, lambda s: api.free_names_area(s.busy, 56, G),
     lambda s: s.busy.alloc_map.__setitem__(14, 0), "byte 56: no live area"),
    ("API-4", api.area_fits_request, lambda s: api.area_fits_request(s.busy, 56, 5, 8, G),
     lambda s: s.busy.bound_map.__setitem__(15, 1), "area of 4 bytes at byte 56, expected 8"),
    ("LIST-1", lists.chunks_have_one_place, lists.chunks_have_one_place,
     lambda s: s.slot_chunks(3).append(s.busy), "on list 3 and on list 4"),
    ("LIST-1", lists.chunks_have_one_place, lists.chunks_have_one_place,
     lambda s: s.slot_chunks(3).append(s.reserved_chunk), "reserved chunk is on list 3"),
    ("LIST-1", lists.chunks_have_one_place, lists.chunks_have_one_place,
     lambda s: s.owned.append(s.busy), "also on list 4"),
    ("LIST-1", lists.chunks_have_one_place, lists.chunks_have_one_place,
     lambda s: s.lists[2].clear(), "the first chunk is on no list"),
    ("LIST-1", lists.chunks_have_one_place,
     lambda s: lists.chunks_have_one_place(s, [s.free, s.busy]),
     lambda s: s.lists[4].clear(), "live chunk 1 is on no list"),
    ("LIST-2", lists.chunk_is_on_its_list, lambda s: lists.chunk_is_on_its_list(s, s.busy, 4),
     poke(md, contig_hint=4), "on list 4, not 2"),
    ("LIST-3", lists.free_list_is_exact, lists.free_list_is_exact, move(4, 7), "80 bytes free"),
    ("LIST-3", lists.free_list_is_exact, lists.free_list_is_exact, move(7, 5), "list 5"),
    ("LIST-4", lists.placement_is_explained, lists.placement_is_explained, move(4, 0),
     "on list 0, computed list 4"),
    ("LIST-4", lists.placement_is_explained, lists.placement_is_explained, move(2, 1),
     "on list 1, computed list 2"),
    ("SLOT-1", lists.computed_slot_is, lambda s: lists.computed_slot_is(s.busy, 4, G),
     poke(md, contig_hint=15), "slot 4 for contig_hint 15 bits, expected 3"),
    ("SLOT-2", lists.layout_is, lists.layout_is, poke(lambda s: s, free_slot=6), "expected (6, 7"),
    ("POP-1", population.empty_pages_are_counted, on_busy(population.empty_pages_are_counted),
     poke(chunk_of, nr_empty_pop_pages=0), "nr_empty_pop_pages 0, expected 1 page"),
    ("POP-2", population.area_is_populated,
     lambda s: population.area_is_populated(s.busy, 32, 8, G),
     lambda s: s.busy.populated.__setitem__(1, 0), "byte 32: page 1 is not populated"),
    ("POP-2", population.used_pages_are_populated, on_busy(population.used_pages_are_populated),
     lambda s: s.busy.populated.__setitem__(1, 0), "page 1 holds allocated bit 8"),
    ("POP-3", population.populated_pages_are_counted,
     lambda s: population.populated_pages_are_counted(s.busy, G),
     poke(chunk_of, nr_populated=4), "nr_populated 4, expected 3 pages"),
    ("POP-3", population.all_populated_pages_are_counted,
     population.all_populated_pages_are_counted,
     poke(lambda s: s, nr_populated=5), "nr_populated 5, expected 9 pages"),
    ("POP-5", population.km_chunks_are_whole, population.km_chunks_are_whole,
     poke(lambda s: s, geometry=Geometry(unit=128, static=24, reserved=40, dyn=64, page=32,
                                         backing="km")), "km: a chunk on list 4 lacks page 3"),
    ("FLT-1", floats.float_is_counted, floats.float_is_counted,
     poke(chunk_of, nr_empty_pop_pages=-1), "float 2, chunks' counters sum to 0 pages"),
    ("ISO-1", isolation.released_is_hidden, lambda s: isolation.released_is_hidden(s, s.owned[0])
     if s.owned else None, lambda s: s.owned.append(s.side), "being released is on list 6"),
    ("ISO-2", isolation.isolated_are_apart, isolation.isolated_are_apart,
     poke(chunk_of, isolated=True), "list 4 is isolated"),
    ("ISO-2", isolation.isolated_are_apart, isolation.isolated_are_apart,
     poke(lambda s: s.side, isolated=False), "list 6 is not isolated"),
    ("RCL-2", reclaim.immutable_is_whole, lambda s: reclaim.immutable_is_whole(s.first_chunk, G),
     lambda s: s.first_chunk.populated.__setitem__(1, 0), "lacks page 1"),
    ("RCL-2", reclaim.boot_is_immutable, reclaim.boot_is_immutable,
     poke(lambda s: s.first_chunk, immutable=False), "the first chunk is not immutable"),
    ("RCL-2", reclaim.boot_is_immutable, reclaim.boot_is_immutable,
     poke(chunk_of, immutable=True), "a chunk created since boot is immutable"),
    ("RCL-3", reclaim.reclaim_is_done, reclaim.reclaim_is_done, move(6, 8), "1 chunk left"),
    ("RCL-3", reclaim.reclaim_is_done, reclaim.reclaim_is_done,
     lambda s: s.side.populated.__setitem__(2, 1), "keeps 1 empty populated page"),
    ("RCL-4", reclaim.chunk_is_drained, lambda s: reclaim.chunk_is_drained(s, s.side),
     lambda s: (s.side.populated.__setitem__(slice(1, 4), b"\1\1\1"),
                s.free.populated.__setitem__(slice(0, 4), b"\1\1\1\1")),
     "3 empty populated pages left after reclaim; the float without them is 5"),
    ("RCL-5", reclaim.special_stay_active, reclaim.special_stay_active,
     poke(lambda s: s.first_chunk, isolated=True), "the first chunk is isolated"),
    ("RCL-5", reclaim.special_stay_active, reclaim.special_stay_active,
     poke(lambda s: s.reserved_chunk, isolated=True), "the reserved chunk is isolated"),
    ("BAL-2", balance.one_free_chunk, balance.one_free_chunk,
     lambda s: s.busy.alloc_map.__setitem__(slice(0, 16), bytes(16)), "2 fully free chunks"),
    ("STAT-1", accounting.counts_agree, lambda s: accounting.counts_agree(s.stats),
     poke(lambda s: s.stats, nr_dealloc=3), "nr_cur_alloc 7, expected 9 made - 3 freed"),
    ("STAT-1", accounting.counts_agree, lambda s: accounting.counts_agree(s.stats),
     poke(lambda s: s.stats, nr_max_alloc=6), "maxima of 6 areas"),
    ("STAT-1", accounting.counts_are_true, lambda s: accounting.counts_are_true(s, s.stats),
     poke(lambda s: s.stats, nr_alloc=8, nr_cur_alloc=6), "nr_cur_alloc 6, expected 7"),
    ("STAT-1", accounting.counts_are_true, lambda s: accounting.counts_are_true(s, s.stats),
     lambda s: s.lists[7].clear(), "nr_chunks 4, expected 3"),
    ("STAT-1", accounting.sizes_bracket, lambda s: accounting.sizes_bracket(s.stats, 32),
     poke(lambda s: s.stats, max_alloc_size=28), "area of 32 bytes outside 4..28"),
]  # fmt: skip

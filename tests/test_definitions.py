"""The definitions against per-bit loops, on a bytearray and on its twin of booleans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_state import SMALL, Bools, allocator, chunk

from percpu_spec import definitions as d
from percpu_spec.geometry import Geometry
from percpu_spec.views import BitMap

maps = st.lists(st.booleans(), max_size=40)
block_maps = st.one_of(
    st.just([False] * 8), st.just([True] * 8), st.lists(st.booleans(), min_size=8, max_size=8)
)
whole_maps = st.tuples(*[block_maps] * 4).map(lambda blocks: [bit for b in blocks for bit in b])
pages = st.lists(st.booleans(), min_size=4, max_size=4)


def both(bits: list[bool]) -> tuple[BitMap, BitMap]:
    return bytearray(bits), Bools(bits)


def naive_runs(bits: list[bool], start: int, end: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for at in range(start, end):
        if bits[at]:
            continue
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + 1)
        else:
            runs.append((at, at + 1))
    return runs


@st.composite
def ranges(draw: st.DrawFn) -> tuple[list[bool], int, int]:
    bits = draw(maps)
    start = draw(st.integers(0, len(bits)))
    return bits, start, draw(st.integers(start, len(bits)))


@given(ranges())
def test_runs_of_a_range(case: tuple[list[bool], int, int]) -> None:
    bits, start, end = case
    runs = naive_runs(bits, start, end)
    longest = max((e - s for s, e in runs), default=0)
    for view in both(bits):
        assert list(d.free_runs(view, start, end)) == runs
        at, length = d.longest_free_run(view, start, end)
        assert length == longest
        if length:
            assert at == next(s for s, e in runs if e - s == longest)
        assert d.is_free(view, start, end) == (not any(bits[start:end]))
        assert d.left_free(view, start, end) == sum(e - s for s, e in runs if s == start)
        assert d.right_free(view, start, end) == sum(e - s for s, e in runs if e == end)
        assert d.first_free(view, start, end) == (runs[0][0] if runs else end) - start


@given(maps, st.integers(1, 12))
def test_runs_of_at_least(bits: list[bool], length: int) -> None:
    wanted = [s for s, e in naive_runs(bits, 0, len(bits)) if e - s >= length]
    for view in both(bits):
        assert list(d.runs_of_at_least(view, length)) == wanted
        assert list(d.free_runs(view)) == naive_runs(bits, 0, len(bits))
        assert d.free_bits(view) == bits.count(False)


def as_text(bits: list[bool]) -> str:
    text = "".join("X" if b else "." for b in bits)
    return " ".join(text[i : i + 8] for i in range(0, 32, 8))


@given(whole_maps)
def test_longest_run_and_place(bits: list[bool]) -> None:
    runs = naive_runs(bits, 0, 32)
    longest = max((e - s for s, e in runs), default=0)
    inside = any(s // 8 == (e - 1) // 8 for s, e in runs if e - s == longest)
    case = chunk(as_text(bits), "0000")
    assert d.longest_run(case) == longest
    assert d.longest_run_and_place(case, SMALL) == (longest, inside or not longest)
    assert d.is_fully_free(case, SMALL) == (True not in bits)


@pytest.mark.parametrize(
    ("text", "longest", "inside"),
    [
        ("XXXXXXXX XXXXXXXX XXXXXXXX XXXXXXXX", 0, True),
        ("XXXXXXXX ........ XXXXXXXX XXXXXXXX", 8, True),
        ("XXXXXX.. ......XX XXXXXXXX XXXXXXXX", 8, False),
        ("XXXXXX.. ......XX ........ XXXXXXXX", 8, True),
        ("XXXXXXX. ........ XXXXXXXX ........", 9, False),
        ("XXXXXXX. .XXXXXXX XXXXX..X XXXXXXXX", 2, True),
        ("XXXXXXXX XXXXXXXX XXXXXXXX XXXXXX..", 2, True),
    ],
)
def test_place_of_the_longest_run(text: str, longest: int, inside: bool) -> None:
    assert d.longest_run_and_place(chunk(text, "0000"), SMALL) == (longest, inside)


@given(whole_maps, pages)
def test_empty_populated_pages(bits: list[bool], populated: list[bool]) -> None:
    case = chunk(as_text(bits), "".join("01"[p] for p in populated))
    used = [any(bits[8 * p : 8 * p + 8]) for p in range(4)]
    empty = sum(p and not u for p, u in zip(populated, used, strict=True))
    twin = replace(case, alloc_map=Bools(bits), populated=Bools(populated))
    for view in (case, twin):
        assert d.empty_populated_pages(view, SMALL) == empty


@given(pages, st.integers(0, 31), st.integers(1, 32))
def test_is_populated(populated: list[bool], start: int, length: int) -> None:
    end = min(start + length, 32)
    case = chunk(as_text([False] * 32), "".join("01"[p] for p in populated))
    touched = {bit // 8 for bit in range(start, end)}
    assert d.is_populated(case, start, end, SMALL) == all(populated[p] for p in touched)
    assert set(range(*d.pages_of(SMALL, start, end))) == touched


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=12))
def test_live_areas(steps: list[tuple[int, int]]) -> None:
    """Areas at gaps and lengths, stale boundary bits left between them."""
    areas, at = [], 0
    case = chunk(as_text([False] * 32), "1111")
    for gap, length in steps:
        at += gap
        if at + length > 32:
            break
        areas.append((at, at + length))
        case.alloc_map[at : at + length] = b"\1" * length
        at += length
    for bit in range(33):
        inner = any(s < bit < e for s, e in areas)
        case.bound_map[bit] = 0 if inner else 1
    assert list(d.live_areas(case)) == areas
    assert list(d.served_areas(case, SMALL)) == areas
    for off in range(0, 128):
        size = next((4 * (e - s) for s, e in areas if 4 * s == off), None)
        assert d.area_size(case, off, SMALL) == size


def test_hidden_parts_are_not_served() -> None:
    reserved = allocator().reserved_chunk
    assert reserved is not None
    assert d.served_range(reserved, SMALL) == (6, 16)
    assert list(d.live_areas(reserved)) == [(0, 6), (6, 8)]
    assert list(d.served_areas(reserved, SMALL)) == [(6, 8)]
    assert d.area_size(reserved, 0, SMALL) is None
    assert d.area_size(reserved, 24, SMALL) == 8
    assert d.area_size(reserved, -4, SMALL) is None
    assert d.area_size(reserved, 4096, SMALL) is None


@pytest.mark.parametrize(
    ("nbytes", "slot"),
    [(4, 1), (15, 1), (16, 2), (31, 2), (32, 3), (63, 3), (64, 4), (4096, 10), (32768, 13),
     (65532, 13), (65536, 16)],
)  # fmt: skip
def test_size_to_slot_of_a_64_kib_unit(nbytes: int, slot: int) -> None:
    assert d.size_to_slot(Geometry(), nbytes) == slot


@given(st.integers(1, 65535))
def test_size_to_slot_grows_by_doubling(nbytes: int) -> None:
    slot = 1
    while 1 << (slot + 3) <= nbytes:
        slot += 1
    if nbytes < 65536:
        assert d.size_to_slot(Geometry(), nbytes) == max(slot, 1)


@pytest.mark.parametrize(("unit", "layout"), [(32768, (14, 15, 16, 17)), (65536, (15, 16, 17, 18))])
def test_slot_layout(unit: int, layout: tuple[int, int, int, int]) -> None:
    geometry = Geometry(unit=unit, static=4096, reserved=0, dyn=20480)
    assert tuple(d.slot_layout(geometry)) == layout
    assert d.size_to_slot(geometry, unit) == layout[1]


@pytest.mark.parametrize(
    ("free_bytes", "contig", "slot"),
    [(0, 0, 0), (3, 1, 0), (4, 0, 0), (4, 1, 1), (16, 4, 2), (64, 16, 4), (128, 32, 7)],
)
def test_chunk_slot(free_bytes: int, contig: int, slot: int) -> None:
    case = allocator().busy
    case.free_bytes, case.chunk_md.contig_hint = free_bytes, contig
    assert d.chunk_slot(case, SMALL) == slot


@pytest.mark.parametrize(
    ("size", "align", "legal"),
    [(0, 4, False), (1, 0, True), (4, 3, True), (32768, 4096, True), (32765, 4, True),
     (32769, 4, False), (8, 12, False), (8, 8192, False), (8, 6, False), (8, 1, True)],
)  # fmt: skip
def test_is_legal(size: int, align: int, legal: bool) -> None:
    assert d.is_legal(Geometry(), size, align) == legal


def test_sizes_of_requests() -> None:
    assert [d.rounded_size(SMALL, n) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]
    assert [d.rounded_align(SMALL, n) for n in (0, 3, 4, 8)] == [4, 4, 4, 8]
    assert d.charged_size(SMALL, 8) == 8 * 2 + 8 // 4 * 8
    assert d.charged_size(Geometry(cpus=4), 8) == 32


def test_totals() -> None:
    state = allocator()
    spare = chunk("........ ........ ........ ........", "1100")
    state.owned.append(spare)
    assert [slot for slot, _ in d.listed_chunks(state)] == [2, 4, 6, 7]
    assert sum(1 for _ in d.live_chunks(state)) == 5
    assert {id(c) for c in d.dynamic_chunks(state)} == {
        id(c) for c in (state.busy, state.free, state.side, spare)
    }
    assert d.empty_page_float(state) == 1 + 1 + 2  # busy, free, owned; side is isolated
    assert d.first_chunk_pages(state) == 4

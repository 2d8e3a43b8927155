"""States that a search takes for one must behave alike: whatever steps or clauses see tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from percpu_proofs.explore.fingerprint import Fingerprints
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.world import World
from percpu_reference.chunk import Chunk
from percpu_reference.variants import VARIANTS
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.views import HINTS

RACE = Scenario(
    "passed on", "an area that one allocates and another frees; of a second nobody else knows",
    ("a 1 28672 4 -", "a 2 4096 4 -"),
    ("f 1", "a 3 64 4 A", "f 3", "a 4 64 4 A", "a 5 20480 4 -"), works=1,
)  # fmt: skip


def world_of(scenario: Scenario = RACE) -> World:
    return World(scenario.start("linux_6_12"))


def last(world: World) -> Chunk:
    return next(c for c in world.allocator.chunks() if c is not world.allocator.first_chunk)


def _flip(bits: bytearray, at: int) -> None:
    bits[at] ^= 1


def _set(block: Any, name: str) -> None:
    setattr(block, name, getattr(block, name) + 1)


def _swap_lists(world: World) -> None:
    """The two chunks on lists change places."""
    chunks = [(head, c) for head in world.allocator.chunk_lists for c in head]
    (one, a), (two, b) = chunks
    assert one is not two
    for head, chunk in ((two, a), (one, b)):
        chunk.next = chunk.prev = head
        head.next = head.prev = chunk


def _lift(world: World) -> None:
    """A chunk goes from its list to the next one, beside whom the other chunk is anyway."""
    chunk = last(world)
    head = next(h for h in world.allocator.chunk_lists if chunk in list(h))
    up = world.allocator.chunk_lists[head.slot - 1]
    assert up.next is up
    head.next = head.prev = head
    up.next = up.prev = chunk
    chunk.next = chunk.prev = up


CHUNKS: dict[str, Callable[[Chunk], object]] = {
    "alloc_map": lambda c: _flip(c.alloc_map, 2000),
    "bound_map": lambda c: _flip(c.bound_map, 2000),
    "populated": lambda c: _flip(c.populated, 7),
    "isolated": lambda c: setattr(c, "isolated", not c.isolated),
    "free_bytes": lambda c: _set(c, "free_bytes"),
    "nr_populated": lambda c: _set(c, "nr_populated"),
    "nr_empty_pop_pages": lambda c: _set(c, "nr_empty_pop_pages"),
    "obj_exts": lambda c: setattr(c, "obj_exts", {}),
    **{f"chunk's {name}": lambda c, name=name: _set(c.chunk_md, name) for name in HINTS},
    **{f"block's {name}": lambda c, name=name: _set(c.md_blocks[3], name) for name in HINTS},
}  # type: ignore[misc]  # a lambda's default has the name that it is for
SHARED: dict[str, Callable[[World], object]] = {
    "lists": _swap_lists,
    "a list": _lift,
    "owned": lambda w: w.allocator.owned.append(w.allocator.first_chunk),
    "float": lambda w: _set(w.allocator, "nr_empty_pop_pages"),
    "nr_populated": lambda w: _set(w.allocator, "nr_populated"),
    "mutex": lambda w: setattr(w.allocator, "alloc_mutex", True),
    "stale": lambda w: w.history.stale.add((last(w), 3)),
    "given back": lambda w: w.history.given_back.add((last(w), 3)),
    "depopulated": lambda w: w.history.depopulated.add(last(w)),
}
AROUND: dict[str, Callable[[World], object]] = {
    "work pending": lambda w: setattr(w.allocator, "work_pending", not w.allocator.work_pending),
    "mark": lambda w: setattr(w.allocator, "atomic_alloc_failed", True),
    "page array": lambda w: setattr(w.allocator, "pages_array", not w.allocator.pages_array),
    "next chunk": lambda w: _set(w.allocator, "next_id"),
    "fault": lambda w: setattr(w.allocator.env.page_fault, "next", 1),
    "runs of the work": lambda w: _set(w, "works"),
    "refusals": lambda w: _set(w, "failures"),
    "creations": lambda w: _set(w, "alone"),
    "area passed on": lambda w: w.handles.update({3: (w.allocator.first_chunk, 64)}),
    "exposed": lambda w: setattr(w.runners[4], "exposed", "where it could be found"),
}


@pytest.mark.parametrize("field", CHUNKS)
def test_a_chunks_fields_tell_states_apart(field: str) -> None:
    world = world_of()
    before, record = world.protected(), world.fingerprints.record(last(world))
    CHUNKS[field](last(world))
    assert world.fingerprints.record(last(world)) != record
    assert world.fingerprints.of(world.allocator, world.history) != before
    other = world_of()
    assert Fingerprints().of(other.allocator, other.history) == before


@pytest.mark.parametrize("field", SHARED)
def test_what_the_locks_protect_tells_states_apart(field: str) -> None:
    world = world_of()
    before = world.protected()
    SHARED[field](world)
    assert world.fingerprints.of(world.allocator, world.history) != before


@pytest.mark.parametrize("field", AROUND)
def test_what_is_around_tells_states_apart(field: str) -> None:
    world = world_of()
    assert world.step(4).gap is not None
    world.handles[3] = world.allocator.first_chunk, 0
    before = world.shared()
    AROUND[field](world)
    assert world.shared() != before


def test_requests_differ_where_another_frees_what_they_allocate() -> None:
    world = world_of()
    assert world.place(1).key != world.place(3).key  # handle 3 is for actor 2 to free
    again = world_of(Scenario("", "", RACE.setup, ("f 1", "a 1 64 4 A", "a 4 64 4 A")))
    assert again.place(1).key != again.place(2).key  # the handle has an area already
    same = world_of(Scenario("", "", RACE.setup, ("a 3 64 4 A", "a 4 64 4 A")))
    assert same.place(0).key == same.place(1).key
    frees = world_of(Scenario("", "", RACE.setup, ("f 1", "f 2")))
    assert frees.place(0).key != frees.place(1).key  # of what they free


class _Unmarking(Linux612):
    """Marks the end of an area only while balance work is wanted."""

    __slots__ = ()

    def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
        off = super().alloc_area(chunk, alloc_bits, align, start)
        if off >= 0 and not self.work_pending:
            chunk.bound_map[off // self.granule + alloc_bits] = 0
        return off


def test_a_chunk_is_judged_with_its_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """States that differ in a map alone are judged each: hints and counters are no verdict."""
    monkeypatch.setitem(VARIANTS, "_Unmarking", _Unmarking)
    assert "MAP-3" in search(SCENARIOS["shrink-race"].start("_Unmarking")).findings

"""Index data that change without pcpu_lock are found as they change, whatever field it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless

from percpu_contracts.index_data import OWNERS, UNLOCKED
from percpu_contracts.traps import slots_of
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.cli import main
from percpu_proofs.explore.breadth import Sequences
from percpu_proofs.explore.fuzz import Fuzz
from percpu_proofs.explore.judges import ContractedWorld
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import Alphabet, AlphabetPlan
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.world import World
from percpu_proofs.run.driver import Driver
from percpu_reference import VARIANTS, VariantFileError, build
from percpu_reference.chunk import Area, Block, Chunk, ListHead
from percpu_reference.gaps import Steps
from percpu_reference.stats import Stats
from percpu_reference.variants import Allocator, variant_class
from percpu_reference.variants.linux_5_12 import Linux512
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.rfc_series import RfcSeries
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL

SCENARIO = SCENARIOS["reclaim-free"]
SIZES = Geometry().with_changes(SCENARIO.geometry)
OPERATIONS = "a 1 4096 4 -\na 2 4096 4 A\nf 1\nf 2\n"

Write = Callable[[Allocator, Chunk], object]

HOLDERS: dict[str, tuple[type, Callable[[Any, Chunk], Any], type[Allocator]]] = {
    # class whose slots are the fields, which object of it, a variant that has it
    "allocator": (Linux612, lambda allocator, chunk: allocator, Linux612),
    "linux_5_12": (Linux512, lambda allocator, chunk: allocator, Linux512),
    "rfc_series": (RfcSeries, lambda allocator, chunk: allocator, RfcSeries),
    "chunk": (Chunk, lambda allocator, chunk: chunk, Linux612),
    "list": (ListHead, lambda allocator, chunk: allocator.chunk_lists[3], Linux612),
    "hints of a chunk": (Block, lambda allocator, chunk: chunk.chunk_md, Linux612),
    "hints of a block": (Block, lambda allocator, chunk: chunk.md_blocks[1], Linux612),
    "statistics": (Stats, lambda allocator, chunk: allocator.stats, Linux612),
}
FIELDS = [
    (holder, field)
    for holder, (cls, _, variant) in HOLDERS.items()
    for field in slots_of(cls)
    if field not in UNLOCKED and (holder not in VARIANTS or field not in slots_of(Linux612))
]
"""Every field of index data there is: a new one is among them at once."""

COUNTS = frozenset(
    {
        *("nr_empty_pop_pages", "nr_empty_pop_memcg", "nr_populated", "free_bytes", "nr_alloc"),
        *("max_alloc_size", "start_offset", "base_addr", "scan_hint", "scan_hint_start"),
        *("contig_hint_start", "left_free", "right_free", "nr_dealloc", "nr_max_alloc"),
    }
)
"""Fields that may be one too high without breaking what runs after; others are written as is."""


def written(holder: str, field: str, undone: bool) -> Write:
    """Return what writes a field and lets it be, or takes that back at once."""
    pick = HOLDERS[holder][1]

    def write_unlocked(allocator: Allocator, chunk: Chunk) -> None:
        thing = pick(allocator, chunk)
        if thing is None:  # no statistics yet
            return
        before = getattr(thing, field)
        if undone:
            setattr(thing, field, None)
            setattr(thing, field, before)
        else:
            setattr(thing, field, before + 1 if field in COUNTS else before)

    return write_unlocked


def writing(write: Write, base: type[Allocator] = Linux612, *, behind: bool = False) -> Any:
    """Return the variant that does this in a free, before it takes pcpu_lock or behind."""

    class Writing(base):  # type: ignore[valid-type, misc]
        def free_percpu(self, area: Area | None) -> Steps[None]:
            if not behind and area is not None:
                write(self, area[0])
            yield from super().free_percpu(area)
            if behind and area is not None:
                write(self, area[0])

    return Writing


def explored(variant: type[Allocator], monkeypatch: pytest.MonkeyPatch, _: Path) -> str:
    """Return how an exploration finds LOCK-1 broken."""
    monkeypatch.setitem(VARIANTS, "seeded", variant)
    start = SCENARIO.start("seeded")
    if variant.float_of is not Linux612.float_of or issubclass(variant, RfcSeries):
        start = SCENARIOS["shrink-race"].start("seeded")
    if start.allocator.stats is None:
        start.allocator.stats = Stats(start.allocator.unit_size)
    result = search(start, "matching", stop=lambda result: "LOCK-1" in result.findings)
    return result.findings["LOCK-1"].message


def run(variant: type[Allocator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return how a run of operations finds LOCK-1 broken."""
    monkeypatch.setitem(VARIANTS, "seeded", variant)
    listed = tmp_path / "list.ops"
    listed.write_text(OPERATIONS)
    options = ["--variant", "seeded", "--contracts", "full", "--json"]
    result = CliRunner().invoke(main, ["run", str(listed), *options])
    found = json.loads(result.output)
    assert result.exit_code == 1 and found["stopped_by"] == "LOCK-1"
    message: str = found["violations"]["LOCK-1"]["message"]
    return message


def reviewed(variant: type[Allocator], monkeypatch: pytest.MonkeyPatch, _: Path) -> str:
    """Return how the review's sequences find LOCK-1 broken."""
    monkeypatch.setitem(VARIANTS, "seeded", variant)
    plan = AlphabetPlan(
        "free", "an area that is freed", Alphabet(("4096 4 -",)), 2, 2, SCENARIO.geometry
    )
    sequences = Sequences("seeded", plan)
    sequences.run()
    return sequences.findings["LOCK-1"].message


def fuzzed(variant: type[Allocator], monkeypatch: pytest.MonkeyPatch, _: Path) -> str:
    """Return how the review's drawn programs, which keep statistics, find LOCK-1 broken."""
    monkeypatch.setitem(VARIANTS, "seeded", variant)
    sought = frozenset({"LOCK-1"})
    fuzz = Fuzz("seeded", SIZES, seed=1, most=50, length=6, sought=sought)
    fuzz.run()
    return fuzz.findings["LOCK-1"][0]


@pytest.mark.parametrize("undone", [False, True], ids=["kept", "undone"])
@pytest.mark.parametrize("engine", [explored, run, reviewed])
@pytest.mark.parametrize(("holder", "field"), deep_unless(lambda *f: f in FIELDS[::2], FIELDS))
def test_a_field_written_without_the_lock_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    engine: Callable[..., str],
    holder: str,
    field: str,
    undone: bool,
) -> None:
    variant = writing(written(holder, field, undone), HOLDERS[holder][2], behind=undone)
    if engine is reviewed and holder == "statistics":
        engine = fuzzed
    said = engine(variant, monkeypatch, tmp_path)
    assert said.startswith(field) and "changes without pcpu_lock" in said
    assert "write_unlocked (test_lock_guard.py:" in said


class Holding(Linux612):
    """Keeps containers of its own, nested ones too, and a count that needs no lock."""

    UNLOCKED = {"looks": "a count that nobody reads"}  # noqa: RUF012  # as reviewers write it

    def __init__(self, geometry: Geometry, **given: Any) -> None:
        super().__init__(geometry, **given)
        self.queue: list[int] = [0]
        self.seen: set[int] = set()
        self.by_slot: dict[int, list[int]] = {3: []}
        self.looks = 0


IN_PLACE: list[tuple[str, Write, str]] = [
    # what is changed, how, and what the message begins with
    ("alloc_map", lambda a, c: c.alloc_map.__setitem__(slice(0, 1), c.alloc_map[:1]), "alloc_map"),
    ("alloc_map", lambda a, c: c.alloc_map.__setitem__(0, c.alloc_map[0]), "alloc_map"),
    ("bound_map", lambda a, c: c.bound_map.__setitem__(0, 1), "bound_map"),
    ("populated", lambda a, c: c.populated.__setitem__(0, 1), "populated"),
    ("md_blocks", lambda a, c: c.md_blocks.reverse() or c.md_blocks.reverse(), "md_blocks"),
    ("md_blocks", lambda a, c: c.md_blocks.__setitem__(0, c.md_blocks[0]), "md_blocks"),
    ("chunk_lists", lambda a, c: a.chunk_lists.__setitem__(1, a.chunk_lists[1]), "chunk_lists"),
    ("a list", lambda a, c: a.queue.append(1) or a.queue.pop(), "queue"),
    ("a set", lambda a, c: a.seen.add(1), "seen"),
    ("a dict", lambda a, c: a.by_slot.update({4: []}), "by_slot"),
    ("a list in a dict", lambda a, c: a.by_slot[3].append(1), "by_slot[3]"),
    ("a field", lambda a, c: setattr(a, "more", 1), "more"),
    ("a field", lambda a, c: delattr(a, "seen") or setattr(a, "seen", set()), "seen"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "write", "begin"), IN_PLACE, ids=lambda part: str(part)[:12])
@pytest.mark.parametrize("engine", [explored, run, reviewed])
def test_a_container_changed_in_place_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    engine: Callable[..., str],
    what: str,
    write: Write,
    begin: str,
) -> None:
    said = engine(writing(write, Holding, behind=True), monkeypatch, tmp_path)
    assert said.startswith(begin) and "changes without pcpu_lock, in <lambda>" in said


def misuse(variant: type[Allocator], geometry: Geometry = SIZES) -> set[str]:
    """Return what a few operations, the work among them, break of LOCK-1."""
    root = build(variant, geometry, contracts="full", stats=True, strict=False)
    machine = Driver(root)
    listed = [("a", n, size, 4, False, gfp) for n, (size, gfp) in enumerate(REQUESTS)]
    listed += [("f", n, 0, 0, False, 0) for n in range(len(REQUESTS))]
    if geometry.backing == "vm" or "BAL-3" not in variant.EXPECTED:
        listed.append(("b", 0, 0, 0, False, 0))
    for number, operation in enumerate(listed, 1):
        machine.apply(number, operation)  # type: ignore[arg-type]
    assert root.monitor is not None and root.monitor.asked()["LOCK-1"]
    broken = root.monitor.violations.get("LOCK-1")
    return set() if broken is None else {broken.first_message}


REQUESTS = [(size, gfp) for gfp in (KERNEL, ACCOUNT | KERNEL, ATOMIC) for size in (8192, 28672)]


@pytest.mark.parametrize("backing", ["vm", "km"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_that_is_shipped_changes_index_data_without_the_lock(
    variant: str, backing: str
) -> None:
    assert not misuse(VARIANTS[variant], SIZES.with_changes(f"memcg=1,backing={backing}"))


@pytest.mark.parametrize("field", sorted({*UNLOCKED, "looks"} - {"lock", "alloc_mutex", "monitor"}))
def test_a_field_that_needs_no_lock_may_be_written(field: str) -> None:
    def write(allocator: Any, chunk: Chunk) -> None:
        holder = allocator.stats if field in slots_of(Stats) else allocator
        setattr(holder, field, getattr(holder, field))

    assert not misuse(writing(write, Holding))


@pytest.mark.parametrize("field", OWNERS)
def test_entries_of_a_vector_are_their_owners_affair(field: str) -> None:
    def write(allocator: Allocator, chunk: Chunk) -> None:
        vector = getattr(chunk, field)
        if vector is not None:
            vector[0] = vector.get(0)

    assert not misuse(writing(write), SIZES.with_changes("memcg=1"))


class Preparing(Linux612):
    """Fills a new chunk in by itself; as soon as others can reach it, it is no more its own."""

    listed = False

    def create_chunk(self, chunk_type: int = 0) -> Chunk | None:
        chunk = super().create_chunk(chunk_type)
        if chunk is not None and not self.listed:
            self.prepare(chunk)
        return chunk

    def prepare(self, chunk: Chunk) -> None:
        chunk.free_bytes += 0
        chunk.alloc_map[:1] = chunk.alloc_map[:1]
        chunk.chunk_md.scan_hint = 0

    def search_lists_for(
        self, size: int, bits: int, align: int, pop_only: bool, chunk_type: int
    ) -> tuple[Chunk | None, int]:
        found = super().search_lists_for(size, bits, align, pop_only, chunk_type)
        if self.listed and found[0] is not None and found[0].id:
            self.spin_unlock()
            self.prepare(found[0])
            self.spin_lock()
        return found


class PreparingListed(Preparing):
    """Fills a new chunk in when it is listed already."""

    listed = True


def test_a_new_chunk_is_its_makers_until_it_is_listed() -> None:
    assert not misuse(Preparing)
    (said,) = misuse(PreparingListed)
    assert said.startswith("free_bytes of chunk 1 changes") and "in prepare (test_lock_" in said


@pytest.mark.parametrize("number", [0, 1], ids=["hints", "map"])
@pytest.mark.parametrize("engine", [explored, run, reviewed])
def test_what_was_looked_up_under_the_lock_tells_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Callable[..., str], number: int
) -> None:
    class Late(Linux612):
        def free_percpu(self, area: Area | None) -> Steps[None]:
            steps = super().free_percpu(area)
            parts = () if area is None else (area[0].chunk_md, area[0].alloc_map)
            yield from steps
            if number and parts:
                parts[1][0] = parts[1][0]
            elif parts:
                parts[0].first_free += 0

    said = engine(Late, monkeypatch, tmp_path)
    assert said.startswith(("first_free of chunk_md of chunk", "alloc_map of chunk")[number])


def test_a_helper_names_who_called_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from percpu_reference.variants.linux_6_12 import Linux612\n"
        "class Mine(Linux612):\n"
        "    def sideline_chunk(self, chunk):\n"
        "        self.spin_unlock()\n"
        "        self._chunk_move(chunk, self.sidelined_slot, False)\n"
        "        self.spin_lock()\n"
        "    EXPECTED = Linux612.EXPECTED\n"
    )
    start = SCENARIO.start(str(mine))
    found = search(start, "matching", stop=lambda result: "LOCK-1" in result.findings).findings
    assert "in _chunk_move, called from sideline_chunk (mine.py:5)" in found["LOCK-1"].message


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('["looks"]', "no dict of field to reason"),
        ('{"nr_populated": "fast"}', "nr_populated is no field of its own"),
        ('{"free_bytes": "fast"}', "free_bytes is no field of its own"),
    ],
)
def test_a_variant_excuses_fields_of_its_own_alone(
    tmp_path: Path, declared: str, said: str
) -> None:
    mine = tmp_path / "excused.py"
    mine.write_text(
        "from percpu_reference.variants.linux_6_12 import Linux612\n"
        "class Mine(Linux612):\n"
        f"    EXPECTED, UNLOCKED = Linux612.EXPECTED, {declared}\n"
        "    def sideline_chunk(self, chunk): ...\n"
    )
    with pytest.raises(VariantFileError, match=said):
        variant_class(str(mine))


@pytest.mark.parametrize("contracted", [False, True])
def test_a_world_is_written_and_copied_unjudged(contracted: bool) -> None:
    start = SCENARIO.start("linux_6_12")
    if contracted:
        root = build("linux_6_12", SIZES, contracts="full")
        start = Start(root, {}, (("a", 1, 4096, 4, False, KERNEL), ("a", 2, 64, 4, False, ATOMIC)))
    world: World = (ContractedWorld if contracted else World)(start)
    for _ in range(3):
        saved = world.save()
        world.guarded_step(world.enabled()[0])
        if world.at_rest:
            copy, copies = world.allocator.clone()
            assert {type(chunk) for chunk in copies.values()} == {Chunk}
            assert {type(head) for head in copy.chunk_lists} == {ListHead}
            assert type(copy.first_chunk.alloc_map) is bytearray
        world.load(saved)
        assert not world.misuse and not world.monitor.violations


def test_a_write_at_once_ends_a_strict_run() -> None:
    def write_unlocked(allocator: Allocator, chunk: Chunk) -> None:
        chunk.isolated = True

    root = build(writing(write_unlocked), SIZES, contracts="full")
    area = root.alloc(64, 4)
    with pytest.raises(ClauseViolation, match="isolated of chunk 0 changes without pcpu_lock"):
        root.free(area)
    assert area is not None and not area[0].isolated

"""Promises that had no clause: variants that break one, planted as a reviewer would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from depth import deep_unless
from workloads import EIGHT, WAITING

from percpu_proofs.cli import main
from percpu_proofs.review.job import Job, run
from percpu_proofs.review.matrix import changes, matrix
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import parse_operations
from percpu_reference import build

HEAD = """\
from percpu_reference.gaps import Gap, Kind
from percpu_reference.variants.linux_6_12 import Linux612


class Mine(Linux612):
"""

ISOLATED = """\
    def search_lists_for(self, size, bits, align, pop_only, chunk_type):
        for head in self.search_lists[self.slot_of_bits[bits]]:
            for chunk in list(head):
                off = self.find_block_fit(chunk, bits, align, pop_only)
                if off >= 0:
                    off = self.alloc_area(chunk, bits, align, off)
                if off >= 0:
                    return chunk, off
        return None, -1
"""
"""A chunk that serves a request stays isolated."""

SPARES_NONE = """\
    def balance_free(self, empty_only, chunk_type=0):
        to_free = [
            chunk for chunk in self.free_list(chunk_type)
            if not empty_only or not chunk.nr_empty_pop_pages
        ]
        for chunk in to_free:
            self.condemn_chunk(chunk)
        if not to_free:
            return
        self.spin_unlock()
        for chunk in to_free:
            rs = chunk.populated.find(1)
            while rs >= 0:
                re = chunk.populated.find(0, rs + 1)
                re = chunk.nr_pages if re < 0 else re
                yield Gap("drain", chunk, rs, re)
                self.depopulate_chunk(chunk, rs, re)
                self.spin_lock()
                self.chunk_depopulated(chunk, rs, re)
                self.spin_unlock()
                rs = chunk.populated.find(1, re + 1)
            yield Gap("destroy", chunk)
            self.destroy_chunk(chunk)
        self.spin_lock()
"""

ENTERS = """\
    def search_lists_for(self, size, bits, align, pop_only, chunk_type):
        lists = self.search_lists[self.slot_of_bits[bits]]
        for head in [*lists, self.chunk_lists[self.to_depopulate_slot]]:
            for chunk in list(head):
                off = self.find_block_fit(chunk, bits, align, pop_only)
                if off >= 0:
                    off = self.alloc_area(chunk, bits, align, off)
                if off >= 0:
                    if chunk.isolated:
                        self.reintegrate_chunk(chunk)
                    return chunk, off
        return None, -1
"""
"""The search goes on into to_depopulate."""

DROPS = """\
    def populate_area(self, chunk, off, rs, page_end):
        self.alloc_mutex = False
        {between}
        self.alloc_mutex = True
        return (yield from super().populate_area(chunk, off, rs, page_end))
"""
BREATHES = """yield Gap("breathe", chunk, rs, page_end)
        while self.alloc_mutex:
            yield Gap("wait", kind=Kind.WAIT)"""
LETS_GO = """\
    def populate_area(self, chunk, off, rs, page_end):
        self.alloc_mutex = False
        return (yield from super().populate_area(chunk, off, rs, page_end))
"""

EARLY = """\
    def reclaim_populated(self):
        head = self.chunk_lists[self.to_depopulate_slot]
        while head.next is not head:
            chunk = head.next
            start, end, again = yield from self.depopulate_empty(chunk)
            if again or chunk.free_bytes == self.unit_size or {rejoin}:
                self.reintegrate_chunk(chunk)
            else:
                self.sideline_chunk(chunk)
            if start < end:
                self.spin_unlock()
                yield {gap}
                self.post_unmap_tlb_flush(chunk, start, end)
                self.spin_lock()
"""
"""A chunk is sidelined, or reintegrated, before its translations are flushed."""

KIND = 'Gap("reclaim: flush the TLB", chunk, start, end, Kind.FLUSH)'
PLAIN = 'Gap("reclaim: flush the TLB", chunk, start, end)'
NAMELESS = 'Gap("on", chunk)'

PLANTED = {
    "isolated": (ISOLATED, "reuse", "ISO-3"),
    "spares none": (SPARES_NONE, "freed-meanwhile", "BAL-6"),
    "enters to_depopulate": (ENTERS, "only-isolated", "ISO-4"),
    "mutex, gap": (DROPS.format(between=BREATHES), "reuse", "LOCK-3"),
    "mutex, no gap": (DROPS.format(between=""), "reuse", "LOCK-2"),
    "mutex, let go": (LETS_GO, "reuse", "LOCK-3"),
    **{
        f"{what} early, {how}": (EARLY.format(rejoin=rejoin, gap=gap), "reclaim-free", "ISO-1")
        for what, rejoin in (("sidelined", "False"), ("reintegrated", "True"))
        for how, gap in (("kind", KIND), ("plain", PLAIN), ("nameless", NAMELESS))
    },
}
"""By name: what the class overrides, a scenario that shows it, and the clause broken."""


def written(folder: Path, name: str) -> str:
    path = folder / "mine.py"
    path.write_text(HEAD + PLANTED[name][0])
    return str(path)


@pytest.mark.parametrize("name", deep_unless(lambda name: name != "enters to_depopulate", PLANTED))
def test_explore_names_the_clause(tmp_path: Path, name: str) -> None:
    _, scenario, clause = PLANTED[name]
    result = CliRunner().invoke(
        main, ["explore", scenario, "--variant", written(tmp_path, name), "--json"]
    )
    assert result.exit_code == 1, result.output
    assert clause in json.loads(result.output)["violations"]


@pytest.mark.parametrize("name", PLANTED)
def test_contracts_name_the_clause(tmp_path: Path, name: str) -> None:
    """In a run with nothing at once, from gap to gap."""
    clause = PLANTED[name][2]
    allocator = build(written(tmp_path, name), EIGHT, contracts="full")
    assert allocator.monitor is not None
    allocator.monitor.strict = False
    lines = [*WAITING.split("|"), "a 50 8192 4 -", "f 31", "b", "a 52 32768 4 -", "f 52", "b"]
    Driver(allocator).run(parse_operations(Path("planted"), lines))
    broken = allocator.monitor.violations.keys() - allocator.EXPECTED.keys()
    assert clause in broken
    assert allocator.monitor.asked()[clause]


@pytest.mark.parametrize("name", deep_unless(lambda name: "nameless" in name, PLANTED))
def test_review_names_the_clause(tmp_path: Path, name: str) -> None:
    """From the one search: what that shows, none of the others takes back."""
    _, scenario, clause = PLANTED[name]
    path = written(tmp_path, name)
    cells = matrix([path], [run(Job(path, "scenario", scenario))])
    assert clause in changes(path, cells).new
    assert [cell.as_expected for cell in cells if cell.clause == clause] == [False]


@pytest.mark.deep
@pytest.mark.parametrize("name", ["isolated", "sidelined early, nameless"])
def test_the_whole_review_names_the_clause(tmp_path: Path, name: str) -> None:
    clause = PLANTED[name][2]
    result = CliRunner().invoke(main, ["review", "--variant", written(tmp_path, name), "--json"])
    assert result.exit_code == 1, result.output
    assert clause in json.loads(result.stdout)["changes"]["new"]

"""A reviewer's policy is no step off the abstract machine, and one that leaves it is a note."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from textwrap import dedent, indent
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless

from percpu_proofs.cli import main
from percpu_proofs.prove.protocol.induction import prove_action
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, REFERENCE, of_any_policy

SIZES = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"


def operations() -> Iterator[str]:
    """Yield requests of whole pages, atomic ones too, frees and runs of the work."""
    chance, held = Random(1), []
    for handle in range(1, 500):
        if chance.random() < 0.45 and held:
            yield f"f {held.pop(chance.randrange(len(held)))}"
        elif handle % 20 == 0:
            yield "b"
        else:
            held.append(handle)
            yield f"a {handle} {4096 * chance.choice((1, 1, 2, 3))} 4 -"


POLICIES = {
    "a lower threshold of reclaim": """
        def should_reclaim_chunk(self, chunk):
            if chunk.isolated or chunk is self.first_chunk or chunk is self.reserved_chunk:
                return chunk.isolated and chunk.nr_empty_pop_pages > 0
            spare = self.nr_empty_pop_pages - chunk.nr_empty_pop_pages
            return chunk.nr_empty_pop_pages > 0 and spare >= self.geometry.empty_high
    """,
    "a higher threshold of reclaim": """
        def should_reclaim_chunk(self, chunk):
            return super().should_reclaim_chunk(chunk) and chunk.nr_empty_pop_pages >= 4
    """,
    "no reclaim": """
        def should_reclaim_chunk(self, chunk):
            return False
    """,
    "reclaim upwards": """
        def depopulate_empty(self, chunk):
            first, behind = chunk.nr_pages, 0
            for page in range(chunk.nr_pages):
                if not chunk.nr_empty_pop_pages:
                    break
                if self.nr_empty_pop_pages < self.geometry.empty_high:
                    return first, behind, True
                if not chunk.populated[page]:
                    continue
                if chunk.md_blocks[page].contig_hint == self.block_bits:
                    self.spin_unlock()
                    yield Gap("release a page", chunk, page, page + 1, Kind.RELEASE)
                    self.depopulate_chunk(chunk, page, page + 1)
                    self.spin_lock()
                    self.enter_released(chunk, page, page + 1)
                    first, behind = min(first, page), page + 1
            return first, behind, False
    """,
}
LEAVING = """
        def populate_holes(self, chunk, nr_to_pop):
            holes = [page for page in range(chunk.nr_pages) if not chunk.populated[page]]
            for page in list(reversed(holes))[:nr_to_pop]:
                self.spin_unlock()
                yield Gap("populate a page", chunk, page, page + 1, Kind.POPULATE)
                done = self.populate_chunk(chunk, page, page + 1)
                self.spin_lock()
                if not done:
                    return 0
                self.enter_populated(chunk, page, page + 1)
                nr_to_pop -= 1
            return nr_to_pop
"""
"""Populates downwards: kept by every clause, and in no order of the machine's."""


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    path = tmp_path / "list.ops"
    path.write_text("\n".join(operations()) + "\n")
    return ["run", str(path), "--contracts", "full", "--geometry", SIZES]


def written(folder: Path, text: str, declared: str = "") -> str:
    path = folder / "mine.py"
    body = indent(dedent(text), "    ")
    path.write_text(
        "from percpu_reference.gaps import Gap, Kind\n"
        "from percpu_reference.variants.linux_6_12 import Linux612\n\n"
        f"class Mine(Linux612):\n    EXPECTED = {{**Linux612.EXPECTED{declared}}}\n{body}"
    )
    return str(path)


def read_json(path: str, *command: str, status: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*command, "--variant", path, "--json"])
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    found["departures"] = [note for note in found.get("notes", ()) if "machine" in note]
    return found


QUICK = ("a lower threshold of reclaim", "no reclaim")


@pytest.mark.parametrize("policy", deep_unless(lambda policy: policy in QUICK, POLICIES))
def test_a_policy_is_no_step_off_the_machine(policy: str, tmp_path: Path, run: list[str]) -> None:
    path = written(tmp_path, POLICIES[policy])
    found = read_json(path, *run)
    assert found["departures"] == [] and found["clauses"]["REFINE"]["evaluations"] > 500
    assert found["clauses"]["REFINE"]["verdict"] == "holds"
    for scenario in ("reclaim-free", "float-falls"):
        found = read_json(path, "explore", scenario)
        assert found["departure"] is None and found["steps_refined"] == found["steps"] > 20


def test_leaving_the_machine_is_a_note(tmp_path: Path, run: list[str]) -> None:
    path = written(tmp_path, LEAVING)
    found = read_json(path, *run)
    (note,) = found["departures"]
    assert "leaves the abstract machine: what is proved by induction" in note
    assert "REFINE" not in found["clauses"] and "REFINE" not in found["violations"]
    assert found["ok"] and found["complete"]
    result = CliRunner().invoke(main, [*run, "--variant", path])
    assert result.exit_code == 0 and note in " ".join(result.output.split())


def test_leaving_the_machine_may_be_declared(tmp_path: Path, run: list[str]) -> None:
    path = written(tmp_path, LEAVING, ', "REFINE": "populates downwards"')
    found = read_json(path, *run)
    assert found["departures"] == [] and found["violations"]["REFINE"]["expected"]
    assert "the next hole is behind" in found["violations"]["REFINE"]["message"]


def test_the_machine_may_be_declared_not_to_apply(tmp_path: Path, run: list[str]) -> None:
    apart = 'NOT_APPLICABLE = {**Linux612.NOT_APPLICABLE, "REFINE": "other"}\n'
    path = written(tmp_path, apart + dedent(LEAVING))
    found = read_json(path, *run)
    assert found["departures"] == [] and "REFINE" not in found["clauses"]


def test_a_broken_clause_decides_all_the_same(tmp_path: Path, run: list[str]) -> None:
    eager = """
        def should_reclaim_chunk(self, chunk):
            return not chunk.immutable and chunk.nr_empty_pop_pages > 0
    """
    path = written(tmp_path, eager)
    assert read_json(path, *run, status=1)["stopped_by"] == "RCL-1"
    found = read_json(path, "explore", "float-falls", status=1)
    assert "RCL-1" in found["violations"] and "REFINE" not in found["violations"]


@pytest.mark.parametrize("machine", [LINUX_6_12, REFERENCE], ids=lambda machine: machine.name)
def test_the_invariant_is_kept_whatever_the_policy(machine: Machine) -> None:
    opened = of_any_policy(machine)
    changed = [n for n, action in opened.actions.items() if machine.actions.get(n) is not action]
    assert {"free", "free_isolating_chosen"} <= set(changed)
    for action in changed:
        found = prove_action(opened, action)
        assert [str(o) for o in found if o.state != "proved"] == []
        assert {o.clause for o in found} >= set(machine.clauses)


def test_machines_without_isolation_have_no_such_choice() -> None:
    assert of_any_policy(MACHINES["linux_5_12"]) is MACHINES["linux_5_12"]

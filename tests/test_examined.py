"""What a search costs on compiled code (COST-1): the same bursts as the model's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from depth import deep_unless
from kernel_trees import FOUND, MISSING, tree_of
from searched_trees import changed, first_in_work, write_patch

from percpu_proofs.cli import main
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.search_cost import ExaminedKernel, compile_examined
from percpu_proofs.kernel.tree import Tree
from percpu_proofs.run.inputs import InputError
from percpu_proofs.workload.search_cost import GEOMETRY, SHAPES, Burst, piles, piles_on

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
PILES = (0, 1, 5)
UPWARDS = "for (slot = pcpu_size_to_slot(size); slot <= pcpu_free_slot; slot++) {"
DOWNWARDS = "for (slot = pcpu_free_slot; slot >= pcpu_size_to_slot(size); slot--) {"


def _bursts(tree: Tree, into: Path) -> list[Burst]:
    library = compile_examined(tree, into)
    return list(piles_on("linux_6_12", partial(ExaminedKernel, library, GEOMETRY), PILES))


@pytest.mark.parametrize("archive", FOUND, ids=lambda path: path.name)
def test_a_tree_examines_what_the_model_does(archive: Path, tmp_path: Path) -> None:
    assert _bursts(tree_of(archive), tmp_path) == list(piles("linux_6_12", PILES))


def test_a_search_in_another_order_breaks_the_clause(tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", lambda text: text.replace(UPWARDS, DOWNWARDS))
    found = _bursts(tree, tmp_path)
    drained = [burst for burst in found if burst.depopulated]
    assert len(drained) == len(SHAPES)
    assert all(burst.broken for burst in drained)
    assert all(burst.most > 1 for burst in drained)
    assert "an ordinary chunk" in drained[0].message


@pytest.mark.deep
def test_the_command_shows_both_trees(tmp_path: Path) -> None:
    patch = write_patch(tmp_path / "down.patch", lambda text: text.replace(UPWARDS, DOWNWARDS))
    source = ("workload", "cost", "--source", str(tree_of(FOUND[-1]).top), "--patch", str(patch))
    shown = CliRunner().invoke(main, source)
    assert shown.exit_code == 1, shown.output
    assert f"{tree_of(FOUND[-1]).name}, patched breaks COST-1, not expected" in shown.output
    stops = write_patch(tmp_path / "stops.patch", first_in_work("BUG();"))
    done = CliRunner().invoke(main, (*source[:4], "--patch", str(stops)))
    assert done.exit_code == 1
    assert "patched stops while chunks are drained: " in done.output


def test_a_tree_whose_calls_cannot_be_counted_is_named(tmp_path: Path) -> None:
    tree = changed(
        tmp_path / "tree", lambda text: text.replace("static int pcpu_find_block_fit(", "int f(")
    )
    with pytest.raises(InputError, match="pcpu_find_block_fit"):
        compile_examined(tree, tmp_path)


ENDLESS = {
    "asks for itself": (
        first_in_work("pcpu_schedule_balance_work();"),
        "balance work asks for itself without end",
    ),
    "within a call": (
        lambda text: text.replace(
            "&pcpu_chunk_lists[pcpu_sidelined_slot]);\n\t}\n}",
            "&pcpu_chunk_lists[pcpu_to_depopulate_slot]);\n\t}\n}",
        ),
        "a loop that does not end",
    ),
}


@pytest.mark.parametrize("name", deep_unless(lambda name: name == "within a call", ENDLESS))
def test_work_without_end_is_told(name: str, tmp_path: Path) -> None:
    """Neither Python's loop nor one in the tree's code hangs the tool."""
    change, said = ENDLESS[name]
    with pytest.raises(KernelStopped, match=said):
        _bursts(changed(tmp_path / "tree", change), tmp_path)

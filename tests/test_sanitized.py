"""The compiled code, the stubs and the search under checks of addresses and undefined behaviour.

The comparison is checked whole: heap, stacks, variables. In a search blocks of memory are, where
each ends at the byte that was asked for; stacks and variables are not, since a search copies them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from depth import deep_unless
from kernel_bugs import Bug, seeded
from kernel_trees import FOUND, MISSING, tree_of
from sanitized import FORMS

from percpu_proofs.kernel.build import compile_search, compile_tree
from percpu_proofs.kernel.instance import USUAL, BuildForm, Library
from percpu_proofs.kernel.tree import Tree, copy_tree

pytestmark = pytest.mark.skipif(
    not FOUND or shutil.which("gcc") is None, reason=MISSING if not FOUND else "needs gcc"
)
if not FOUND:
    warnings.warn(MISSING, stacklevel=1)

SANITIZE = (
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1",
    "-fno-sanitize=alignment",
)  # fmt: skip
"""Addresses and undefined behaviour are checked, in a process that has the runtime loaded first."""
SANITIZE_SEARCH = (
    *SANITIZE, "--param", "asan-stack=0", "--param", "asan-globals=0", "-DPERCPU_SHADED=1",
)  # fmt: skip
"""Of a search: frames and variables lie in memory that is copied, blocks of memory are watched."""
NEWEST = FOUND[-1] if FOUND else Path()


def run(*libraries: Library) -> subprocess.CompletedProcess[str]:
    """Run libraries in a process that has the runtime of the checks."""
    compiler = shutil.which("gcc")
    assert compiler is not None
    runtime = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    script = Path(__file__).parent / "sanitized.py"
    return subprocess.run(
        [sys.executable, str(script), *(str(library.path) for library in libraries)],
        env=os.environ | {
            "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0,abort_on_error=0",
            "UBSAN_OPTIONS": "print_stacktrace=1", "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def compared(tree: Tree, into: Path, form: BuildForm = USUAL) -> Library:
    into.mkdir()
    return compile_tree(tree, into, form, flags=SANITIZE)


def searched(tree: Tree, into: Path, form: BuildForm = USUAL) -> Library:
    into.mkdir()
    return compile_search(tree, into, form, flags=SANITIZE_SEARCH)


@pytest.mark.deep
@pytest.mark.parametrize("archive", FOUND or [NEWEST], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("build", "form"),
    [*((compared, form) for form in FORMS), (searched, USUAL), (searched, BuildForm("km"))],
)
def test_clean(build: object, archive: Path, form: BuildForm, tmp_path: Path) -> None:
    done = run(build(tree_of(archive), tmp_path / archive.name, form))  # type: ignore[operator]
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["clean"]
    assert "ERROR" not in done.stderr and "runtime error" not in done.stderr


BEHIND = Bug(
    "hints behind the last block", "pcpu_alloc_area", r"chunk->free_bytes -= ",
    "chunk->md_blocks[pcpu_chunk_nr_blocks(chunk)].contig_hint = 0; chunk->free_bytes -= ",
)  # fmt: skip
FREED = Bug(
    "hints of a chunk that is freed", "pcpu_free_chunk",
    r"pcpu_mem_free\(chunk->md_blocks\);",
    "pcpu_mem_free(chunk->md_blocks); if (chunk->md_blocks[0].contig_hint < 0) return;",
)  # fmt: skip
SHIFT = Bug(
    "a shift that C does not define", "pcpu_alloc_area", r"chunk->free_bytes -= ",
    "chunk->free_bytes -= (1 << (32 + chunk->isolated)) * 0; chunk->free_bytes -= ",
)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "bug", "said"),
    deep_unless(
        lambda build, bug, said: build is searched and bug is BEHIND,
        [
            (compared, BEHIND, "heap-buffer-overflow"),
            (compared, FREED, "heap-use-after-free"),
            (compared, SHIFT, "runtime error: shift exponent"),
            (searched, BEHIND, "use-after-poison"),
            (searched, FREED, "use-after-poison"),
            (searched, SHIFT, "runtime error: shift exponent"),
        ],
    ),
    ids=lambda part: getattr(part, "name", None),
)
def test_seeded_error_is_seen(build: object, bug: Bug, said: str, tmp_path: Path) -> None:
    tree = copy_tree(tree_of(NEWEST), tmp_path / "tree")
    file = tree.top / bug.file
    file.write_text(seeded(file.read_text(), bug))
    done = run(build(tree, tmp_path / "made"))  # type: ignore[operator]
    assert done.returncode
    assert said in done.stderr

"""The Linux trees that Debian's packages bring, unpacked once, and libraries compiled from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.differential import CaseTask, Tally, draw_task, shrink_first
from percpu_proofs.kernel.instance import USUAL, BuildForm, Library
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.kernel.tree import Tree, read_tree, unpack

PATCHES = Path(__file__).parents[1] / "proofs/percpu_proofs/data/patches"
FOUND = sorted(Path("/usr/src").glob("linux-source-*.tar.xz"))
"""Archives from linux-source-6.1 and linux-source-6.12, where those packages are installed."""

MISSING = (
    "NO LINUX TREE: the model was NOT compared with compiled kernel code; "
    "apt-get install linux-source-6.12 linux-source-6.1 brings what these tests need"
)


@cache
def tree_of(archive: Path) -> Tree:
    """Return an archive's tree, unpacked into the system's temporary folder if not there yet."""
    stamp = f"{archive.stat().st_size}-{archive.stat().st_mtime_ns}"
    folder = Path(gettempdir()) / "percpu-spec-trees" / stamp
    top = folder / archive.name.partition(".tar")[0]
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        own = Path(mkdtemp(dir=folder.parent))
        unpack(archive, own)
        try:
            own.rename(folder)
        except OSError:  # another process was first
            rmtree(own)
    return read_tree(top)


@cache
def library_of(archive: Path, folder: Path, form: BuildForm = USUAL) -> Library:
    """Return an archive's allocator, compiled into a folder."""
    return compile_tree(tree_of(archive), folder, form)


@cache
def model_of(library: Library) -> ModelVariant:
    """Return the model for a library."""
    return probe(library)


def run_task(task: CaseTask) -> Tally:
    """Draw and run the cases or schedules of a task; make small what first shows a difference."""
    return shrink_first(draw_task(task))

"""From a source tree to compiled libraries; what is made on the way is in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.changes import WORDS, counts_every_unit
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.library import USUAL, BuildForm, Library
from percpu_proofs.kernel.messages import CompilerWarning, all_warnings
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.kernel.patch import apply_patch
from percpu_proofs.kernel.tree import Tree, copy_tree, open_tree
from percpu_reference.variants import MERGED

ONE_UNIT: Final = "km counts a chunk's pages once for each unit, so it is compared on one CPU"


@dataclass(slots=True)
class TreeBuild:
    """A tree with its allocator compiled, each form when it is asked for first."""

    tree: Tree
    folder: Path
    stub: Path | None
    libraries: dict[BuildForm, Library] = field(default_factory=dict)

    def library(self, form: BuildForm = USUAL) -> Library:
        """Return the library of a form. Raises InputError for a tree that does not compile."""
        if form not in self.libraries:
            self.folder.mkdir(parents=True, exist_ok=True)
            library = compile_tree(self.tree, self.folder, form, stub=self.stub)
            self.libraries[form] = replace(library, one_unit=counts_every_unit(library))
        return self.libraries[form]


@dataclass(slots=True)
class Workshop(TreeBuild):
    """A tree, patched or not, with the model that it is held to."""

    model: ModelVariant = field(default_factory=ModelVariant)

    @property
    def declared(self) -> list[str]:
        """The declared differences, in words."""
        said = [ONE_UNIT] if any(one.one_unit for one in self.libraries.values()) else []
        return self.model.declared + said + missed(self.model, self.tree)

    def warnings(self) -> list[CompilerWarning]:
        """Return what the compiler has warned of, lines of patches first."""
        return all_warnings(
            self.tree, (w for library in self.libraries.values() for w in library.warnings)
        )


def missed(model: ModelVariant, tree: Tree) -> list[str]:
    """Return what a tree does not do though its version is not older, in words."""
    return [
        f"not as since {release}, though this is {tree.name}: {what}"
        for release, what in WORDS.items()
        if model.has is not None and release not in model.has and _dates(release) <= tree.version
    ]


def _dates(release: str) -> tuple[int, ...]:
    """Return a release as a version; of what no release has yet, one later than all.

    >>> _dates("6.13") <= (6, 13, 7), _dates("mm 1/4") <= (9, 0, 0)
    (True, False)
    """
    return tuple(map(int, release.split("."))) if release[0].isdigit() else (1000,)


@contextmanager
def patched_tree(source: Path, patches: Sequence[Path]) -> Iterator[tuple[Path, Tree, Tree]]:
    """Give a temporary folder, the tree of a folder or archive, and it with patches applied.

    These are applied to a copy; without any the two trees are one. Raises InputError.
    """
    with tempfile.TemporaryDirectory(prefix="percpu-spec-") as name:
        folder = Path(name)
        tree = base = open_tree(source, folder / "unpacked")
        if patches:
            tree = copy_tree(base, folder / "patched-source")
        for patch in patches:
            tree = apply_patch(tree, patch)
        yield folder, base, tree


@contextmanager
def workshop(
    source: Path,
    *,
    patches: tuple[Path, ...] = (),
    stub: Path | None = None,
    variant: str | None = None,
    fixes: tuple[str, ...] = (),
) -> Iterator[Workshop]:
    """Compile the allocator of a tree, given by its folder or archive; the tree is left alone.

    What the tree does without its patches chooses the variant. Raises InputError for what cannot
    be used.
    """
    model = ModelVariant(variant or MERGED, fixes)
    model.variant()
    with patched_tree(source, patches) as (folder, base, tree):
        unpatched = TreeBuild(base, folder / "base", stub)
        library = unpatched.library()
        with suppress(KernelStopped):  # the comparison shows it, with its operations
            model = probe(library, variant, fixes)
        shop = Workshop(tree, folder, stub, {} if patches else unpatched.libraries, model)
        shop.library()
        yield shop

"""From a source tree to compiled libraries; what is made on the way is in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from percpu_proofs.kernel.build import Form, Library, Warned, all_warnings, compile_tree
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import Model, probe
from percpu_proofs.kernel.patch import apply_patch
from percpu_proofs.kernel.tree import Tree, copy_tree, read_tree, unpack
from percpu_reference.variants import DEFAULT


@dataclass(frozen=True, slots=True)
class Workshop:
    """A tree, patched or not, with its compiled allocators and the model it is held to."""

    tree: Tree
    folder: Path
    stub: Path | None
    libraries: dict[Form, Library]
    model: Model

    def library(self, form: Form) -> Library:
        """Return the library of a form, compiled when first asked for. Raises InputError."""
        if form not in self.libraries:
            self.libraries[form] = compile_tree(self.tree, self.folder, form, stub=self.stub)
        return self.libraries[form]

    def warnings(self) -> list[Warned]:
        """Return what the compiler has warned of, lines of patches first."""
        return all_warnings(self.tree, self.libraries.values())


@contextmanager
def workshop(
    source: Path,
    *,
    patches: tuple[Path, ...] = (),
    stub: Path | None = None,
    variant: str = DEFAULT,
    fixes: tuple[str, ...] = (),
) -> Iterator[Workshop]:
    """Compile the allocator of a tree, given by its folder or archive; the tree is left alone.

    Patches are applied to a copy. Raises InputError for what cannot be used.
    """
    Model(variant, fixes).variant()
    with tempfile.TemporaryDirectory(prefix="percpu-spec-") as name:
        folder = Path(name)
        top = unpack(source, folder / "unpacked") if source.is_file() else source
        tree = read_tree(top)
        if patches:
            tree = copy_tree(tree, folder / "patched")
            for patch in patches:
                tree = apply_patch(tree, patch)
        library = compile_tree(tree, folder, stub=stub)
        try:
            model = probe(library, variant, fixes)
        except KernelStopped:  # the comparison shows it, with its operations
            model = Model(variant, fixes)
        yield Workshop(tree, folder, stub, {library.form: library}, model)

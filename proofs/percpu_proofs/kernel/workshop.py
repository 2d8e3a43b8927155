"""From a source tree to compiled libraries; what is made on the way is in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import (
    CompileError,
    Library,
    Warned,
    all_warnings,
    compile_tree,
)
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.model import Model, probe
from percpu_proofs.kernel.tree import Tree, apply_patch, copy_tree, read_tree, unpack
from percpu_reference.variants import DEFAULT
from percpu_spec.geometry import Backing


@dataclass(frozen=True, slots=True)
class Workshop:
    """A tree, patched or not, with its compiled allocators and the model it is held to."""

    tree: Tree
    folder: Path
    stub: Path | None
    libraries: dict[Backing, Library]
    model: Model
    patches: tuple[Path, ...] = ()

    def library(self, backing: Backing) -> Library:
        """Return the library with a backing, compiled when first asked for. Raises InputError."""
        if backing not in self.libraries:
            self.libraries[backing] = _compiled(
                self.tree, self.folder, backing, self.stub, self.patches
            )
        return self.libraries[backing]

    def warnings(self) -> list[Warned]:
        """Return what the compiler has warned of, lines of patches first."""
        return all_warnings(self.tree, self.libraries.values(), self.patches)


def _compiled(
    tree: Tree, folder: Path, backing: Backing, stub: Path | None, patches: tuple[Path, ...]
) -> Library:
    try:
        return compile_tree(tree, folder, backing, stub=stub)
    except CompileError as error:
        raise error.in_patch(tree, patches) from None


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
                apply_patch(tree, patch)
        library = _compiled(tree, folder, "vm", stub, patches)
        try:
            model = probe(library, variant, fixes)
        except KernelStopped as stopped:
            raise InputError(source, None, f"a kernel that boots ({stopped})") from None
        yield Workshop(tree, folder, stub, {"vm": library}, model, patches)

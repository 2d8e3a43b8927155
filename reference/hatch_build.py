"""The compiled form of the allocator: with PERCPU_COMPILED=1 a wheel carries it beside the Python.

It is the same Python, made C by mypyc: linux_6_12 on vm backing, package percpu_compiled. What only
annotates is left out, as native classes cannot carry it: the marks of contracts, and slots, which
native attributes replace. Needs a C compiler; without the variable nothing here runs.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "percpu_compiled"
SOURCE = Path(__file__).parent / "percpu_reference"
NATIVE = (
    "chunk", "state", "slots", "hints", "fit", "areas", "chunks", "backing", "memcg", "gaps",
    "operations", "balance", "variants/linux_6_12",
)  # fmt: skip
BESIDE = ("own_state", "stats")  # speak of chunks too, but are seldom asked: stay Python
MARKS = frozenset(("ensure", "old", "record", "require"))


def _name(module: str) -> str:
    return module.rpartition("/")[2]


_MOVED = {
    f"percpu_reference.{module.replace('/', '.')}": f"{PACKAGE}.{_name(module)}"
    for module in (*NATIVE, *BESIDE)
}


class _Bare(ast.NodeTransformer):
    """Takes contracts and slots out of a module and lets it import from the package."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [
            d
            for d in node.decorator_list
            if not (isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id in MARKS)
        ]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        module = node.module or ""
        if module.startswith(("percpu_contracts.contract", "percpu_contracts.functions")):
            return None
        node.module = _MOVED.get(module, module)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        slots = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__"
        return None if slots else node


def write_sources(folder: Path) -> None:
    """Write the package's Python to a folder."""
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text('"""linux_6_12, compiled by mypyc."""\n')
    for module in NATIVE:
        tree = _Bare().visit(ast.parse((SOURCE / f"{module}.py").read_text()))
        (folder / PACKAGE / f"{_name(module)}.py").write_text(ast.unparse(tree) + "\n")
    for module in BESIDE:
        tree = ast.parse((SOURCE / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                node.module = _MOVED.get(node.module or "", node.module)
        (folder / PACKAGE / f"{module}.py").write_text(ast.unparse(tree) + "\n")


def compile_form(folder: Path) -> list[Path]:
    """Compile the package into an empty folder; return the files that make it up.

    No native module is left as Python, so that it is never imported as such in silence.
    """
    from mypyc.build import mypycify
    from setuptools import Distribution

    write_sources(folder)
    files = [f"{PACKAGE}/{_name(module)}.py" for module in NATIVE]
    here, path = Path.cwd(), os.environ.get("MYPYPATH")
    os.chdir(folder)  # mypyc takes modules' names from where it stands
    os.environ["MYPYPATH"] = os.pathsep.join(
        str(SOURCE.parents[1] / part) for part in ("spec", "contracts", "reference")
    )
    try:
        options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
        extensions = mypycify([*options, *files], opt_level="3", group_name=PACKAGE)
        command: Any = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder), str(folder / "objects")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(here)
        os.environ.pop("MYPYPATH")
        if path is not None:
            os.environ["MYPYPATH"] = path
    for file in files:
        (folder / file).unlink()
    return [*folder.glob("*__mypyc*.*"), *(folder / PACKAGE).glob("*.*")]


class CompiledForm(BuildHookInterface[Any]):
    """The hook of hatchling."""

    folder: Path | None = None

    def dependencies(self) -> list[str]:
        """Return what a build needs beyond hatchling."""
        return ["mypy>=1.11", "setuptools"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile and put the files into the wheel, an editable one too."""
        if not _wanted():
            return
        self.folder = Path(tempfile.mkdtemp(prefix=PACKAGE))
        files = compile_form(self.folder)
        print(f"{PACKAGE}: {len(files)} files", file=sys.stderr)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for included in ("force_include", "force_include_editable"):
            build_data[included].update({str(f): str(f.relative_to(self.folder)) for f in files})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if self.folder is not None:
            shutil.rmtree(self.folder)


def _wanted() -> bool:
    return os.environ.get("PERCPU_COMPILED") == "1"

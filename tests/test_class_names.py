"""Classes of spec, contracts and reference: the noun of each name is in the glossary."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from percpu_spec.glossary import glossary

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / top / f"percpu_{top}" for top in ("spec", "contracts", "reference")]
NAMES_OF_KERNELS = ("variants", "events.py")  # variants, fixes, and the kernel's tracepoints

PROGRAMMING = {
    *("Bit", "Catalogue", "Coverage", "Entry", "Error", "Extent", "False", "Form", "Free"),
    *("Glossary", "Head", "Layout", "Listing", "Map", "Message", "Outcome", "Range", "Target"),
    *("Term", "Total", "Visit"),
}
"""Words of names that are no terms of ours. Where one is the last, the word before it counts."""


def classes() -> list[tuple[str, Path]]:
    return [
        (node.name, path)
        for package in PACKAGES
        for path in package.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]


def public() -> list[str]:
    return sorted(
        name for name, path in classes()
        if not name.startswith("_") and not set(path.parts) & set(NAMES_OF_KERNELS)
    )  # fmt: skip


@pytest.mark.parametrize("name", public())
def test_the_noun_of_a_class_is_in_the_glossary(name: str) -> None:
    known = {word.lower() for term in glossary() for word in (term, f"{term}s")}
    words = re.findall("[A-Z][a-z]*", name)
    while words and words[-1] in PROGRAMMING:
        words.pop()
    ends = {" ".join(words[first:]).lower() for first in range(len(words))}
    assert not words or ends & known, f"{words[-1].lower()} is in no entry"

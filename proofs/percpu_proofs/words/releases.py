"""Variants and the releases of the kernel that they stand for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

from percpu_proofs.inputs import InputError
from percpu_proofs.words import Explanation
from percpu_reference import UnknownVariantError
from percpu_reference.variants import RELEASES, VARIANTS, Allocator, variant_name
from percpu_spec.catalogue import clause
from percpu_spec.releases import compared, of_variant

_NAMED = VARIANTS | RELEASES


def names() -> list[str]:
    """Return the names of all variants. Releases (6.14) are taken too."""
    return [*_NAMED]


def released(word: str) -> Iterator[Explanation]:
    """Yield what a variant does that others do not, by its name or a release that it stands for.

    Raises InputError for a release that no variant stands for.
    """
    try:
        name = variant_name(word).replace("-", "_")
    except UnknownVariantError as error:
        raise InputError("explain", None, str(error).partition("expected ")[2], word) from None
    if name in _NAMED:
        yield _variant(word, name, _NAMED[name])


def _variant(word: str, name: str, cls: type[Allocator]) -> Explanation:
    row = of_variant(name)
    title, _, says = (inspect.getdoc(cls) or "").partition("\n\n")
    found: Explanation = {
        "id": name if word.replace("-", "_") == name else f"{word} is {name}",
        "title": " ".join(title.split()),
        "says": says,
        "file": cls.__module__,
        "extends": ", ".join(base.__name__ for base in cls.__bases__),
        "defines": ", ".join(_functions(cls)),
    }
    operations: Mapping[str, int] = {}
    if row is not None:
        operations = row.breaks
        found |= {
            "releases": row.releases,
            "brought": f"{row.brought}: {row.commit}",
            "backports": row.stable,
            "mends": ", ".join(row.mends) or "none of the findings",
            "searched": row.searched,
            "compared": "; ".join(compared(row)),
        }
    return found | {
        "breaks": [
            {
                "clause": c, "what": clause(c).title, "by": why,
                "after": f"{operations[c]} operations" if c in operations else "",
            }
            for c, why in cls.EXPECTED.items()
        ],
        "not_applicable": dict(cls.NOT_APPLICABLE),
    }  # fmt: skip


def _functions(cls: type) -> list[str]:
    return [
        name for name, value in vars(cls).items()
        if inspect.isfunction(value) and not name.startswith("__")
    ]  # fmt: skip

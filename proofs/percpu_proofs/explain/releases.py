"""Variants and the releases of the kernel that they stand for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

from percpu_proofs.explain import Explanation, docstring
from percpu_proofs.run.inputs import InputError
from percpu_reference import UnknownVariantError
from percpu_reference.variants import MERGED, RELEASES, SINCE, VARIANTS, Allocator, variant_name
from percpu_spec.catalogue import clause
from percpu_spec.releases import KM, compared, of_variant, with_commit

_NAMED = VARIANTS | RELEASES


def names() -> list[str]:
    """Return the names of all variants. Releases (6.14) are taken too."""
    return [*_NAMED]


def explain_release(word: str) -> Iterator[Explanation]:
    """Yield what a variant does that others do not, by its name or a release that it stands for.

    Raises InputError for a release that no variant stands for.
    """
    try:
        name = variant_name(word)
    except UnknownVariantError as error:
        raise InputError("explain", None, str(error).partition("expected ")[2], word) from None
    if name in _NAMED:
        yield _variant(word, name, _NAMED[name])


def explain_commit(word: str) -> Iterator[Explanation]:
    """Yield what a commit, a tree's or one that brought a variant, or a CVE is of."""
    for variant in with_commit(word):
        yield _variant(word.strip().lower(), variant, _NAMED[variant])
    cve = word.strip().upper()
    if re.fullmatch(r"CVE-\d+-\d+", cve) and cve in KM:
        yield {"id": cve, "title": "the km backing with more than one CPU", "says": KM}


_ALONE = re.compile(r"v?([0-9]+\.[0-9]+)(?![0-9.])")
"""A release without its third number."""


_TOLD = re.compile(r"v?([0-9]+)\.([0-9]+)")
"""A release."""


def stand_in_note(word: str) -> str:
    """Return what is said of a release that is taken for what mainline's is not; empty for others.

    Such are those that are newer than all variants, and those that stable trees mended.

    >>> stand_in_note("6.1"), stand_in_note("6.12").partition(":")[0]
    ('', '6.12 alone is taken for linux_6_12 (6.1.159, 6.6.117, 6.12.59 and later of each)')
    >>> stand_in_note("v9.9-rc1"), stand_in_note("7.1.5")
    ('v9.9-rc1 is newer than what is known (7.1); linux_7_1 stands in for it', '')
    """
    told = None if word.endswith(".py") else _TOLD.match(word)
    last, newest = max((version, name) for name, version in SINCE.items())
    if told is not None and (int(told[1]), int(told[2])) > last and variant_name(word) == newest:
        known = ".".join(map(str, last))
        return f"{word} is newer than what is known ({known}); {newest} stands in for it"
    alone = _ALONE.match(word)
    if alone is None or variant_name(word) != MERGED:
        return ""
    row = of_variant(MERGED)
    assert row is not None
    mainline = variant_name(f"{alone[1]}.0")
    if mainline == MERGED:
        return ""
    return (
        f"{word} alone is taken for {MERGED} ({row.releases}): mainline's is {alone[1]}.0, "
        f"{mainline}"
    )


def _variant(word: str, name: str, cls: type[Allocator]) -> Explanation:
    row = of_variant(name)
    title, says = docstring(cls)
    found: Explanation = {
        "id": name if word.replace("-", "_") == name else f"{word} is {name}",
        "title": title,
        "says": "\n\n".join(filter(None, (says, stand_in_note(word)))),
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

"""What clauses, and what stands in the place of one, say; and what they are said of."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from percpu_proofs.kernel.search.judge import CRASH
from percpu_reference.variants import VARIANTS
from percpu_spec.catalogue import clause, clauses, findings, title
from percpu_spec.releases import RELEASES


def title_of(clause_id: str) -> str:
    """Return a clause's title."""
    return "The kernel stops, or warns of itself" if clause_id == CRASH else title(clause_id)


def sentence_of(clause_id: str) -> str:
    """Return a clause's statement."""
    if clause_id in clauses():
        return clause(clause_id).statement
    found = findings().get(clause_id)
    return found.what if found is not None else ""


def kernel_of(clause_id: str) -> str:
    """Return the kernel functions and comments that a clause is about, and their files."""
    if clause_id not in clauses():
        return ""
    stated = clause(clause_id)
    files = re.search(r"\((mm/percpu[^()]*)\)$", stated.since)
    return stated.kernel.rstrip(".") + (f" ({files[1]})" if files else "")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text that says something, with what it gives names to.

    >>> first_sentence("Let R be the longest run. It is free. Nothing else is.")
    'Let R be the longest run. It is free.'
    """
    sentences = re.split(r"(?<=[A-Za-z0-9)\]]\.)\s+(?=[A-Z])", " ".join(text.split()))
    named = next((n for n, said in enumerate(sentences) if not said.startswith("Let ")), 0)
    return " ".join(sentences[: named + 1])


def subject_of(variant: str) -> str:
    """Return what a variant of the model stands for, in words; of a file, its name."""
    base, _, fixes = variant.partition("+")
    mended = f" with {fixes.replace('+', ', ')} mended" if fixes else ""
    for release in RELEASES:
        if release.variant == base:
            what = release.releases
            return f"Linux {what}{mended} ({variant})".replace("Linux linux-", "linux-")
    if base in VARIANTS:
        doc = inspect.getdoc(sys.modules[VARIANTS[base].__module__]) or ""
        said = doc.partition("\n\n")[0].replace("\n", " ").partition(": ")[2].rstrip(".")
        return f"{variant} ({said})" if said else variant
    return Path(variant).name if variant.endswith(".py") else variant

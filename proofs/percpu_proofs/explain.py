"""What a word names: a clause, a finding, a function, an event, a gap, a release, a failure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any, get_type_hints

from percpu_contracts.contract import Mark, marked_names, marks_of, sentence
from percpu_contracts.registry import When, predicates, state_clauses
from percpu_proofs.data import folder
from percpu_proofs.inputs import InputError, the_nearest
from percpu_proofs.logs.advice import Machine
from percpu_proofs.logs.advice import explain as meaning
from percpu_proofs.logs.failures import Failure, read_failures
from percpu_proofs.logs.prefixes import messages
from percpu_reference import VARIANTS, Allocator, UnknownVariantError, events, gaps
from percpu_reference.backing import KmBacking
from percpu_reference.environment import Environment
from percpu_reference.kernel_names import FILES, PART_OF, model_name, origin
from percpu_reference.state import State
from percpu_reference.stats import Stats
from percpu_reference.variants import RELEASES, fixes, variant_name
from percpu_reference.variants.linux_mm import RegionHints
from percpu_spec.catalogue import REFINE, clause, clauses, findings
from percpu_spec.releases import breaking, compared, mending, of_variant

Explanation = dict[str, Any]
"""Plain values: texts, lists of texts or of records, and maps of names to texts; `id`, `title`."""

_CLASSES: tuple[type, ...] = (
    *(getattr(fixes, name) for name in fixes.__all__), KmBacking, *VARIANTS.values(), RegionHints
)  # fmt: skip
"""What may override a function."""


def explain(word: str) -> Explanation:
    """Return what is known of a word. Raises InputError, naming words that are near it."""
    if word.upper() in clauses():
        return _clause(word.upper())
    if word.upper() in findings():
        return _finding(word.upper())
    if variant := _variant(word):
        return _release(word, variant)
    if failures := read_failures(messages([(1, word)]))[0]:
        return _failure(failures[0])
    name = model_name(word)
    if name in _functions():
        return _function(name)
    for named in (_events(), _gaps()):
        if word in named:
            return named[word]
    kernel = [function for names in FILES.values() for function in names]
    known = [*clauses(), *findings(), *_functions(), *kernel, *_events(), *_gaps(), *_NAMED]
    near = (
        get_close_matches(word, known, 5)
        or get_close_matches(word.upper(), known, 5)
        or get_close_matches(word.upper(), findings(), 9, 0.5)  # of two letters one is half
    )
    expected = f"one of {', '.join(dict.fromkeys(near))}{the_nearest(near, known)}" if near else (
        "a clause (HINT-5), a finding (L1), a function (isolate_chunk, pcpu_isolate_chunk), an "
        "event (CreateChunk), a gap, or a release (6.14, linux_6_13, linux-mm)"
    )  # fmt: skip
    raise InputError("explain", None, expected, word)


_NAMED = VARIANTS | RELEASES


def _variant(word: str) -> str:
    """Return the variant that a word names, by its name or a release; empty if it is neither.

    Raises InputError for a release that no variant stands for.
    """
    try:
        name = variant_name(word).replace("-", "_")
    except UnknownVariantError as error:
        raise InputError("explain", None, str(error).partition("expected ")[2], word) from None
    return name if name in _NAMED else ""


def _release(word: str, variant: str) -> Explanation:
    """Return what a variant does that others do not, and which releases it stands for."""
    cls, row = _NAMED[variant], of_variant(variant)
    found: Explanation = {
        "id": variant if word.replace("-", "_") == variant else f"{word} is {variant}",
        "title": _first_line(cls),
        "says": (inspect.getdoc(cls) or "").partition("\n\n")[2],
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


def _clause(clause_id: str) -> Explanation:
    stated = clause(clause_id)
    moment = ""
    if clause_id in state_clauses(When.ALWAYS, When.SETTLED, When.ISOLATED):
        moment = "every state, in every gap and after every operation, at level full"
    elif clause_id in state_clauses(When.QUIESCENT):
        moment = "every quiescent state, at level full"
    return asdict(stated) | {
        "state": moment,
        "expected": _declared("EXPECTED", clause_id),
        "not_applicable": _declared("NOT_APPLICABLE", clause_id),
        "by_release": breaking(clause_id),
        "predicates": [
            {"name": p.__name__, "module": p.__module__, "says": _first_line(p)}
            for p in predicates()[clause_id]
        ],
        "contracts": [
            {"function": name, **_line(mark)}
            for name in marked_names(Allocator)
            for mark in marks_of(Allocator, name)
            if mark.kind != "old" and clause_id in mark.clause.split()
        ],
    }


def _failure(failure: Failure) -> Explanation:
    """Return what a line that the kernel prints of a failed allocation means."""
    found = meaning(failure, Machine())
    return {
        "id": "failure",
        "title": failure.title,
        "says": "\n".join(found.says),
        "harmless": found.harm,
        "change": "\n".join(found.advice),
        "clauses": [{"clause": c, "what": clause(c).title} for c in found.clauses],
    }


def _declared(table: str, clause_id: str) -> dict[str, str]:
    """Return the reasons that variants declare for a clause."""
    return {
        name: getattr(cls, table)[clause_id]
        for name, cls in (VARIANTS | RELEASES).items()
        if clause_id in getattr(cls, table)
    }


def _finding(finding_id: str) -> Explanation:
    found = findings()[finding_id]
    patches = {path.name: path.read_text("utf-8") for path in folder("patches").iterdir()}
    return asdict(found) | {
        "clauses": [{"clause": c, "what": clause(c).title} for c in found.clauses],
        "expected": _declared("EXPECTED", finding_id),
        "mended_in": mending(finding_id) if finding_id != REFINE else "",
        "fixes": [
            {"class": name, "name": cls.NAME, "says": _first_line(cls)}
            for name in found.fixes
            if (cls := getattr(fixes, name))
        ],
        "patches": [{"patch": name, "lines": _size(patches[name])} for name in found.patches],
    }


def _size(patch: str) -> str:
    """Return how many lines a patch adds and takes away.

    >>> _size("--- a\\n+++ b\\n-old\\n+new\\n+more\\n")
    '+2 -1'
    """
    lines = patch.splitlines()
    added, gone = (sum(line[:1] == c and line[:3] != c * 3 for line in lines) for c in "+-")
    return f"+{added} -{gone}"


def _functions() -> dict[str, list[type]]:
    """Return the model's functions by name, with the classes that define them, base first."""
    found: dict[str, list[type]] = {}
    for cls in (*reversed(Allocator.__mro__[:-1]), *_CLASSES, Stats, Environment):
        for name, value in vars(cls).items():
            apart = not issubclass(cls, State) and name in found
            if inspect.isfunction(value) and not name.startswith("__") and not apart:
                found.setdefault(name, []).append(cls)
    return found


def _function(name: str) -> Explanation:
    owners = _functions()[name]
    function: Callable[..., Any] = vars(owners[0])[name]
    source = origin(name)
    parts = [] if source is None or source.is_part else [
        part for part, whole in PART_OF.items() if whole == source.function
    ]  # fmt: skip
    marks = [mark for mark in marks_of(owners[-1], name) if mark.kind != "old" and not mark.is_note]
    return {
        "id": f"{owners[0].__name__}.{name}{inspect.signature(function)}",
        "title": _first_line(function),
        "says": (inspect.getdoc(function) or "").partition("\n\n")[2],
        "kernel": str(source or "none: of a variant alone"),
        "parts": ", ".join(parts),
        "file": function.__module__,
        "requires": [_line(mark) for mark in marks if mark.kind == "require"],
        "ensures": [_line(mark) for mark in marks if mark.kind == "ensure"],
        "overridden": [
            {"by": cls.__name__, "file": cls.__module__, "says": _first_line(vars(cls)[name])}
            for cls in owners[1:]
        ],
    }


def _line(mark: Mark) -> dict[str, str]:
    """Return a line of a contract as a record."""
    return {
        "kind": mark.kind,
        "level": mark.level,
        "condition": f"{mark.condition.__module__}.{mark.condition.__name__}",
        "says": sentence(mark),
    }


def _events() -> dict[str, Explanation]:
    """Return the trace events by the model's name and the kernel's."""
    found: dict[str, Explanation] = {}
    for name, cls in vars(events).items():
        if inspect.isclass(cls) and cls.__module__ == events.__name__:
            kernel = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
            fields = {field: str(kind) for field, kind in get_type_hints(cls).items()}
            found[name] = found[f"percpu{kernel}"] = {
                "id": name,
                "title": _first_line(cls),
                "kernel": f"percpu{kernel}",
                "fields": fields,
            }
    return found


def _gaps() -> dict[str, Explanation]:
    """Return the kinds of gaps, and the gaps that have a name in the model."""
    kinds = {kind.name: {"id": kind.name, "title": "a kind of gap"} for kind in gaps.Kind}
    named = {
        gap.name: {"id": gap.name, "title": "a gap", "kind": gap.kind.name}
        for gap in vars(gaps).values() if isinstance(gap, gaps.Gap)
    }  # fmt: skip
    return kinds | named


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")

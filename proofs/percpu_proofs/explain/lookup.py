"""What a word names: a clause, a finding, a function or an event, or what the modules beside know.

A word may have several senses, the narrowest first; a line is asked as a whole before its words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import cache
from typing import Any, get_type_hints

from percpu_contracts.contract import ContractMark, marked_names, marks_of, sentence
from percpu_contracts.registry import When, predicates, state_clauses
from percpu_proofs.data import folder
from percpu_proofs.explain import Explanation, code, docstring, names, terms, titles, unwrapped
from percpu_proofs.explain.code import gaps
from percpu_proofs.explain.lines import (
    entry_of_part,
    entry_of_title,
    explain_damaged,
    explain_letter,
    explain_lines,
    explain_screen,
)
from percpu_proofs.explain.messages import explain_printed
from percpu_proofs.run.inputs import InputError
from percpu_reference import VARIANTS, Allocator, events
from percpu_reference.backing import KmBacking
from percpu_reference.environment import Environment
from percpu_reference.kernel_names import FILES, PART_OF, model_name, origin
from percpu_reference.state import Globals
from percpu_reference.stats import Stats
from percpu_reference.variants import RELEASES, fixes
from percpu_reference.variants.linux_mm import RegionHints
from percpu_spec.catalogue import REFINE, clause, clauses, entry_id, findings
from percpu_spec.glossary import kernel_messages
from percpu_spec.releases import breaking, mending

_CLASSES: tuple[type, ...] = (
    *(getattr(fixes, name) for name in fixes.__all__), KmBacking, *VARIANTS.values(), RegionHints
)  # fmt: skip
"""What may override a function."""
_LIST = re.compile(r"(slot) \d+(?: (sidelined|free|to_depopulate))?(?: of (type) \d+)?")
_EVENT = re.compile(r"\bpercpu_(?:alloc_percpu(?:_fail)?|free_percpu|create_chunk|destroy_chunk)\b")


class UnknownWordError(InputError):
    """No sense of a word is known; `near` are words that look alike."""

    def __init__(self, word: str, near: Sequence[str]) -> None:
        super().__init__("explain", None, "a word that is known", word)
        self.word, self.near = word, tuple(near)

    def __str__(self) -> str:
        shown = self.word if len(self.word) <= 80 else f"{self.word[:77]}..."
        like = f"near: {', '.join(self.near)}" if self.near else (
            "nothing is near; a clause (HINT-5), a finding (L1), a function (pcpu_isolate_chunk), "
            "a release (6.14), a word of the glossary (float), a line of a log"
        )  # fmt: skip
        return f"explain: no entry {shown!r}; {like}"

    def __reduce__(self) -> Any:
        return UnknownWordError, (self.word, self.near)


def explain(word: str) -> Explanation:
    """Return the first sense of a word or a line, with the others as `also`.

    Raises UnknownWordError, naming words that are near it.
    """
    found = known(word)
    if found is None:  # chunk->isolated, pcpu_alloc+0x5cd/0x5f0, whole lines
        found = _first_of([sense for name in _names_in(word) for sense in _senses(name)])
    if found is None:
        raise UnknownWordError(word.strip(), _near(word.strip()))
    return found


def known(word: str) -> Explanation | None:
    """Return what a word or a line is known as itself, not by names that stand in it."""
    word = word.strip()
    senses = [*explain_screen(word), *_senses(entry_of_title(word) or word)]
    if not senses and " " in word:
        printed = list(explain_printed(word))
        if not any("clauses" in one for one in printed):  # a heading says more than a source's text
            senses = [sense for name in terms.headings_in(word) for sense in _senses(name)]
        senses += printed
    if not senses and (entry := entry_of_part(word)) is not None:
        senses = list(_senses(entry))
    if not senses and len(cells := re.split(r"\s{2,}", word)) > 1:  # a row, a head, a name's value
        for one in (cell for cell in dict.fromkeys(cells) if cell[:1].isalpha()):
            # those of its very form before those of one of the thing
            exact_first = sorted(_senses(one), key=lambda s: s["id"].lower() != one.lower())
            senses += exact_first[:1]
    return _first_of(senses)


def _first_of(senses: Sequence[Explanation]) -> Explanation | None:
    plain = [unwrapped(sense) for sense in senses]
    return plain[0] | {"also": plain[1:]} if plain else None


def _senses(word: str) -> Iterator[Explanation]:
    """Yield what a word names, the narrowest sense first."""
    entry = entry_id(word)
    if entry in clauses():
        yield _clause(entry)
    if entry in findings():
        yield _finding(entry)
    yield from names.explain_release(word)
    yield from names.explain_commit(word)
    if " " in word:
        yield from explain_lines(word)
        yield from (_events()[event] for event in dict.fromkeys(_EVENT.findall(word)))
    users = "_" not in word and word not in gaps()  # of ours, before it is a function's name
    if users:
        yield from terms.explain_term(word, glossary_only=True)
    name = next((n for n in map(model_name, (word, f"pcpu_{word}")) if n in _functions()), None)
    if name is not None:
        yield _function(name)
    for named in (_events(), gaps()):
        if (plain := word.removeprefix("percpu:")) in named:
            yield named[plain]
    of_list = _LIST.fullmatch(word)
    for term in filter(None, of_list.groups()) if of_list else [word]:
        for sense in terms.explain_term(term):
            if not (users and term == word and sense["title"] == terms.GLOSSARY):
                yield sense
    yield from explain_letter(word)
    if " " in word:
        yield from explain_damaged(word)
    yield from names.meanings().get(word, [])
    yield from code.explain_code(word)


def _names_in(text: str) -> list[str]:
    """Return the names of the kernel and of the specification that stand in a line."""
    pieces = dict.fromkeys(re.findall(r"[A-Za-z_][\w-]*", text))
    if re.fullmatch(r"[\w-]+(?:(?:\.|->)[\w-]+)+", text.strip()):  # a member, or pcpu_x.isra.0
        return [name for name in reversed(pieces) if any(_senses(name))][:1]
    every = {*clauses(), *findings(), *_kernel_functions(), *terms.names()}
    return [name for name in pieces if name in every and ("_" in name or name[:1].isupper())]


def _kernel_functions() -> list[str]:
    return [function for names in FILES.values() for function in names]


@cache
def every_word() -> Mapping[str, str]:
    """Return every word that has an entry, by its lower case."""
    every = [*clauses(), *findings(), *_functions(), *_kernel_functions(), *_events(), *gaps(),
             *terms.names(), *names.names(), *code.names()]  # fmt: skip
    return {word.lower(): word for word in reversed(every)}


def _near(word: str) -> list[str]:
    """Return words that look like one, or like the words of a line, best first."""
    known = every_word()
    found = get_close_matches(word.lower(), known, 5)
    if " " in word:
        messages = (term.names[0] for term in kernel_messages())
        found = [message for message in messages if word.lower() in message.lower()] or found
    if not found and " " in word:
        pieces = re.findall(r"[\w-]{4,}", word.lower())
        found = [near for piece in pieces for near in get_close_matches(piece, known, 1, 0.8)]
    if not found:  # of two letters one is half
        found = get_close_matches(word.lower(), map(str.lower, findings()), 9, 0.5)
    return list(dict.fromkeys(known.get(near, near) for near in found))


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
            {"name": p.__name__, "module": p.__module__, "says": docstring(p)[0]}
            for p in predicates()[clause_id]
        ],
        "contracts": [
            {"function": name, **_line(mark)}
            for name in marked_names(Allocator)
            for mark in marks_of(Allocator, name)
            if mark.kind != "old" and clause_id in mark.clause.split()
        ],
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
        "clauses": titles(found.clauses),
        "expected": _declared("EXPECTED", finding_id),
        "mended_in": mending(finding_id) if finding_id != REFINE else "",
        "fixes": [
            {"class": name, "name": cls.NAME, "says": docstring(cls)[0]}
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


@cache
def _functions() -> dict[str, list[type]]:
    """Return the model's functions by name, with the classes that define them, base first."""
    found: dict[str, list[type]] = {}
    for cls in (*reversed(Allocator.__mro__[:-1]), *_CLASSES, Stats, Environment):
        for name, value in vars(cls).items():
            apart = not issubclass(cls, Globals) and name in found
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
    # a kernel function's names: that of an older kernel is what clauses say
    spellings = [source.function, source.function.removesuffix("_noprof")] if source else []
    marks = [mark for mark in marks_of(owners[-1], name) if mark.kind != "old" and not mark.is_note]
    return {
        "id": f"{owners[0].__name__}.{name}{inspect.signature(function)}",
        "title": docstring(function)[0] or f"as {source}",
        "says": docstring(function)[1],
        "kernel": str(source or "none: of a variant alone"),
        "named_by": terms.named_by(*spellings),
        "parts": ", ".join(parts),
        "file": function.__module__,
        "requires": [_line(mark) for mark in marks if mark.kind == "require"],
        "ensures": [_line(mark) for mark in marks if mark.kind == "ensure"],
        "overridden": [
            {"by": cls.__name__, "file": cls.__module__, "says": docstring(vars(cls)[name])[0]}
            for cls in owners[1:]
        ],
    }


def _line(mark: ContractMark) -> dict[str, str]:
    """Return a line of a contract as a record."""
    return {
        "kind": mark.kind,
        "level": mark.level,
        "condition": f"{mark.condition.__module__}.{mark.condition.__name__}",
        "says": sentence(mark),
    }


@cache
def _events() -> dict[str, Explanation]:
    """Return the trace events by the model's name and the kernel's."""
    found: dict[str, Explanation] = {}
    for name, cls in vars(events).items():
        if inspect.isclass(cls) and cls.__module__ == events.__name__:
            kernel = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
            fields = {field: kind.__name__ for field, kind in get_type_hints(cls).items()}
            found[name] = found[f"percpu{kernel}"] = {
                "id": name,
                "title": docstring(cls)[0],
                "kernel": f"percpu{kernel}",
                "fields": fields,
            }
    return found

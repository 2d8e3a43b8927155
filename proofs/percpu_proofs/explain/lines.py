"""Lines that somebody pastes: of a log, of an operation list, and of what our commands print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from percpu_proofs.explain import Explanation, explanation, titles
from percpu_proofs.explore.token import read_token
from percpu_proofs.kernel.search.tree_token import read_tree_token
from percpu_proofs.logs.advice import MachineFacts
from percpu_proofs.logs.advice import explain as meaning
from percpu_proofs.logs.failures import Failure, merge_alike, read_failures
from percpu_proofs.logs.material import read_material
from percpu_proofs.logs.messages import Message, messages
from percpu_proofs.logs.reports import Report, block_of, kind_of, read_reports, without_illegal
from percpu_proofs.recorded.boot.layout import layout
from percpu_proofs.recorded.boot.log import is_layout
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_proofs.run.operations import FLAGS, MEANINGS, SHAPES, parse_operations
from percpu_proofs.run.sizes import SIZES
from percpu_proofs.show.text import PAGES
from percpu_spec.catalogue import clauses, findings
from percpu_spec.glossary import Term, kernel_messages

_PASTED = Path("the pasted line")
_NOT_WHOLE = (
    "Size, align or the reason are cut off or damaged, so nothing can be said of it: whole are "
    "'percpu: allocation failed, size=N align=N atomic=0, REASON', 'illegal size (N) or align (N) "
    "for percpu allocation' and 'MODULE: Could not allocate N bytes percpu data'."
)
_HOLDERS = {"d": r"(-?\d+)", "x": r"(0x[0-9a-f]+)", "s": r"(\S+)", "t": r"(.*)"}
_HOLDER = re.compile("%([dxst])")
_PART: Final = 4  # words of a sentence that say which it is
_LEGEND: Final = re.escape("".join(PAGES))
_PIECES: Final = {
    "legend": _LEGEND,
    "pages": rf"[{_LEGEND}0-9 ]+?",
    "place": r"(?:slot \d+(?: \w+)?|reserved|no list|held by .+?|.+?, also held by .+?)",
    "list": r"(?:\d+(?: (?:free|sidelined|to_depopulate|isolated))?|reserved)",
    "count": r"(?:-?\d[\d.,]*|-|\.\.\.)",
}
"""What is in several forms of lines."""


def explain_lines(text: str) -> Iterator[Explanation]:
    """Yield what lines of a log, a trace or an operation list say, in their order by kind."""
    lines = list(enumerate(text.split("\n"), 1))
    found = messages(lines)
    failures, _, _ = read_failures(found)
    for failure in merge_alike(failures):
        yield _failure(failure)
    if any(is_layout(message.text) for message in found):
        yield _layout(lines)
    reports = list(without_illegal(_reports(found), [failure.line for failure in failures]))
    for report in reports:
        yield _report(report)
    if not (failures or reports):
        for message in found:
            yield from _printed(message.text.strip())
    for one in read_material(found, "FILE"):
        if one.kind != "operation list":
            says = "\n\n".join(one.says)
            yield explanation(one.kind, "what this line is of", says, read_it_with=one.command)
    if text.split()[0] in SHAPES and (" " in text.strip()):
        yield from _operations(text)


def explain_damaged(text: str) -> Iterator[Explanation]:
    """Yield what lines of failures say that are cut off or damaged."""
    if read_failures(messages(list(enumerate(text.split("\n"), 1))))[1]:
        read = "percpu-spec log FILE, with the lines around"
        yield explanation("failure", "a failure that is not whole", _NOT_WHOLE, read_it_with=read)


def explain_letter(word: str) -> Iterator[Explanation]:
    """Yield what a letter stands for in the operation language: an operation, a flag."""
    read = "percpu-spec operations prints the language"
    if word in SHAPES:
        says = f"{SHAPES[word]}: {MEANINGS[word]}"
        yield explanation(word, "an operation of a list", says, read_it_with=read)
    if word in FLAGS:
        yield explanation(word, "a flag of an allocation", FLAGS[word], read_it_with=read)


def entry_of_title(text: str) -> str | None:
    """Return the clause or finding that has this title."""
    return _titles().get(" ".join(text.split()).rstrip(".").lower())


def entry_of_part(text: str) -> str | None:
    """Return the clause or finding of whose sentence, as it is folded, this is a part."""
    part = " ".join(text.split())
    if len(re.findall(r"[A-Za-z]{2,}", part)) < _PART:
        return None
    sentences = [(one.id, one.statement) for one in clauses().values()]
    sentences += [(one.id, one.breaks) for one in findings().values()]
    return next((entry for entry, text in sentences if part in " ".join(text.split())), None)


def explain_screen(text: str) -> Iterator[Explanation]:
    """Yield what a token, sizes or a row of a table says."""
    text = " ".join(text.split())
    yield from _token(text)
    yield from _sizes(text)
    yield from _legend(text)
    for form, term in _screens():
        if form.fullmatch(text):
            shown = [f"{mark} {what}" for mark, what in PAGES.items()]
            more = f" Pages: {', '.join(shown)}." if term.names == ("pages",) else ""
            yield explanation("line", term.names[0], f"{term.text}{more}")
            return


def _failure(failure: Failure) -> Explanation:
    """Return what a line that the kernel prints of a failed allocation means."""
    found = meaning(failure, MachineFacts())
    return explanation(
        "failure", failure.title, "\n\n".join(found.says), harmless=found.harm,
        change="\n\n".join(found.advice), clauses=titles(found.clauses),
    )  # fmt: skip


def _report(report: Report) -> Explanation:
    found = explanation(
        report.kind, report.title, "\n\n".join(report.says), change="\n\n".join(report.advice)
    )
    return found | {"nearest" if report.outside else "clauses": titles(report.clauses)}


def _reports(found: Sequence[Message]) -> list[Report]:
    """Return the reports; of a heading alone what would be said if percpu has a part in it."""
    reports = read_reports(found)
    if not reports and len(found) == 1 and (kind := kind_of(found[0].text)) is not None:
        reports.append(kind.report(1, block_of([found[0].text])))
    return reports


def _layout(lines: Sequence[tuple[int, str]]) -> Explanation:
    """Return what lines of the boot's layout say, so far as these alone tell it."""
    found: Explanation = {"id": "layout", "title": "the percpu layout, as boot prints it"}
    try:
        shape = layout(_PASTED, lines)
    except TraceError as error:
        says = "A line of the layout, which says little without the others: units of CPUs by group."
        if not str(error).startswith(f"{_PASTED}: expected the percpu layout"):
            says = str(error)
        return found | {"says": says, "read_it_with": "percpu-spec log FILE, or -"}
    page = f"pages of {shape.page} bytes" if shape.page else shape.open_page
    parts = f"static {shape.static}, reserved {shape.reserved}, dynamic {shape.dyn}"
    return found | {
        "says": f"{parts} bytes; a unit has {shape.unit} bytes; {page} ({shape.page_by}); first "
                f"chunk {shape.first_chunk}; chunks backed by percpu-{shape.backing}",
        "notes": "\n\n".join(shape.notes),
        "read_it_with": "percpu-spec log FILE",
    }  # fmt: skip


@cache
def _forms() -> list[tuple[re.Pattern[str], Term]]:
    """Return the messages of the kernel as patterns; what stands before one does not count."""
    found = []
    for term in kernel_messages():
        pieces = _HOLDER.split(term.names[0])
        form = "".join(
            _HOLDERS[piece] if number % 2 else re.escape(piece)
            for number, piece in enumerate(pieces)
        )
        found.append((re.compile(f"(?:^|\\b){form}$", re.I), term))
    return found


def _printed(text: str) -> Iterator[Explanation]:
    for form, term in _forms():
        if form.search(text):
            yield explanation("message", text, term.text)
            return


def _operations(text: str) -> Iterator[Explanation]:
    """Yield what lines of an operation list ask for, if they are some."""
    lines = [line.strip() for line in text.replace(";", "\n").split("\n") if line.strip()]
    with suppress(InputError):
        parse_operations(_PASTED, lines)
        yield explanation(
            "operations" if len(lines) > 1 else "operation", "of the operation language",
            "\n".join(f"{line}: {_in_words(line)}" for line in lines if line[0] != "#"),
            read_it_with="percpu-spec run FILE; percpu-spec operations prints the language",
        )  # fmt: skip


def _in_words(line: str) -> str:
    """Return an operation in words.

    >>> _in_words("a 1 40 8 AG")
    'allocate 40 bytes aligned to 8 into handle 1; atomic (GFP_ATOMIC), accounted to the memory \
cgroup (__GFP_ACCOUNT)'
    """
    kind, *values = line.partition("#")[0].split()
    names = SHAPES[kind].partition(" or ")[0].split()[1:]
    text = MEANINGS[kind].partition("; FLAGS")[0]
    for name, value in zip(names, values, strict=True):
        text = text.replace(name, f"handle {value}" if name == "HANDLE" else value)
    flags = ", ".join(FLAGS[flag] for flag in values[3] if flag != "-") if kind == "a" else ""
    return f"{text}; {flags}" if flags else text


@cache
def _screens() -> list[tuple[re.Pattern[str], Term]]:
    """Return the forms of the lines of screens, each with what it is and what it says."""
    text = (Path(__file__).parent / "screens.md").read_text("utf-8")
    found = []
    for title, form, says in re.findall(r"^## (.*)\n\n    (.*)\n\n((?:.+\n)+)", text, re.M):
        whole = re.sub("<([a-z]+)>", lambda piece: _PIECES[piece[1]], form)
        found.append((re.compile(whole), Term((title,), " ".join(says.split()))))
    return found


@cache
def _titles() -> Mapping[str, str]:
    """Return the ids of clauses and findings by their titles."""
    found = {one.title.lower(): one.id for one in findings().values()}
    return found | {one.title.lower(): one.id for one in clauses().values()}


def _token(text: str) -> Iterator[Explanation]:
    """Yield what a token replays."""
    if not re.fullmatch(r"[a-z]\d\.[\w-]{8,}", text):
        return
    says = "It holds operations and a schedule, and is refused where the code is another one now."
    more = {}
    with suppress(InputError):
        tree = read_tree_token(text)
        says = f"It breaks {tree.clause} on the compiled code of Linux {tree.release}."
        text += " --source TREE"
    with suppress(InputError):
        token = read_token(text)
        says = f"It breaks {token.clause} on {token.variant}; sizes: {token.geometry}."
        more = {"operations": "; ".join((*token.setup, *token.actors))}
    read = {"read_it_with": f"percpu-spec replay {text}"}
    yield explanation("token", "a counterexample, to be run again", says, **more, **read)


def _sizes(text: str) -> Iterator[Explanation]:
    """Yield what sizes say, as --geometry takes them."""
    given = re.split(r", ?", re.sub(r"^Sizes: ?", "", text).rstrip("."))
    pairs = [one.split("=", 1) for one in given]
    if all(len(pair) == 2 and pair[0] in SIZES for pair in pairs):
        says = "; ".join(f"{name}={value}: {SIZES[name]}" for name, value in pairs)
        yield explanation("sizes", "the sizes of an allocator", says)


def _legend(text: str) -> Iterator[Explanation]:
    """Yield what a character of a row of pages stands for."""
    for mark, what in PAGES.items():
        if text in (what, f"{mark} {what}"):
            drawn = next(term.text for _, term in _screens() if term.names == ("pages",))
            says = f"In a row of pages {mark} is a page that is {what}. {drawn}"
            yield explanation(f"{mark} {what}", "a character of a row", says)

"""How all commands speak to people and programs: tables, JSON, progress, exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import click
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from percpu_proofs.commands.console import Column, FittedTable, ProgressLines
from percpu_proofs.explain.names import stand_in_note
from percpu_proofs.run.inputs import writing
from percpu_reference.variants import UnknownVariantError, variant_name
from percpu_spec.catalogue import entry_id

K = TypeVar("K")
V = TypeVar("V")

PROGRAM = "percpu-spec"
AS_EXPECTED = 0
DIFFERS = 1
BAD_INPUT = 2
TORN = 3
INTERRUPTED = 130

PIPED_WIDTH = 76
"""Columns where no terminal says how wide it is: those of a mail."""


def named_variant(context: click.Context, option: click.Parameter, given: Any) -> Any:
    """Return variants by their names where releases that they stand for were given ("6.14").

    A callback of options. A release that is taken for another than mainline's, or is newer than
    all variants, is told behind the results, but for JSON. Raises UnknownVariantError for a release
    that is too old.
    """
    words = given if isinstance(given, tuple) else (given or "",)
    for note in filter(None, dict.fromkeys(map(stand_in_note, words))):
        context.call_on_close(partial(_print_note, context, note))
    if isinstance(given, tuple):
        return tuple(map(variant_name, given))
    if given == "":
        raise UnknownVariantError("variant '': expected a name, a release or a Python file")
    return given and variant_name(given)


def clause_ids(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the ids of clauses as the catalogue has them, however they are spelled (hint5)."""
    return tuple(map(entry_id, given))


def _print_note(context: click.Context, note: str) -> None:
    """Print a note to standard error, unless results are printed as JSON."""
    if not context.meta.get(_JSON):
        click.echo(note, err=True)


_JSON = "percpu_spec.json"  # in the context of a command: whether it prints JSON


def _choose_json(context: click.Context, option: click.Parameter, chosen: bool) -> None:
    context.meta[_JSON] = chosen


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_choose_json,
    help="Print JSON instead of tables.",
)  # fmt: skip
"""--json, which `as_json` and `result` know of."""


def as_json() -> bool:
    """Return whether the command that runs prints JSON."""
    return bool(click.get_current_context().meta.get(_JSON))


_results: list[TextIO] = []  # standard output, while nothing but results may go there


@contextmanager
def results_only() -> Iterator[None]:
    """Send to standard error what anything but this module prints to standard output."""
    _results.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.pop()


def _stdout() -> TextIO:
    return _results[-1] if _results else sys.stdout


def echo(text: str, *, nl: bool = True) -> None:
    """Print text as it is to standard output, at once."""
    click.echo(text, file=_stdout(), nl=nl)


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or error; no colour and no bars when piped.

    It is as wide as the terminal, and folds what is longer. What is printed is there at once, piped
    too, and no line of results ends with blanks.
    """
    file = sys.stderr if stderr else _stdout()
    terminal = file.isatty()
    trimmed = file if stderr and terminal else cast("TextIO", _Trimmed(file))
    return Console(file=trimmed, highlight=False, width=None if terminal else PIPED_WIDTH)


def folded(text: Text, width: int) -> Text:
    """Return a text with none of its lines over a width, those behind a line's first indented.

    They begin where the column behind a line's label does, or two blanks behind the line itself.
    Words are whole, also those longer than a line: paths, tokens. So are commands, to be pasted.

    >>> print(folded(Text("holds  MAP-1 MAP-2 POP-1"), 21))
    holds  MAP-1 MAP-2
           POP-1
    >>> print(folded(Text("input  /a/path/that/is/longer/than/that"), 21))
    input  /a/path/that/is/longer/than/that
    """
    return Text("\n").join(piece for line in text.split("\n") for piece in _pieces(line, width))


def _pieces(line: Text, width: int) -> Iterator[Text]:
    """Yield the pieces of one line."""
    plain = line.plain
    if cell_len(plain) <= width or _COMMAND.match(plain):
        yield line
        return
    blank = len(plain) - len(plain.lstrip()) + 2
    label = _LABEL.match(plain)
    if label and label.end() <= width // 3:
        blank = label.end()
    indent, begin, end = Text(""), 0, 0
    named = label.end("name") if label else 0
    for word in re.finditer(r"\S+", plain):
        if end > named and len(indent) + cell_len(plain[begin : word.end()]) > width:
            yield indent + line[begin:end]
            indent, begin = Text(" " * blank), word.start()
        end = word.end()
    yield indent + line[begin:end]


_COMMAND = re.compile(r"\s*(?:[\w ]+: )?(?:percpu-spec |--)\S")
_LABEL = re.compile(r"(?P<name>\s*\S+(?: \S+)*)\s{2,}(?=\S)")


class _Trimmed:
    """A text file that drops the blanks at the end of each line that is written to it whole."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write text."""
        return self._file.write(_END.sub(lambda end: re.sub(r"[ \t]", "", end[0]), text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_END = re.compile(r"(?:[ \t]|\x1b\[[\d;]*m)+(?=\n)")  # blanks, and where colours end


def say(out: Console, text: str | Text, style: str = "") -> None:
    """Print a text as it stands, neither markup nor emoji in it, its lines folded between words."""
    whole = text if isinstance(text, Text) else Text(text, style)
    out.print(folded(whole, out.width), soft_wrap=True)


@dataclass(slots=True)
class Interruption:
    """Whether Ctrl-C came."""

    came: bool = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Let Ctrl-C end the block, and no more than that: what was done is shown."""
    stop = Interruption()
    try:
        yield stop
    except KeyboardInterrupt:
        stop.came = True


def end(*, interrupted: bool = False, ok: bool = True) -> None:
    """End a command: with exit code 130 after Ctrl-C, 1 where something is not as expected."""
    if interrupted:
        raise SystemExit(INTERRUPTED)
    if not ok:
        raise SystemExit(DIFFERS)


def record(of: object, *names: str) -> dict[str, Any]:
    """Return attributes by their names, for JSON."""
    return {name: getattr(of, name) for name in names}


def print_json(value: object) -> None:
    """Print one JSON document."""
    echo(json.dumps(value, indent=2))


def result(values: Callable[[], object], show: Callable[[Console], object]) -> None:
    """Print what was found: its plain values as JSON if asked for, else as `show` does."""
    if as_json():
        print_json(values())
    else:
        show(console())


class NewFile(click.Path):
    """A file to be written at the end of long work: its folder must be there at the beginning.

    overwrites: whether it may be there already.
    """

    def __init__(self, *, overwrites: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)
        self.overwrites = overwrites

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a missing folder is a usage error."""
        path: Any = super().convert(value, param, ctx)
        if not Path(path).parent.is_dir():
            self.fail(f"no such folder: {Path(path).parent}", param, ctx)
        if not self.overwrites and Path(path).exists():
            self.fail(f"expected a file that is not there yet, found {str(path)!r}", param, ctx)
        return path


def write_file(path: Path, text: str) -> None:
    """Write a text file. Raises InputError where that is not possible."""
    with writing(path):
        path.write_text(text, encoding="utf-8")


def write_page(page: Path, html: str) -> None:
    """Write a report, and say so where people read. Raises InputError as `write_file` does."""
    write_file(page, html)
    click.echo(f"written: {page}, {len(html.encode()) / 1e6:.1f} MB", err=True)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    whole: Sequence[str] = (),
) -> FittedTable:
    """Return a table; a column whose cells are all numbers is set to the right and never folded.

    Cells are plain text unless they are rich Text. whole: columns that are never folded either.
    """
    made = []
    for number, name in enumerate(columns):
        cells = [row[number] for row in rows]
        numeric = bool(cells) and all(isinstance(cell, int | float) for cell in cells)
        texts = tuple(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in cells)
        made.append(Column(name, texts, numeric, name in whole))
    return FittedTable(title, tuple(made))


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return the values of each key, both in the order of the pairs."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def counts(of: Mapping[str, int]) -> str:
    """Return how often each of some names was met, in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(of.items()))


def show_pairs(out: Console, rows: Sequence[tuple[str, object]]) -> None:
    """Print names with their values, a line each."""
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        text = value if isinstance(value, Text) else Text(_cell(value))
        say(out, Text(name.ljust(width), "bold") + text)


def show_not_asked(out: Console, reasons: Mapping[str, str]) -> None:
    """Name the clauses that were not asked, a line for each reason."""
    for reason, names in grouped((why, name) for name, why in reasons.items()).items():
        out.print(f"not asked: {', '.join(names)}: {reason}", markup=False)


def callers_error(what: str) -> Text:
    """Return the line about a free that API-2 forbids."""
    return Text(f"the caller's error (API-2), no verdict on the allocator: {what}", "yellow")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@contextmanager
def progress_bar(title: str, each: float = 0.0) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs, and take it away after; lines where there is no terminal.

    Given is what takes how much is done, of how much, and a new title if there is one. each:
    seconds that one of what is counted may take, where that is known before.
    """
    out = console(stderr=True)
    if not out.is_terminal:
        with ProgressLines(title, each).printing() as lines:
            yield lines
        return
    with Progress(console=out, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def show(done: int, total: int, title: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=title)

        yield show


def sparkline(values: Sequence[int], width: int = 40) -> str:
    """Return values as a row of characters from low to high, at most width of them.

    >>> sparkline([1, 2, 4])
    '▁▃█'
    """
    marks = "▁▂▃▄▅▆▇█"
    if not values:
        return ""
    low, high = min(values), max(values)
    span = max(high - low, 1)
    shown = min(len(values), width)
    chosen = [values[i * len(values) // shown] for i in range(shown)]
    return "".join(marks[(value - low) * (len(marks) - 1) // span] for value in chosen)

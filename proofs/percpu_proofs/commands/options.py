"""Options that several commands share, their completions, and what is wrong with words typed."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class
from click.types import StringParamType

from percpu_proofs.commands import output
from percpu_proofs.explain import code, lookup
from percpu_proofs.explain.names import DRAWN, Kind, find_file, shipped_names
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.kernel.search.plans import DRAWN as DRAWN_SEARCHES
from percpu_proofs.kernel.search.plans import QUICK
from percpu_proofs.kernel.search.trees import CompiledTree, compiled_trees, fix_patch
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.processes import default_jobs
from percpu_proofs.show.mail import LINES, WIDTH
from percpu_reference.variants import RELEASES, VARIANTS
from percpu_spec.catalogue import clauses, findings

_Decorator = Callable[[Callable[..., None]], Callable[..., None]]
_PATH = click.Path(path_type=Path)
_NAMES: Final = "percpu-tokens.txt"


def together(name: str, made: Callable[..., object], *options: _Decorator) -> _Decorator:
    """Return options that a command gets as one parameter: what is made of their values."""
    parts = list(inspect.signature(made).parameters)

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*args: Any, **values: Any) -> None:
            value = made(**{part: values.pop(part) for part in parts})
            command(*args, **{name: value}, **values)

        chosen: Callable[..., None] = run
        for option in reversed(options):
            chosen = option(chosen)
        return chosen

    return add


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """A tree, patches in their order, names of fixes that follow them, and a header of stubs."""

    source: Path
    patches: tuple[Path, ...]
    fixes: tuple[str, ...]
    stub: Path | None

    def options(self, source: str = "", patch: str = "", *, whole: bool = False) -> str:
        """Return the options that choose it, for a line to be pasted.

        source, patch: what stands for their paths; otherwise the last parts of these, or, here and
        now, the whole of a patch's.
        """
        words = ["--source", source or self.source.name or str(self.source)]
        for path in self.patches:
            words += ["--patch", patch or (str(path) if whole else path.name)]
        for name in self.fixes:
            words += ["--fix", name]
        if self.stub is not None:
            words += ["--stub", self.stub.name]
        return f" {shlex.join(words)}"

    def compiled(self) -> AbstractContextManager[list[CompiledTree]]:
        """Give the tree, and behind it the patched one if there are patches. Raises InputError."""
        patches = [find_file(path, "patch") for path in self.patches]
        fixes = [path for name in self.fixes for path in fix_patch(name)]
        return compiled_trees(self.source, [*patches, *fixes], self.stub)


def _tree_of(
    source: Path | None, patches: tuple[Path, ...], fixes: tuple[str, ...], stub: Path | None
) -> TreeOptions | None:
    if source is not None:
        return TreeOptions(source, patches, fixes, stub)
    if patches or fixes or stub:
        raise InputError("--patch, --fix, --stub", None, "--source TREE beside them")
    return None


_source = functools.partial(
    click.option, "--source", type=_PATH, metavar="DIR",
    help="A Linux source tree, 5.14 or later, or Debian's archive of one.",
)  # fmt: skip
_PATCHES: Final = click.option(
    "--patch", "patches", type=_PATH, multiple=True,
    help="Apply a patch, a file or the name of one that ships, to a copy of the tree; several in "
    "order.",
)  # fmt: skip
_FIXES: Final = click.option(
    "--fix", "fixes", multiple=True, help="A fix of `reference`, as a patch of the tree."
)
_STUB: Final = click.option("--stub", type=_PATH, help="A header for a tree that needs more stubs.")

tree = together("tree", _tree_of, _source(), _PATCHES, _FIXES, _STUB)
"""--source, --patch, --fix and --stub, which a command gets as `tree`; None without.

Raises InputError for any of the others without --source.
"""
needed_tree = together(
    "tree", lambda source, patches, stub: TreeOptions(source, patches, (), stub),
    _source(required=True), _PATCHES, _STUB,
)  # fmt: skip
"""--source, which must be given, --patch and --stub, which a command gets as `tree`."""


mail = together(
    "mail", lambda as_mail, names: names if as_mail else None,
    click.option(
        "--mail", "as_mail", is_flag=True,
        help=f"Print a block for a mail, {WIDTH} columns and {LINES} lines at most.",
    ),
    click.option(
        "--names", type=click.Path(path_type=Path, dir_okay=False), default=_NAMES, metavar="FILE",
        help="Where --mail enters a token that is too long for its line, by name "
        f"(NAME@FILE replays it). Default: {_NAMES}.",
    ),
)  # fmt: skip
"""--mail, a block for a mail, and --names; `mail` is where tokens go that are long, or None."""

def variant(default: str, **settings: Any) -> _Decorator:
    """Return the option --variant. default: how its help says what runs without it."""
    return click.option(
        "--variant", callback=output.named_variant, **settings,
        help=f"The algorithm to run.  [default: {default}]",
    )  # fmt: skip


variant_file = click.option(
    "--variant", "file", metavar="FILE",
    help="Of a token of a variant's FILE.py: where that is here.",
)  # fmt: skip
jobs = click.option("--jobs", type=click.IntRange(min=1), default=default_jobs, help="Processes.")
dask = click.option("--dask", metavar="ADDRESS", help="Run on the dask cluster of this scheduler.")
debug = click.option(
    "--debug", type=click.Path(path_type=Path, exists=True),
    help="Of a core or live: vmlinux with debug information.",
)  # fmt: skip
page = click.option("--html", "page", type=output.NewFile(), help="Write a report there, one page.")
plot = click.option("--svg", type=output.NewFile(), help="Write the plot there as SVG.")
variants = click.option(
    "--variant", "names", callback=output.named_variant, multiple=True,
    help="An algorithm to run, may be given again.  [default: all]",
)  # fmt: skip
after = click.option(
    "--after", "workload_name", metavar="WORKLOAD",
    help="Also in the state in which a workload (as for removal) leaves each variant.",
)  # fmt: skip


class Words(StringParamType):
    """A text for which shells offer words; files as well, where it may be one."""

    def __init__(self, words: Callable[[], Sequence[str]], *, files: bool = False) -> None:
        self._words = words
        self._files = files

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the words that begin so, in any case."""
        found = [w for w in self._words() if w.lower().startswith(incomplete.lower())]
        items = [CompletionItem(word) for word in dict.fromkeys(found)]
        return items + [CompletionItem(incomplete, type="file")] * self._files


class File(Words):
    """A file, or the name of one that ships with the package."""

    name = "path"

    def __init__(self, *kinds: Kind, made: type[Path] | type[str] = Path) -> None:
        super().__init__(lambda: shipped_names(*kinds), files=True)
        self._kinds = kinds
        self._made = made

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path. Raises InputError for a name that is neither."""
        if str(value) in ("live", "-"):
            return self._made(value)
        return self._made(find_file(Path(value), *self._kinds))


_OPTIONS: dict[str, click.ParamType[Any]] = {
    "--variant": Words(lambda: [*VARIANTS, *RELEASES], files=True),
    "--clause": Words(lambda: [*clauses()]),
    "--search": Words(lambda: [search.name for search in (*QUICK, *DRAWN_SEARCHES)]),
    "--fix": Words(lambda: [f.id for f in findings().values() if f.fixes]),
    "--after": Words(lambda: ["cg612_4", "cg510_4"], files=True),
}
_ARGUMENTS: dict[str, click.ParamType[Any]] = {
    "show": Words(lambda: shipped_names(*DRAWN), files=True),
    "run": File("vector", "operation list", "recorded run"),
    "conform vectors": File("vector"),
    "conform trace": File("recorded run"),
    "conform record": File("vector", "operation list"),
    "state": File("state", made=str),
    "explore": Words(lambda: [*SCENARIOS], files=True),
    "explain": Words(lambda: [*lookup.every_word().values()]),
    "prove": Words(lambda: [*clauses(), *code.claims()]),
}


def complete(path: str, command: click.Command) -> None:
    """Give the parameters of a command the types that shells complete."""
    for parameter in command.params:
        known = _ARGUMENTS.get(path) if isinstance(parameter, click.Argument) else None
        for option in parameter.opts:
            known = known or _OPTIONS.get(option)
        if "--state" in parameter.opts:
            known = File("state", made=Path if isinstance(parameter.type, click.Path) else str)
        if known is not None:
            parameter.type = known


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what SHELL needs to complete commands, options, clauses, variants, scenarios, names.

    For bash: eval "$(percpu-spec completion bash)", in ~/.bashrc to keep it. For zsh the same with
    zsh, in ~/.zshrc. For fish: percpu-spec completion fish > ~/.config/fish/completions/
    percpu-spec.fish.
    """
    made = get_completion_class(shell)
    assert made is not None  # click has all of them
    command = click.get_current_context().find_root().command
    variable = f"_{output.PROGRAM.replace('-', '_').upper()}_COMPLETE"
    output.echo(made(command, {}, output.PROGRAM, variable).source())


_NUMBER: Final = re.compile(r"'(.*)' is not a valid (integer|float)(?: range)?\.", re.DOTALL)
_RANGE: Final = re.compile(r"(\S+) is not in the range (.*)\.")
_CHOICE: Final = re.compile(r"'(.*?)' is not (?:one of )?'.*'\.", re.DOTALL)
_GONE: Final = re.compile(r"\w+ '(.*)' does not exist\.", re.DOTALL)
_FILE: Final = re.compile(r"\w+ '(.*)' is a file\.", re.DOTALL)
_WORDS: Final = {"integer": "a whole number", "float": "a number"}


def usage_line(error: click.ClickException) -> str:
    """Return where a command line is wrong, what stands there, and what was expected or is near."""
    context = getattr(error, "ctx", None)
    words = context.command_path.split()[1:] if context is not None else []
    if isinstance(error, click.NoSuchOption):
        text = f"no such option {error.option_name}{_near(words, error.possibilities)}"
    elif (name := getattr(error, "command_name", None)) is not None:
        text = f"no such command {name}{_near(words, getattr(error, 'possibilities', None))}"
    elif isinstance(error, click.BadOptionUsage):
        wants = "requires" in error.message
        text = f"expected {'a' if wants else 'no'} value behind {error.option_name}"
    elif isinstance(error, click.MissingParameter):
        text = f"expected {_name(error)}{_help(words)}"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        return _bad_value(" ".join([*words, _name(error)]), error)
    else:
        text = error.format_message()
    return ": ".join(filter(None, (" ".join(words), " ".join(text.split()))))


def _bad_value(where: str, error: click.BadParameter) -> str:
    kind = error.param.type if error.param is not None else None
    if (found := _CHOICE.fullmatch(error.message)) and isinstance(kind, click.Choice):
        return str(InputError(where, None, one_of(found[1], map(str, kind.choices)), found[1]))
    if found := _NUMBER.fullmatch(error.message):
        return str(InputError(where, None, _WORDS[found[2]], found[1]))
    if found := _RANGE.fullmatch(error.message):
        return str(InputError(where, None, f"a number, {found[2]}", found[1]))
    if found := _GONE.fullmatch(error.message):
        return str(InputError(f"{where}: {found[1]}", None, "a file or folder that is there"))
    if found := _FILE.fullmatch(error.message):
        return str(InputError(f"{where}: {found[1]}", None, "a folder", "a file"))
    return f"{where}: {' '.join(error.message.split())}"


def _name(error: click.BadParameter) -> str:
    parameter = error.param
    if parameter is None:
        return str(error.param_hint or "a parameter")
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.make_metavar(error.ctx or click.Context(click.Command(None)))


def _near(words: Sequence[str], names: Sequence[str] | None) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else _help(words)


def _help(words: Sequence[str]) -> str:
    return f" ({' '.join(['percpu-spec', *words, '--help'])} tells what there is)"

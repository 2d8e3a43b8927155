"""What may stand for a parameter: names that shells complete, and files that ship by their name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class
from click.types import StringParamType

from percpu_proofs.commands import output
from percpu_proofs.explain import code, lookup, shipped
from percpu_proofs.explain.shipped import DRAWN, Kind
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.kernel.search.plans import DRAWN as DRAWN_SEARCHES
from percpu_proofs.kernel.search.plans import QUICK
from percpu_reference.variants import RELEASES, VARIANTS
from percpu_spec.catalogue import clauses, findings

_SHELLS = ("bash", "zsh", "fish")


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


class File(click.Path):
    """A file, or the name of one that ships with the package."""

    def __init__(self, *kinds: Kind, made: type[Path] | type[str] = Path) -> None:
        super().__init__(path_type=Path)
        self._kinds = kinds
        self._made = made
        self._words = Words(lambda: shipped.names(*kinds), files=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path. Raises InputError for a name that is neither."""
        if str(value) in ("live", "-"):
            return self._made(value)
        return self._made(shipped.find(Path(value), *self._kinds))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so, and files."""
        return self._words.shell_complete(ctx, param, incomplete)


_OPTIONS: dict[str, click.ParamType[Any]] = {
    "--variant": Words(lambda: [*VARIANTS, *RELEASES], files=True),
    "--clause": Words(lambda: [*clauses()]),
    "--search": Words(lambda: [search.name for search in (*QUICK, *DRAWN_SEARCHES)]),
    "--fix": Words(lambda: [f.id for f in findings().values() if f.fixes]),
    "--after": Words(lambda: ["cg612_4", "cg510_4"], files=True),
}
_ARGUMENTS: dict[str, click.ParamType[Any]] = {
    "show": Words(lambda: shipped.names(*DRAWN), files=True),
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
@click.argument("shell", type=click.Choice(_SHELLS))
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

"""What is wrong with the words of a command line, as any other bad input is told: in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

from percpu_proofs.run.inputs import InputError, one_of

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

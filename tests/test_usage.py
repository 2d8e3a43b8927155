"""Wrong words of a command line: one line that says where, and what was expected, for each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.run.inputs import one_of

Command = tuple[tuple[str, ...], click.Command]


def commands(command: click.Command = main, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Yield all commands with the words that name them, groups too."""
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))


def options(kinds: tuple[type[click.ParamType], ...]) -> Iterator[tuple[Command, click.Option]]:
    for command in commands():
        for option in command[1].params:
            if isinstance(option, click.Option) and isinstance(option.type, kinds):
                yield command, option


def name_of(option: click.Option) -> str:
    return max(option.opts, key=len)


def said(*words: str) -> str:
    """Return the one line that a command line is refused with."""
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.output
    assert result.stderr.startswith("percpu-spec: ")
    return result.stderr.removeprefix("percpu-spec: ").rstrip("\n")


def swapped(word: str) -> str:
    """Return a word with its last two letters that differ swapped."""
    at = max(n for n in range(2, len(word) - 1) if word[n] != word[n + 1])
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_a_misspelt_option_is_told_with_the_near_one(words: tuple[str, ...]) -> None:
    command = dict(commands())[words]
    named = [name_of(o) for o in command.params if isinstance(o, click.Option)] or ["--help"]
    wrong = swapped(max(named, key=len))
    line = said(*words, wrong)
    assert line.startswith(": ".join(filter(None, (" ".join(words), f"no such option {wrong}"))))
    assert f"did you mean {max(named, key=len)}" in line
    assert said(*words, "--qqqqq").endswith(f"{' '.join([*words, '--help'])} tells what there is)")


@pytest.mark.parametrize(
    ("words", "name"),
    [(w, name) for w, c in commands() if isinstance(c, click.Group) for name in c.commands],
    ids=str,
)
def test_a_misspelt_command_is_told_with_the_near_one(words: tuple[str, ...], name: str) -> None:
    line = said(*words, swapped(name) if len(name) > 3 else name + "g")
    assert "no such command" in line and f"{name}" in line.partition("did you mean")[2], line


@pytest.mark.parametrize(
    ("command", "option"),
    [*options((click.IntRange, click.FloatRange, click.types.IntParamType, click.Choice))],
    ids=lambda v: name_of(v) if isinstance(v, click.Option) else "-".join(v[0]),
)
def test_a_wrong_value_is_told_with_what_is_expected(
    command: Command, option: click.Option
) -> None:
    where = " ".join([*command[0], name_of(option)])
    line = said(*command[0], name_of(option), "3x")
    assert line.startswith(f"{where}: expected ") and line.endswith(", found '3x'"), line
    if isinstance(option.type, click.Choice):
        assert all(str(choice) in line for choice in option.type.choices)
    if isinstance(option.type, click.IntRange) and option.type.min is not None:
        low = str(option.type.min - 1)
        assert said(*command[0], name_of(option), low).endswith(f"found '{low}'")


@pytest.mark.parametrize(
    ("words", "parameter"),
    [(w, p) for w, c in commands() for p in c.params if p.required],
    ids=lambda v: v.name if isinstance(v, click.Parameter) else "-".join(v),
)
def test_what_is_missing_is_named(words: tuple[str, ...], parameter: click.Parameter) -> None:
    given: list[str] = []
    for other in dict(commands())[words].params:
        if other.required and other is not parameter:
            given += [name_of(other), "x"] if isinstance(other, click.Option) else [__file__]
    line = said(*words, *given)
    assert line.startswith(f"{' '.join(words)}: expected "), line
    assert parameter.name is not None
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    shown = (parameter.opts[-1], parameter.name.upper(), parameter.metavar or "", "|".join(choices))
    assert any(name and name in line for name in shown), line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "--json=1"), "expected no value behind --json"),
        (("explore", "--seed"), "expected a value behind --seed"),
        (("explore", "reuse", "--pct", "1001"), "explore --pct: expected a number, 1<=x<=1000"),
        (("explore", "reuse", "--jobs", "2"), "--jobs: expected --mode all, --random N or --pct D"),
        (("replay", "a", "b"), r"replay: Got unexpected extra argument \(b\)"),
        (("state", "x", "--ask", "many"), "state --ask: 'many': expected SIZE"),
        (("show", "x", "--svg", "/none/x"), "show --svg: no such folder: /none"),
        (("explore", "no-rom"), r"one of no-room \(the nearest of "),
        (("run", "--variant", "linux_6_21"), r"linux_6_15, .* \(the nearest of \d+\)"),
        (("explain", "HNT-5"), "no entry 'HNT-5'; near: HINT-5, "),
        (("prove", "slot-layot"), r"\(the nearest of "),
    ],
)  # fmt: skip
def test_other_words(words: tuple[str, ...], line: str) -> None:
    found = said(*words)
    assert re.search(line, found), found


def test_a_file_in_the_place_of_a_folder_is_told() -> None:
    assert said("bench", "--lists", __file__) == (
        f"bench --lists: {__file__}: expected a folder, found 'a file'"
    )


def test_near_names_are_not_told_as_all() -> None:
    assert one_of("abd", ["abc", "xyz"]) == "one of abc (the nearest of 2)"
    assert one_of("abd", ["abc"]) == "one of abc"
    assert one_of("q", ["abc", "xyz"]) == "one of abc, xyz"

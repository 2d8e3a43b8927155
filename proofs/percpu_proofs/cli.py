"""The command `percpu-spec`: exit 0 as expected, 1 something differs, 2 bad input, 3 torn.

Each command's --help ends with examples; a test runs every one of them. In them stand for what a
reader has: list.ops an operation list, mine.txt a scenario, mine.py a variant, dmesg.txt a log,
TREE a Linux source tree, TOKEN that of a counterexample.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from percpu_proofs.commands import output
from percpu_proofs.commands.bench import bench
from percpu_proofs.commands.beside import beside
from percpu_proofs.commands.conform import conform
from percpu_proofs.commands.console import any_streams
from percpu_proofs.commands.explain import explain, operations
from percpu_proofs.commands.explore import explore
from percpu_proofs.commands.log import log
from percpu_proofs.commands.options import complete, completion, usage_line
from percpu_proofs.commands.prove import prove
from percpu_proofs.commands.replay import replay
from percpu_proofs.commands.report import report
from percpu_proofs.commands.review import review
from percpu_proofs.commands.run import run
from percpu_proofs.commands.show import show
from percpu_proofs.commands.state import state
from percpu_proofs.commands.workload import workload
from percpu_proofs.run.inputs import unusable
from percpu_proofs.run.processes import interruptible
from percpu_proofs.run.variant_errors import BAD_INPUT, guard

NAME: Final = "percpu-spec"
_SETTINGS: Final = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": output.PIPED_WIDTH + 2,  # of which click leaves two columns free
}


class _Cli(click.Group):
    """Turns bad input, of the command line too, and streams or files that cannot be used into one
    message and exit 2, Ctrl-C or SIGTERM into exit 130.
    """

    def main(self, *args: Any, standalone_mode: bool = True, **settings: Any) -> Any:
        """Run a command line and exit, or return what it returns where it does not stand alone."""
        settings |= {"prog_name": NAME, "standalone_mode": False}
        if not standalone_mode:
            return super().main(*args, **settings)
        sys.exit(self._exit_code(*args, **settings))

    def _exit_code(self, *args: Any, **settings: Any) -> int:
        """Run a command line; return the exit code, and print what was wrong with it."""
        try:
            with interruptible(), any_streams():
                code = super().main(*args, **settings)
            return code if isinstance(code, int) else output.AS_EXPECTED
        except click.exceptions.NoArgsIsHelpError as error:
            _say(error.format_message(), prefix="")
        except click.ClickException as error:
            _say(usage_line(error))
        except BAD_INPUT as error:
            _say(str(error))
        except (KeyboardInterrupt, click.Abort):
            _say("interrupted")
            return output.INTERRUPTED
        except OSError as error:
            _say(str(unusable(error.filename or "the system", error)))
        return output.BAD_INPUT


def _say(text: str, *, prefix: str = f"{NAME}: ") -> None:
    with suppress(OSError):  # nobody is left to tell
        click.echo(prefix + text, err=True)


def _version(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Print the version, of a source tree that it is one, and end."""
    if given:
        try:
            version = importlib.metadata.version(NAME)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed, run from its sources"
        click.echo(f"{NAME}, version {version}")
        context.exit()


@click.group(
    name=NAME, cls=_Cli, context_settings=_SETTINGS,
    commands=[
        run, conform, show, explore, replay, review, report, prove, log, state, workload, bench,
        explain, beside, operations, completion,
    ],
)  # fmt: skip
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """An executable formal specification of the Linux percpu allocator.

    Exit status: 0 as expected, 1 a verdict or comparison differs, 2 bad input or usage, 3 a torn
    state.
    """


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function so that code of a variant's file can spoil no output of it."""

    @functools.wraps(function)
    def run_command(*args: Any, **options: Any) -> Any:
        with output.results_only(), guard():
            return function(*args, **options)

    return run_command


def commands(command: click.Command = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command, groups before what is in them, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}".strip())


class Example(NamedTuple):
    """A command line and what it does. takes: what it needs that is not there at once."""

    line: str
    does: str
    takes: str = ""  # seconds: it is run with the deep tests; a tree: it needs one as well


SECONDS, TREE = "seconds", "a tree"
_EXAMPLES: Final = Path(__file__).parent / "commands" / "examples.txt"
"""A line each, or two: a command, the words behind it, what that does, and what it takes."""


def _parsed() -> Iterator[tuple[str, Example]]:
    for one in _EXAMPLES.read_text("utf-8").replace("\n    |", " |").splitlines():
        called, *fields = one.split(" | ")
        command, _, words = called.partition(": ")
        yield command, Example(f"percpu-spec {command} {words}".rstrip(), *fields)


EXAMPLES: Final = {
    command: tuple(example for _, example in both)
    for command, both in groupby(_parsed(), key=lambda one: one[0])
}
OF_GROUPS: Final = {
    "": ("explain", "review"),
    "conform": ("conform trace", "conform kernel"),
    "workload": ("workload cost", "workload removal"),
}
"""The commands whose first examples end the help of a group."""


def examples_of(path: str) -> tuple[Example, ...]:
    """Return the examples of a command, or of a group, by the words that call it."""
    if path in OF_GROUPS:
        return tuple(EXAMPLES[command][0] for command in OF_GROUPS[path])
    return EXAMPLES.get(path, ())


for _path, _command in commands():
    _lines = [text for one in examples_of(_path) for text in (f"  {one.line}", f"      {one.does}")]
    _command.epilog = "\n".join(("\b", "Examples:", *_lines))
    if not isinstance(_command, click.Group):
        assert _command.callback is not None
        _command.callback = _guarded(_command.callback)
        complete(_path, _command)

if __name__ == "__main__":
    main()

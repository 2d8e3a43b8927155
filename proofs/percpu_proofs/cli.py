"""The command `percpu-spec`: exit 0 as expected, 1 something differs, 2 bad input, 3 torn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import click

from percpu_proofs.commands import output
from percpu_proofs.commands.bench import bench
from percpu_proofs.commands.beside import beside
from percpu_proofs.commands.completion import complete, completion
from percpu_proofs.commands.conform import conform
from percpu_proofs.commands.examples import with_examples
from percpu_proofs.commands.explain import explain
from percpu_proofs.commands.explore import explore
from percpu_proofs.commands.log import log
from percpu_proofs.commands.operations import operations
from percpu_proofs.commands.prove import prove
from percpu_proofs.commands.replay import replay
from percpu_proofs.commands.report import report
from percpu_proofs.commands.review import review
from percpu_proofs.commands.run import run
from percpu_proofs.commands.show import show
from percpu_proofs.commands.state import state
from percpu_proofs.commands.workload import workload
from percpu_proofs.interruption import interruptible
from percpu_proofs.variant_errors import BAD_INPUT, guard


class _Cli(click.Group):
    """Turns bad input into one message and exit 2, Ctrl-C or SIGTERM into exit 130."""

    def __call__(self, *given: Any, **options: Any) -> Any:
        return super().__call__(*given, **{"prog_name": output.PROGRAM} | options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with interruptible():
                return super().invoke(ctx)
        except BAD_INPUT as error:
            click.echo(f"percpu-spec: {error}", err=True)
            ctx.exit(output.BAD_INPUT)
        except KeyboardInterrupt:
            click.echo("percpu-spec: interrupted", err=True)
            ctx.exit(output.INTERRUPTED)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="percpu-spec")
def main() -> None:
    """An executable formal specification of the Linux percpu allocator.

    Exit status: 0 as expected, 1 a verdict or comparison differs, 2 bad input or usage, 3 a torn
    state.
    """


for _command in (
    run,
    conform,
    show,
    explore,
    replay,
    review,
    report,
    prove,
    log,
    state,
    workload,
    bench,
    explain,
    beside,
    operations,
    completion,
):
    main.add_command(_command)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function so that code of a variant's file can spoil no output of it."""

    @functools.wraps(function)
    def run_command(*given: Any, **options: Any) -> Any:
        with output.results_only(), guard():
            return function(*given, **options)

    return run_command


def commands(command: click.Command = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command, groups before what is in them, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}".strip())


for _path, _command in commands():
    with_examples(_path, _command)
    if not isinstance(_command, click.Group):
        assert _command.callback is not None
        _command.callback = _guarded(_command.callback)
        complete(_path, _command)

if __name__ == "__main__":
    main()

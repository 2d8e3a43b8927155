"""The command `percpu-spec`: exit 0 as expected, 1 something differs, 2 bad input or usage."""

from __future__ import annotations

from typing import Any

import click

from percpu_proofs.commands import output
from percpu_proofs.commands.bench import bench
from percpu_proofs.commands.conform import conform
from percpu_proofs.commands.explain import explain
from percpu_proofs.commands.explore import explore, replay
from percpu_proofs.commands.prove import prove
from percpu_proofs.commands.review import review
from percpu_proofs.commands.run import run
from percpu_proofs.commands.show import show
from percpu_proofs.commands.workload import workload
from percpu_proofs.inputs import InputError
from percpu_proofs.interruption import interruptible
from percpu_proofs.traces.events import TraceError
from percpu_reference import UnknownVariantError, VariantFileError
from percpu_reference.own_state import UnknownStateError
from percpu_spec.catalogue import UnknownClauseError
from percpu_spec.geometry import GeometryError

_BAD_INPUT = (
    InputError,
    TraceError,
    GeometryError,
    UnknownVariantError,
    VariantFileError,
    UnknownStateError,
    UnknownClauseError,
)


class _Cli(click.Group):
    """Turns bad input into one message and exit 2, Ctrl-C or SIGTERM into exit 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with interruptible():
                return super().invoke(ctx)
        except _BAD_INPUT as error:
            click.echo(f"percpu-spec: {error}", err=True)
            ctx.exit(output.BAD_INPUT)
        except KeyboardInterrupt:
            click.echo("percpu-spec: interrupted", err=True)
            ctx.exit(output.INTERRUPTED)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="percpu-spec")
def main() -> None:
    """An executable formal specification of the Linux percpu allocator.

    Exit status: 0 as expected, 1 a verdict or comparison differs, 2 bad input or usage.
    """


for _command in (
    run,
    conform,
    show,
    explore,
    replay,
    review,
    prove,
    workload,
    bench,
    explain,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()

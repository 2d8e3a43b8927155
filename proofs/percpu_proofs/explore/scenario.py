"""A scenario: operations that lead to a state, and actors that then run at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from percpu_proofs.explore.shrink import Program
from percpu_proofs.explore.start import Start
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import Operation, OperationList, parse_operations, text_of
from percpu_reference import build
from percpu_reference.variants import DEFAULT, SINCE
from percpu_spec.geometry import Geometry

KERNEL_32K = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"
"""The smallest unit that a kernel accepts: 8 pages; the first chunk has 7 of them."""


class ScenarioVerdict(NamedTuple):
    """What a search of a scenario finds: different worlds, and the clauses broken in some."""

    states: int | None  # None: not stated
    broken: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One start for the explorer, for any variant. Operations are in the operation language.

    verdicts has, for each variant named, or file of one, what a search finds. Where a scenario of
    the package does not name a variant, a search takes long.
    """

    name: str
    what: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    geometry: str = KERNEL_32K
    works: int = 2  # runs of the balance work that was asked for, at most
    failures: int = 0  # steps that ask for memory in vain, at most
    waiting: bool = False  # actors may begin while pcpu_alloc_mutex is held
    verdicts: Mapping[str, ScenarioVerdict] = field(default_factory=dict, hash=False)

    def expected(self, variant: str) -> ScenarioVerdict | None:
        """Return what is expected of a variant, if that is stated."""
        name = str(Path(variant).resolve()) if variant.endswith(".py") else variant
        return self.verdicts.get(name)

    @property
    def usual_variant(self) -> str:
        """What it is searched with unless one is named: the newest mainline that it speaks of."""
        return next((name for name in reversed(SINCE) if name in self.verdicts), DEFAULT)

    def start(self, variant: str) -> Start:
        """Return the start: the setup done by a variant, nothing of the actors begun."""
        driver = Driver(build(variant, self.sizes))
        if self.setup:
            driver.run(self._parsed("setup", self.setup))
        return self.start_of(driver)

    def start_of(self, driver: Driver) -> Start:
        """Return the start where a driver has done the setup."""
        return Start(
            driver.allocator, driver.handles, self.concurrent, self.works, self.waiting,
            self.failures, driver.freed,
        )  # fmt: skip

    @property
    def sizes(self) -> Geometry:
        """The geometry. Raises GeometryError for one that no kernel boots with."""
        return Geometry().with_changes(self.geometry).require_kernel()

    @property
    def prepared(self) -> tuple[Operation, ...]:
        """The operations of the setup."""
        return tuple(self._parsed("setup", self.setup).operations) if self.setup else ()

    @property
    def concurrent(self) -> tuple[Operation, ...]:
        """The operations of the actors."""
        return tuple(self._parsed("actors", self.actors).operations) if self.actors else ()

    @property
    def program(self) -> Program:
        """The operations and failures, to be made smaller."""
        return Program(self.prepared, self.concurrent, failures=self.failures)

    def with_program(self, program: Program) -> Scenario:
        """Return the scenario with the operations and failures of a program."""
        setup, actors = (
            tuple(map(text_of, part)) for part in (program.setup, program.actors)
        )
        return replace(self, setup=setup, actors=actors, failures=program.failures)

    def _parsed(self, part: str, lines: tuple[str, ...]) -> OperationList:
        return parse_operations(Path(f"scenario {self.name}, {part}"), lines)


def fill(first: int, last: int, size: int, flags: str = "-") -> tuple[str, ...]:
    """Allocate areas of one size into handles first to last."""
    return tuple(f"a {handle} {size} 4 {flags}" for handle in range(first, last + 1))


def free(*handles: int) -> tuple[str, ...]:
    """Free these handles."""
    return tuple(f"f {handle}" for handle in handles)

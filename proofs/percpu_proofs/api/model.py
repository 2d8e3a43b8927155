"""An allocator of the model, driven by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from rich.console import Console

from percpu_contracts.contract import Level
from percpu_contracts.violations import MisuseError, Violation
from percpu_proofs.api.results import Display, parameters, require, require_bytes
from percpu_proofs.api.state import Drawing, draw
from percpu_proofs.run.driver import Driver, HandleError
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.sizes import geometry_with
from percpu_reference.chunk import Chunk
from percpu_reference.variants import DEFAULT, Allocator, build, variant_class, variant_name
from percpu_spec.counts import counted
from percpu_spec.definitions import rounded_size
from percpu_spec.geometry import Geometry


class Allocation(NamedTuple):
    """An area that was handed out: its chunk, the byte offset in it, and its size in bytes."""

    chunk: Chunk
    off: int
    size: int

    def __repr__(self) -> str:
        return f"<area of {self.size} bytes at byte {self.off} of chunk {self.chunk.id}>"


class AllocatorRun(Display):
    """One allocator and what was done to it. `allocator` is the model's own, a view of the state.

    Nothing runs beside an operation: schedules are for `percpu-spec explore`. With contracts a
    violation that the variant does not declare raises ClauseViolation; declared ones are counted.
    """

    def __init__(self, model: Allocator, variant: str) -> None:
        self.allocator = model
        self.variant = variant
        self.operations = 0  # that were done
        self._driver = Driver(model)
        self._live: dict[tuple[int, int], Allocation] = {}  # what alloc returned, by place

    def alloc(
        self, size: int, align: int = 8, *, atomic: bool = False, flags: str = ""
    ) -> Allocation | None:
        """Allocate `size` bytes aligned to `align` bytes; None if that fails.

        flags: letters of the operation language (`percpu-spec operations`), such as AG; atomic
        adds A. Raises InputError for what is no number of bytes, and letters that mean nothing.
        """
        require_bytes("size", size)
        require_bytes("align", align)
        require("flags", flags, "letters of the operation language", str)
        letters = flags.replace("-", "") + ("A" if atomic and "A" not in flags else "")
        line = f"a 0 {size} {align} {letters or '-'}"
        try:
            (operation,) = parse_operations(Path("alloc"), [line]).operations
        except InputError as error:
            raise InputError("flags", None, error.expected, repr(flags)) from None
        _, _, size, align, reserved, gfp = operation
        self._begin()
        area = self.allocator.alloc(size, align, reserved=reserved, gfp=gfp)
        rounded = rounded_size(self.allocator.geometry, size)
        if area is None:
            return None
        allocation = self._live[area[0].id, area[1]] = Allocation(*area, rounded)
        return allocation

    def free(self, area: Allocation | None) -> None:
        """Free an area, once; None has no effect.

        Raises InputError for what is no area, and MisuseError for one that is freed already or of
        another allocator: the caller's error (API-2), with which the allocator is not asked.
        Whether a kernel refuses it: `run("f 1; d 1")`.
        """
        if area is not None:
            require("area", area, "an area that alloc has returned, or None", Allocation)
            place = area.chunk.id, area.off
            if self._live.get(place) is not area:
                what = f"a free of {area!r}, which is no live area of this allocator"
                raise MisuseError(f"API-2: {what}: the caller's error")
            del self._live[place]
        self._begin()
        self.allocator.free(None if area is None else (area.chunk, area.off))

    def balance(self) -> None:
        """Run the balance work from begin to end, whether it was asked for or not."""
        self._begin()
        self.allocator.balance()

    def run(self, operations: str) -> AllocatorRun:
        """Do what a text in the operation language says; lines or `;` part operations.

        Handles are those of earlier texts. Returns itself. Raises InputError with the line.
        """
        require("operations", operations, "a text in the operation language", str)
        lines = operations.replace(";", "\n").split("\n")
        listed = parse_operations(Path("operations"), lines)
        for operation, line in zip(listed.operations, listed.lines, strict=True):
            self.operations += 1
            try:
                self._driver.apply(self.operations, operation)
            except HandleError as error:
                raise HandleError(f"operations:{line}: {error}") from None
        return self

    def _begin(self) -> None:
        self.operations += 1
        if self.allocator.monitor is not None:
            self.allocator.monitor.operation = self.operations

    @property
    def title(self) -> str:
        """What it is and how far it has come."""
        return f"{Path(self.variant).stem}, after operation {self.operations}"

    @property
    def violations(self) -> Mapping[str, Violation]:
        """The clauses that contracts found broken, by id; empty without contracts."""
        monitor = self.allocator.monitor
        return {} if monitor is None else dict(monitor.violations)

    def draw(self, chunk: int | str | None = None) -> Drawing:
        """Return the memory map, of one chunk or of all."""
        return draw(self, chunk)

    def show(self, out: Console) -> None:
        """Print what contracts found, and all chunks."""
        for clause, found in self.violations.items():
            how = "as declared" if found.expected else "not declared"
            where = f"at {counted(found.count, 'operation')}, first {found.first_operation}"
            out.print(f"{clause} broken, {how}, {where}: {found.first_message}", markup=False)
        out.print(self.draw().text, markup=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        return self.draw()._repr_html_()


def allocator(
    variant: str | type[Allocator] = DEFAULT,
    *,
    contracts: Level = "off",
    geometry: str | Geometry = "",
    strict: bool = True,
) -> AllocatorRun:
    """Boot an allocator: a variant's name, a release ("6.14"), a file with a variant, or a class.

    contracts: off, fast or full. geometry: sizes as for --geometry ("unit=32768,cpus=2"), over
    those of the benchmark lists, or a Geometry. With strict=False no violation raises. Raises
    UnknownVariantError, VariantFileError, and InputError for another argument, and for sizes that
    no kernel boots with.
    """
    expected = 'a variant, a release as text ("7.1"), a file or a class'
    require("variant", variant, expected, str, type)
    require("geometry", geometry, "sizes as text, or a Geometry", str, Geometry)
    if contracts not in get_args(Level):
        raise InputError("contracts", None, f"one of {', '.join(get_args(Level))}", repr(contracts))
    with parameters():
        sizes = geometry_with(geometry, Geometry()) if isinstance(geometry, str) else geometry
    cls = variant if isinstance(variant, type) else variant_class(variant)
    name = variant_name(variant) if isinstance(variant, str) else cls.__name__
    return AllocatorRun(build(cls, sizes, contracts=contracts, strict=strict, stats=True), name)

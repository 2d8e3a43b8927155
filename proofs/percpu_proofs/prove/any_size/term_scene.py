"""A scene of terms: what is claimed is proved of every value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from percpu_proofs.prove.any_size.code import TextChange, new_twin, twin_of
from percpu_proofs.prove.any_size.paths import Path
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import Bits, Condition, Mask, Number, raw, z3
from percpu_reference.chunk import Block
from percpu_spec.protocol.operators import And, Implies, Or, Truth, within


class SymbolicScene(LemmaScene):
    """A scene on one path of terms."""

    def __init__(self, path: Path, bug: TextChange | None = None) -> None:
        super().__init__(bug)
        self.path = path
        self.maps: dict[str, tuple[Any, Any]] = {}

    def size(self, name: str, least: int = 1) -> Any:
        size = self.number(name, least, None)
        if self.path.small is not None:
            self.path.assume(size <= self.path.small)
        return size

    def number(self, name: str, lo: Any = None, hi: Any = None, among: Any = None) -> Any:
        if name in self.inputs:
            raise ValueError(f"{name}: two arbitrary numbers of one name would be the same")
        term = self.inputs[name] = z3.Int(name)
        self.path.assume(And(True if lo is None else lo <= term, True if hi is None else term < hi))
        self.path.points.append(term)
        return term

    def flag(self, name: str) -> Truth:
        term = self.inputs[name] = z3.Bool(name)
        return term

    def bits(self, name: str, length: Any) -> Callable[[Any], Truth]:
        function = z3.Function(name, z3.IntSort(), z3.BoolSort())
        self.maps[name] = function, length
        return lambda i: function(i)

    def code(self, value: Any) -> Any:
        if isinstance(value, Mask):
            return value
        if z3.is_bool(value):
            return Condition(self.path, value)
        return Number(self.path, value) if z3.is_expr(value) else value

    def map_of(self, length: Any, has: Callable[[Any], Truth]) -> Any:
        return Bits(self.path, length, has)

    def blocks(self, name: str, count: Any, bits: Any, fields: Sequence[str]) -> Any:
        functions = {f: z3.Function(f"{name}_{f}", z3.IntSort(), z3.IntSort()) for f in fields}
        for field_, function in functions.items():
            self.maps[f"{name}.{field_}"] = function, count
        return _Blocks(self.path, count, bits, functions)

    def assume(self, truth: Truth) -> None:
        self.path.assume(truth)

    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        self.path.everywhere.append(lambda i: Implies(within(lo, i, hi), fact(i)))

    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        self.path.every_run.append(lambda x, y: Implies(And(lo <= x, x < y, y <= hi), fact(x, y)))

    def point(self, *terms: Any) -> None:
        self.path.points += terms

    def run(self, x: Any, y: Any) -> None:
        self.path.ends.append(tuple(z3.IntVal(e) if isinstance(e, int) else e for e in (x, y)))

    def divided(self, value: Any, by: Any) -> tuple[Any, Any]:
        return self.path.divided(value, by)

    def blocks_of(self, n: Any) -> dict[str, Any]:
        if self.path.small is not None:
            self.path.assume(Or(*[n == 1 << shift for shift in range(8)]))
        return {"block_bits": n, "block_shift": Mask(n), "block_mask": Mask(n)}

    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        return self.path.some(has, lo, hi)

    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        return self.instance(twin_of(cls, self.bug_in(cls)), stubs, values)

    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any] | None,
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        twin = new_twin(cls, self.bug_in(cls))
        setattr(twin.twins[base[0].__name__], base[1], instead)
        return self.instance(twin, stubs, values)

    def bounded(self, size: Any) -> None:
        if self.path.small is not None:
            self.path.assume(size <= self.path.small)




class _Blocks:
    """Blocks whose hints are functions of their number; read only."""

    def __init__(self, path: Path, count: Any, bits: Any, functions: Mapping[str, Any]) -> None:
        self.path = path
        self.length = count
        self.bits = bits
        self.functions = functions

    def __getitem__(self, index: Any) -> Any:
        block: Any = Block.__new__(Block)
        block.nr_bits = Number(self.path, self.bits)
        for name, function in self.functions.items():
            setattr(block, name, Number(self.path, function(raw(index))))
        return block

    def hint(self, name: str, index: Any) -> Any:
        """Return a block's hint, raw."""
        return self.functions[name](index)

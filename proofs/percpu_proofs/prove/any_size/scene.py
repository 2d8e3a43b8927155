"""What a lemma is written in: the same lines prove it on terms and run it on plain values.

A lemma is a function of a scene. It names arbitrary numbers and maps, says what is assumed of them,
runs functions of the allocator, and claims what holds then. `SymbolicScene` makes terms of the
numbers, so the claims are proved of all of them; `PlainScene` draws them, so the same claims are
seen on the imported function. Facts are written with `percpu_spec.protocol.operators`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove.any_size.code import TextChange, entry_of, finished, raw, turn_of
from percpu_spec.protocol.operators import Truth
from percpu_spec.views import HINTS


class HintTerms:
    """Hints as facts speak of them: terms or integers."""

    def __init__(self, block: Any) -> None:
        for name in (*HINTS, "nr_bits"):
            setattr(self, name, raw(getattr(block, name)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class SceneClaim:
    """One claim; given is what it presupposes."""

    what: str
    given: Truth
    holds: Truth


class LemmaScene(ABC):
    """Terms or plain values; `raw` numbers are for facts, `code` makes them fit for functions.

    claims: what was claimed. outcome: what functions left, by name, for comparing formulas with
    functions. inputs: the arbitrary numbers, truths and maps by name.
    """

    def __init__(self, bug: TextChange | None) -> None:
        self.bug = bug
        self.claims: list[SceneClaim] = []
        self.outcome: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}

    @abstractmethod
    def size(self, name: str, least: int = 1) -> Any:
        """Return an arbitrary number of bits or pages."""

    @abstractmethod
    def number(
        self,
        name: str,
        lo: Any = None,
        hi: Any = None,
        among: Callable[[], Iterable[int]] | None = None,
    ) -> Any:
        """Return an arbitrary number in [lo, hi); plain ones are drawn from `among` if given."""

    @abstractmethod
    def flag(self, name: str) -> Truth:
        """Return an arbitrary truth."""

    @abstractmethod
    def bits(self, name: str, length: Any) -> Callable[[Any], Truth]:
        """Return the membership of an arbitrary map of so many bits or pages."""

    @abstractmethod
    def code(self, value: Any) -> Any:
        """Return a raw number, truth or map as functions take it."""

    @abstractmethod
    def map_of(self, length: Any, has: Callable[[Any], Truth]) -> Any:
        """Return a map that functions can search and change."""

    @abstractmethod
    def blocks(self, name: str, count: Any, bits: Any, fields: Sequence[str]) -> Any:
        """Return so many blocks of which a function reads the named hints."""

    @abstractmethod
    def assume(self, truth: Truth) -> None:
        """Take only cases in which this holds."""

    @abstractmethod
    def everywhere(self, lo: Any, hi: Any, fact: Callable[[Any], Truth]) -> None:
        """Take only cases in which a fact holds of every index in [lo, hi)."""

    @abstractmethod
    def every_run(self, lo: Any, hi: Any, fact: Callable[[Any, Any], Truth]) -> None:
        """Take only cases in which a fact holds of every nonempty range within [lo, hi)."""

    @abstractmethod
    def point(self, *terms: Any) -> None:
        """Use facts about every index at these."""

    @abstractmethod
    def run(self, x: Any, y: Any) -> None:
        """Use facts about every range at this one."""

    @abstractmethod
    def divided(self, value: Any, by: Any) -> tuple[Any, Any]:
        """Return quotient and remainder."""

    @abstractmethod
    def blocks_of(self, n: Any) -> dict[str, Any]:
        """Return an allocator's attributes for blocks of n bits; plain ones are powers of two."""

    @abstractmethod
    def some(self, has: Callable[[Any], Truth], lo: Any, hi: Any) -> Truth:
        """Return whether some index of [lo, hi) is in a map; only for what is assumed."""

    def claim(self, what: str, holds: Truth, given: Truth = True) -> None:
        """State what is to be proved; what it presupposes must come about (see the twin)."""
        self.claims.append(SceneClaim(what, given, holds))

    @abstractmethod
    def allocator(self, cls: type, stubs: Mapping[str, Any] | None = None, **values: Any) -> Any:
        """Return an object with the class's functions and these attributes, raw."""

    @abstractmethod
    def proved(
        self,
        cls: type,
        stubs: Mapping[str, Any] | None,
        base: tuple[type, str],
        instead: Callable[..., None],
        **values: Any,
    ) -> Any:
        """Return an allocator of whose base's function only what `instead` assumes is known.

        What it assumes has been proved by another lemma. A plain scene runs the function.
        """

    @abstractmethod
    def bounded(self, size: Any) -> None:
        """Keep a size that others make up small where counterexamples are looked for."""

    def entry(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        """Run what comes before a function's loop, from these locals; return the locals then."""
        given = {key: self.code(value) for key, value in locals_.items()}
        return entry_of(owner, name, number, tuple(given), self.bug)(**given)[1]

    def turn(self, owner: type, name: str, number: int, locals_: Mapping[str, Any]) -> Any:
        """Run one turn of a function's loop on these locals: how it ends, and the locals then."""
        given = {key: self.code(value) for key, value in locals_.items()}
        return finished(turn_of(owner, name, number, tuple(given), self.bug)(**given))

    def bug_in(self, cls: type) -> TextChange | None:
        """Return the bug if it is in a function of the class or its bases."""
        return self.bug if self.bug is not None and self.bug.owner in cls.__mro__ else None

    def instance(
        self, cls: type, stubs: Mapping[str, Any] | None, values: Mapping[str, Any]
    ) -> Any:
        """Return an object of a class, some functions replaced, with these attributes alone."""
        made: Any = object.__new__(type(cls.__name__, (cls,), dict(stubs or {})))
        for name, value in values.items():
            setattr(made, name, self.code(value))
        return made

"""What makes CrossHair's own command judge checked classes: `plugin.py` calls `install`.

    crosshair check --analysis_kind icontract \
        --extra_plugin "$(percpu-spec prove --plugin)" percpu_reference.checked

Every promise of a function that symbols can be given for gets a line of its own; so does every
other function under contract, with why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any

from crosshair import core
from crosshair.condition_parser import Conditions
from crosshair.core import Checkable
from crosshair.fnutil import FunctionInfo
from crosshair.options import DEFAULT_OPTIONS, AnalysisOptions, AnalysisOptionSet
from crosshair.statespace import AnalysisMessage, MessageType
from crosshair.util import sourcelines

from percpu_contracts.contract import marks_of, sentence
from percpu_proofs.prove.small import symbolic
from percpu_proofs.prove.small.subjects import ENTRIES, why_not
from percpu_reference.variants import Allocator

_NUMBER = count(1)
"""A column for each message: CrossHair keeps one message for each place in the source."""


def install(command_line: AnalysisOptionSet | None) -> None:
    """Have CrossHair make allocators for checked classes, with limits that count paths.

    What the command line says holds all the same; but every verdict is shown.
    """
    for name, value in symbolic.LIMITS.items():
        setattr(DEFAULT_OPTIONS, name, value)
    if command_line is not None:
        command_line.report_all = True
    of_class: Any = core.analyze_class
    of_function: Any = core.analyze_function

    def analyze_class(cls: type, options: AnalysisOptionSet) -> Iterable[Checkable]:
        if not issubclass(cls, Allocator):
            found: Iterable[Checkable] = of_class(cls, options)
            return found
        methods = symbolic.conditions_of(cls)
        if cls.chunk_types > 1:
            name = next(iter(sorted(methods)))
            return [NoSymbols(FunctionLocation(cls, "any function", methods[name]), why_not(cls))]
        names = dict.fromkeys([*(name for name in ENTRIES if name in methods), *sorted(methods)])
        return [one for name in names for one in _claims(cls, name, methods, options)]

    def analyze_function(asked: Any, options: AnalysisOptionSet) -> Iterable[Checkable]:
        cls = asked.context if isinstance(asked, FunctionInfo) else None
        if not (isinstance(cls, type) and issubclass(cls, Allocator)):
            found: Iterable[Checkable] = of_function(asked, options)
            return found
        return list(_claims(cls, asked.name, symbolic.conditions_of(cls), options))

    patched: Any = core
    patched.analyze_class, patched.analyze_function = analyze_class, analyze_function


def _claims(
    cls: type[Allocator], name: str, methods: Mapping[str, Conditions], options: AnalysisOptionSet
) -> Iterator[Checkable]:
    """Yield what is to be said of each promise of a function."""
    conditions = methods.get(name)
    if conditions is None or not conditions.post:
        return
    where = FunctionLocation(cls, name, conditions)
    if name not in ENTRIES or cls.chunk_types > 1:
        yield NoSymbols(where, why_not(cls, name))
        return
    asked = symbolic.subject(cls, name, conditions)
    together = AllPromises(where, asked, DEFAULT_OPTIONS.overlay(options))
    marks = [m for m in marks_of(cls, name) if m.kind == "ensure" and not m.is_note]
    promises = [(mark.clause, sentence(mark)) for mark in marks if mark.level == "full"]
    if len(promises) != len(asked.post):  # conditions of the class's own, or only what is required
        promises = [("", "what it calls gets what it requires")] * len(asked.post)
    for post, (clause, text) in zip(asked.post, promises, strict=True):
        yield Promise(where, together, replace(asked, post=[post]), clause, text)


@dataclass(frozen=True)
class FunctionLocation:
    """A function of a class, and where a person finds it."""

    cls: type[Allocator]
    name: str
    conditions: Conditions

    def message(self, state: MessageType, text: str) -> AnalysisMessage:
        """Return a message about it."""
        file, line, _ = sourcelines(self.conditions.src_fn)
        return AnalysisMessage(state, text, file, line, next(_NUMBER), "")

    def __str__(self) -> str:
        return f"{self.cls.__name__}.{self.name}"


@dataclass
class AllPromises:
    """All promises of one function, judged once: where that confirms them, each is confirmed."""

    where: FunctionLocation
    conditions: Conditions
    options: AnalysisOptions

    def judge(self, alone: Conditions) -> tuple[AnalysisMessage, bool]:
        """Return what is to be said of one promise, and whether it is the promise that fails."""
        message, _ = self._verdict
        if message.state == MessageType.CONFIRMED or len(self.conditions.post) == 1:
            return self._verdict
        return self._judge(alone)

    @cached_property
    def _verdict(self) -> tuple[AnalysisMessage, bool]:
        return self._judge(self.conditions)

    def _judge(self, conditions: Conditions) -> tuple[AnalysisMessage, bool]:
        function = FunctionInfo.from_class(self.where.cls, self.where.name)
        promises = symbolic.Promises(function, self.options, conditions)
        (message,) = promises.analyze()
        return message, promises.failed


@dataclass(frozen=True)
class Promise(Checkable):
    """One promise of a function."""

    where: FunctionLocation
    together: AllPromises
    conditions: Conditions
    clause: str
    says: str

    def analyze(self) -> list[AnalysisMessage]:
        """Judge it; what the variant declares to break is no error."""
        found, failed = self.together.judge(self.conditions)
        words = ENTRIES[self.where.name].words
        state, text = found.state, found.message
        if failed and self.clause in self.where.cls.EXPECTED:
            state, text = MessageType.CANNOT_CONFIRM, f"Not confirmed, as declared: {text}"
        return [self.where.message(state, f"{text} {self.where}, {self.says} [{words}]")]


@dataclass(frozen=True)
class NoSymbols(Checkable):
    """A function for which there are no symbols."""

    where: FunctionLocation
    why: str

    def analyze(self) -> list[AnalysisMessage]:
        """Say why."""
        text = f"Not confirmed: {self.where}: {self.why}."
        return [self.where.message(MessageType.CANNOT_CONFIRM, text)]

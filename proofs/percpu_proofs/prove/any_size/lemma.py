"""A lemma: a claim about functions of the allocator, proved by z3 for numbers of any size.

Every path of the functions is taken, and on each z3 is asked for a case in which a claim fails.
None on any path is a proof. A case is believed only when it is found again among small sizes, where
facts about every index are facts about each, and when the functions themselves, run on it, break
the claim.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import percpu_contracts
import percpu_reference
import percpu_spec
from percpu_proofs import bugs as seeded
from percpu_proofs.prove import any_size
from percpu_proofs.prove import from_boot as boot
from percpu_proofs.prove.any_size.code import TextChange
from percpu_proofs.prove.any_size.paths import Path, PathContext, TooManyPathsError, all_paths
from percpu_proofs.prove.any_size.scene import LemmaScene, SceneClaim, SymbolicScene, replay
from percpu_proofs.prove.any_size.terms import z3
from percpu_proofs.prove.claim import Claim, ProofAttempt, Result
from percpu_proofs.prove.dependencies import OWNERS, full_names
from percpu_spec.protocol.operators import And, Not, Or, Truth

SMALL = 8  # bits or pages of a counterexample
QUERY = 600.0  # seconds for one query: a guard, the limit is of steps
CASE_STEPS = 5_000_000  # of z3, for a case of one size


@dataclass(frozen=True)
class Lemma(Claim):
    """One unbounded lemma. scenario: what it says, of a scene (see scene)."""

    says: str
    scenario: Callable[[Any], None]
    bugs: Mapping[str, TextChange] = field(default_factory=dict, kw_only=True)
    from_boot: Callable[[Lemma], str] | None = None  # finds a counterexample from boot
    engine = "z3"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        changes = map(str, self.bugs.values())
        return (percpu_reference, percpu_spec, percpu_contracts, any_size, boot, seeded, *changes)

    def check(self, timeout: float) -> Result:
        """Prove the lemma, or find a counterexample; then look for it on the allocator."""
        result, _ = self.search(None, timeout)
        if result.state == "refuted" and self.expected == "refuted" and self.from_boot is not None:
            try:
                operations = self.from_boot(self)
            except LookupError as wrong:
                return replace(result, state="not confirmed", message=str(wrong))
            return replace(result, message=f"{result.message}; reached: {operations}")
        return result

    def check_twin(self, timeout: float) -> Result:
        """Refute that some claim presupposes what never comes about."""
        attempt = ProofAttempt()
        open_: set[str] = set()
        seen: set[str] = set()
        for scene in self._scenes(None, timeout):
            attempt.paths += 1
            for claim in scene.claims:
                if claim.what in seen:
                    continue
                open_.add(claim.what)
                case = self._case(scene, (claim,), None, twin=True)
                if case is not None:
                    seen.add(claim.what)
        if open_ and open_ == seen:
            return attempt.result("refuted", "each claim's premise comes about")
        return attempt.result("confirmed", f"never comes about: {sorted(open_ - seen)}")

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Prove the lemma of functions with a bug in them."""
        return self.search(self.bugs[bug], timeout)[0]

    def search(self, bug: TextChange | None, timeout: float) -> tuple[Result, LemmaScene | None]:
        """Prove the lemma on every path, or return a case in which it does not hold."""
        attempt = ProofAttempt()
        open_: set[str] = set()
        try:
            for scene in self._scenes(bug, timeout):
                attempt.paths += 1
                wrong = self._failing(scene)
                if wrong is None:
                    continue
                case = self._case(scene, wrong, bug)
                if case is None:
                    open_.update(claim.what for claim in wrong)
                    continue
                text = f"{case.broken[0]}: not so at {case_text(case.inputs)}"
                return attempt.result("refuted", text), case
        except (TooManyPathsError, _TimeUpError) as wrong_end:
            return attempt.result("not confirmed", str(wrong_end)), None
        if open_:
            return attempt.result("not confirmed", f"no proof: {'; '.join(sorted(open_))}"), None
        return attempt.result("confirmed"), None

    def _scenes(self, bug: TextChange | None, timeout: float) -> Iterator[SymbolicScene]:
        """Yield the scene of each path, run to its end."""
        attempt = ProofAttempt()
        scenes: list[SymbolicScene] = []

        def run(path: Path) -> None:
            if attempt.seconds > timeout:
                raise _TimeUpError(f"no proof within {timeout:.0f} s")
            scenes.append(SymbolicScene(path, bug))
            self.scenario(scenes[-1])

        shared = PathContext(min(QUERY, timeout))
        for _path in all_paths(run, lambda prefix: Path(prefix, QUERY, None, shared)):
            yield scenes.pop()

    def _failing(self, scene: SymbolicScene) -> tuple[SceneClaim, ...] | None:
        """Return the claims that z3 does not prove on a path, None if all are."""
        path = scene.path
        path.assume(And(*path.instances()))
        wrong = [And(claim.given, Not(claim.holds)) for claim in scene.claims]
        if not scene.claims or path.check(Or(*wrong)) == z3.unsat:
            return None
        return tuple(
            claim
            for claim, negated in zip(scene.claims, wrong, strict=True)
            if path.check(negated) != z3.unsat
        )

    def _case(
        self,
        scene: SymbolicScene,
        claims: tuple[SceneClaim, ...],
        bug: TextChange | None,
        *,
        twin: bool = False,
    ) -> LemmaScene | None:
        """Return a case in which a claim fails when the function is run, None if z3 has none.

        twin: one in which its premise holds, and it too.
        """
        for claim in claims:
            case = self.case_of(scene, bug, partial(_goal, what=claim.what, twin=twin))
            if case is not None and (claim.what in case.broken or (twin and not case.broken)):
                return case
        return None

    def case_of(
        self, scene: SymbolicScene, bug: TextChange | None, goal: Callable[[SymbolicScene], Truth]
    ) -> LemmaScene | None:
        """Return a run of the functions on plain values on a path, so that a goal holds."""
        path = Path(tuple(scene.path.decisions), QUERY, SMALL)
        small = SymbolicScene(path, bug)
        self.scenario(small)
        model = _model(path, small, goal(small))
        if model is None:
            return None
        case = inputs_of(small, model, SMALL)
        return replay(self.scenario, case, bug, SMALL)


LEMMAS: list[Lemma] = []
"""Every lemma of the modules imported so far, in the order of definition."""


def lemma(
    name: str, clause: str, functions: str, bound: str, says: str = "", **options: Any
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Enter a scenario as a lemma; what it says is its docstring unless told.

    functions: those under proof, see full_names. Its bugs are those of its name in bugs/lemmas.txt.
    options are further fields of the claim.
    """

    def enter(scenario: Callable[[Any], None]) -> Callable[[Any], None]:
        told = says or inspect.getdoc(scenario) or ""
        LEMMAS.append(Lemma(
            name, clause, full_names(functions), bound, told, scenario,
            bugs=bugs_of(name), **options,
        ))  # fmt: skip
        return scenario

    return enter


def bugs_of(name: str) -> dict[str, TextChange]:
    """Return the bugs that a lemma must be refuted of, by name."""
    changes = {}
    for place, old, new, bug in seeded.table("lemmas"):
        lemma_name, function = place.split()
        if lemma_name == name:
            owner, _, method = function.partition(".")
            changes[bug] = TextChange(OWNERS[owner], method, old, new)
    return changes


def _model(path: Path, scene: SymbolicScene, goal: Truth) -> Any:
    """Return a model of a case, None if there is none; products of sizes are tried size by size."""
    instances = path.instances()
    truths = [*path.solver.assertions(), *instances, goal]
    sizes = scene.inputs.get("n")
    for size in (None,) if sizes is None else (4, 2, 8, 1, 3, 5, 6, 7):
        solver = z3.Solver()
        solver.set("rlimit", CASE_STEPS)
        solver.add(*[t for t in truths if t is not True])
        if size is not None:
            solver.add(sizes == size)
        if solver.check() == z3.sat:
            return solver.model()
    return None


class _TimeUpError(RuntimeError):
    """The time for a proof is over."""


def inputs_of(scene: SymbolicScene, model: Any, small: int) -> dict[str, Any]:
    """Return the plain values of a model, by name; maps element by element."""
    case: dict[str, Any] = {}
    for name, term in scene.inputs.items():
        value = model.eval(term, model_completion=True)
        case[name] = z3.is_true(value) if z3.is_bool(term) else value.as_long()
    for name, (function, _) in scene.maps.items():
        for index in range(small + 1):
            value = model.eval(function(index), model_completion=True)
            case[f"{name}[{index}]"] = z3.is_true(value) if z3.is_bool(value) else value.as_long()
    return case


def case_text(inputs: Mapping[str, Any]) -> str:
    """Return a case as text; a map as a character per element."""
    parts = []
    for name, value in inputs.items():
        if name.endswith("]") and isinstance(value, bool):
            continue
        text = "".join("#" if v else "." for v in value) if isinstance(value, list) else value
        parts.append(f"{name} {text}")
    return ", ".join(parts)


def _goal(s: SymbolicScene, *, what: str, twin: bool) -> Truth:
    """Return that a claim of a scene is broken though its premise holds; twin: that both hold."""
    meant = [one for one in s.claims if one.what == what]
    return Or(*[And(one.given, one.holds if twin else Not(one.holds)) for one in meant])

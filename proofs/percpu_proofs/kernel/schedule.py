"""The explorer's schedules on the compiled kernel: the model's world and C actors in step.

An actor of the kernel runs on a stack of its own and stands still wherever pcpu_lock has been
released, or memory or the mutex is asked for. A step of the model goes from gap to gap; the
kernel's actor then runs to the point that is this gap. Both states are compared there, and the
clauses are asked of the kernel's.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from percpu_contracts.operation_steps import judged_step
from percpu_contracts.registry import Scope, When, asked
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.schedulers.fixed import Drain, ImpossibleStepError, ScheduleReplay
from percpu_proofs.explore.system import Runner, Schedule, Scheduler, actor_of, scheduled
from percpu_proofs.explore.token import Token
from percpu_proofs.explore.world import World
from percpu_proofs.kernel.instance import KernelStopped, Library, OperationResult, Point
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.kernel.record import sentence
from percpu_proofs.kernel.views import OWNED
from percpu_proofs.run.driver import HandleError, place_of
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.state_record import Difference
from percpu_reference.gaps import DONE, FAILED, Gap, Kind
from percpu_reference.variants.fixes.free_chunks import AGAIN
from percpu_spec.definitions import Listing
from percpu_spec.steps import AreaExtent, Step

_STATES: Final = asked(Scope.ALLOCATOR, When.ALWAYS, When.ISOLATED)
_QUIESCENT: Final = asked(Scope.ALLOCATOR, When.QUIESCENT)
_POINT_OF: Final = {FAILED: Point.FAILED, AGAIN: Point.RELEASED}
_POINT_OF_KIND: Final = {Kind.WAIT: Point.WAITING, Kind.CREATE: Point.MEMORY}
"""Where an actor of the kernel stands that has not just released pcpu_lock, by the model's gap."""
_MOST_STEPS: Final = 2000  # of one schedule; an end comes long before
_MOST_POINTS: Final = 100_000  # that a kernel's actor passes within one step of the model


@dataclass(slots=True)
class LockstepOutcome:
    """What a schedule did on the compiled kernel."""

    clause: str
    steps: int = 0
    broken: dict[str, tuple[int, str]] = field(default_factory=dict)  # step, what is wrong
    difference: str | None = None  # between model and kernel
    stopped: str = ""  # why the kernel could not go on
    gaps: dict[str, int] = field(default_factory=dict)  # in which an actor stood, others ran

    @property
    def agrees(self) -> bool:
        """Whether the kernel went the model's way and broke the clause the token is about."""
        return self.difference is None and (not self.clause or self.clause in self.broken)

    def as_json(self) -> dict[str, Any]:
        """Return this with plain values only."""
        return asdict(self) | {"confirmed": self.agrees}

    def __str__(self) -> str:
        if self.difference is not None:
            clause = f"{self.clause}: " if self.clause else ""
            return f"{clause}model and kernel differ at step {self.steps}: {self.difference}"
        if not self.clause:
            return f"no difference in {self.steps} steps"
        if self.clause not in self.broken:
            return f"{self.clause}: holds on the compiled kernel in {self.steps} steps"
        step, wrong = self.broken[self.clause]
        return f"{self.clause}: broken on the compiled kernel too, at step {step}: {wrong}"


def confirm(library: Library, model: ModelVariant, token: Token) -> LockstepOutcome:
    """Replay a token on a compiled kernel. Raises InputError for a token that cannot be used."""
    if token.variant != model.name:
        raise InputError("token", None, f"a token of {model.name}", f"one of {token.variant}")
    return replay(library, model, token)


def replay(library: Library, model: ModelVariant, token: Token) -> LockstepOutcome:
    """Replay a schedule that was read; stop at the first difference."""
    done = LockstepOutcome(token.clause)
    try:
        follow(library, model, token.scenario, ScheduleReplay(token.schedule), done)
    except ImpossibleStepError as error:
        raise InputError("token", None, f"steps that are possible ({error})") from None
    except HandleError as error:
        raise InputError("token", None, f"operations on handles as held ({error})") from None
    return done


def follow(
    library: Library,
    model: ModelVariant,
    scenario: Scenario,
    scheduler: Scheduler,
    done: LockstepOutcome,
    declared: Container[str] | None = None,
) -> Schedule:
    """Run a scenario on both for as long as they agree; return the steps taken.

    declared: clauses that may be broken; another one counts as a difference. Raises HandleError.
    """
    taken: list[int] = []
    try:
        stage = LockstepWorld(library, model, scenario, done)
        with closing(stage.pair):
            for step in scheduled(stage, scheduler):
                taken.append(step)
                stage.step(step)
                for clause, (_, wrong) in done.broken.items():
                    if declared is not None and clause not in declared:
                        done.difference = done.difference or f"clause {clause}: {wrong}"
                if done.difference is not None or done.steps == _MOST_STEPS:
                    return tuple(taken)
            stage.judge_quiescent()
    except KernelStopped as stopped:
        done.stopped = str(stopped)
        done.difference = f"the kernel stopped: {stopped}"
    return tuple(taken)


class LockstepWorld:
    """A world of the model and the kernel's actors, after the same steps."""

    def __init__(
        self, library: Library, model: ModelVariant, plan: Scenario, done: LockstepOutcome
    ) -> None:
        """Boot both and do the setup. Raises KernelStopped, HandleError."""
        self.done = done
        self.pair = Pair(library, plan.sizes, model)
        driver = self.pair.driver
        for number, operation in enumerate(plan.prepared, 1):
            driver.apply(number, operation)
            self.pair.kernel.apply(operation)
        self.world = World(plan.start_of(driver))
        driver.allocator = self.world.allocator
        self.state = self.pair.state
        self.whole = WholeState()
        self._stays: set[tuple[int, int]] = set()  # in gaps: whose, after how many steps
        self._actors: dict[int, int] = {}  # the world's number -> the kernel's
        self._compare()
        self._judge(None)

    def enabled(self) -> list[int]:
        """Return the steps that both can take now."""
        return self.world.enabled()

    def step(self, step: int) -> None:
        """Let both take one step, as the world numbers them; compare and judge."""
        world = self.world
        self.done.steps += 1
        actor = actor_of(step)
        self._enter_gaps(actor)
        step_taken = world.before(actor)
        step_taken.floats = (self.state.nr_empty_pop_pages,)
        step_taken.places = {c: c.on_list for c in self.state.listed()}
        left: Any = step_taken.left
        environment = self.pair.kernel.environment
        fault = None
        if step < 0 and left is not None:
            creating = left.kind in (Kind.CREATE, Kind.GROW)
            fault = environment.vm_fault if creating else environment.page_fault
            fault.next = 1
        runner = world.step(step)
        point, result = self._follow(actor, runner, left)
        if fault is not None:
            fault.next = 0
        if point is None:
            self.done.difference = f"the kernel has no point for {runner.gap!r}"
            return
        if runner.done and runner.operation[0] == "a":
            self.pair.kernel.note(runner.operation[1], result.ok)
            ours = place_of(runner.result)
            theirs = (result.chunk, result.off) if result.ok else None
            if ours != theirs:
                self.done.difference = f"result: kernel {theirs}, model {ours}"
                return
        self._compare()
        taken = world.after(step_taken, runner)
        # of a kernel that does something else the model's step says nothing
        self._judge(None if self.done.difference else taken)

    def _enter_gaps(self, actor: int) -> None:
        """Count the gaps in which others stand while an actor takes a step, each stay once."""
        for number, runner in enumerate(self.world.runners):
            stay = number, runner.count
            if number != actor and runner.gap is not None and stay not in self._stays:
                self._stays.add(stay)
                name = runner.gap.kind.name.lower()
                self.done.gaps[name] = self.done.gaps.get(name, 0) + 1

    def _follow(
        self, actor: int, runner: Runner, left: Gap | None
    ) -> tuple[int | None, OperationResult]:
        """Run the kernel's actor to the point that is the gap its model stands at."""
        kernel = self.pair.kernel
        if actor not in self._actors:
            kind = runner.operation[0]
            known = runner.operation if kind in "afbdws" else ("P", *runner.operation[1:])
            self._actors[actor] = kernel.actor(known)
        wanted = self._point_of(runner)
        for _ in range(_MOST_POINTS):
            point, result = kernel.step(self._actors[actor])
            if point == wanted or (point == Point.RESCHED and self._between_two(runner, left)):
                return point, result
            if point == Point.DONE:
                break
        return None, result

    def _point_of(self, runner: Runner) -> int:
        """Return the point of the kernel's that is the gap a runner of the model stands at."""
        gap = runner.gap
        if gap is None:
            return Point.DONE
        if gap is DONE:
            atomic = self.world.allocator.is_atomic(runner.operation[5])
            return Point.UNLOCKED if atomic else Point.RELEASED
        return _POINT_OF.get(gap) or _POINT_OF_KIND.get(gap.kind, Point.UNLOCKED)

    def _between_two(self, runner: Runner, left: Gap | None) -> bool:
        """Return whether the work goes from one condemned chunk to the next.

        The lock is not taken in between. A chunk condemned in a later pass is still on its list.
        """
        gap = runner.gap
        if left is None or left.kind is not Kind.DESTROY or gap is None or gap.chunk is None:
            return False
        if gap.kind not in (Kind.DESTROY, Kind.DRAIN):
            return False
        self.state.read()
        return self.state.chunk(gap.chunk.id).on_list == OWNED

    def _compare(self) -> None:
        held = bool(self.pair.kernel.lib.percpu_mutex_held())
        difference: Difference | None = None
        same = self.pair.same()  # reads the state
        if held != self.world.allocator.alloc_mutex:
            difference = Difference("pcpu_alloc_mutex", held, not held)
        elif not same:
            difference = self.pair.difference()
        if difference is not None:
            self.done.difference = sentence(difference)

    def _judge(self, step: Step | None) -> None:
        """Ask the clauses of the state read last, and of the step that led to it."""
        state = self.state
        if step is None or step.left is None or step.left.kind is not Kind.FLAGS:
            listing = Listing(state)
            for clause, holds in _STATES:
                self._enter(clause, holds(listing))
            for clause, wrong in self.whole.broken(state):
                if clause.startswith("HINT"):
                    self._enter(clause, wrong)
        if step is not None:
            for clause, found in judged_step(self._of_kernel(step), state, self.world.history):
                self._enter(clause, found)

    def _of_kernel(self, step: Step) -> Step:
        """Return a step of the model as one of the kernel's, by chunks of the same number."""

        def mine(ours: Any) -> Any:
            return ours and self.state.find(ours.id)

        def stand(gap: Any) -> Any:
            return gap and gap._replace(chunk=mine(gap.chunk))

        def area(ours: AreaExtent) -> Any:
            return ours._replace(chunk=mine(ours.chunk))

        did = [done._replace(chunk=mine(done.chunk)) for done in step.did]
        return replace(
            step,
            left=stand(step.left),
            stand=stand(step.stand),
            did=[done for done in did if done.chunk is not None],
            standing=[stand(gap) for gap in step.standing],
            waiting=[(area(placed), held) for placed, held in step.waiting],
            freed=mine(step.freed),
            area=step.area and area(step.area),
        )

    def judge_quiescent(self) -> None:
        """Ask those about quiescence, if everybody is done: work still asked for runs first."""
        world = self.world
        if not world.finished:
            return
        rest = Drain(world)
        for step in scheduled(self, rest):
            self.step(step)
            if self.done.difference is not None:
                return
        self._enter("BAL-3", rest.wrong)
        if world.allocator.quiescent:
            listing = Listing(self.state)
            for clause, holds in _QUIESCENT:
                self._enter(clause, holds(listing))

    def _enter(self, clause: str, wrong: str | None) -> None:
        if wrong is not None:
            self.done.broken.setdefault(clause, (self.done.steps, wrong))

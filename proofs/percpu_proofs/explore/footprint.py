"""What a step may touch, or has touched, and which steps therefore commute.

Everything that pcpu_lock and pcpu_alloc_mutex protect counts as one thing: whether two steps that
change it commute is not looked into, so every order of such steps is run. What the kernel does
without the locks commutes: requests for work and marks of a failure with one another, but not with
the work, which takes them back.
"""

from __future__ import annotations

from percpu_proofs.explore.world import World
from percpu_reference.gaps import ASK, DONE, FAILED

READS, WRITES = 1, 2  # what the locks protect
ASKS, ANSWERS = 4, 8  # the request for work: made, and taken back
MARKS, UNMARKS = 16, 32  # the mark of a failed atomic request, likewise

WORK = READS | WRITES | ASKS | ANSWERS | MARKS | UNMARKS
"""The balance work, and whatever is not known to touch less."""

_CONFLICTS = {
    READS: WRITES,
    WRITES: READS | WRITES,
    ASKS: ANSWERS,
    ANSWERS: ASKS | ANSWERS,
    MARKS: UNMARKS,
    UNMARKS: MARKS | UNMARKS,
}


def conflicts(footprint: int) -> int:
    """Return all that a step with this footprint does not commute with."""
    total = 0
    for part, against in _CONFLICTS.items():
        if footprint & part:
            total |= against
    return total


CONFLICTS = [conflicts(footprint) for footprint in range(2 * UNMARKS)]


def footprint(world: World, actor: int) -> int:
    """Return what an actor's next step may touch, wherever it leads."""
    if actor >= len(world.runners):
        return WORK
    runner = world.runners[actor]
    gap = runner.gap
    if runner.operation[0] == "b":
        return WORK
    if gap is ASK:
        return ASKS
    if gap is DONE:
        return READS | ASKS
    if gap is FAILED:
        return MARKS | ASKS | (WRITES if world.holder == actor else 0)
    return READS | WRITES | ASKS


def commute(one: int, other: int) -> bool:
    """Return whether steps with these footprints may change places."""
    return not CONFLICTS[one] & other


def touched(world: World, actor: int, before: StepContext) -> int:
    """Return what a step has touched, by the state that it found and the one that it left.

    Reading leaves no trace, so what may have been read counts. Gaps that hold a chunk are judged
    with the state, so coming to one, or leaving it, counts as a change.
    """
    after = StepContext(world, actor)
    found = before.footprint & (READS | MARKS | UNMARKS)
    if before.holds or after.holds or before.protected != after.protected:
        found |= WRITES
    if before.requests != after.requests:
        found |= ASKS
    if before.marked != after.marked:
        found |= MARKS if after.marked else UNMARKS
    if before.begins_work:
        found |= ANSWERS
    return found


class StepContext:
    """What is to be known of a world before a step of an actor, to tell what the step touched."""

    __slots__ = ("begins_work", "footprint", "holds", "marked", "protected", "requests")

    def __init__(self, world: World, actor: int) -> None:
        begun = actor < len(world.runners)
        gap = world.runners[actor].gap if begun else None
        self.footprint = footprint(world, actor)
        self.holds = gap is not None and gap.chunk is not None
        self.protected = world.protected()
        self.requests = world.allocator.env.balance_requests
        self.marked = world.allocator.atomic_alloc_failed
        self.begins_work = not begun or (
            world.runners[actor].operation[0] == "b" and world.runners[actor].steps is None
        )

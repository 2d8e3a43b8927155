"""Tokens: one short string that replays a schedule, on any Python version.

Schedules are steps of the model, so a token holds for the variant it was found on, and for that
alone: it carries a hash of the variant's code and is refused when that has changed.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import asdict, dataclass
from pathlib import Path

from percpu_proofs.explore.packing import damaged, packed, unpacked
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.world import World
from percpu_proofs.inputs import InputError
from percpu_reference import chunk
from percpu_reference.variants import variant_class

PREFIX = "percpu1."


@dataclass(frozen=True, slots=True)
class Token:
    """A schedule with all that it takes to run it again."""

    variant: str
    clause: str
    geometry: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    works: int
    schedule: tuple[int, ...]
    failures: int = 0
    waiting: bool = False

    @classmethod
    def of(cls, variant: str, clause: str, scenario: Scenario, schedule: tuple[int, ...]) -> Token:
        """Return the token of a schedule of a scenario."""
        s = scenario
        return cls(
            variant,
            clause,
            s.geometry,
            s.setup,
            s.actors,
            s.works,
            schedule,
            s.failures,
            s.waiting,
        )

    def __str__(self) -> str:
        return packed(PREFIX, [variant_hash(self.variant), asdict(self)])

    @property
    def scenario(self) -> Scenario:
        """The scenario that the schedule belongs to."""
        return Scenario(
            "of the token",
            self.clause,
            self.setup,
            self.actors,
            self.geometry,
            self.works,
            self.failures,
            self.waiting,
        )


def variant_hash(variant: str) -> str:
    """Return a hash of the code that a variant's steps depend on.

    It is all of the allocator but for other variants, the modules of the variant's classes, and
    what numbers the steps.
    """
    digest = hashlib.sha256()
    files = {Path(inspect.getfile(cls)) for cls in variant_class(variant).__mro__[:-1]}
    files |= {*Path(inspect.getfile(chunk)).parent.glob("*.py"), Path(inspect.getfile(World))}
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def read_token(text: str) -> Token:
    """Return the token that a string stands for. Raises InputError if it is damaged or stale."""
    value = unpacked(PREFIX, text)
    try:
        made_with, fields = value
        token = Token(
            str(fields["variant"]),
            str(fields["clause"]),
            str(fields["geometry"]),
            tuple(map(str, fields["setup"])),
            tuple(map(str, fields["actors"])),
            int(fields["works"]),
            tuple(map(int, fields["schedule"])),
            int(fields["failures"]),
            bool(fields["waiting"]),
        )
    except (ValueError, TypeError, KeyError):
        raise damaged(text) from None
    now = variant_hash(token.variant)
    if made_with != now:
        raise InputError(
            "token", None, f"a token of {token.variant} as it is now, {now}", f"one of {made_with}"
        )
    return token

"""Each step drawn among all that can be taken."""

from __future__ import annotations

from percpu_proofs.run.choices import Choices


class Uniform:
    """Every step that can be taken is as likely as any other."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices

    def next(self, enabled: list[int]) -> int | None:
        """Return any of the steps."""
        return self._choices.pick(enabled) if enabled else None

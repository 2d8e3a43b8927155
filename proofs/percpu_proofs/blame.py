"""Errors in a reviewer's own code: one message, with the file and line that they come from."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from percpu_contracts.monitor import ClauseViolation
from percpu_proofs.inputs import InputError
from percpu_reference.own_state import UnknownStateError


@contextmanager
def blamed(variant: str, doing: str) -> Iterator[None]:
    """Turn what a variant file's code raises into an InputError; built-in variants are not blamed.

    doing: what was being done, in words.
    """
    try:
        yield
    except (InputError, UnknownStateError, ClauseViolation):
        raise
    except Exception as error:
        if not variant.endswith(".py"):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        path = str(Path(variant).resolve())
        lines = [frame.lineno for frame in frames if frame.filename == path]
        said = f"{type(error).__name__}: {error}"
        if not lines:  # what it returned is no good to its caller
            said += f", in {frames[-1].name}"
        raise InputError(
            variant, lines[-1] if lines else None, f"code that runs ({doing})", said
        ) from None

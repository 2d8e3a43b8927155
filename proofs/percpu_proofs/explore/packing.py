"""Numbers and texts as one short string that a shell takes, and back: what tokens are made of.

A number is groups of three bits, the lowest first, each with a bit that says whether more follow.
The string is base64 (URL-safe) of these groups behind a checksum of what they stand for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from itertools import zip_longest
from typing import Final

from percpu_proofs.run.inputs import InputError

MODEL: Final = "p2."
TREE: Final = "t2."
"""How tokens begin: those of the model, and those of compiled code."""
_SHOWN: Final = 40  # characters of a token in a message
_CHECK: Final = 4  # groups of the checksum


class DamagedError(ValueError):
    """A string ends early, or says what nothing can mean."""


class Writer:
    """Writes numbers, none below 0, and texts, one after the other."""

    def __init__(self) -> None:
        self._groups: list[int] = []

    def number(self, value: int) -> None:
        """Write a number."""
        while value > 7:
            self._groups.append(value & 7 | 8)
            value >>= 3
        self._groups.append(value)

    def numbers(self, values: Iterable[int]) -> None:
        """Write numbers of which the reader knows how many there are."""
        for value in values:
            self.number(value)

    def groups(self, value: int, count: int) -> None:
        """Write a number in `count` groups of four bits."""
        self._groups += [value >> 4 * n & 15 for n in range(count)]

    def text(self, value: str) -> None:
        """Write a text."""
        raw = value.encode()
        self.number(len(raw))
        self.groups(int.from_bytes(raw, "little"), 2 * len(raw))

    def string(self, prefix: str, meaning: str) -> str:
        """Return the string; meaning: what it stands for, in words, which the checksum is of."""
        head = Writer()
        head.groups(_checksum(meaning), _CHECK)
        groups = head._groups + self._groups
        pairs = zip_longest(groups[::2], groups[1::2], fillvalue=0)
        return prefix + _text(bytes(low | high << 4 for low, high in pairs))


class TokenReader:
    """Reads what a Writer wrote, in the same order. Raises DamagedError where that is not there."""

    def __init__(self, prefix: str, text: str) -> None:
        body = text.removeprefix(prefix)
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise DamagedError(text) from None
        if _text(raw) != body:  # bits that say nothing are not 0
            raise DamagedError(text)
        self._groups = [group for byte in raw for group in (byte & 15, byte >> 4)]
        self._at = 0
        self._check = self.groups(_CHECK)

    def number(self) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            group = self._next()
            value |= (group & 7) << shift
            shift += 3
            if not group & 8:
                return value

    def numbers(self, count: int) -> tuple[int, ...]:
        """Return the next numbers."""
        return tuple(self.number() for _ in range(count))

    def groups(self, count: int) -> int:
        """Return the number in the next `count` groups of four bits."""
        if count > len(self._groups) - self._at:
            raise DamagedError("it ends early")
        return sum(self._next() << 4 * n for n in range(count))

    def text(self) -> str:
        """Return the next text."""
        count = self.number()
        try:
            return self.groups(2 * count).to_bytes(count, "little").decode()
        except (UnicodeDecodeError, OverflowError):
            raise DamagedError("no text") from None

    def end(self, meaning: str) -> None:
        """Check that all was read, and that the checksum is of what it stands for."""
        left = self._groups[self._at :]
        if left not in ([], [0]) or self._check != _checksum(meaning):
            raise DamagedError(meaning)

    def _next(self) -> int:
        if self._at == len(self._groups):
            raise DamagedError("it ends early")
        self._at += 1
        return self._groups[self._at - 1]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _checksum(meaning: str) -> int:
    return int.from_bytes(hashlib.sha256(meaning.encode()).digest()[: _CHECK // 2], "little")


def damaged(text: str) -> InputError:
    """Return the error for a token that does not say what one says."""
    expected = "a whole token; this one is damaged, or what it names has changed"
    return InputError("token", None, expected, cut(text))


def no_token(text: str) -> InputError:
    """Return the error for what is no token at all."""
    expected = (
        f"a token of the model ({MODEL}...), one of compiled code ({TREE}..., with --source TREE), "
        "or NAME@FILE"
    )
    return InputError("token", None, expected, cut(text))


def tidy(text: str) -> str:
    """Return a token without what a mail has around it.

    >>> tidy("> p2.abc-_."), tidy("names@file.")
    ('p2.abc-_', 'names@file.')
    """
    text = text.strip().lstrip("> ")
    return text.rstrip(".") if text.startswith((MODEL, TREE)) else text


def cut(text: str) -> str:
    """Return the head of a text that is too long for a message, marked where it is cut.

    >>> cut("x" * 40) == "x" * 40, cut("x" * 41) == "x" * 37 + "..."
    (True, True)
    """
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."

"""Numbers of things in words, as messages have them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number of things in words; the noun's last word takes the plural.

    >>> counted(1, "page"), counted(2, "empty page")
    ('1 page', '2 empty pages')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def times(count: int) -> str:
    """Return how often something was done, in words.

    >>> times(1), times(2)
    ('once', '2 times')
    """
    return "once" if count == 1 else counted(count, "time")

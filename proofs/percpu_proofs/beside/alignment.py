"""Steps of a function in C and in Python, aligned by the words that they share.

`spelling.txt` has names of both sides that stand for the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final


class Role(IntEnum):
    """What a step does with a name; the number is its weight."""

    READ = 1
    ASSIGNED = 2
    CALLED = 3


@dataclass(frozen=True, slots=True)
class FunctionStep:
    """A statement, or the head of an `if` or a loop, with the lines it stands in.

    first to last are lines of the file; words are names in the model's spelling with what is done
    with them, and the kind of statement (`#if`, `#loop`, `#return`). part is the model function
    that was cut out of the kernel function, where the step stands in one.
    """

    first: int
    last: int
    words: Mapping[str, Role] = field(hash=False)
    part: str = ""
    file: str = ""  # where that is another than the function's


KINDS: Final = {"if": "#if", "loop": "#loop", "return": "#return"}

_SAME: Final = Path(__file__).with_name("spelling.txt").read_text("utf-8").splitlines()[1:]
_SPELLING: Final = {
    other: word for word, _, others in (line.partition(": ") for line in _SAME)
    for other in others.split()
}  # fmt: skip
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PREFIX: Final = re.compile(r"^_*(trace_percpu_|pcpu_)?")
LIKE: Final = 0.3
"""How alike two steps must be to be one, from 0 (no word in common) to 1 (the same words)."""
LIKE_ELSEWHERE: Final = 0.5
"""How alike where the one stands elsewhere, as what a `goto` leads to does."""

Words = Mapping[str, Role]


def spelled(name: str) -> str:
    """Return a name of either side in one spelling.

    >>> [spelled(n) for n in ("pcpu_free_slot", "PCPU_EMPTY_POP_PAGES_HIGH", "_chunk_move")]
    ['free_slot', 'empty_high', 'chunk_move']
    >>> spelled("trace_percpu_free_percpu"), spelled("FreePercpu"), spelled("pcpu_alloc_noprof")
    ('free_percpu', 'free_percpu', 'alloc')
    """
    if not name.isupper():
        name = _CAMEL.sub("_", name)
    name = _PREFIX.sub("", name.lower()).removesuffix("_noprof")
    return _SPELLING.get(name, name)


def weigh_words(found: Iterable[tuple[str, Role]], kind: str = "") -> dict[str, Role]:
    """Return words with the weightiest of their roles, and the kind of the statement."""
    words: dict[str, Role] = {KINDS[kind]: Role.ASSIGNED} if kind in KINDS else {}
    for name, role in found:
        word = spelled(name)
        words[word] = max(words.get(word, role), role)
    return words


class Likeness:
    """How alike steps are: the weight of the words that they share, rare words first."""

    def __init__(self, steps: Sequence[Words]) -> None:
        seen = Counter(word for words in steps for word in words)
        self._weight = {word: 1 / math.sqrt(count) for word, count in seen.items()}

    def __call__(self, one: Words, other: Words) -> float:
        """Return twice the weight in common over the weight of both.

        >>> alike = Likeness([{"a": Role.CALLED}, {"a": Role.CALLED, "b": Role.READ}])
        >>> round(alike({"a": Role.CALLED}, {"a": Role.CALLED, "b": Role.READ}), 2)
        0.81
        """
        both = math.fsum(
            min(role, other[word]) * self._weight.get(word, 1.0)
            for word, role in one.items() if word in other
        )  # fmt: skip
        all_of_both = self._sum(one) + self._sum(other)
        return 2 * both / all_of_both if all_of_both else 0.0

    def _sum(self, words: Words) -> float:
        return math.fsum(role * self._weight.get(word, 1.0) for word, role in words.items())


@dataclass(slots=True)
class AlignmentRow:
    """Numbers of steps on the left and on the right, aligned if there are some on both sides.

    elsewhere: those on the right stand at another place in their order.
    """

    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    aligned: bool = False
    elsewhere: bool = False


def align(left: Sequence[FunctionStep], right: Sequence[FunctionStep]) -> list[AlignmentRow]:
    """Return rows in the order of the left side; every step is in one of them.

    The sum of likenesses is the greatest that is possible with the order kept on both sides. Of
    what is left over, steps that are very like are aligned across the order, and what stands beside
    an aligned pair and is like its other side joins it: one statement here may be two there.
    """
    alike = Likeness([step.words for step in (*left, *right)])
    like = [[alike(a.words, b.words) for b in right] for a in left]
    pairs = _pairs(like, range(len(left)), range(len(right)), LIKE)
    paired = [{one[side] for one in pairs} for side in (0, 1)]
    over = [i for i in range(len(left)) if i not in paired[0]]
    over_there = [j for j in range(len(right)) if j not in paired[1]]
    moved = {
        i: j for i, j in _pairs(like, over, over_there, LIKE_ELSEWHERE)
        if _share_a_deed(left[i].words, right[j].words)
    }  # fmt: skip
    for i in moved:  # it joins nothing
        like[i] = [0.0] * len(right)
    return _rows(like, pairs, moved, len(right))


def _share_a_deed(one: Words, other: Words) -> bool:
    """Return whether both call or assign the same, more than that both are of a kind."""
    return bool(deeds(one).keys() & deeds(other).keys() - KINDS.values())


def deeds(words: Words) -> dict[str, Role]:
    """Return what a step assigns and calls."""
    return {word: role for word, role in words.items() if role > Role.READ}


def _rows(
    like: Sequence[Sequence[float]],
    pairs: Sequence[tuple[int, int]],
    moved: Mapping[int, int],
    width: int,
) -> list[AlignmentRow]:
    """Return the pairs, with what joins them and what is between them."""
    gone = set(moved.values())
    rows = [AlignmentRow([i], [j], aligned=True) for i, j in pairs]
    found: list[AlignmentRow] = []
    i = j = 0
    for before, behind in zip([None, *rows], [*rows, None], strict=True):
        free = AlignmentRow(
            list(range(i, behind.left[0] if behind else len(like))),
            [n for n in range(j, behind.right[0] if behind else width) if n not in gone],
        )
        if before:  # what follows a pair joins it from the top
            while free.left and _joins(like, free.left[:1], before.right):
                before.left.append(free.left.pop(0))
            while free.right and _joins(like, before.left, free.right[:1]):
                before.right.append(free.right.pop(0))
        if behind:  # and what stands in front of one from the bottom
            i, j = behind.left[0] + 1, behind.right[0] + 1
            while free.left and _joins(like, free.left[-1:], behind.right):
                behind.left.insert(0, free.left.pop())
            while free.right and _joins(like, behind.left, free.right[-1:]):
                behind.right.insert(0, free.right.pop())
        found += _apart(free, moved)
        found += [behind] if behind else []
    return found


def _joins(like: Sequence[Sequence[float]], left: list[int], right: list[int]) -> bool:
    return all(like[i][j] >= LIKE for i in left for j in right)


def _apart(free: AlignmentRow, moved: Mapping[int, int]) -> Iterator[AlignmentRow]:
    """Yield what has no counterpart here, and the rows of what has one elsewhere."""
    rest = AlignmentRow(right=free.right)
    for i in free.left:
        if i not in moved:
            rest.left.append(i)
            continue
        if rest.left:
            yield rest
            rest = AlignmentRow()
        yield AlignmentRow([i], [moved[i]], aligned=True, elsewhere=True)
    if rest.left or rest.right:
        yield rest


def _pairs(
    like: Sequence[Sequence[float]], left: Sequence[int], right: Sequence[int], least: float
) -> list[tuple[int, int]]:
    """Return the pairs of the best alignment (Needleman and Wunsch, gaps cost nothing)."""
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            here = like[left[i]][right[j]]
            taken = here + best[i + 1][j + 1] if here >= least else 0.0
            best[i][j] = max(taken, best[i + 1][j], best[i][j + 1])
    pairs = []
    i = j = 0
    while i < len(left) and j < len(right):
        here = like[left[i]][right[j]]
        if here >= least and best[i][j] == here + best[i + 1][j + 1]:
            pairs.append((left[i], right[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs

"""The functions of a C file and their steps, as the kernel's style writes them.

Tokens are pygments'. What the preprocessor would leave out is not known: inside a function the
first of two branches counts, and of a function that is defined twice the longer definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Operator, Punctuation, Whitespace, _TokenType

from percpu_proofs.beside.alignment import FunctionStep, Role, weigh_words

_DIRECTIVE: Final = re.compile(r"^[ \t]*#[ \t]*(\w*)((?:\\\n|[^\n])*)", re.MULTILINE)
_HEADS: Final = {"if": "if", "switch": "if", "while": "loop", "for": "loop"}
_JUMPS: Final = {"goto", "break", "continue"}
_ASSIGNS: Final = {"=", "+=", "-=", "|=", "&=", "<<=", ">>=", "^=", "*=", "/=", "%="}
_STEPS: Final = {"++", "--"}
_OPERATOR: Final = re.compile(r"<<=|>>=|[-+*/%&|^=!<>]=|\+\+|--|->|&&|\|\||<<|>>|[^\s]")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_OPENS, _CLOSES = "([{", ")]}"


class CToken(NamedTuple):
    """A token that is neither blank nor comment."""

    text: str
    line: int
    is_name: bool
    is_word: bool  # a name or a keyword


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a C file: lines from what stands above its name to its closing brace."""

    name: str
    first: int
    last: int
    steps: tuple[FunctionStep, ...]


@cache
def functions(text: str) -> dict[str, Function]:
    """Return the functions that a C file defines, by name."""
    code, other_branch = _without_directives(text)
    tokens = list(_tokens(code))
    found: dict[str, Function] = {}
    begin = at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.text == ";":
            begin = at + 1
        elif token.text == "{":
            name = _function_name(tokens[begin:at])
            body, at = _block(tokens, at, other_branch)
            if name:
                last = tokens[min(at, len(tokens) - 1)].line
                one = Function(name, tokens[begin].line, last, tuple(_steps(body)))
                if name not in found or len(one.steps) > len(found[name].steps):
                    found[name] = one
            if name or [t.text for t in tokens[at + 1 : at + 2]] == [";"]:
                begin = at + 1
        elif token.text in "([":
            at = _closing(tokens, at)
        at += 1
    return found


def _without_directives(text: str) -> tuple[str, dict[int, int]]:
    """Return the text with directives blanked, and the lines of other branches.

    Each with the line of its #if; of what no kernel compiles (#if 0) one behind all lines.
    """
    other: dict[int, int] = {}
    open_ifs: list[tuple[int, bool]] = []  # line, whether this is another branch
    never = text.count("\n") + 2
    done = 0
    at = 1

    def lines_up_to(line: int) -> None:
        nonlocal at
        branches = [begin for begin, is_other in open_ifs if is_other]
        if branches:
            other.update(dict.fromkeys(range(at, line + 1), max(branches)))
        at = line + 1

    for found in _DIRECTIVE.finditer(text):
        done = text.count("\n", 0, found.start()) + 1
        lines_up_to(done)
        word = found[1]
        if word.startswith("if"):
            off = word == "if" and found[2].strip() == "0"
            open_ifs.append((never, True) if off else (done, False))
        elif word in ("else", "elif", "elifdef", "elifndef") and open_ifs:
            begin, is_other = open_ifs.pop()
            open_ifs.append((done, False) if begin == never and is_other else (begin, True))
        elif word == "endif" and open_ifs:
            open_ifs.pop()
    return _DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text), other


def _tokens(code: str) -> Iterator[CToken]:
    line = 1
    run = ""  # of punctuation, which the lexer gives by characters
    lexer = get_lexer_by_name("c", stripnl=False, ensurenl=False)
    for kind, value in lexer.get_tokens(code):
        if _is(kind, Operator, Punctuation):
            run += value
            continue
        yield from (CToken(piece, line, False, False) for piece in _OPERATOR.findall(run))
        run = ""
        if not _is(kind, Comment, Whitespace) and value.strip():
            is_word = _WORD.fullmatch(value) is not None
            yield CToken(value, line, is_word and not _is(kind, Keyword), is_word)
        line += value.count("\n")


def _is(kind: _TokenType, *wanted: _TokenType) -> bool:
    """Return whether a token is of a wanted kind or of one below it."""
    return any(kind[: len(one)] == one for one in wanted)


def _block(
    tokens: Sequence[CToken], at: int, other_branch: Mapping[int, int]
) -> tuple[list[CToken], int]:
    """Return what stands between the brace at a token and its closing one, and where that is.

    Without other branches of what begins behind the brace; their braces need not balance.
    """
    opens = tokens[at].line
    body: list[CToken] = []
    depth = 0
    for here in range(at, len(tokens)):
        token = tokens[here]
        if other_branch.get(token.line, 0) > opens:
            continue
        depth += (token.text == "{") - (token.text == "}")
        if not depth:
            return body[1:], here
        body.append(token)
    return body[1:], len(tokens)


def _closing(tokens: Sequence[CToken], at: int) -> int:
    """Return where what opens at a token closes; the end if it does not."""
    depth = 0
    for here in range(at, len(tokens)):
        text = tokens[here].text
        if text in _OPENS:
            depth += 1
        elif text in _CLOSES:
            depth -= 1
            if not depth:
                return here
    return len(tokens)


def _function_name(head: Sequence[CToken]) -> str:
    """Return the function that tokens in front of a brace define, or nothing."""
    for at, token in enumerate(head[:-1]):
        if token.text == "=":
            return ""
        follows = head[at + 1].text == "("
        if token.is_name and follows and token.text != "__attribute__":
            return token.text
    return ""


def _steps(body: Sequence[CToken]) -> Iterator[FunctionStep]:
    """Yield the steps of a function's body; a jump belongs to the step before it."""
    last: FunctionStep | None = None
    at = 0
    while at < len(body):
        token = body[at]
        follows = body[at + 1].text if at + 1 < len(body) else ""
        if token.text in ("{", "}", ";", "else", "do") or (token.is_name and follows == ":"):
            at += 1 if follows != ":" else 2
            continue
        kind = ""
        if token.text in _HEADS:
            kind = _HEADS[token.text]
            end = _closing(body, at + 1)
        elif token.text in ("case", "default"):
            kind = "if"
            end = next((i for i in range(at, len(body)) if body[i].text == ":"), len(body) - 1)
        elif token.is_name and follows == "(" and _is_head(body, _closing(body, at + 1)):
            kind = "loop"
            end = _closing(body, at + 1)
        else:
            kind = token.text
            end = _semicolon(body, at)
        statement = body[at : end + 1]
        at = end + 1
        if token.text in _JUMPS:
            if last is not None:
                last = FunctionStep(last.first, statement[-1].line, last.words)
            continue
        if kind not in ("if", "loop", "return") and _is_declaration(statement):
            continue
        if last is not None:
            yield last
        words = weigh_words(_words(statement), kind)
        last = FunctionStep(statement[0].line, statement[-1].line, words)
    if last is not None:
        yield last


def _is_head(body: Sequence[CToken], end: int) -> bool:
    """Return whether what closes at `end` is the head of a block: a macro that loops."""
    follows = body[end + 1] if end + 1 < len(body) else None
    return follows is not None and (follows.text == "{" or follows.is_word)


def _semicolon(body: Sequence[CToken], at: int) -> int:
    while at < len(body) and body[at].text != ";":
        at = _closing(body, at) if body[at].text in _OPENS else at
        at += 1
    return min(at, len(body) - 1)


def _is_declaration(statement: Sequence[CToken]) -> bool:
    """Return whether a statement only names variables."""
    return not any(t.text in _ASSIGNS or t.text in _STEPS or t.text == "(" for t in statement)


def _words(statement: Sequence[CToken]) -> Iterator[tuple[str, Role]]:
    """Yield the names of a statement with what is done with them."""
    texts = [token.text for token in statement] + [""]
    for at, token in enumerate(statement):
        if not token.is_name:
            continue
        behind = at + 1
        while texts[behind] == "[":
            behind = min(_closing(statement, behind), len(statement) - 1) + 1
        after = texts[behind]
        if after == "(":
            yield token.text, Role.CALLED
        elif after in _ASSIGNS or after in _STEPS or (at and texts[at - 1] in _STEPS):
            yield token.text, Role.ASSIGNED
        else:
            yield token.text, Role.READ

"""Generated pieces of a Markdown page: where they stand, what they call, and how they are written afresh.

An inline piece stands within a line, a block on lines of its own:

    reached it in <!--= reached("mul-97", "adamw") -->5 of 5 runs<!--/-->

    <!--= leaderboard("mul-97") -->
    | method | ...
    <!--/-->

The call has a name from a table of functions and literal arguments. It is parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<!--=", "<!--/-->"

_PIECE = re.compile(r"<!--=(?P<call>.*?)-->(?P<text>.*?)<!--/-->", re.DOTALL)

# What may stand in a line before its text begins: an indent, a quotation's or a list's mark.
_NOTHING_YET = re.compile(r"[\s>]*([-*+]|\d+[.)])?\s*")

Function = Callable[..., str]


class PageError(ValueError):
    """What is wrong with a page, with its name and line in front."""


class Pending(PageError):
    """A piece asks for results that are yet to come; its message stands in the page meanwhile."""


@dataclass(frozen=True)
class Piece:
    """One generated piece: ``text`` of the page between ``start`` and ``end``, in the line ``line`` (from 1)."""

    call: str
    text: str
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Difference:
    """A piece whose text is not what its call gives now."""

    page: str
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: is {self.old.strip()!r}, should be {self.new.strip()!r}"


def pieces(page: str, source: str) -> Iterator[Piece]:
    """The generated pieces of ``source``, in order. A marker without its counterpart is an error."""
    end = 0
    for match in _PIECE.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        if OPEN in match["text"] or OPEN in match["call"]:
            raise PageError(f"{page}:{line}: the piece <!--={match['call']}--> is not closed; end it with {CLOSE}")
        _no_stray_marker(page, source, end, match.start())
        yield Piece(match["call"].strip(), match["text"], line, match.start("text"), match.end("text"))
        end = match.end()
    _no_stray_marker(page, source, end, len(source))


def _no_stray_marker(page: str, source: str, start: int, end: int) -> None:
    for marker in (OPEN, CLOSE):
        at = source.find(marker, start, end)
        if at >= 0:
            line = source.count("\n", 0, at) + 1
            raise PageError(f"{page}:{line}: {marker} has no counterpart")


def parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, positional and named arguments of a call whose arguments are literals.

    >>> parse_call('ratio("mul-97", "adamw", cost="steps")')
    ('ratio', ['mul-97', 'adamw'], {'cost': 'steps'})
    """
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise PageError(f"{text!r} is no call: {error.msg}") from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise PageError(f"{text!r} is no call; write NAME(ARGUMENTS)")
    try:
        arguments = [ast.literal_eval(node) for node in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    except ValueError:
        raise PageError(f"{text!r} has an argument that is no literal; give texts, numbers, lists or tables") from None
    if len(named) != len(call.keywords):
        raise PageError(f"{text!r} has an argument that is no literal; give texts, numbers, lists or tables")
    return call.func.id, arguments, named


@dataclass(frozen=True)
class Rebuilt:
    """A page with its pieces written afresh, those that this changed, and what was wrong with others, which stay."""

    text: str
    differences: list[Difference]
    errors: list[str]


def rebuilt(page: str, source: str, inline: Mapping[str, Function], blocks: Mapping[str, Function]) -> Rebuilt:
    """Write every piece of ``source`` afresh."""
    out: list[str] = []
    differences: list[Difference] = []
    errors: list[str] = []
    end = 0
    for piece in pieces(page, source):
        new = piece.text
        try:
            new = _written(piece, source, inline, blocks)
        except Pending as pending:
            new = f"\n{pending}\n" if piece.text.startswith("\n") else str(pending)
        except (PageError, TypeError) as error:  # a TypeError is one of a call's arguments
            errors.append(f"{page}:{piece.line}: {piece.call}: {error}")
        if new != piece.text:
            differences.append(Difference(page, piece.line, piece.text, new))
        out += [source[end : piece.start], new]
        end = piece.end
    return Rebuilt("".join([*out, source[end:]]), differences, errors)


def _written(piece: Piece, source: str, inline: Mapping[str, Function], blocks: Mapping[str, Function]) -> str:
    name, arguments, named = parse_call(piece.call)
    opening = source.rfind(OPEN, 0, piece.start)
    before = source[source.rfind("\n", 0, opening) + 1 : opening]
    begins_a_line = _NOTHING_YET.fullmatch(before) is not None
    if name in blocks:
        if before:
            raise PageError("a block begins a line; put it on lines of its own")
        return f"\n{_with_plain_products(blocks[name](*arguments, **named)).strip()}\n"
    if name not in inline:
        raise PageError(f"unknown piece {name!r}; there are {', '.join(sorted([*inline, *blocks]))}")
    if begins_a_line:
        # Markdown takes a line that begins with a comment for HTML, and shows the rest of the line as it stands.
        raise PageError("an inline piece may not begin a line; move a word in front of it")
    return _with_plain_products(inline[name](*arguments, **named))


def _with_plain_products(text: str) -> str:
    """``text`` in which Markdown leaves the signs of products alone, as in the names of tasks: two in a paragraph would
    be gone, and what is between them in italics.

    >>> print(_with_plain_products("**a*c + b*d**, `a*b`"))
    **a\\*c + b\\*d**, `a*b`
    """
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(part if place % 2 else re.sub(r"(?<=\w)\*(?=\w)", r"\\*", part) for place, part in enumerate(parts))

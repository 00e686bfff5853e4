"""The grammar of modular expressions: from text to a tree, and back.

    sum     := product (("+" | "-") product)*
    product := signed (("*" | "/") signed)*
    signed  := "-" signed | power
    power   := atom ("^" integer)?
    atom    := operand | integer | "(" sum ")"

An expression is a sum, the word ``mod`` and the modulus. Operands are single letters a–z. ``**``, ``×``, ``·``
and ``−`` are read as ``^``, ``*``, ``*`` and ``-``. Nothing is handed to Python's own evaluator, and nesting
is bounded, so any text is safe to parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from grokkit.errors import InputError

MAX_NESTING = 32
MAX_EXPONENT = 100


@dataclass(frozen=True)
class Node:
    """A node of the tree: an operand, ``"number"``, ``"negate"``, or one of ``+ - * / ^``.

    ``number`` is the integer of a ``"number"`` and the exponent of a ``"^"``.
    """

    symbol: str
    parts: tuple[Node, ...] = ()
    number: int = 0


_TOKEN = re.compile(r"\s*(?:([0-9]+|[a-z]+|\*\*|[-+*/^()×·−])|(\S))")
_SYNONYMS = {"**": "^", "×": "*", "·": "*", "−": "-"}


class Parser:
    """Recursive descent over the grammar at the file's top; one method a rule."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.nesting = 0
        self.at = 0
        self.tokens: list[str] = []
        self.positions: list[int] = []
        for found in _TOKEN.finditer(text):
            token, stray = found.groups()
            if stray:
                self.refuse(f"unexpected {stray!r} at character {found.start(2) + 1}")
            if token.isalpha() and len(token) > 1 and token != "mod":
                self.refuse(f"{token!r} at character {found.start(1) + 1} is not one letter (products need a *)")
            self.tokens.append(_SYNONYMS.get(token, token))
            self.positions.append(found.start(1) + 1)
        self.tokens.append("")  # the end, so that looking ahead needs no check
        if "mod" not in self.tokens:
            self.refuse("the modulus is missing")
        self.root = self.sum()
        if self.next != "mod":
            self.refuse(f"unexpected {self.here()}")
        self.take()
        if not self.next.isdigit():
            self.refuse(f"expected the modulus, an integer, not {self.here()}")
        self.modulus = int(self.take())
        if self.next:
            self.refuse(f"unexpected {self.here()}, after the modulus")

    @property
    def next(self) -> str:
        return self.tokens[self.at]

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def here(self) -> str:
        return f"{self.next!r} at character {self.positions[self.at]}" if self.next else "the end"

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(
            f"cannot read {self.text!r}: {problem}. Allowed: operands a–z, integers, + - * / ^ ( ), "
            f"then 'mod' and the modulus, as in 'a*b mod 97'"
        )

    def sum(self) -> Node:
        node = self.product()
        while self.next in ("+", "-"):
            node = Node(self.take(), (node, self.product()))
        return node

    def product(self) -> Node:
        node = self.signed()
        while self.next in ("*", "/"):
            node = Node(self.take(), (node, self.signed()))
        return node

    def signed(self) -> Node:
        if self.next != "-":
            return self.power()
        self.enter()
        node = Node("negate", (self.signed(),))
        self.nesting -= 1
        return node

    def power(self) -> Node:
        base = self.atom()
        if self.next != "^":
            return base
        self.take()
        if not self.next.isdigit() or int(self.next) > MAX_EXPONENT:
            self.refuse(f"expected an exponent, an integer of 0 to {MAX_EXPONENT}, not {self.here()}")
        return Node("^", (base,), int(self.take()))

    def atom(self) -> Node:
        if self.next.isdigit():
            return Node("number", number=int(self.take()))
        if self.next.isalpha() and self.next != "mod":
            return Node(self.take())
        if self.next != "(":
            self.refuse(f"expected an operand, an integer or '(', not {self.here()}")
        self.enter()
        node = self.sum()
        if self.next != ")":
            self.refuse(f"expected ')', not {self.here()}")
        self.take()
        self.nesting -= 1
        return node

    def enter(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.refuse(f"nested more than {MAX_NESTING} deep, with {self.here()}")
        self.take()


def symbols(node: Node) -> Iterator[str]:
    """Operands and operators from left to right as written."""
    if node.symbol == "number":
        return
    if node.symbol == "negate":
        yield from symbols(node.parts[0])
        return
    if node.parts:
        yield from symbols(node.parts[0])
    yield node.symbol
    for part in node.parts[1:]:
        yield from symbols(part)


_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3, "^": 4}


def written(node: Node, at_least: int = 0) -> str:
    """The node as text, in parentheses where it binds less tightly than ``at_least``."""
    binding = _BINDING.get(node.symbol, 5)
    match node.symbol:
        case "number":
            text = str(node.number)
        case "negate":
            text = "-" + written(node.parts[0], binding)
        case "^":
            text = f"{written(node.parts[0], 5)}^{node.number}"
        case "+" | "-" | "*" | "/":
            left, right = written(node.parts[0], binding), written(node.parts[1], binding + 1)
            text = f"{left} {node.symbol} {right}" if binding == 1 else f"{left}{node.symbol}{right}"
        case operand:
            text = operand
    return f"({text})" if binding < at_least else text

"""Modular expressions: ``"a*c + b*d - e mod 7"`` as a function on tensors.

Operands run over the numbers modulo P; ``x/y`` is x·y⁻¹ with the modular inverse, so it needs a prime P and a
y that is not 0 modulo P. :mod:`grokkit.tasks.grammar` says what can be written; length and table are bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.errors import InputError, unknown
from grokkit.tasks.grammar import Node, Parser, symbols, written

MAX_CHARACTERS = 200  # white space not counted
MAX_OPERANDS = 8
MAX_ROWS = 5_000_000


class ShortName(NamedTuple):
    """What ``name:P`` stands for: the formula that is taken modulo P, and a line on it."""

    formula: str
    description: str


SHORT_NAMES: dict[str, ShortName] = {
    "add": ShortName("a + b", "modular addition"),
    "sub": ShortName("a - b", "modular subtraction"),
    "mul": ShortName("a*b", "modular multiplication"),
    "div": ShortName("a/b", "modular division, b not 0"),
    "square-sub": ShortName("a*a - b", "a square less a number"),
    "dot-sub": ShortName("a*c + b*d - e", "a dot product of two pairs less a number; five operands"),
}
"""Short names: ``"mul:97"`` is ``"a*b mod 97"``."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; make one with :func:`parse`.

    Attributes:
        text: canonical form, without needless parentheses: the same for every spelling of the same tree, and
            parsed back to an equal expression.
        modulus: P, at least 2.
        operands: distinct operands in order of appearance.
        operators: the symbols ``+ - * / ^`` between two parts, in written order, with repetitions.
        root: the tree.

    >>> e = parse("a ** 2 − b mod 97")
    >>> e.text, e.operands, e.operators
    ('a^2 - b mod 97', ('a', 'b'), ('^', '-'))
    """

    text: str
    modulus: int
    operands: tuple[str, ...]
    operators: tuple[str, ...]
    root: Node = field(repr=False)

    @property
    def operands_sorted(self) -> tuple[str, ...]:
        """The distinct operands, alphabetically."""
        return tuple(sorted(self.operands))

    @cached_property
    def is_commutative(self) -> bool:
        """Whether two operands can be exchanged; decided on the whole table. False for 1 or over 2 operands.

        >>> parse("(a - b)^2 mod 5").is_commutative, parse("a - b mod 5").is_commutative
        (True, False)
        """
        if len(self.operands) != 2:
            return False
        first, second = self.operands
        x_PP = torch.arange(self.modulus)[:, None].expand(self.modulus, self.modulus)
        results_PP, valid_PP = self.evaluate({first: x_PP, second: x_PP.T})
        same_PP = (results_PP == results_PP.T) | ~valid_PP
        return bool((valid_PP == valid_PP.T).all() and same_PP.all())

    def evaluate(self, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The results modulo P, and where they are defined.

        Args:
            values: for every operand an int64 tensor, all of one shape; taken modulo P.

        Returns:
            ``(results, valid)``: int64 in 0…P−1 and bool, both of that shape. ``valid`` is False where a
            divisor is 0 modulo P; the result there means nothing.

        Raises:
            InputError: the names of ``values`` are not the operands.

        >>> one, divisors = torch.tensor([1, 1]), torch.tensor([3, 0])
        >>> results, valid = parse("a/b mod 7").evaluate({"a": one, "b": divisors})
        >>> int(results[0]), valid.tolist()
        (5, [True, False])
        """
        if set(values) != set(self.operands):
            given, wanted = ", ".join(values) or "none", ", ".join(self.operands)
            raise InputError(f"{self.text!r}: values for {given} given; give them for exactly {wanted}")
        modulus = self.modulus
        some = next(iter(values.values()))
        valid = torch.ones_like(some, dtype=torch.bool)

        def result(node: Node) -> Tensor:
            nonlocal valid
            if node.symbol == "number":
                return torch.full_like(some, node.number % modulus)
            if not node.parts:
                return values[node.symbol] % modulus
            parts = [result(part) for part in node.parts]
            match node.symbol:
                case "negate":
                    return -parts[0] % modulus
                case "^":
                    return _power(parts[0], node.number, modulus)
                case "+":
                    return (parts[0] + parts[1]) % modulus
                case "-":
                    return (parts[0] - parts[1]) % modulus
                case "*":
                    return parts[0] * parts[1] % modulus
                case _:  # "/", by Fermat: x⁻¹ = x^(P−2) for a prime P
                    valid = valid & (parts[1] != 0)
                    inverses_P = _power(torch.arange(modulus, device=some.device), modulus - 2, modulus)
                    return parts[0] * inverses_P[parts[1]] % modulus

        return result(self.root), valid


def parse(text: str) -> Expression:
    """Read an expression, or a short name with its modulus (:data:`SHORT_NAMES`).

    Raises:
        InputError: the text is not an expression, is too long or too deeply nested, has no operand or over 8,
            an exponent over 100, a modulus below 2 or one that is not prime where there is a division, or
            over 5 million rows (P to the number of operands).

    >>> parse("dot-sub:7").text
    'a*c + b*d - e mod 7'
    >>> parse("a $ b mod 97")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    grokkit.errors.InputError: cannot read 'a $ b mod 97': unexpected '$' at character 3. Allowed: ...
    """
    text = " ".join(text.split())  # what errors quote, and count characters in
    if len(text.replace(" ", "")) > MAX_CHARACTERS:
        raise InputError(f"the expression {text[:30]!r}… has over {MAX_CHARACTERS} characters; write a shorter one")
    name, colon, modulus = text.partition(":")
    name = name.strip()
    if colon:
        if name not in SHORT_NAMES:
            raise unknown("task", name, SHORT_NAMES)
        if not re.fullmatch(r"\s*[0-9]+\s*", modulus):
            raise InputError(f"cannot read {text!r}: after the colon comes the modulus, an integer; write {name}:97")
        return _expression(Parser(f"{SHORT_NAMES[name].formula} mod {modulus}"), shown=text)
    if name in SHORT_NAMES:
        raise InputError(f"the task {name!r} needs its modulus; write {name}:97")
    if re.fullmatch(r"[a-z]{2,}(-[a-z]{2,})*", name) and name != "mod":
        raise unknown("task", name, SHORT_NAMES)
    return _expression(Parser(text), shown=text)


def _expression(parser: Parser, shown: str) -> Expression:
    """The parsed tree as an expression, once its modulus and its table are sound."""
    root, modulus = parser.root, parser.modulus
    written_order = tuple(symbols(root))
    operands = tuple(dict.fromkeys(s for s in written_order if s.isalpha()))
    operators = tuple(s for s in written_order if not s.isalpha())
    count = len(operands)
    if not operands:
        raise InputError(f"{shown!r} has no operand; use at least one letter a–z, as in 'a*b mod 97'")
    if count > MAX_OPERANDS:
        raise InputError(f"{shown!r} has {count} operands ({', '.join(operands)}); use at most {MAX_OPERANDS} letters")
    if modulus < 2:
        raise InputError(f"{shown!r}: modulus {modulus} is below 2; take at least 2, better a prime such as 97")
    if modulus**count > MAX_ROWS:
        rows = modulus**count
        many = f"{rows:,}" if rows < 10**15 else f"about 10^{len(str(rows)) - 1}"
        raise InputError(
            f"{shown!r} has {many} rows ({modulus}^{count}), and at most {MAX_ROWS:,} are allowed; "
            f"take a modulus of at most {int(MAX_ROWS ** (1 / count))}, or fewer operands"
        )
    if "/" in operators and not _is_prime(modulus):
        below = next(p for p in range(modulus - 1, 1, -1) if _is_prime(p))
        above = next(p for p in range(modulus + 1, 2 * modulus) if _is_prime(p))
        raise InputError(
            f"{shown!r} divides, and modulus {modulus} is not prime, so that some numbers have no inverse; "
            f"take one of the next primes, {below} or {above}"
        )
    return Expression(f"{written(root)} mod {modulus}", modulus, operands, operators, root)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, math.isqrt(number) + 1))


def _power(base: Tensor, exponent: int, modulus: int) -> Tensor:
    """base^exponent modulo P by squaring; 0^0 = 1. With P ≤ 5 million no product overflows int64."""
    result = torch.ones_like(base)
    while exponent:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result

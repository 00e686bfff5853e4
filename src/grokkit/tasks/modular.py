"""Modular arithmetic as rows of tokens.

A row is one assignment of numbers to the operands, its target the expression's value. Tokens: the numbers
0…P−1 stand for themselves, ``=`` is P, and operators are P+1, P+2, ... in order of appearance. Models give
the answer at the last token. Three layouts:

``infix``, as in Grokfast (arXiv 2405.20233): the expression as written, without parentheses and signs, where
it is nothing but distinct operands with an operator between neighbours (``a * c + b * d - e =``). Otherwise
(an operand is repeated, or there are constants) the distinct operands in order of appearance with one and the
same operator token, P+1, between neighbours (``a ∘ b =`` for a·a − b). Two operands thus always give
``x op y =`` and a vocabulary of P+2.

``operands-first``, as in NeuralGrok (arXiv 2504.17243): the distinct operands alphabetically, every operator
in written order, ``=`` (``a b * - =`` for a·a − b).

``operands``, as in GrokTransfer (arXiv 2504.13292): the distinct operands alphabetically and nothing else, for
models that do not need a place to answer at; the vocabulary is P.

Constants, parentheses and signs have no token: they are the same in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from grokkit.errors import InputError, unknown
from grokkit.tasks.expression import Expression, parse
from grokkit.tasks.task import Task

Layout = Literal["infix", "operands-first", "operands"]


def modular_task(spec: str, *, layout: Layout = "infix", operands_from: Mapping[str, int] | None = None) -> Task:
    """The whole table of an expression modulo P.

    Rows run in lexicographic order, the operands taken alphabetically, in every layout, so that a row number,
    and with it a split, means the same problem in each. Rows that divide by 0 modulo P are left out.
    ``classes`` is the whole vocabulary, as in the published decoders, which may answer with any token.

    Args:
        spec: an expression or a short name, see :func:`grokkit.tasks.parse`.
        layout: of the tokens, see above.
        operands_from: the smallest value of an operand, for those that do not start at 0. The published data
            of both papers starts b at 1 where there are two operands, ``{"b": 1}``, and NeuralGrok's
            a·c + b·d − e has ``{"c": 1, "d": 1}``. Default: all from 0.

    Raises:
        InputError: see :func:`grokkit.tasks.parse`; an unknown layout or operand, a start outside 0…P−1, or
            no row left.

    >>> task = modular_task("a*a - b mod 5", layout="operands-first", operands_from={"b": 1})
    >>> task.inputs_NT[0].tolist(), int(task.targets_N[0]), len(task.targets_N), task.vocabulary
    ([0, 1, 6, 7, 5], 4, 20, 8)
    >>> task.description
    'a*a - b mod 5, 20 rows, b from 1, tokens: a b * - ='
    """
    expression = parse(spec)
    if layout not in get_args(Layout):
        raise unknown("layout", layout, get_args(Layout))
    starts = dict(operands_from or {})
    for operand, start in starts.items():
        if operand not in expression.operands:
            raise unknown("operand", operand, expression.operands)
        if not 0 <= start < expression.modulus:
            raise InputError(
                f"operand {operand!r} cannot start at {start}; allowed are 0 to {expression.modulus - 1}, "
                f"e.g. {operand}=1"
            )

    values = _table(expression, starts)
    targets_N, valid_N = expression.evaluate(values)
    if not valid_N.any():
        raise InputError(f"{expression.text!r} divides by 0 in every row; change its divisor")
    values = {operand: column_N[valid_N] for operand, column_N in values.items()}
    targets_N = targets_N[valid_N]

    tokens = _tokens(expression, layout)
    signs = sorted((t for t in dict.fromkeys(tokens) if t not in values), key=lambda t: t != "=")  # "=" first
    numbers = {t: expression.modulus + i for i, t in enumerate(signs)}
    columns = [values[t] if t in values else torch.full_like(targets_N, numbers[t]) for t in tokens]
    vocabulary = expression.modulus + len(numbers)

    from_text = "".join(f", {operand} from {start}" for operand, start in sorted(starts.items()) if start)
    return Task(
        name=expression.text,
        inputs="expressions",
        inputs_NT=torch.stack(columns, dim=1),
        targets_N=targets_N,
        vocabulary=vocabulary,
        classes=vocabulary,
        pair_groups=_unordered_pairs(values, expression.modulus) if expression.is_commutative else None,
        description=f"{expression.text}, {len(targets_N)} rows{from_text}, tokens: {' '.join(tokens)}",
        modulus=expression.modulus,
        operators=tuple(expression.operators),
    )


def _table(expression: Expression, starts: Mapping[str, int]) -> dict[str, Tensor]:
    """One column of values an operand, over every combination, alphabetically the first slowest."""
    operands = expression.operands_sorted
    ranges = [torch.arange(starts.get(operand, 0), expression.modulus) for operand in operands]
    grids = torch.meshgrid(*ranges, indexing="ij")
    return {operand: grid.reshape(-1) for operand, grid in zip(operands, grids, strict=True)}


def _tokens(expression: Expression, layout: Layout) -> list[str]:
    """The row's tokens as symbols: operands, operators, ``=``."""
    operands, operators = expression.operands, expression.operators
    if layout == "operands":
        return list(expression.operands_sorted)
    if layout == "operands-first":
        return [*expression.operands_sorted, *operators, "="]
    # Operators join two parts each: with one fewer than operands, none is repeated and none is a constant.
    between = operators if len(operators) == len(operands) - 1 else ("∘",) * (len(operands) - 1)
    pairs = zip(operands, (*between, "="), strict=True)
    return [token for pair in pairs for token in pair]


def _unordered_pairs(values: Mapping[str, Tensor], modulus: int) -> Tensor:
    """A number a row, the same for (x, y) and (y, x)."""
    x_N, y_N = values.values()
    return torch.minimum(x_N, y_N) * modulus + torch.maximum(x_N, y_N)

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
from grokkit.tasks.card import Settings, TaskCard
from grokkit.tasks.expression import SHORT_NAMES, Expression, parse
from grokkit.tasks.task import Task

Layout = Literal["infix", "operands-first", "operands"]


def modular_task(
    expression: str, *, layout: Layout = "infix", split: Literal["rows", "unordered"] = "rows", **starts: int
) -> Task:
    """The whole table of an expression modulo P.

    Rows run in lexicographic order, the operands taken alphabetically, in every layout, so that a row number,
    and with it a split, means the same problem in each. Rows that divide by 0 modulo P are left out.
    ``classes`` is the whole vocabulary, as in the published decoders, which may answer with any token.

    Args:
        expression: an expression or a short name, see :func:`grokkit.tasks.parse`.
        layout: of the tokens, see above.
        split: ``unordered`` keeps a∘b and b∘a in the same part of a split.
        starts: the smallest value of an operand, by its name, for those that do not start at 0. The published data
            of both papers starts b at 1 where there are two operands, ``b=1``, and NeuralGrok's a·c + b·d − e has
            ``c=1, d=1``.

    Raises:
        InputError: see :func:`grokkit.tasks.parse`; an unknown layout or operand, a start outside 0…P−1, no row left,
            or ``unordered`` for operands that cannot be exchanged.

    >>> task = modular_task("a*a - b mod 5", layout="operands-first", b=1)
    >>> task.inputs_NT[0].tolist(), int(task.targets_N[0]), len(task.targets_N), task.vocabulary
    ([0, 1, 6, 7, 5], 4, 20, 8)
    >>> task.description
    'a*a - b mod 5, 20 rows, b from 1, tokens: a b * - ='
    """
    parsed = parse(expression)
    _check_starts(parsed, starts)
    if layout not in get_args(Layout):
        raise unknown("layout", layout, get_args(Layout))
    if split == "unordered" and not parsed.is_commutative:
        raise InputError(
            f"{parsed.text!r} cannot be split by unordered pairs: only two operands that can be exchanged make such "
            f"pairs; leave split=unordered out"
        )

    values = _table(parsed, starts)
    targets_N, valid_N = parsed.evaluate(values)
    if not valid_N.any():
        raise InputError(f"{parsed.text!r} divides by 0 in every row; change its divisor")
    values = {operand: column_N[valid_N] for operand, column_N in values.items()}
    targets_N = targets_N[valid_N]

    tokens = _tokens(parsed, layout)
    signs = sorted((t for t in dict.fromkeys(tokens) if t not in values), key=lambda t: t != "=")  # "=" first
    numbers = {t: parsed.modulus + i for i, t in enumerate(signs)}
    columns = [values[t] if t in values else torch.full_like(targets_N, numbers[t]) for t in tokens]
    vocabulary = parsed.modulus + len(numbers)

    from_text = "".join(f", {operand} from {start}" for operand, start in sorted(starts.items()) if start)
    return Task(
        name=parsed.text,
        inputs="expressions",
        inputs_NT=torch.stack(columns, dim=1),
        targets_N=targets_N,
        vocabulary=vocabulary,
        classes=vocabulary,
        groups=_unordered_pairs(values, parsed.modulus) if split == "unordered" else None,
        description=f"{parsed.text}, {len(targets_N)} rows{from_text}, tokens: {' '.join(tokens)}",
        modulus=parsed.modulus,
        operators=tuple(parsed.operators),
    )


def _check_starts(expression: Expression, starts: Mapping[str, int]) -> None:
    for operand, start in starts.items():
        if operand not in expression.operands:
            raise unknown(f"setting of {expression.text!r}", operand, ["layout", "split", *expression.operands])
        if not 0 <= start < expression.modulus:
            raise InputError(
                f"operand {operand!r} cannot start at {start}; allowed are 0 to {expression.modulus - 1}, "
                f"e.g. {operand}=1"
            )


def _canonical(settings: Settings) -> Settings:
    """The expression in its own spelling, and no operand that starts at 0 as all do unless told."""
    parsed = parse(settings["expression"])
    own = {"expression": parsed.text, "layout": settings["layout"], "split": settings["split"]}
    starts = {name: value for name, value in settings.items() if name not in own}
    _check_starts(parsed, starts)
    return own | {operand: start for operand, start in starts.items() if start}


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
    # Each operator joins two parts, so with one operator fewer than operands every part is an operand that stands there
    # once. Otherwise an operand is repeated or a part is a constant, and the operators would not fit between operands.
    between = operators if len(operators) == len(operands) - 1 else ("∘",) * (len(operands) - 1)
    pairs = zip(operands, (*between, "="), strict=True)
    return [token for pair in pairs for token in pair]


def _unordered_pairs(values: Mapping[str, Tensor], modulus: int) -> Tensor:
    """A number a row, the same for (x, y) and (y, x)."""
    x_N, y_N = values.values()
    return torch.minimum(x_N, y_N) * modulus + torch.maximum(x_N, y_N)


CARD = TaskCard(
    name="modular",
    build=modular_task,
    usage={f"{name}:P": f"{short.formula} mod P. {short.description}" for name, short in SHORT_NAMES.items()},
    example="mul:97",
    smallest="add:11",
    canonical=_canonical,
)

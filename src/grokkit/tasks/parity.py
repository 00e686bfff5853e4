"""(n, k)-parity: n signs, of which k decide.

A row is x ∈ {−1, +1}ⁿ, its target the product of its first k entries. Which k they are makes no difference to a
network whose initial weights favour no input. There are 2ⁿ rows; the task is a pool of some of them, all different,
always the same ones, from which :func:`grokkit.tasks.split` takes the training rows (GrokTransfer, arXiv 2504.13292,
trains on 1,000 rows of (40, 3)).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.rng import stream
from grokkit.tasks.card import TaskCard
from grokkit.tasks.task import Task

MAX_BITS = 62  # a row is the bits of an int64
MAX_ROWS = 500_000
_FEW_BITS = 20  # up to here all numbers are put in one random order; above, the few drawn twice are dropped


def parity_task(n: int, k: int, *, rows: int = 4000, signs: Literal["numbers", "tokens"] = "numbers") -> Task:
    """A pool of ``rows`` rows of (n, k)-parity, or all 2ⁿ if there are no more, under the logistic loss.

    Args:
        n: entries of x.
        k: how many of them, the first, decide.
        rows: size of the pool. Default 4,000.
        signs: ``numbers``, entries of a vector (the paper's for its FNN), or ``tokens``, words of a vocabulary of two,
            +1 the first and −1 the second, for models that read expressions, such as the decoder.

    Raises:
        InputError: unless 1 ≤ k ≤ n ≤ 62 and 2 ≤ ``rows`` ≤ 500,000.

    >>> task = parity_task(40, 3)
    >>> tuple(task.inputs_NT.shape), task.inputs_NT[0, :4].tolist(), float(task.targets_N[0])
    ((4000, 40), [1.0, -1.0, 1.0, 1.0], -1.0)
    """
    if not 1 <= n <= MAX_BITS:
        raise InputError(f"parity of {n} bits is not possible: 1 to {MAX_BITS}; the paper uses parity:40,3")
    if not 1 <= k <= n:
        raise InputError(f"parity:{n},{k} is not possible: {k} of {n} bits cannot decide; take k from 1 to {n}")
    if not 2 <= rows <= MAX_ROWS:
        raise InputError(f"a pool of {rows} rows is not possible: 2 to {MAX_ROWS:,}; the default is 4000")
    numbers_N = _distinct_numbers(n, rows)
    bits_NF = numbers_N[:, None] >> torch.arange(n) & 1
    signs_NF = (1 - 2 * bits_NF).float()
    is_tokens = signs == "tokens"
    return Task(
        name=f"parity:{n},{k}",
        inputs="expressions" if is_tokens else "numbers",
        inputs_NT=bits_NF if is_tokens else signs_NF,
        targets_N=signs_NF[:, :k].prod(1),
        vocabulary=2 if is_tokens else None,
        classes=1,
        description=f"product of the first {k} of {n} signs, {len(signs_NF)} of 2^{n} rows",
        objective="logistic",
    )


def _distinct_numbers(bits: int, rows: int) -> Tensor:
    """Of 0…2^bits − 1, ``rows`` different ones at random, or all in random order."""
    generator = stream(0, f"parity rows of {bits} bits")
    if bits <= _FEW_BITS:
        return torch.randperm(2**bits, generator=generator)[:rows]
    drawn = torch.randint(0, 2**bits, (2 * rows,), generator=generator)
    _, first = np.unique(drawn.numpy(), return_index=True)
    return drawn[torch.from_numpy(np.sort(first))[:rows]]


CARD = TaskCard(
    name="parity",
    build=parity_task,
    usage={
        "parity:N,K": "product of K of N signs, logistic loss; with --model fnn, e.g. parity:40,3 --train-size 1000"
    },
    example="parity:40,3",
    smallest="parity:7,2",
    model="fnn",
)

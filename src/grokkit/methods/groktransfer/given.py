"""Embeddings that nobody has to learn: one-hot, binary, Fourier, and random ones.

For the numbers 0…P−1, each row of length 1 but for ``random``:

    one-hot   e_a
    binary    the digits of a in base 2 as ±1
    fourier   cos(2π·f·a/P), sin(2π·f·a/P) for f = 2, 3, 5, 7, 11, 13, 17 (GrokTransfer's k = 7 first primes)
    random    independent normal entries
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.rng import stream

GIVEN = ("onehot", "binary", "fourier")

_FREQUENCIES = (2, 3, 5, 7, 11, 13, 17)


def given_embedding(kind: str, numbers: int) -> Tensor:
    """One of :data:`GIVEN` for P = ``numbers``, a row a number, float32.

    >>> given_embedding("onehot", 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    a_P = torch.arange(numbers)
    if kind == "onehot":
        return torch.eye(numbers)
    if kind == "binary":
        digits_PK = a_P[:, None] >> torch.arange(max(1, math.ceil(math.log2(numbers)))) & 1
        rows_PK = 2.0 * digits_PK - 1.0
    elif kind == "fourier":
        angles_PF = 2 * math.pi * a_P[:, None] * torch.tensor(_FREQUENCIES) / numbers
        rows_PK = torch.cat([angles_PF.cos(), angles_PF.sin()], 1)
    else:
        raise InputError(f"there is no embedding called {kind!r}; there are {', '.join(GIVEN)}")
    return rows_PK / rows_PK.norm(dim=1, keepdim=True)


def random_embedding(rows: int, width: int, seed: int) -> Tensor:
    """Independent standard normal entries, (rows, width)."""
    return torch.randn(rows, width, generator=stream(seed, "random embedding"))

"""Absolute entropy and norm of weights or gradients.

H(x) = −Σ_i |x_i|·ln|x_i| over all entries of all tensors, with 0·ln 0 = 0. Over weights it is AWE, over
gradients AGE (NeuralGrok, arXiv 2504.17243). |x_i| are not probabilities: H depends on the scale of x, and is
negative where entries above 1 dominate.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def absolute_entropy(tensors: Iterable[Tensor]) -> float:
    """−Σ|x| ln|x| over all entries, in nats; accumulated in float64.

    >>> round(absolute_entropy([torch.tensor([0.0, 1.0]), torch.tensor([0.5, -0.5])]), 6)
    0.693147
    """
    total = 0.0
    for tensor in tensors:
        magnitude = tensor.abs()
        total -= float(torch.special.xlogy(magnitude, magnitude).sum(dtype=torch.float64))
    return total


@torch.no_grad()
def total_norm(tensors: Iterable[Tensor]) -> float:
    """ℓ₂ norm over all entries of all tensors; accumulated in float64.

    >>> total_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])
    5.0
    """
    return sum(float(tensor.double().square().sum()) for tensor in tensors) ** 0.5

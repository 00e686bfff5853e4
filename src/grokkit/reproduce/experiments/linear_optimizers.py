"""Grokfast's Theorem A.1: for an optimizer linear in the gradients, to filter them or the updates is the same.

Both are run on one recorded sequence of gradients, in float64. The filtered updates are those of an unfiltered
optimizer, filtered as if they were gradients, and summed. The theorem is of filters that are at rest before the first
step, as the running sum is; the published average begins as the first gradient, which is no filter at rest, and its
distance is given as well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokkit import GradientTransform, grokfast_ema, grokfast_ma

_STEPS = 50

Make = Callable[[list[Tensor]], torch.optim.Optimizer]


def run(seed: int) -> dict[str, float | None]:
    """``distance``: relative distance of the weights under SGD with momentum; ``distance with adam``: under
    Adam, which is not linear, so that there the two differ; ``distance of the average``: as the first, of EMA."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(20, generator=generator, dtype=torch.float64) for _ in range(_STEPS)]
    sums, average = grokfast_ma(10, 0.5, filter_type="sum", warmup=False), grokfast_ema()
    return {
        "distance": _distance(_sgd, sums, gradients),
        "distance with adam": _distance(_adam, sums, gradients),
        "distance of the average": _distance(_sgd, average, gradients),
    }


def _sgd(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=0.1, momentum=0.9)


def _adam(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.1)


def _distance(make: Make, transform: GradientTransform, gradients: list[Tensor]) -> float:
    filtered_first = torch.stack(_updates(make, _filtered(transform, gradients))).cumsum(0)
    filtered_last = torch.stack(_filtered(transform, _updates(make, gradients))).cumsum(0)
    return float((filtered_first - filtered_last).norm() / filtered_first.norm())


def _updates(make: Make, gradients: list[Tensor]) -> list[Tensor]:
    """What the optimizer adds to the weights at each step."""
    weights = torch.zeros_like(gradients[0])
    optimizer, updates = make([weights]), []
    for gradient in gradients:
        before = weights.clone()
        weights.grad = gradient.clone()
        optimizer.step()
        updates.append(weights - before)
    return updates


def _filtered(transform: GradientTransform, sequence: list[Tensor]) -> list[Tensor]:
    params = {"w": torch.zeros_like(sequence[0])}
    state, out = transform.init(params), []
    for value in sequence:
        grads, state = transform.update({"w": value}, state, params)
        out.append(grads["w"])
    return out

"""Grokfast's Theorem A.1: for an optimizer linear in the gradients, to filter them or the updates is the same.

Both are run on one recorded sequence of gradients, in float64. The filtered updates are those of an unfiltered
optimizer, filtered as if they were gradients, and summed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokkit import grokfast_ema

_STEPS = 50

Make = Callable[[list[Tensor]], torch.optim.Optimizer]


def run(seed: int) -> dict[str, float | None]:
    """``distance``: greatest relative distance of the weights under SGD with momentum; ``distance with adam``: under
    Adam, which is not linear, so that there the two differ."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(20, generator=generator, dtype=torch.float64) for _ in range(_STEPS)]
    return {
        "distance": _distance(lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9), gradients),
        "distance with adam": _distance(lambda ps: torch.optim.Adam(ps, lr=0.1), gradients),
    }


def _distance(make: Make, gradients: list[Tensor]) -> float:
    filtered_first = torch.stack(_updates(make, _filtered(gradients))).cumsum(0)
    filtered_last = torch.stack(_filtered(_updates(make, gradients))).cumsum(0)
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


def _filtered(sequence: list[Tensor]) -> list[Tensor]:
    transform = grokfast_ema()
    params = {"w": torch.zeros_like(sequence[0])}
    state, out = transform.init(params), []
    for value in sequence:
        grads, state = transform.update({"w": value}, state, params)
        out.append(grads["w"])
    return out

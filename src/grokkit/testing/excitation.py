"""Inputs that excite everything: parameters of awkward shapes, and gradients none of which is zero."""

from __future__ import annotations

import torch
from torch import Tensor

from grokkit.rng import stream

SHAPES: dict[str, tuple[int, ...]] = {"matrix": (4, 3), "vector": (5,), "kernel": (2, 3, 2), "scalar": ()}
STEPS = 24


def parameters(dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, Tensor]:
    """One parameter per entry of SHAPES, normally distributed."""
    generator = stream(seed, "parameters")
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def gradients(dtype: torch.dtype = torch.float32, seed: int = 0) -> list[dict[str, Tensor]]:
    """STEPS gradients: a slow part, noise, and scales that differ by 10⁴ between parameters."""
    generator = stream(seed, "gradients")
    slow = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    scales = {name: 10.0 ** (index - 3) for index, name in enumerate(SHAPES)}
    return [
        {
            name: (scales[name] * (slow[name] + torch.randn(shape, generator=generator))).to(dtype)
            for name, shape in SHAPES.items()
        }
        for _ in range(STEPS)
    ]

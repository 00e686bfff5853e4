"""Linear layers with ReLU between them, which several networks end with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.models.matmul import Linear


def relu_layers(sizes: Sequence[int], *, bias: bool = True) -> nn.ModuleList:
    """Layers ``sizes[0]`` → ``sizes[1]`` → …; what comes out of all but the last may stay in bfloat16."""
    last = len(sizes) - 2
    return nn.ModuleList(Linear(i, o, bias=bias, inner=layer < last) for layer, (i, o) in enumerate(pairwise(sizes)))


def through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers[:-1]:  # pyright: ignore[reportGeneralTypeIssues]
        x = F.relu(layer(x))
    return layers[-1](x)


def weights(sizes: Sequence[int]) -> int:
    """Entries of their matrices."""
    return sum(i * o for i, o in pairwise(sizes))

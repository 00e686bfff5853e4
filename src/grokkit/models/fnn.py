"""The feed-forward network with a trainable embedding of the GrokTransfer paper.

logits = W_L·relu(… relu(W_1·[E_{t1}; E_{t2}; …])): the tokens' embeddings side by side, then L linear layers.
The paper's "2-layer FNN, d 4, width 16" is ``depth=2, dim=4, width=16``.

Shapes: B batch, T tokens, D embedding, V vocabulary, C classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.errors import InputError
from grokkit.models.decoder import scale_weights


class FNN(nn.Module):
    """Embedding, then ``depth`` linear layers with ReLU between them; returns logits (B, C).

    Args:
        vocabulary: V, input tokens.
        tokens: T, tokens a sample.
        classes: C, outputs.
        depth: linear layers after the embedding. Default 3 (GrokTransfer's target).
        dim: D. Default 128.
        width: hidden units. Default 512.
        bias: biases in the linear layers. Default False (GrokTransfer).
        init_scale: factor on PyTorch's default initial weights. Default 1.

    Raises:
        InputError: if a size is below 1.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        tokens: int,
        classes: int,
        depth: int = 3,
        dim: int = 128,
        width: int = 512,
        bias: bool = False,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("depth", depth), ("dim", dim), ("width", width)):
            if value < 1:
                raise InputError(f"fnn {name}={value} is not possible: at least 1; the paper uses 3, 128 and 512")
        sizes = [tokens * dim, *[width] * (depth - 1), classes]
        self._weights = sum(i * o for i, o in pairwise(sizes))
        self.token_embeddings = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=bias) for i, o in pairwise(sizes))
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x = self.token_embeddings(tokens_BT).flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass: 2·B per weight.

        A training step costs three times as much.
        """
        return 2 * batch * self._weights

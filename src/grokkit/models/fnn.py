"""The feed-forward network with a trainable embedding of the GrokTransfer paper.

logits = W_L·relu(… relu(W_1·[E_{t1}; E_{t2}; …])): the tokens' embeddings side by side, then L linear layers.
The paper's "2-layer FNN, d 4, width 16" is ``depth=2, dim=4, width=16``.

W_1·[E_a; E_b] = W_1a·E_a + W_1b·E_b, and there are only V tokens: a batch of more rows than that multiplies each
token's embedding once for each place it can stand at, and adds the products up row by row, on a CPU
(``model.use_tables = False`` switches that off): the same function, the same gradients.

Shapes: B batch, T tokens, D embedding, V vocabulary, W width, C classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.errors import InputError
from grokkit.models.decoder import scale_weights
from grokkit.models.matmul import Linear, linear, transformed


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
        self.layers = nn.ModuleList(
            Linear(i, o, bias=bias, inner=layer < depth - 1) for layer, (i, o) in enumerate(pairwise(sizes))
        )
        self.use_tables = True
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x = self._first(tokens_BT)
        for layer in self.layers[1:]:
            x = layer(F.relu(x))
        return x

    def _first(self, tokens_BT: Tensor) -> Tensor:
        first = self.layers[0]
        assert isinstance(first, Linear)
        embeddings_VD = self.token_embeddings.weight
        few = len(tokens_BT) <= len(embeddings_VD)
        if few or not self.use_tables or tokens_BT.device.type != "cpu" or transformed():
            return first(self.token_embeddings(tokens_BT).flatten(1))
        tokens = tokens_BT.shape[1]
        weight_TWD = first.weight.unflatten(1, (tokens, -1)).transpose(0, 1)
        table = torch.stack([linear(embeddings_VD, weight_WD) for weight_WD in weight_TWD])
        places = torch.arange(tokens, device=tokens_BT.device) * len(embeddings_VD)
        x = _SumOfRows.apply(table.flatten(0, 1), tokens_BT + places)
        return x if first.bias is None else x + first.bias

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass: 2·B per weight.

        A training step costs three times as much.
        """
        return 2 * batch * self._weights


class _SumOfRows(torch.autograd.Function):
    """Σ_t table[rows[:, t]]: (M, W) and (B, T) to (B, W), without the (B, T, W) in between."""

    @staticmethod
    def forward(ctx, table_MW: Tensor, rows_BT: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(rows_BT)
        ctx.rows = len(table_MW)
        return F.embedding_bag(rows_BT, table_MW, mode="sum")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_BW: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (rows_BT,) = ctx.saved_tensors
        g_table = g_BW.new_zeros(ctx.rows, g_BW.shape[1])
        for rows_B in rows_BT.unbind(1):
            g_table.index_add_(0, rows_B, g_BW)
        return g_table, None

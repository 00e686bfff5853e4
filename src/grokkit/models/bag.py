"""A bag of words: the mean of the tokens' embeddings, then a linear layer. Word order is no part of it.

f = W·(1/L)·Σ_t E[w_t] + b over the L tokens of a row that are not padding (0); a row of padding alone gives b.

The smallest model of texts there is, a product of two matrices, and hence GrokTransfer's weak model for them: its
embedding says of every word which way it points.

Shapes: B batch, T tokens, V vocabulary, D embedding, C outputs.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.arguments import Size
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes
from grokkit.models.lstm import PADDING
from grokkit.models.matmul import Linear


class Bag(nn.Module):
    """Mean of embeddings, then a linear layer; returns outputs (B, C).

    Args:
        vocabulary: V, tokens, padding (0) among them.
        classes: C, outputs.
        dim: D. Default 8.

    Raises:
        InputError: if ``dim`` is below 1.
    """

    def __init__(self, *, vocabulary: int, classes: int, dim: int = 8) -> None:
        super().__init__()
        check_sizes("bag", "the default is 8", dim=dim)
        self.token_embeddings = nn.Embedding(vocabulary, dim, padding_idx=PADDING)
        self.head = Linear(dim, classes)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Outputs (B, C) of tokens (B, T), padded with 0."""
        mean_BD = F.embedding_bag(tokens_BT, self.token_embeddings.weight, mode="mean", padding_idx=PADDING)
        return self.head(mean_BD)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations of one forward pass, 2·B·D·(T + C): the sum over tokens, as a product of counts
        and embeddings, and the linear layer.

        PyTorch's counter takes the sum for no product. It is counted here since without it a bag would cost next to
        nothing, which would flatter whoever trains one. T counts padding.
        """
        return 2 * batch * self.head.in_features * (tokens + self.head.out_features)

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass, 2·B·D·(2·T + 3·C): the counts need no gradient."""
        return 2 * batch * self.head.in_features * (2 * tokens + 3 * self.head.out_features)


def _build(task: TaskShape, *, dim: Size = 8) -> Bag:
    return Bag(vocabulary=task.words, classes=task.classes, dim=dim)


CARD = ModelCard(
    name="bag",
    summary="The mean of the words' embeddings and a linear layer.",
    reads=("text",),
    build=_build,
    smallest={"dim": 4},
    stackable=True,
)

"""The feed-forward network with a trainable embedding of the GrokTransfer paper.

logits = W_L·relu(… relu(W_1·[E_{t1}; E_{t2}; …])): the tokens' embeddings side by side, then L linear layers.
The paper's "2-layer FNN, d 4, width 16" is ``depth=2, dim=4, width=16``. Where inputs are F features instead of tokens,
the embedding is a linear layer without bias and without a nonlinearity after it: E·x, called ``input_embedding``.

W_1·[E_a; E_b] = W_1a·E_a + W_1b·E_b, and there are only V tokens: a batch of more rows than that multiplies each
token's embedding once for each place it can stand at, and adds the products up row by row, on a CPU in float32:
the same function, the same gradients. ``model.use_tables = False`` switches that off, as a second derivative needs.

Shapes: B batch, T tokens, F features, D embedding, V vocabulary, W width, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.errors import InputError
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes, scale_weights
from grokkit.models.matmul import Linear, is_float32, linear, transformed, weight_gradient
from grokkit.models.relu_layers import relu_layers, through, weights


class FNN(nn.Module):
    """Embedding, then ``depth`` linear layers with ReLU between them; returns logits (B, C).

    Args:
        vocabulary: V, input tokens; with ``tokens``.
        tokens: T, tokens a sample.
        features: F, numbers a sample, in place of tokens.
        classes: C, outputs.
        depth: linear layers after the embedding. Default 3 (GrokTransfer's target).
        dim: D. Default 128.
        width: hidden units. Default 512.
        bias: biases in the linear layers. Default False (GrokTransfer).
        init_scale: factor on PyTorch's default initial weights. Default 1.

    Raises:
        InputError: if a size is below 1, or both or neither of tokens and features are given.
    """

    token_embeddings: nn.Embedding  # of a model of tokens
    input_embedding: Linear  # of a model of features

    def __init__(
        self,
        *,
        classes: int,
        vocabulary: int | None = None,
        tokens: int | None = None,
        features: int | None = None,
        depth: int = 3,
        dim: int = 128,
        width: int = 512,
        bias: bool = False,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes("fnn", "the paper uses 3, 128 and 512", depth=depth, dim=dim, width=width)
        self.reads_tokens = features is None
        if features is not None and vocabulary is None and tokens is None:
            embedded, self._embedding_weights = dim, features * dim
            self.input_embedding = Linear(features, dim, bias=False)
        elif features is None and vocabulary is not None and tokens is not None:
            embedded, self._embedding_weights = tokens * dim, 0  # looking up is no product
            self.token_embeddings = nn.Embedding(vocabulary, dim)
        else:
            raise InputError("an fnn reads tokens or features: give vocabulary and tokens, or features alone")
        sizes = [embedded, *[width] * (depth - 1), classes]
        self._weights = self._embedding_weights + weights(sizes)
        self.layers = relu_layers(sizes, bias=bias)
        self.use_tables = True
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of tokens (B, T) or features (B, F)."""
        if self.reads_tokens:
            few = len(inputs) <= self.token_embeddings.num_embeddings
            in_float32 = is_float32() and not torch.is_autocast_enabled("cpu")
            if self.use_tables and not few and inputs.device.type == "cpu" and in_float32 and not transformed():
                layers = [tensor for layer in self.layers for tensor in (layer.weight, layer.bias)]
                return _Network.apply(inputs, self.token_embeddings.weight, *layers)
            x = self.token_embeddings(inputs).flatten(1)
        else:
            x = self.input_embedding(inputs)
        return through(self.layers, x)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass: 2·B per weight.

        Looking up tokens is no product. What tables save is not subtracted: it depends on the batch.
        """
        return 2 * batch * self._weights

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: 6·B per weight, and 4·B where the inputs are features.

        Features need no gradient, so their layer has one product less.
        """
        return 3 * self.forward_flops(batch, tokens) - 2 * batch * self._embedding_weights


class _Network(torch.autograd.Function):
    """The whole network with a table for its first layer; its backward pass written out.

    Autograd would do the same layer by layer. For the smallest networks its bookkeeping takes as long as the
    products, and for all it keeps what goes into each ReLU, which is not needed again.
    """

    @staticmethod
    def forward(ctx, tokens_BT: Tensor, embeddings_VD: Tensor, *layers: Tensor | None) -> Tensor:  # type: ignore[override]
        vocabulary, tokens = len(embeddings_VD), tokens_BT.shape[1]
        (first, *weights), biases = layers[::2], layers[1::2]
        assert first is not None
        rows_BT = tokens_BT + torch.arange(tokens) * vocabulary
        table = torch.cat([linear(embeddings_VD, weight_WD) for weight_WD in first.chunk(tokens, 1)])
        x = F.embedding_bag(rows_BT, table, mode="sum")
        if biases[0] is not None:
            x += biases[0]
        inputs = []
        for weight, bias in zip(weights, biases[1:], strict=True):
            assert weight is not None
            inputs.append(x.relu_())
            x = linear(x, weight, bias)
        ctx.save_for_backward(rows_BT, embeddings_VD, first, *weights, *inputs)
        ctx.biased = biases[0] is not None
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows_BT, embeddings_VD, first, *rest = ctx.saved_tensors
        weights, inputs = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        g_layers: list[Tensor | None] = []
        for weight, x in zip(reversed(weights), reversed(inputs), strict=True):
            g_layers += [g.sum(0) if ctx.biased else None, weight_gradient(g, x)]
            g = torch.ops.aten.threshold_backward(linear(g, weight.mT), x, 0)
        tokens = rows_BT.shape[1]
        g_table = g.new_zeros(tokens * len(embeddings_VD), g.shape[1])
        for rows_B in rows_BT.unbind(1):
            g_table.index_add_(0, rows_B, g)
        parts = list(zip(g_table.chunk(tokens), first.chunk(tokens, 1), strict=True))
        g_embeddings = torch.stack([linear(part, weight_WD.mT) for part, weight_WD in parts]).sum(0)
        g_first = torch.cat([weight_gradient(part, embeddings_VD) for part, _ in parts], 1)
        g_layers += [g.sum(0) if ctx.biased else None, g_first]
        return None, g_embeddings, *reversed(g_layers)


def _build(
    task: TaskShape,
    *,
    depth: Size = 3,
    dim: Size = 128,
    width: Size = 512,
    bias: bool = False,
    init_scale: Scale = 1.0,
) -> FNN:
    is_of_tokens = task.vocabulary is not None
    return FNN(
        classes=task.classes,
        vocabulary=task.vocabulary,
        tokens=task.tokens if is_of_tokens else None,
        features=None if is_of_tokens else task.features,
        depth=depth,
        dim=dim,
        width=width,
        bias=bias,
        init_scale=init_scale,
    )


CARD = ModelCard(
    name="fnn",
    summary="GrokTransfer's feed-forward network with a trainable embedding.",
    reads=("expressions", "numbers"),
    build=_build,
    task={"layout": "operands"},  # it needs no place to answer at
    weak={"depth": 2},
    smallest={"dim": 4, "width": 8},
    stackable=True,
)

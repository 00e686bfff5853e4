"""A classifier of token sequences: an embedding, two LSTM layers, a linear layer on the last state (Grokfast's IMDb).

    i, f, g, o = W_ih·x_t + b_ih + W_hh·h_{t−1} + b_hh,   c_t = σ(f)∘c_{t−1} + σ(i)∘tanh(g),   h_t = σ(o)∘tanh(c_t)

Rows are of unequal length: token 0 is padding and stands at their end. What is read is h at a row's last token, so that
padding has no influence; a row of padding alone is read after its first place. The published code pads in front
instead, and runs through hundreds of paddings before the first word.

``nn.LSTM`` runs through padded rows, cut to the longest among them. Packing them, as is usual, skips the padding too,
but PyTorch's backward pass is then so slow on a CPU that a step on 50 reviews takes twice as long as with all padding
computed. There a batch is taken in groups of rows of similar length instead, each cut to its own longest: a third of
the time, a fifth of that with packing. Under ``torch.func``, where ``nn.LSTM`` would be taken member by member, and in
bfloat16, the same recurrence is written in plain products.

Shapes: B batch, T tokens, V vocabulary, D embedding, W width, C outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes, scale_weights
from grokkit.models.matmul import Linear, is_float32, linear, transformed

PADDING = 0

# Rows of similar length that go through a CPU's kernel together: with fewer its products lose speed, with more they
# run through padding. A batch of 50 is taken in groups of 7.
_GROUPS, _FEWEST, _MOST = 8, 4, 64


class LSTM(nn.Module):
    """Embedding, ``depth`` LSTM layers, a linear layer on the last state; returns outputs (B, C).

    Args:
        vocabulary: V, tokens, padding (0) among them.
        classes: C, outputs.
        depth: LSTM layers. Default 2 (Grokfast).
        dim: D. Default 64 (Grokfast).
        width: W, size of a layer's state. Default 256 (Grokfast).
        init_scale: factor on PyTorch's default initial parameters, biases included. Default 1.

    Raises:
        InputError: if a size is below 1.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        classes: int,
        depth: int = 2,
        dim: int = 64,
        width: int = 256,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes("lstm", "the paper uses 2, 64 and 256", depth=depth, dim=dim, width=width)
        self.depth, self.width = depth, width
        self.token_embeddings = nn.Embedding(vocabulary, dim, padding_idx=PADDING)
        self.lstm = nn.LSTM(dim, width, depth, batch_first=True)
        self.head = Linear(width, classes)
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Outputs (B, C) of tokens (B, T), padded with 0 at the end."""
        lengths_B = (tokens_BT != PADDING).sum(1).clamp(min=1)
        if transformed() or not is_float32():
            states_BTW = self._recurrence(self.token_embeddings(tokens_BT))
            return self.head(self._last(states_BTW, lengths_B))
        if tokens_BT.device.type != "cpu":
            return self.head(self._library(tokens_BT, lengths_B))
        order_B = lengths_B.argsort(descending=True)
        size = max(_FEWEST, min(_MOST, -(-len(order_B) // _GROUPS)))
        last_BW = torch.cat([self._library(tokens_BT[rows], lengths_B[rows]) for rows in order_B.split(size)])
        return self.head(last_BW)[order_B.argsort()]

    def _library(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The last states, (B, W), by PyTorch's own kernel."""
        states_BTW, _ = self.lstm(self.token_embeddings(tokens_BT[:, : int(lengths_B.max())]))
        return self._last(states_BTW, lengths_B)

    def _last(self, states_BTW: Tensor, lengths_B: Tensor) -> Tensor:
        last_B1W = (lengths_B - 1)[:, None, None].expand(-1, 1, self.width)
        return states_BTW.gather(1, last_B1W).squeeze(1)

    def _recurrence(self, x_BTD: Tensor) -> Tensor:
        """The states of the last layer, (B, T, W), as ``self.lstm`` computes them."""
        for layer in range(self.depth):
            w_x, w_h, b_x, b_h = (
                getattr(self.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            from_x_BTG = linear(x_BTD, w_x, b_x + b_h)
            h_BW = c_BW = x_BTD.new_zeros(len(x_BTD), self.width)
            states = []
            for from_x_BG in from_x_BTG.unbind(1):
                i, f, g, o = (from_x_BG + linear(h_BW, w_h)).chunk(4, -1)
                c_BW = f.sigmoid() * c_BW + i.sigmoid() * g.tanh()
                h_BW = o.sigmoid() * c_BW.tanh()
                states.append(h_BW)
            x_BTD = torch.stack(states, 1)
        return x_BTD

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass: 8·B·T·W·(I + W) a layer of I inputs,
        2·B·W·C of the linear layer.

        T counts padding; what cutting it off saves is not subtracted: it depends on the batch.
        """
        inputs = [self.token_embeddings.embedding_dim, *[self.width] * (self.depth - 1)]
        layers = sum(8 * batch * tokens * self.width * (i + self.width) for i in inputs)
        return layers + 2 * batch * self.width * self.head.out_features

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: three times a forward pass, less 8·B·W² a layer.

        The state that a layer starts from is 0 and needs no gradient. Its inputs need one: embeddings are trained.
        """
        return 3 * self.forward_flops(batch, tokens) - 8 * batch * self.width**2 * self.depth


def _build(task: TaskShape, *, depth: Size = 2, dim: Size = 64, width: Size = 256, init_scale: Scale = 6.0) -> LSTM:
    sizes = {"depth": depth, "dim": dim, "width": width}
    return LSTM(vocabulary=task.words, classes=task.classes, init_scale=init_scale, **sizes)


CARD = ModelCard(
    name="lstm",
    summary="Grokfast's network for reviews; it starts at 6 times PyTorch's weights.",
    reads=("text",),  # token 0 is padding to it, and a number in an expression
    build=_build,
    weak={"depth": 1, "init_scale": 1.0},
    smallest={"dim": 4, "width": 5},
    stackable=True,
)

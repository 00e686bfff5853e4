"""The causal decoder of the grokking papers.

Two residual streams, one class:

- ``residual="grokfast"``, exactly the Grokfast paper's public model: the stream is the *normalized* x,
  ``x = ln_1(x); x = x + attention(x); x = x + mlp(ln_2(x))``;
- ``residual="pre-norm"``, the standard one: ``x = x + attention(ln_1(x)); x = x + mlp(ln_2(x))``.

Learned positions, multi-head attention with biases, exact GELU, an MLP four times as wide unless told, a final
LayerNorm, an untied head without bias. Parameters are named as in ``nn.MultiheadAttention``, so the state of a model
built of PyTorch's own modules loads.

Most tasks read the answer at the last token only; one whose inputs are ``sequences`` reads one at each. Unless every
position is asked for, the last layer therefore computes queries, output projection and MLP for that position alone, and
on a CPU a batch whose rows begin alike is computed once per distinct prefix (see :mod:`grokkit.models.prefix`;
``model.share_prefixes = False`` switches that off): the same function, the same gradients. Products go to the fastest
kernel (:mod:`grokkit.models.matmul`).

Shapes: B batch, T tokens, W width, M width of an MLP, H heads, D = W/H, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.errors import InputError, unknown
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes, scale_weights
from grokkit.models.matmul import Linear, linear, transformed
from grokkit.models.prefix import Levels, Trie, attend, build_trie, take

_WORTH_SHARING = 0.85  # of all positions: with more distinct prefixes, gathering costs what sharing saves

Residual = Literal["grokfast", "pre-norm"]


class Decoder(nn.Module):
    """A causal Transformer over short token sequences; returns logits at the answer position, or at every one.

    Args:
        vocabulary: V, tokens in and out.
        positions: learned positions; at least T.
        depth: layers. Default 2 (Grokfast, NeuralGrok).
        width: W. Default 128.
        mlp: width M of the MLPs. Default None: 4·W (Grokfast). GrokTransfer's have W.
        heads: H, must divide W. Default 4.
        residual: which residual stream, see the module's docstring. Default ``"grokfast"``.
        init_scale: factor on PyTorch's default initial weights; LayerNorms keep theirs. Default 1.
        every_position: whether it answers at every token unless told. Default False.

    Raises:
        InputError: if a size is below 1, H does not divide W, or ``residual`` is unknown.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        positions: int,
        depth: int = 2,
        width: int = 128,
        mlp: int | None = None,
        heads: int = 4,
        residual: Residual = "grokfast",
        init_scale: float = 1.0,
        every_position: bool = False,
    ) -> None:
        super().__init__()
        mlp = 4 * width if mlp is None else mlp
        check_sizes("decoder", "the papers use 2, 128, 512 and 4", depth=depth, width=width, mlp=mlp, heads=heads)
        if width % heads:
            raise InputError(f"decoder width={width} is not divisible by heads={heads}; e.g. width=128, heads=4")
        if residual not in ("grokfast", "pre-norm"):
            raise unknown("residual", residual, ("grokfast", "pre-norm"))
        self.share_prefixes = True
        self.depth, self.width, self.heads, self.vocabulary = depth, width, heads, vocabulary
        self.mlp_width, self.every_position = mlp, every_position
        self.token_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Block(width, mlp, heads, residual) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)
        self.head = Linear(width, vocabulary, bias=False)
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, tokens_BT: Tensor, *, every_position: bool | None = None) -> Tensor:
        """Logits (B, V) at the last token, or (B, T, V) at ``every_position``; None: as the model does."""
        every_position = self.every_position if every_position is None else every_position
        if self.share_prefixes and not every_position and tokens_BT.device.type == "cpu" and not transformed():
            trie = build_trie(tokens_BT)
            if trie.size < _WORTH_SHARING * tokens_BT.numel():
                return self._forward_shared(trie)
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x = self.token_embeddings(tokens_BT) + self.position_embeddings(positions_T)
        for index, layer in enumerate(self.layers):
            x = layer(x, last_only=not every_position and index == self.depth - 1)
        return self.head(self.ln_f(x))

    def _forward_shared(self, trie: Trie) -> Tensor:
        tokens_CW = self.token_embeddings.weight.index_select(0, trie.tokens_C)
        x_MW = tokens_CW + self.position_embeddings.weight.index_select(0, trie.positions_C)
        for layer, levels in zip(self.layers, trie.layers(self.depth), strict=True):
            assert isinstance(layer, Block)
            x_MW = layer.shared(x_MW, levels)
        logits = self.head(self.ln_f(x_MW))
        return logits if trie.leaves_B is None else logits.index_select(0, trie.leaves_B)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass, two per multiply-add.

        Layers but the last: B·T·(8·W² + 4·W·M) + 4·B·T²·W; the last, at the answer position only:
        B·((4 + 4·T)·W² + 4·W·M) + 4·B·T·W; the head: 2·B·W·V. A model that answers at every position has no other
        layers than the former, and T times the head. Looking up embeddings is no product. What prefix sharing saves is
        not subtracted: it depends on the batch.
        """
        b, t, w, m = batch, tokens, self.width, self.mlp_width
        full = b * t * (8 * w * w + 4 * w * m) + 4 * b * t * t * w
        if self.every_position:
            return self.depth * full + 2 * b * t * w * self.vocabulary
        last = b * ((4 + 4 * t) * w * w + 4 * w * m) + 4 * b * t * w
        return (self.depth - 1) * full + last + 2 * b * w * self.vocabulary

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: three times a forward pass.

        Every product has a gradient with respect to both factors. The first one's inputs are trained embeddings.
        """
        return 3 * self.forward_flops(batch, tokens)


class Block(nn.Module):
    """One layer: attention and MLP with their LayerNorms."""

    def __init__(self, width: int, mlp: int, heads: int, residual: Residual) -> None:
        super().__init__()
        self.normalized_stream = residual == "grokfast"
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.attn = CausalAttention(width, heads)
        self.mlp = nn.Sequential(Linear(width, mlp, inner=True), nn.GELU(), Linear(mlp, width))

    def forward(self, x_BTW: Tensor, *, last_only: bool) -> Tensor:
        """(B, T, W) to the same, or to (B, W), that of the answer position, if ``last_only``."""
        normal = self.ln_1(x_BTW)
        x = normal if self.normalized_stream else x_BTW
        x = (x[:, -1] if last_only else x) + self.attn(normal, last_only=last_only)
        return x + self.mlp(self.ln_2(x))

    def shared(self, x_MW: Tensor, levels: Levels) -> Tensor:
        """The same over a trie's cells or nodes, (M, W), to the nodes that ask, (A, W)."""
        normal = self.ln_1(x_MW)
        x = normal if self.normalized_stream else x_MW
        x = take(x, levels.asking) + self.attn.shared(normal, levels)
        return x + self.mlp(self.ln_2(x))


class CausalAttention(nn.Module):
    """Multi-head causal self-attention with the parameters, names and initial values of nn.MultiheadAttention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x_BTW: Tensor, *, last_only: bool) -> Tensor:
        batch, tokens, width = x_BTW.shape
        if last_only:
            q = linear(x_BTW[:, -1], self.in_proj_weight[:width], self.in_proj_bias[:width]).unsqueeze(1)
            k, v = linear(x_BTW, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, -1)
        else:
            q, k, v = linear(x_BTW, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q_BHQD, k_BHTD, v_BHTD = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        scores_BHQT = q_BHQD @ k_BHTD.transpose(-2, -1) * (width // self.heads) ** -0.5
        if not last_only:
            future = torch.ones(tokens, tokens, dtype=torch.bool, device=x_BTW.device).triu(1)
            scores_BHQT = scores_BHQT.masked_fill(future, float("-inf"))
        mixed_BQW = (scores_BHQT.softmax(-1) @ v_BHTD).transpose(1, 2).reshape(batch, -1, width)
        out = self.out_proj(mixed_BQW)
        return out[:, 0] if last_only else out

    def shared(self, x_MW: Tensor, levels: Levels) -> Tensor:
        """The same over a trie's cells or nodes, (M, W), to the nodes that ask, (A, W)."""
        width = x_MW.shape[1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if isinstance(levels.asking, slice) and levels.asking.start:  # of the nodes, only the last level needs queries
            q = linear(x_MW[levels.asking], weight[:width], bias[:width])
            k, v = linear(x_MW, weight[width:], bias[width:]).chunk(2, 1)
        else:  # a cell has one query, which all of its nodes ask
            q, k, v = linear(x_MW, weight, bias).chunk(3, 1)
            q = take(q, levels.asking)
        return self.out_proj(attend(q, k, v, levels.answering, self.heads))


def _build(
    task: TaskShape,
    *,
    depth: Size = 2,
    width: Size = 128,
    mlp: Size | None = None,
    heads: Size = 4,
    residual: Residual = "grokfast",
    answer_position: bool = True,
    init_scale: Scale = 1.0,
) -> Decoder:
    # The published model has one position more than the input: it also embeds the answer's place.
    positions = task.tokens + answer_position
    return Decoder(
        vocabulary=max(task.words, task.classes),
        positions=positions,
        depth=depth,
        width=width,
        mlp=mlp,
        heads=heads,
        residual=residual,
        init_scale=init_scale,
        every_position=task.kind == "sequences",
    )


CARD = ModelCard(
    name="decoder",
    summary="Grokfast's causal Transformer, which answers at the last token; of sequences at every one.",
    reads=("expressions", "sequences"),  # in texts the last token is padding
    build=_build,
    batch_size=512,
    weak={"depth": 1, "answer_position": False},
    smallest={"width": 8, "depth": 1, "heads": 2},
    stackable=True,
)

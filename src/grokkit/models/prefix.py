"""Computing each distinct prefix of a batch once.

Under a causal mask the state at a position depends on the tokens up to it alone, so rows that begin alike share
it: of B rows ``a ∘ b =`` there are at most P distinct prefixes ``a`` and P distinct ``a ∘``. A trie of the
batch's prefixes holds one node for each; layers run on nodes, and a row reads its answer at its last one. What
enters the first layer depends on less still, on a token and its position: one *cell* for each of those pairs,
and queries, keys and values of the first layer are computed for cells. The same function and the same gradients
as running every position of every row.

Shapes: B rows, T tokens, U_t nodes at level t (distinct prefixes of t+1 tokens), N = Σ U_t, C cells, W width, H
heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Rows = Tensor | slice
"""Rows of a matrix: by number, or all in a stretch (nothing to gather)."""

Level = tuple[Rows, tuple[Rows, ...]]
"""The rows that ask, one for each node of a level, and those that answer: its ancestors and itself."""


@dataclass(frozen=True)
class Trie:
    """The prefixes of a batch.

    Attributes:
        tokens_C, positions_C: the cells.
        cells_N: each node's cell; nodes stand level by level.
        sizes: U_t.
        ancestors: for level t, one entry per level s ≤ t: the ancestor at level s of each node of level t, or
            None where it is node for node the same order.
        leaves_B: the node at the last level of each row, None where that is the row itself.
    """

    tokens_C: Tensor
    positions_C: Tensor
    cells_N: Tensor
    sizes: tuple[int, ...]
    ancestors: tuple[tuple[Tensor | None, ...], ...]
    leaves_B: Tensor | None

    def levels(self, *, of_cells: bool, last_only: bool) -> tuple[Level, ...]:
        """Who attends to whom, as rows of the cells' or the nodes' matrices.

        ``last_only``: only the last level asks. Of nodes, there are queries for that level alone then.
        """
        starts = [0]
        for size in self.sizes:
            starts.append(starts[-1] + size)
        nodes = [slice(start, end) for start, end in pairwise(starts)]

        def rows(level: int, ancestors: Tensor | None) -> Rows:
            if of_cells:
                cells_U = self.cells_N[nodes[level]]
                return cells_U if ancestors is None else cells_U.index_select(0, ancestors)
            return nodes[level] if ancestors is None else ancestors + starts[level]

        answering = [tuple(rows(s, a) for s, a in enumerate(ancestors)) for ancestors in self.ancestors]
        if not last_only:
            return tuple((rows(t, None), level) for t, level in enumerate(answering))
        asking = rows(len(self.sizes) - 1, None) if of_cells else slice(0, self.sizes[-1])
        return ((asking, answering[-1]),)


def build_trie(tokens_BT: Tensor) -> Trie:
    """The trie of a batch's rows, all of one length."""
    rows, length = tokens_BT.shape
    radix = int(tokens_BT.max()) + 1
    tokens, sizes, ancestors = [], [], []
    node_B: Tensor | None = torch.zeros(rows, dtype=torch.int64)  # each row's node at the level before
    own: list[Tensor | None] = []  # ancestors of the level before
    for level in range(length):
        if node_B is None:  # every row is its own node already
            tokens.append(tokens_BT[:, level])
            sizes.append(rows)
            own = [*own, None]
        else:
            keys, inverse_B = torch.unique(node_B * radix + tokens_BT[:, level], return_inverse=True)
            if len(keys) == rows:
                tokens.append(tokens_BT[:, level])
                parents: Tensor | None = node_B
                node_B = None
            else:
                tokens.append(keys % radix)
                parents = keys // radix
                node_B = inverse_B
            sizes.append(len(keys))
            own = [*(parents if a is None else a[parents] for a in own), None] if level else [None]
        ancestors.append(tuple(own))
    cells, cells_N = _number([level * radix + tokens_U for level, tokens_U in enumerate(tokens)], radix * length)
    return Trie(
        tokens_C=cells % radix,
        positions_C=cells // radix,
        cells_N=cells_N,
        sizes=tuple(sizes),
        ancestors=tuple(ancestors),
        leaves_B=node_B,
    )


def _number(keys: list[Tensor], radix: int) -> tuple[Tensor, Tensor]:
    """The distinct keys below ``radix``, ascending, and the place of each key among them."""
    keys_N = torch.cat(keys)
    present = torch.zeros(radix, dtype=torch.int64)
    present[keys_N] = 1
    return present.nonzero().squeeze(1), (present.cumsum(0) - 1)[keys_N]


def attend(q_MW: Tensor, k_MW: Tensor, v_MW: Tensor, levels: tuple[Level, ...], heads: int) -> Tensor:
    """Attention of every asking row to those that answer it; (Σ asking rows, W), level by level."""
    return _Attend.apply(q_MW, k_MW, v_MW, levels, heads)


class _Attend(torch.autograd.Function):
    """softmax over s of q·k_s/√D, times v_s. With few ancestors s, one pass over the rows for each is fastest."""

    @staticmethod
    def forward(ctx, q_MW, k_MW, v_MW, levels, heads):  # type: ignore[override]
        ctx.levels, ctx.heads = levels, heads
        q, k, v = (t.unflatten(1, (heads, -1)) for t in (q_MW, k_MW, v_MW))
        mixed = torch.empty((sum(_count(asking) for asking, _ in levels), *q.shape[1:]), dtype=q.dtype)
        all_weights, start = [], 0
        for asking, answering in levels:
            end = start + _count(asking)
            q_UHD, out_UHD = _take(q, asking), mixed[start:end]
            scores_SUH = torch.stack([(q_UHD * _take(k, rows)).sum(-1) for rows in answering])
            weights_SUH = scores_SUH.mul_(q.shape[-1] ** -0.5).softmax(0)
            for s, rows in enumerate(answering):
                w_UH1, v_UHD = weights_SUH[s].unsqueeze(-1), _take(v, rows)
                torch.mul(v_UHD, w_UH1, out=out_UHD) if s == 0 else out_UHD.addcmul_(v_UHD, w_UH1)
            all_weights.append(weights_SUH)
            start = end
        ctx.save_for_backward(q_MW, k_MW, v_MW, *all_weights)
        return mixed.flatten(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_MW):  # type: ignore[override]
        q, k, v = (t.unflatten(1, (ctx.heads, -1)) for t in ctx.saved_tensors[:3])
        g_q, g_k, g_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
        start = 0
        for (asking, answering), weights_SUH in zip(ctx.levels, ctx.saved_tensors[3:], strict=True):
            end = start + _count(asking)
            g_UHD, q_UHD = g_MW[start:end].unflatten(1, (ctx.heads, -1)), _take(q, asking)
            g_weights = torch.stack([(g_UHD * _take(v, rows)).sum(-1) for rows in answering])
            g_scores = torch._softmax_backward_data(g_weights, weights_SUH, 0, weights_SUH.dtype)
            g_scores.mul_(q.shape[-1] ** -0.5)
            g_asking = torch.zeros_like(g_UHD)
            for s, rows in enumerate(answering):
                g_score_UH1 = g_scores[s].unsqueeze(-1)
                g_asking.addcmul_(_take(k, rows), g_score_UH1)
                _add(g_k, rows, q_UHD, g_score_UH1)
                _add(g_v, rows, g_UHD, weights_SUH[s].unsqueeze(-1))
            _add(g_q, asking, g_asking, None)
            start = end
        return g_q.flatten(1), g_k.flatten(1), g_v.flatten(1), None, None


def _count(rows: Rows) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _take(x: Tensor, rows: Rows) -> Tensor:
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


def _add(x: Tensor, rows: Rows, value: Tensor, factor: Tensor | None) -> None:
    """x[rows] += value·factor, rows that stand twice counted twice."""
    if isinstance(rows, slice):
        x[rows].addcmul_(value, factor) if factor is not None else x[rows].add_(value)
    else:
        x.index_add_(0, rows, value if factor is None else value * factor)

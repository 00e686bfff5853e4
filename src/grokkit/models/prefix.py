"""Computing each distinct prefix of a batch once.

Under a causal mask the state at a position depends on the tokens up to it alone, so rows that begin alike share it:
rows ``a ∘ b =`` modulo p have at most p distinct prefixes ``a``, and as many ``a ∘``. A trie of the batch's prefixes
has one node for each; layers run on nodes, and a row reads its answer at its last one. What enters the first layer
depends on less still, on a token and its position. Each such pair is a *cell*, and the first layer's queries, keys and
values are computed for cells. Function and gradients are those of running every position of every row.

The two rows ``1+2=`` and ``1+3=`` have eight positions, six nodes and five cells, since ``=`` stands in the same place:

    level              0      1      2          3
    node and prefix    0 1    1 1+   2 1+2      4 1+2=
                                     3 1+3      5 1+3=
    cell and token     0 1    1 +    2 2   3 3  4 =

A node *asks* with its query; those whose keys and values it attends to *answer*: its ancestors and the node itself.
Nodes 4 and 5 ask together, as level 3. Of level 0 the rows 0 and 0 of the nodes' matrix answer them, of level 1 the
rows 1 and 1, of level 2 the rows 2 and 3, of level 3 the rows 4 and 5. In the first layer rows of the cells' matrix do:
0 and 0, 1 and 1, 2 and 3, 4 and 4.

Shapes: B rows, T tokens, U_t nodes at level t (distinct prefixes of t+1 tokens), N = Σ U_t, C cells, M cells or nodes,
A nodes that ask, W width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Rows = Tensor | slice
"""Rows of a matrix: by number, or all in a stretch (nothing to gather)."""


class Levels(NamedTuple):
    """Who attends to whom in a layer, as rows of the matrix that it reads.

    Attributes:
        asking: the rows of the nodes that ask, level by level.
        answering: for each level that asks, the rows that answer its nodes: an entry for each level of ancestors, and
            one for the nodes themselves.
    """

    asking: Rows
    answering: tuple[tuple[Rows, ...], ...]

    def last(self) -> Levels:
        """The last level alone, whose nodes end the rows."""
        count = _count(self.answering[-1][-1])
        asking = slice(-count, None) if isinstance(self.asking, slice) else self.asking[-count:]
        return Levels(asking, self.answering[-1:])


@dataclass(frozen=True)
class Trie:
    """The prefixes of a batch.

    Attributes:
        tokens_C, positions_C: the cells.
        cells: who attends to whom in the first layer, which reads the cells' matrix.
        nodes: the same in the other layers, which read the nodes' matrix.
        size: N.
        leaves_B: each row's node, counted within the last level; None if no two rows are alike, and node u is row u.
    """

    tokens_C: Tensor
    positions_C: Tensor
    cells: Levels
    nodes: Levels
    size: int
    leaves_B: Tensor | None

    def layers(self, depth: int) -> list[Levels]:
        """One entry a layer. The answer is read at the last level, so nothing else is asked for in the last layer."""
        layers = [self.cells, *[self.nodes] * (depth - 1)]
        return [*layers[:-1], layers[-1].last()]


def build_trie(tokens_BT: Tensor) -> Trie:
    """The trie of a batch's rows, all of one length."""
    batch, length = tokens_BT.shape
    radix = int(tokens_BT.max()) + 1
    size, tokens, answering = 0, [], []
    node_B: Tensor | None = torch.zeros(batch, dtype=torch.int64)  # as ``leaves_B``, of the level before
    answers: tuple[Rows, ...] = ()  # as an entry of ``answering``, of the level before
    for level in range(length):
        tokens_U, parents_U = tokens_BT[:, level], node_B
        if node_B is not None:
            # A node is its parent and its token, which make one number: at radix 10, parent 3 and token 7 make 37. Once
            # no two rows are alike, node u is row u. At this level its parent still is node_B[u]; at those that follow
            # its parent is node u of the level before, for which ``parents_U`` is None.
            keys_U, inverse_B = torch.unique(node_B * radix + tokens_U, return_inverse=True)
            if len(keys_U) == batch:
                node_B = None
            else:
                tokens_U, parents_U, node_B = keys_U % radix, keys_U // radix, inverse_B
        # Whoever answered a parent answers its children, too, and each node answers itself.
        inherited = [_of_parents(rows, parents_U) for rows in answers]
        answers = (*inherited, slice(size, size + len(tokens_U)))
        size += len(tokens_U)
        tokens.append(tokens_U)
        answering.append(answers)
    cells, cells_N = _number([level * radix + tokens_U for level, tokens_U in enumerate(tokens)], radix * length)
    return Trie(
        tokens_C=cells % radix,
        positions_C=cells // radix,
        cells=Levels(cells_N, tuple(tuple(cells_N[rows] for rows in level) for level in answering)),
        nodes=Levels(slice(0, size), tuple(answering)),
        size=size,
        leaves_B=node_B,
    )


def _of_parents(answering: Rows, parents_U: Tensor | None) -> Rows:
    """The rows that answer each node's parent, given those that answer the level before; None: node u's parent is u."""
    if parents_U is None:
        return answering
    return parents_U + answering.start if isinstance(answering, slice) else answering[parents_U]


def _number(keys: list[Tensor], end: int) -> tuple[Tensor, Tensor]:
    """The distinct keys, ascending, and the place of each key among them; all keys are below ``end``.

    The keys 5, 2 and 5 give [2, 5] and [1, 0, 1]: below 6 ``present`` is 0 0 1 0 0 1, and its sums are 0 0 1 1 1 2.
    """
    keys_N = torch.cat(keys)
    present = torch.zeros(end, dtype=torch.int64)
    present[keys_N] = 1
    return present.nonzero().squeeze(1), (present.cumsum(0) - 1)[keys_N]


def take(x_MW: Tensor, rows: Rows) -> Tensor:
    """These rows of ``x_MW``; if they are all of them, ``x_MW`` itself and no copy."""
    if not isinstance(rows, slice):
        return x_MW.index_select(0, rows)
    return x_MW if rows == slice(0, len(x_MW)) else x_MW[rows]


def attend(q_AW: Tensor, k_MW: Tensor, v_MW: Tensor, answering: tuple[tuple[Rows, ...], ...], heads: int) -> Tensor:
    """Attention of every row that asks, level by level, to the rows that answer it; (A, W)."""
    return _Attend.apply(q_AW, k_MW, v_MW, answering, heads)


class _Attend(torch.autograd.Function):
    """Σ_s softmax_s(q·k_s/√D)·v_s, with s over the levels that answer: so few that a pass for each is fastest."""

    @staticmethod
    def forward(ctx, q_AW, k_MW, v_MW, answering, heads):  # type: ignore[override]
        ctx.answering, ctx.heads = answering, heads
        q, k, v = (t.unflatten(1, (heads, -1)) for t in (q_AW, k_MW, v_MW))
        mixed = torch.empty_like(q, memory_format=torch.contiguous_format)
        all_weights = []
        sizes = [_count(level[-1]) for level in answering]
        for q_UHD, out_UHD, level in zip(q.split(sizes), mixed.split(sizes), answering, strict=True):
            scores_SUH = torch.stack([(q_UHD * take(k, rows)).sum(-1) for rows in level])
            weights_SUH = scores_SUH.mul_(q.shape[-1] ** -0.5).softmax(0)
            for s, rows in enumerate(level):
                w_UH1, v_UHD = weights_SUH[s].unsqueeze(-1), take(v, rows)
                if s == 0:
                    torch.mul(v_UHD, w_UH1, out=out_UHD)
                else:
                    out_UHD.addcmul_(v_UHD, w_UH1)
            all_weights.append(weights_SUH)
        ctx.save_for_backward(q_AW, k_MW, v_MW, *all_weights)
        return mixed.flatten(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_AW):  # type: ignore[override]
        q, k, v, g = (t.unflatten(1, (ctx.heads, -1)) for t in (*ctx.saved_tensors[:3], g_AW))
        g_q, g_k, g_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
        sizes = [_count(level[-1]) for level in ctx.answering]
        by_level = zip(*(t.split(sizes) for t in (q, g, g_q)), ctx.answering, ctx.saved_tensors[3:], strict=True)
        for q_UHD, g_UHD, g_q_UHD, level, weights_SUH in by_level:
            g_weights = torch.stack([(g_UHD * take(v, rows)).sum(-1) for rows in level])
            g_scores = torch._softmax_backward_data(g_weights, weights_SUH, 0, weights_SUH.dtype)
            g_scores.mul_(q.shape[-1] ** -0.5)
            for s, rows in enumerate(level):
                g_score_UH1 = g_scores[s].unsqueeze(-1)
                g_q_UHD.addcmul_(take(k, rows), g_score_UH1)
                _add(g_k, rows, q_UHD, g_score_UH1)
                _add(g_v, rows, g_UHD, weights_SUH[s].unsqueeze(-1))
        return g_q.flatten(1), g_k.flatten(1), g_v.flatten(1), None, None


def _count(rows: Rows) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _add(x: Tensor, rows: Rows, value: Tensor, factor: Tensor) -> None:
    """x[rows] += value·factor, where a row that is named twice is added to twice."""
    if isinstance(rows, slice):
        x[rows].addcmul_(value, factor)
    else:
        x.index_add_(0, rows, value * factor)

"""Computing each distinct prefix of a batch once.

Under a causal mask the state at a position depends on the tokens up to it alone, so rows that begin alike share
it: of B rows ``a ∘ b =`` there are at most P distinct prefixes ``a`` and P distinct ``a ∘``. A trie of the
batch's prefixes holds one node for each; layers run on nodes, and a row reads its answer at its last one. The
same function and the same gradients as running every position of every row.

Shapes: B rows, T tokens, U_t nodes at level t (distinct prefixes of t+1 tokens), N = Σ U_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trie:
    """The prefixes of a batch.

    Attributes:
        tokens_N: each node's last token, level by level.
        positions_N: each node's level.
        sizes: U_t.
        ancestors: for level t, one entry per level s ≤ t: the ancestor at level s of each node of level t, or
            None where it is node for node the same order (nothing to gather).
        leaves_B: the node at the last level of each row, None where that is the row itself.
    """

    tokens_N: Tensor
    positions_N: Tensor
    sizes: tuple[int, ...]
    ancestors: tuple[tuple[Tensor | None, ...], ...]
    leaves_B: Tensor | None


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
    return Trie(
        tokens_N=torch.cat(tokens),
        positions_N=torch.repeat_interleave(torch.arange(length), torch.tensor(sizes)),
        sizes=tuple(sizes),
        ancestors=tuple(ancestors),
        leaves_B=node_B,
    )


def attend(
    q_UHD: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], ancestors: tuple[Tensor | None, ...]
) -> Tensor:
    """Attention of the nodes of one level to their ancestors and themselves; (U, H·D).

    ``keys`` and ``values`` are (U_s, H, D), one per level s up to the nodes' own.
    """
    scale = q_UHD.shape[-1] ** -0.5
    scores = [(q_UHD * _at(k, a)).sum(-1) for k, a in zip(keys, ancestors, strict=True)]
    weights_UHS = torch.stack(scores, -1).mul(scale).softmax(-1)
    parts = zip(weights_UHS.unbind(-1), values, ancestors, strict=True)
    return torch.stack([w.unsqueeze(-1) * _at(v, a) for w, v, a in parts]).sum(0).flatten(1)


def _at(level: Tensor, ancestors: Tensor | None) -> Tensor:
    return level if ancestors is None else level.index_select(0, ancestors)

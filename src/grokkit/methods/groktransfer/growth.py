"""A wider FNN that computes what a narrower one does, to grow a weak model step by step.

The narrow network's weights stand in the first places of each matrix, and what leads from a new unit or coordinate to
an old one is zero; so the outputs are the same, to rounding. What leads to new units stays as it was drawn, from which
they learn (Net2Net, arXiv 1511.05641, copies units instead, which then have to be told apart by noise).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grokkit.models import FNN


@torch.no_grad()
def widen(narrow: FNN, wide: FNN) -> None:
    """Give ``wide``, of the same depth and at least as wide everywhere, the outputs of ``narrow``."""
    places = 1
    if narrow.reads_tokens:
        old = narrow.token_embeddings.weight
        wide.token_embeddings.weight[:, : old.shape[1]] = old
        # The first layer reads the tokens' embeddings side by side, and each of them has become wider.
        places = _layers(narrow)[0].in_features // old.shape[1]
    else:
        old = narrow.input_embedding.weight
        wide.input_embedding.weight[: len(old)] = old
    for before, after in zip(_layers(narrow), _layers(wide), strict=True):
        _copy(before.weight, after.weight, places)
        if before.bias is not None:
            after.bias[: len(before.bias)] = before.bias
        places = 1


def _layers(model: FNN) -> list[nn.Linear]:
    return [layer for layer in model.layers if isinstance(layer, nn.Linear)]


def _copy(old: Tensor, new: Tensor, places: int) -> None:
    rows, inputs = old.shape[0], old.shape[1] // places
    block = new.view(len(new), places, -1)[:rows]
    block.zero_()
    block[:, :, :inputs] = old.view(rows, places, inputs)

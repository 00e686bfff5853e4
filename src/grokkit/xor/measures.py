"""How much of a first layer points at the signal of XOR cluster data (GrokTransfer, arXiv 2504.13292).

For a network that is trained by inner products (:mod:`grokkit.xor.two_layer`), W = α·W_0 + C·X is never formed;
W_{1:2}, its part on the two coordinates that decide, is what it makes of their unit vectors, and

    ‖W‖² = α²·‖W_0‖² + 2·⟨C, α·W_0·Xᵀ⟩ + ⟨C, C·X·Xᵀ⟩.

Shapes: N rows, P = N + 2 points (the rows, then the two unit vectors), M neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokkit.xor.two_layer import TwoLayer


@torch.no_grad()
def norm_ratio(model: TwoLayer) -> float:
    """r_W = (‖W_{3:p}‖_F / √(p − 2)) / (‖W_{1:2}‖_F / √2): a noise coordinate's size over a signal coordinate's.

    A neuron that has learned one cluster and nothing else, w ∝ Σ x_i over its n/4 rows, has r_W = 2ε/√n: the noise of
    n/4 rows adds up as their root, the signal as their number, on two coordinates. Random weights have 1.
    """
    rows = model.coefficients.shape[0]
    start_NM, c_NM = model.start[:rows].double(), model.coefficients.double()
    gram_NN = model.gram_PN[:rows].double()
    whole = model.start_norm.double().square() + 2 * (c_NM * start_NM).sum() + (c_NM * (gram_NN @ c_NM)).sum()
    signal = signal_weights(model).square().sum()
    return float(((whole - signal) / (model.dim - 2) / (signal / 2)).sqrt())


@torch.no_grad()
def signal_weights(model: TwoLayer) -> Tensor:
    """W_{1:2}, transposed, in float64: (2, M), a column a neuron."""
    points = len(model.gram_PN)
    return model.preactivations(torch.arange(points - 2, points, device=model.gram_PN.device)).double()

"""An embedding in two dimensions, by principal components.

They are the right singular vectors of the rows less their mean; a component explains the share σ²/Σσ² of the variance.

Shapes: P rows, D embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pca(embedding_PD: Tensor) -> dict[str, list[Any]]:
    """The columns ``number``, ``x``, ``y``, ``explained_x`` and ``explained_y`` of pca.parquet, one row a number.

    In float64. Of an axis' two directions, that in which the farthest row is positive. In one dimension y = 0. Without
    a row if all rows are equal or an entry is not finite.
    """
    rows_PD = embedding_PD.detach().double()
    centered_PD = rows_PD - rows_PD[0]  # first by one of the rows: equal ones become zero without rounding
    centered_PD = centered_PD - centered_PD.mean(0)
    if not (centered_PD.isfinite().all() and centered_PD.any()):
        return {"number": [], "x": [], "y": [], "explained_x": [], "explained_y": []}
    left, sigma, _ = torch.linalg.svd(centered_PD, full_matrices=False)
    along_P2 = torch.zeros(len(rows_PD), 2, dtype=torch.float64, device=rows_PD.device)
    explained = torch.zeros(2, dtype=torch.float64)
    found = min(2, len(sigma))
    along_P2[:, :found] = (left * sigma)[:, :found]
    explained[:found] = sigma.square()[:found] / sigma.square().sum()
    along_P2 *= torch.where(along_P2.amax(0) < -along_P2.amin(0), -1.0, 1.0)
    x_P, y_P = along_P2.unbind(1)
    return {
        "number": list(range(len(rows_PD))),
        "x": x_P.tolist(),
        "y": y_P.tolist(),
        "explained_x": [float(explained[0])] * len(rows_PD),
        "explained_y": [float(explained[1])] * len(rows_PD),
    }

"""An embedding in two dimensions: by principal components, or by t-SNE.

Principal components are the right singular vectors of the rows less their mean; a component explains the share
σ²/Σσ² of the variance. t-SNE (van der Maaten & Hinton 2008) keeps neighbours near and distorts everything else; it is
scikit-learn's, which the lab does not need otherwise and does not install.

Shapes: P rows, D embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError


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
    return {
        **_columns(along_P2),
        "explained_x": [float(explained[0])] * len(rows_PD),
        "explained_y": [float(explained[1])] * len(rows_PD),
    }


def tsne(embedding_PD: Tensor, *, seed: int = 0, perplexity: float = 30.0) -> dict[str, list[Any]]:
    """The columns ``number``, ``x`` and ``y``: scikit-learn's t-SNE, started from the principal components.

    Args:
        embedding_PD: at least four rows.
        seed: of what is random in it.
        perplexity: effective number of neighbours. Default 30 (scikit-learn), or a third of the other rows if that
            is less.

    Raises:
        InputError: if scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError("t-SNE needs scikit-learn; install it with: pip install scikit-learn") from None
    rows_PD = embedding_PD.detach().double().cpu()
    neighbours = min(perplexity, (len(rows_PD) - 1) / 3)
    found = TSNE(perplexity=neighbours, init="pca", random_state=seed).fit_transform(rows_PD.numpy())
    return _columns(torch.from_numpy(found))


def _columns(along_P2: Tensor) -> dict[str, list[Any]]:
    x_P, y_P = along_P2.unbind(1)
    return {"number": list(range(len(along_P2))), "x": x_P.tolist(), "y": y_P.tolist()}

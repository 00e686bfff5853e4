"""The largest singular value of each matrix, and how many of its singular values count.

With the singular values σ_i of a matrix and p_i = σ_i/Σσ_j the effective rank is exp(−Σ p_i·ln p_i): n if n of them are
equal and the others zero (Roy & Vetterli, "The Effective Rank", 2007). They are the roots of the eigenvalues of the
smaller Gram matrix, in float64. Tensors of more axes are matrices with the first as rows.

Shapes: M rows, K columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grokkit.probe.contract import Probe, View

_LARGEST = 1024  # of the smaller side: beyond it the eigenvalues take longer than an evaluation


def spectrum_of(matrix_MK: Tensor) -> tuple[float, float]:
    """Spectral norm and effective rank; both 0 for a matrix of zeros or without entries, and NaN where an entry is not
    finite.

    >>> spectrum_of(torch.diag(torch.tensor([2.0, 2.0, 0.0])))
    (2.0, 2.0)
    """
    wide = matrix_MK if matrix_MK.shape[0] <= matrix_MK.shape[1] else matrix_MK.mH
    wide = wide.detach().cpu().to(torch.promote_types(wide.dtype, torch.float64))
    if not wide.numel():
        return 0.0, 0.0
    if not wide.isfinite().all():
        return float("nan"), float("nan")
    sigma = torch.linalg.eigvalsh(wide @ wide.mH).clamp(min=0.0).sqrt()
    # Below rounding of the largest eigenvalue a singular value is none.
    sigma = torch.where(sigma > 1e-7 * sigma[-1], sigma, 0.0)
    if not sigma[-1] > 0:
        return 0.0, 0.0
    share = sigma / sigma.sum()
    return float(sigma[-1]), float(torch.special.entr(share).sum().exp())


def _probe(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    found: dict[str, list[Any]] = {"tensor": [], "spectral_norm": [], "effective_rank": []}
    for name, weight in view.weights.items():
        if weight.ndim > 1 and min(len(weight), weight.shape[1:].numel()) <= _LARGEST:
            norm, rank = spectrum_of(weight.flatten(1))
            found["tensor"].append(name)
            found["spectral_norm"].append(norm)
            found["effective_rank"].append(rank)
    return {"spectra": found} if found["tensor"] else {}


SPECTRA = Probe("spectra", _probe, "largest singular value and effective rank of each matrix")

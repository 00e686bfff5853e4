"""Embeddings that linear algebra gives, without a network: controls of what a weak model's training is worth.

A row of tokens counts as the numbers of times that each token stands in it, x ∈ R^V; a row of features as itself.

    pca(dim)   the first directions of the rows' covariance, Cov(x)
    lda(dim)   Fisher's discriminants: the first directions u of S_b·u = μ·(S_w + ε·I)·u, S_b the covariance of the
               classes' means, S_w that within classes, ε a thousandth of its mean variance

The embedding of a token, or a feature, is its row of those directions, all of length 1 over the tokens.

Shapes: N rows, V tokens or features, C classes, d directions.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from grokkit.errors import InputError
from grokkit.methods.contract import TransferData
from grokkit.methods.groktransfer.weak import varying_places

_RIDGE = 1e-3


class Linear(NamedTuple):
    """The embedding (V, d), float32, and what it cost: its products and the eigenvectors, some 10·V³ FLOPs."""

    embedding: Tensor
    seconds: float
    flops: int


def linear_embedding(kind: str, dim: int, lesson: TransferData) -> Linear:
    """``pca`` or ``lda`` of the training rows.

    Raises:
        InputError: if there are not ``dim`` directions, or a row has a target at each of its places.
    """
    if lesson.train.targets.ndim > 1:
        raise InputError(
            f"weak={kind} counts the tokens of rows that have one target each, and this task has one at each place; "
            "take a model that is trained, e.g. decoder(width=8)"
        )
    started = time.perf_counter()
    x_NV = _counted(lesson).double()
    rows, size = x_NV.shape
    check_directions(kind, dim, size)
    x_NV = x_NV - x_NV.mean(0)
    if kind == "pca":
        _, directions_VV = torch.linalg.eigh(x_NV.T @ x_NV / rows)
    else:
        directions_VV = _discriminants(x_NV, lesson.train.targets)
    embedding_VD = functional.normalize(directions_VV[:, -dim:].flip(1), dim=0)
    flops = 2 * rows * size * size * (1 if kind == "pca" else 2) + 10 * size**3
    return Linear(embedding_VD.float(), time.perf_counter() - started, flops)


def check_directions(kind: str, dim: int, there_are: int) -> None:
    """Refuse more directions than tokens, or features."""
    if dim > there_are:
        raise InputError(
            f"weak={kind}(dim={dim}) is not possible: at most {there_are} directions here, e.g. {kind}(dim=8)"
        )


def _counted(lesson: TransferData) -> Tensor:
    """(N, V): how often each token stands at the places that vary, or the features."""
    inputs = lesson.train.inputs
    if lesson.vocabulary is None:
        return inputs.flatten(1)
    return functional.one_hot(inputs[:, varying_places(inputs)], lesson.vocabulary).sum(1)


def _discriminants(x_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Fisher's, in ascending order of what they discriminate; ``x_NV`` has mean zero."""
    rows, size = x_NV.shape
    _, class_N = targets_N.unique(return_inverse=True)
    member_NC = functional.one_hot(class_N).to(x_NV.dtype)
    means_CV = member_NC.T @ x_NV / member_NC.sum(0)[:, None]
    fitted_NV = means_CV[class_N]
    between_VV = fitted_NV.T @ fitted_NV / rows
    apart_NV = x_NV - fitted_NV
    within_VV = apart_NV.T @ apart_NV / rows
    ridge = _RIDGE * within_VV.diagonal().mean().clamp(min=1e-12)
    # With L·Lᵀ = S_w + ε·I the directions are u = L⁻ᵀ·v of the symmetric problem L⁻¹·S_b·L⁻ᵀ·v = μ·v.
    lower_VV = torch.linalg.cholesky(within_VV + ridge * torch.eye(size, dtype=x_NV.dtype))
    half_VV = torch.linalg.solve_triangular(lower_VV, between_VV, upper=False)
    _, vectors_VV = torch.linalg.eigh(torch.linalg.solve_triangular(lower_VV, half_VV.T, upper=False))
    return torch.linalg.solve_triangular(lower_VV.T, vectors_VV, upper=True)

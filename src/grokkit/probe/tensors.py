"""What a model's tensors hold at an evaluation: norms, entropies, and what a method does to the gradient.

Absolute entropy is H(x) = −Σ_i |x_i|·ln|x_i| over all entries, with 0·ln 0 = 0. Over weights it is AWE, over
gradients AGE (NeuralGrok, arXiv 2504.17243). |x_i| are not probabilities: H depends on the scale of x, and is
negative where entries above 1 dominate. The angle between the raw gradient g and the filtered one f, both as
vectors, is given by its cosine, g·f / (‖g‖·‖f‖). In norms and products a complex entry is a pair of real numbers; its
absolute entropy is of its modulus. Whole numbers, such as indices that a network keeps frozen, are no weights: they are
left out.

Norms, entropies and products add over tensors, so each tensor is summed once, in float64, and the model's are the
sums of its tensors'.

Shapes: S members of a program (one for a run alone), N tensors, Q sums, X entries of a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokkit.models.classes import is_weight


class TensorProbe(NamedTuple):
    """What was found in one member."""

    model: dict[str, float | None]
    """Over the whole model, named as in the curves."""
    tensors: dict[str, list[Any]]
    """Of each tensor, the columns of tensors.parquet but for ``step``."""


@torch.no_grad()
def probe_tensors(
    weights_S: Mapping[str, Tensor], gradients_S: Mapping[str, Tensor], filtered_S: Mapping[str, Tensor]
) -> list[TensorProbe]:
    """What each member's weights and its last gradient, before and after the method, hold.

    All tensors by name, with the members as their first axis. No gradients: none of their quantities. The cosine
    is None where one of the two is zero.

    >>> one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> (found,) = probe_tensors({"p": one}, {"p": one}, {"p": two})
    >>> round(found.model["gradient_cosine"], 6)
    0.707107
    """
    names = [name for name, weight_S in weights_S.items() if is_weight(weight_S)]
    sums_NQS = torch.stack(
        [_sums(weights_S[name], *((gradients_S[name], filtered_S[name]) if gradients_S else ())) for name in names]
    )
    return [_probe(names, member_NQ) for member_NQ in sums_NQS.permute(2, 0, 1).tolist()]


def as_real(x: Tensor) -> Tensor:
    """The tensor itself, or a complex one, of which a conversion to float64 would drop the imaginary part, with the
    real and the imaginary part of each entry beside each other in the last axis, which is twice as long.

    >>> as_real(torch.tensor([3.0 + 4.0j])).tolist()
    [3.0, 4.0]
    """
    return torch.view_as_real(x.resolve_conj()).flatten(-2) if x.is_complex() else x


class _Sums(NamedTuple):
    """Over the entries of one tensor, or of all."""

    weight_squares: float
    weight_entropy: float
    squares: float | None = None
    entropy: float | None = None
    filtered_squares: float | None = None
    filtered_entropy: float | None = None
    product: float | None = None

    def cosine(self) -> float | None:
        if not self.squares or not self.filtered_squares or self.product is None:
            return None
        cosine = self.product / (self.squares**0.5 * self.filtered_squares**0.5)
        return min(max(cosine, -1.0), 1.0)  # NaN stays NaN


def _sums(weight_S: Tensor, *gradients_S: Tensor) -> Tensor:
    """The sums over one tensor in the order of :class:`_Sums`, shape (Q, S)."""
    found: list[Tensor] = []
    doubles = []
    for tensor_S in (weight_S, *gradients_S):
        tensor_SX = tensor_S.reshape(len(tensor_S), -1)
        size_SX, double_SX = tensor_SX.abs(), as_real(tensor_SX).double()
        # As torch.special.xlogy, in half the time: 0 times a finite logarithm is 0.
        log_SX = size_SX.clamp(min=torch.finfo(size_SX.dtype).tiny).log_()
        entropy_S = -log_SX.mul_(size_SX).sum(1, dtype=torch.float64)
        found += [torch.linalg.vecdot(double_SX, double_SX), entropy_S]
        doubles.append(double_SX)
    if gradients_S:
        found.append(torch.linalg.vecdot(doubles[1], doubles[2]))
    return torch.stack(found)


def _probe(names: list[str], sums_NQ: list[list[float]]) -> TensorProbe:
    model = _Sums(*(sum(column_N) for column_N in zip(*sums_NQ, strict=True)))
    tensors = [_Sums(*row_Q) for row_Q in sums_NQ]
    return TensorProbe(
        {
            "weight_norm": _root(model.weight_squares),
            "weight_entropy": model.weight_entropy,
            "gradient_norm": _root(model.squares),
            "gradient_entropy": model.entropy,
            "filtered_gradient_norm": _root(model.filtered_squares),
            "filtered_gradient_entropy": model.filtered_entropy,
            "gradient_cosine": model.cosine(),
        },
        {
            "tensor": names,
            "weight_entropy": [tensor.weight_entropy for tensor in tensors],
            "gradient_entropy": [tensor.entropy for tensor in tensors],
            "filtered_gradient_entropy": [tensor.filtered_entropy for tensor in tensors],
            "gradient_cosine": [tensor.cosine() for tensor in tensors],
        },
    )


def _root(square: float | None) -> float | None:
    return None if square is None else square**0.5

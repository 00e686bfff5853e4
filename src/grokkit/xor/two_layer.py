"""A two-layer network on very wide inputs, trained without ever forming its first layer.

    f(x) = Σ_j a_j·relu(w_j·x)

Gradient descent with decay, W ← (1 − ηλ)·W − η·∂L/∂W, moves W by multiples of the rows x_i that it trains on:
∂L/∂W = D·X with D_ji = ∂L/∂(w_j·x_i). So W stays in the span of its start and the data,

    W = α·W_0 + C·X,    W·z = α·W_0·z + C·(X·z),

and after one product of W_0 with all points z, and one of the points with the rows, a step costs N numbers a point and
neuron instead of p. The parameters are ``start``, α·W_0·z for every point, and ``coefficients``, C. Their gradients are
not those of the loss in these coordinates, which would be D·K with the Gram matrix K, but those of W: 0 for ``start``,
which only decays, and D for C. ``torch.optim.SGD`` on them is then gradient descent on W, to rounding; momentum, and
whatever else is linear in the gradients, as well. What divides by a gradient's size or norm (Adam, a clip) is not.

Shapes: N rows, P ≥ N points, the first of which are the rows, M neurons, B batch, p coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_init_scale, check_sizes
from grokkit.models.matmul import linear, transformed


@dataclass(frozen=True, kw_only=True)
class PointsShape(TaskShape):
    """Of a task whose inputs are the numbers of points; ``tokens`` is how many of them are rows.

    Attributes:
        dim: p, coordinates of a point.
        columns: gives them, see :func:`start_products`.
    """

    dim: int
    columns: Callable[[], Iterable[Tensor]]


class Products(NamedTuple):
    """What the network needs to know of the points and of W_0: all inner products, and ‖W_0‖."""

    gram_PN: Tensor
    start_PM: Tensor
    norm: Tensor


def start_products(
    columns: Iterable[Tensor], rows: int, *, neurons: int, std: float, generator: torch.Generator
) -> Products:
    """Draw W_0 from N(0, ``std``²) and multiply, block by block of the coordinates, so that neither it nor X is held.

    Args:
        columns: of the points, (P, c) for successive blocks of coordinates, in the precision to compute in.
        rows: N, of the points.
        neurons: M.
        std: of the entries of W_0.
        generator: they are drawn from it, (M, c) for each block.
    """
    gram = start = squares = torch.zeros(())
    for block_Pc in columns:
        drawn_Mc = std * torch.randn(neurons, block_Pc.shape[1], generator=generator, dtype=block_Pc.dtype)
        gram = gram + linear(block_Pc, block_Pc[:rows])
        start = start + linear(block_Pc, drawn_Mc)
        squares = squares + drawn_Mc.square().sum()
    return Products(gram, start, squares.sqrt())


class TwoLayer(nn.Module):
    """f(x) = Σ_j a_j·relu(w_j·x) over points by their numbers; returns (B, 1). Train it by gradient descent only.

    Norms and entropies that the lab records of every tensor are of these coordinates, not of W, whose norms
    :mod:`grokkit.xor.measures` gives.

    Args:
        products: see :func:`start_products`. Its precision is the network's.
        dim: p.
        output_M: a, to be trained as well. Default: fixed at ±1/√M in turns (GrokTransfer, in random order).

    Attributes:
        start: α·W_0·z of every point z, (P, M).
        coefficients: C of every row, (N, M).
        start_norm: α·‖W_0‖.
        output: a, (M).
    """

    def __init__(self, products: Products, *, dim: int, output_M: Tensor | None = None) -> None:
        super().__init__()
        neurons = products.start_PM.shape[1]
        self.dim = dim
        self.start = nn.Parameter(products.start_PM.clone())
        self.coefficients = nn.Parameter(products.gram_PN.new_zeros(products.gram_PN.shape[1], neurons))
        self.start_norm = nn.Parameter(products.norm.clone())
        self.gram_PN: Tensor
        self.register_buffer("gram_PN", products.gram_PN, persistent=False)
        if output_M is None:
            self.output: Tensor
            self.register_buffer("output", fixed_outputs(neurons, products.gram_PN.dtype), persistent=False)
        else:
            self.output = nn.Parameter(output_M.clone())

    def forward(self, numbers_B1: Tensor) -> Tensor:
        return torch.relu(self.preactivations(numbers_B1[:, 0])) @ self.output[:, None]

    def preactivations(self, numbers_B: Tensor) -> Tensor:
        """W·z, (B, M): the points as the first layer sees them, their *embedding*."""
        return _Preactivations.apply(self.start, self.coefficients, self.start_norm, numbers_B, self.gram_PN)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass with W as a matrix: 2·B·M·(p + 1).

        What inner products save is not subtracted.
        """
        return 2 * batch * len(self.output) * (self.dim + 1)

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: 4·B·M·(p + 1), and 2·B·M more if the outputs are trained.

        The data need no gradient, and fixed outputs none.
        """
        trained = isinstance(self.output, nn.Parameter)
        return 2 * self.forward_flops(batch, tokens) + (2 * batch * len(self.output) if trained else 0)


def fixed_outputs(neurons: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """±1/√M in turns, (M), rounded once, in the precision they are used in."""
    return (1.0 - 2.0 * (torch.arange(neurons) % 2)).to(dtype) / math.sqrt(neurons)


class _Preactivations(torch.autograd.Function):
    """α·W_0·z + C·(X·z), with the gradients of W in place of its own; see the top of the file."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        start_PM: Tensor, coefficients_NM: Tensor, start_norm: Tensor, numbers_B: Tensor, gram_PN: Tensor
    ) -> Tensor:
        gram_BN = gram_PN[numbers_B]
        if not transformed():  # rows that were never trained on have no coefficients: most of a pool
            used = coefficients_NM.any(1).nonzero()[:, 0]
            if len(used) < len(coefficients_NM):
                gram_BN, coefficients_NM = gram_BN[:, used], coefficients_NM[used]
        return start_PM[numbers_B] + linear(gram_BN, coefficients_NM.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        start_PM, coefficients_NM, start_norm, numbers_B, _ = inputs
        ctx.save_for_backward(start_PM, coefficients_NM, start_norm, numbers_B)

    @staticmethod
    def backward(ctx: Any, g_BM: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        start_PM, coefficients_NM, start_norm, numbers_B = ctx.saved_tensors
        g_coefficients = torch.zeros_like(coefficients_NM).index_add(0, numbers_B, g_BM)
        return torch.zeros_like(start_PM), g_coefficients, torch.zeros_like(start_norm), None, None


def build_two_layer(
    columns: Iterable[Tensor],
    rows: int,
    *,
    dim: int,
    width: int = 2048,
    init_scale: float = 1.0,
    generator: torch.Generator,
) -> TwoLayer:
    """The network with fixed outputs ±1/√M, from normal weights of the variance of PyTorch's default, 1/(3p).

    Args:
        columns, rows, generator: see :func:`start_products`.
        dim: p.
        width: M. Default 2048 (GrokTransfer).
        init_scale: factor on the standard deviation. Default 1.

    Raises:
        InputError: for an ``init_scale`` or ``width`` that is not possible.
    """
    check_sizes("two-layer", "the paper uses 2048", width=width)
    check_init_scale(init_scale)
    std = init_scale / math.sqrt(3 * dim)
    return TwoLayer(start_products(columns, rows, neurons=width, std=std, generator=generator), dim=dim)


def _build(task: TaskShape, *, width: Size = 2048, init_scale: Scale = 1.0) -> TwoLayer:
    assert isinstance(task, PointsShape)
    return build_two_layer(
        task.columns(), task.tokens, dim=task.dim, width=width, init_scale=init_scale, generator=torch.default_generator
    )


CARD = ModelCard(
    name="two-layer",
    summary="GrokTransfer's network for XOR clusters, trained in the span of its data.",
    reads=("points",),
    build=_build,
    exact_gradients=False,
    smallest={"width": 8},
    stackable=True,
)

"""Linear layers by the fastest kernel this processor has, and in bfloat16 if one asks for it.

PyTorch hands float32 products on a CPU to MKL, whose code for processors that are not Intel's leaves half of their
rate unused. oneDNN, which every PyTorch for x86-64 contains too, compiles its kernels for the processor it finds.
Both compute in float32 throughout; only the order of summation, hence the rounding, differs. Which one is used
depends on the processor alone, never on a measurement, so that a run is the same on the same machine every time;
the provenance of a run names it. Everywhere else (a GPU, other dtypes, autocast, ``torch.compile``,
``torch.func``), and for small products, this is ``torch.nn.functional.linear``. Gradients may be differentiated
again.

Inside :func:`precision` ``"bf16"`` the products take bfloat16 factors and accumulate in float32, forward and backward.
Weights stay float32 and are rounded for each product. What lies between two linear layers of one MLP stays in
bfloat16; everything else (softmax, norms, residual streams, the loss, the optimizer) is float32.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "bf16"]

_SMALLEST = 10**6  # multiply-adds: below, starting oneDNN costs more than it saves
_NARROW = 32  # a weight's smaller side: below, its gradient is faster without oneDNN
_allowed = True
_precision: Precision = "float32"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, inner: bool = False) -> Tensor:
    """x·Wᵀ + b, as ``torch.nn.functional.linear``: x (…, I), weight (O, I), bias (O).

    ``inner``: what comes out goes through a nonlinearity into another linear layer, so it may stay in bfloat16.
    """
    if _precision == "bf16" and weight.dtype is torch.float32:
        out = F.linear(x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16())
        return out if inner else out.float()
    if not _takes(x, weight):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


class Linear(torch.nn.Linear):
    """``torch.nn.Linear`` on :func:`linear`."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, inner: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.inner = inner

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias, inner=self.inner)


def kernel() -> str:
    """Which library computes float32 products on this machine: ``onednn``, or ``torch`` for PyTorch's choice."""
    return "onednn" if _allowed and _onednn_is_faster() else "torch"


@contextmanager
def torch_kernels() -> Iterator[None]:
    """Inside, every product is PyTorch's own."""
    global _allowed
    before, _allowed = _allowed, False
    try:
        yield
    finally:
        _allowed = before


@contextmanager
def precision(of_products: Precision) -> Iterator[None]:
    """Inside, linear layers compute their products in this precision."""
    global _precision
    before, _precision = _precision, of_products
    try:
        yield
    finally:
        _precision = before


def _takes(x: Tensor, weight: Tensor) -> bool:
    return (
        _allowed
        and x.dtype is torch.float32
        and weight.dtype is torch.float32
        and x.device.type == "cpu"
        and x.numel() * len(weight) >= _SMALLEST
        and _onednn_is_faster()
        and not torch.is_autocast_enabled("cpu")
        and not transformed()
    )


def is_float32() -> bool:
    """Whether products are computed in float32: no :func:`precision` but that one is asked for."""
    return _precision == "float32"


def transformed() -> bool:
    """Whether ``torch.compile`` or ``torch.func`` traces this call: both know PyTorch's own operators only."""
    inside_func = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
    return inside_func or torch.compiler.is_compiling()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        g_2d = g.flatten(0, -2)
        return (
            linear(g, weight.mT) if needs_x else None,
            weight_gradient(g_2d, x.flatten(0, -2)) if needs_weight else None,
            g_2d.sum(0) if needs_bias else None,
        )


def weight_gradient(g_BO: Tensor, x_BI: Tensor) -> Tensor:
    """Σ_B g·xᵀ, (O, I): the gradient of a linear layer's weight."""
    if min(g_BO.shape[1], x_BI.shape[1]) < _NARROW:
        return g_BO.mT @ x_BI
    # oneDNN wants the larger side second.
    return linear(x_BI.mT, g_BO.mT).mT if g_BO.shape[1] > x_BI.shape[1] else linear(g_BO.mT, x_BI.mT)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # oneDNN has fast code for a matrix that is dense in memory, transposed or not, and crawls through any other.
    if not (weight.is_contiguous() or weight.mT.is_contiguous()):
        weight = weight.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def _onednn_is_faster() -> bool:
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512") or _made_by_intel():
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _made_by_intel() -> bool:
    about = Path("/proc/cpuinfo")
    return "GenuineIntel" in (about.read_text() if about.exists() else platform.processor())

"""SGD, Adam and AdamW, each twice: as PyTorch's optimizer for a run alone, and as pure functions for many runs at once.

In the pure functions nothing is changed in place, nothing branches on a tensor's value, and a setting may be a number
or a 0-d tensor: they can be vmapped over stacked parameters and captured in a CUDA graph. The semantics, and but for
rounding the values, are those of the card's ``make``. Every parameter has a gradient every step, so steps are
counted once, not per parameter. What is done entry by entry is done to all parameters of a type as one vector: for
each by itself it was seven tenths of the operations of a program's step, which on a GPU is bound by how many they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from grokkit.methods.settings import like
from grokkit.optimizers.contract import OptimizerCard, PureOptimizer, Settings, Tensors

_EPS = 1e-8  # torch.optim's default


class SgdState(NamedTuple):
    momentum: dict[str, Tensor]


class AdamState(NamedTuple):
    step: Tensor  # updates so far
    mean: dict[str, Tensor]
    square: dict[str, Tensor]


def _sgd() -> PureOptimizer:
    """b ← β₁·b + g + wd·θ;  θ ← θ − η·b. Without momentum b is the gradient."""

    def init(params: Tensors) -> SgdState:
        return SgdState({name: torch.zeros_like(p) for name, p in params.items()})

    def update(
        params: Tensors, grads: Tensors, state: SgdState, settings: Settings
    ) -> tuple[dict[str, Tensor], SgdState]:
        new, momentum = {}, {}
        for names in _by_type(params):
            p, g, b = (_as_vector(tensors, names) for tensors in (params, grads, state.momentum))
            lr, wd, beta = (like(p, setting) for setting in settings[:3])
            b = beta * b + (g + wd * p)
            p = p - lr * b
            for tensors, vector in (new, p), (momentum, b):
                tensors |= _taken_apart(vector, params, names)
        return new, SgdState(momentum)

    return PureOptimizer(init, update)


def _adam(*, decoupled: bool) -> PureOptimizer:
    """m ← β₁·m + (1−β₁)·g;  v ← β₂·v + (1−β₂)·g²;  θ ← θ − η·m̂/(√v̂ + ε), m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).

    ``decoupled`` decay (AdamW) first takes η·wd·θ off θ; otherwise g is g + wd·θ.
    """

    def init(params: Tensors) -> AdamState:
        device = next(iter(params.values())).device
        return AdamState(
            step=torch.zeros((), dtype=torch.int64, device=device),
            mean={name: torch.zeros_like(p) for name, p in params.items()},
            square={name: torch.zeros_like(p) for name, p in params.items()},
        )

    def update(
        params: Tensors, grads: Tensors, state: AdamState, settings: Settings
    ) -> tuple[dict[str, Tensor], AdamState]:
        step = state.step + 1
        lr, wd, beta1, beta2 = settings
        updates = step.double()  # float32 would lose digits of 1 − β₂ᵗ
        size = lr / (1.0 - beta1**updates)
        spread = (1.0 - beta2**updates).sqrt()
        new, mean, square = {}, {}, {}
        for names in _by_type(params):
            p, g, m, v = (_as_vector(tensors, names) for tensors in (params, grads, state.mean, state.square))
            if decoupled:
                p = p * like(p, 1.0 - lr * wd)
            else:
                g = g + like(p, wd) * p
            m = torch.lerp(m, g, like(p, 1.0 - beta1))  # pyright: ignore[reportArgumentType,reportCallIssue]
            v = like(p, beta2) * v + like(p, 1.0 - beta2) * (g * g)
            p = p - like(p, size) * (m / (v.sqrt() / like(p, spread) + _EPS))
            for tensors, vector in (new, p), (mean, m), (square, v):
                tensors |= _taken_apart(vector, params, names)
        return new, AdamState(step, mean, square)

    return PureOptimizer(init, update)


def _by_type(params: Tensors) -> Iterable[list[str]]:
    """The names of the parameters, those of one dtype together."""
    found: dict[torch.dtype, list[str]] = {}
    for name, p in params.items():
        found.setdefault(p.dtype, []).append(name)
    return found.values()


def _as_vector(tensors: Tensors, names: Sequence[str]) -> Tensor:
    return torch.cat([tensors[name].reshape(-1) for name in names])


def _taken_apart(vector: Tensor, params: Tensors, names: Sequence[str]) -> dict[str, Tensor]:
    """Views of ``vector``, shaped as the parameters that it was made of."""
    parts = vector.split([params[name].numel() for name in names])
    return {name: part.view(params[name].shape) for name, part in zip(names, parts, strict=True)}


def _make_sgd(
    parameters: Iterable[tuple[str, nn.Parameter]], lr: float, wd: float, beta1: float, beta2: float
) -> torch.optim.Optimizer:
    """PyTorch's optimizer with its fused kernel, the fastest on a CPU as well; ``beta2`` means nothing."""
    parameters = list(parameters)
    return torch.optim.SGD(parameters, lr, momentum=beta1, weight_decay=wd, fused=_have_kernel(parameters))


def _make_adam(
    kind: type[torch.optim.Adam],
    parameters: Iterable[tuple[str, nn.Parameter]],
    lr: float,
    wd: float,
    beta1: float,
    beta2: float,
) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return kind(parameters, lr, betas=(beta1, beta2), weight_decay=wd, fused=_have_kernel(parameters))


def _have_kernel(parameters: Iterable[tuple[str, nn.Parameter]]) -> bool:
    """The fused kernels are for real numbers, and refuse an optimizer that has a complex parameter too."""
    return all(p.is_floating_point() for _, p in parameters)


SGD = OptimizerCard(
    name="sgd",
    summary="Stochastic gradient descent with momentum beta1; wd is added to the gradient.",
    make=_make_sgd,
    pure=_sgd(),
    # The two decades of steps and the decays about Omnigrok's and GrokTransfer's gradient descent (0.1, 0.1).
    space="lr=0.01..1 log, wd=1e-4..1 log, beta1=0..0.95",
)

ADAM = OptimizerCard(
    name="adam",
    summary="The mean gradient over the root of the mean square; wd is added to the gradient.",
    make=partial(_make_adam, torch.optim.Adam),
    pure=_adam(decoupled=False),
    # Grokfast and NeuralGrok take 1e-3, with decays of 1e-3 to 1e-2; a decade and more to both sides of each.
    space="lr=1e-4..1e-2 log, wd=1e-5..1e-1 log",
)

ADAMW = OptimizerCard(
    name="adamw",
    summary="The mean gradient over the root of the mean square; "
    "wd is decoupled: each step takes lr·wd of the weights off.",
    make=partial(_make_adam, torch.optim.AdamW),
    pure=_adam(decoupled=True),
    # Published rates for grokking are 3e-4 to 1e-2, decays 0.1 to 2 (Power et al. 2022: 1e-3 and 1), up to 10 on texts.
    space="lr=3e-4..3e-2 log, wd=0.03..10 log",
)

"""SGD, Adam and AdamW, each twice: as PyTorch's optimizer for a run alone, and as pure functions for many runs at once.

In the pure functions nothing is changed in place, nothing branches on a tensor's value, and a setting may be a number
or a 0-d tensor: they can be vmapped over stacked parameters and captured in a CUDA graph. The semantics, and but for
rounding the values, are those of :func:`build_optimizer`. Every parameter has a gradient every step, so steps are
counted once, not per parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from grokkit.train.config import OptimizerConfig

Tensors: TypeAlias = Mapping[str, Tensor]
Setting: TypeAlias = float | Tensor

_EPS = 1e-8  # torch.optim's default


class Settings(NamedTuple):
    """As in :class:`grokkit.train.config.OptimizerConfig`; ``lr`` is this step's."""

    lr: Setting
    wd: Setting
    beta1: Setting
    beta2: Setting


class PureOptimizer(NamedTuple):
    """``init(params) -> state`` and ``update(params, grads, state, settings) -> (params, state)``; a line on both."""

    init: Callable[[Tensors], Any]
    update: Callable[[Tensors, Tensors, Any, Settings], tuple[dict[str, Tensor], Any]]
    summary: str


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
        for name, p in params.items():
            lr, wd, beta = (_like(setting, p) for setting in settings[:3])
            momentum[name] = beta * state.momentum[name] + (grads[name] + wd * p)
            new[name] = p - lr * momentum[name]
        return new, SgdState(momentum)

    return PureOptimizer(init, update, "Stochastic gradient descent with momentum beta1; wd is added to the gradient.")


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
        for name, p in params.items():
            g = grads[name]
            if decoupled:
                p = p * _like(1.0 - lr * wd, p)
            else:
                g = g + _like(wd, p) * p
            mean[name] = torch.lerp(state.mean[name], g, _like(1.0 - beta1, p))  # pyright: ignore[reportArgumentType,reportCallIssue]
            square[name] = _like(beta2, p) * state.square[name] + _like(1.0 - beta2, p) * (g * g)
            root = square[name].sqrt() / _like(spread, p) + _EPS
            new[name] = p - _like(size, p) * (mean[name] / root)
        return new, AdamState(step, mean, square)

    decay = "is decoupled: each step takes lr·wd of the weights off" if decoupled else "is added to the gradient"
    return PureOptimizer(init, update, f"The mean gradient over the root of the mean square; wd {decay}.")


def _like(setting: Setting, p: Tensor) -> Setting:
    """A tensor takes the parameter's dtype, as a number does."""
    return setting.to(p.dtype) if isinstance(setting, Tensor) else setting


OPTIMIZERS: dict[str, PureOptimizer] = {
    "sgd": _sgd(),
    "adam": _adam(decoupled=False),
    "adamw": _adam(decoupled=True),
}


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimizer with its fused kernel, the fastest on a CPU as well; it knows the parameters' names."""
    params = model.named_parameters()
    if config.optimizer == "sgd":
        return torch.optim.SGD(params, config.lr, momentum=config.beta1, weight_decay=config.wd, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(params, config.lr, betas=(config.beta1, config.beta2), weight_decay=config.wd, fused=True)


def warmup(config: OptimizerConfig, step: int) -> float:
    """The factor on the learning rate at update ``step``, counted from 0."""
    return min(1.0, step / config.lr_warmup) if config.lr_warmup else 1.0


OPTIMIZER_SCALARS = ("lr", "wd", "beta1", "beta2", "lr_warmup")
"""Settings in which members of a program may differ."""


def at_step(scalars: Mapping[str, Tensor], step: Tensor) -> Settings:
    """The settings at update ``step``, from :data:`OPTIMIZER_SCALARS` as 0-d tensors; as :func:`warmup`."""
    length = scalars["lr_warmup"]
    factor = torch.where(length > 0, (step / length.clamp(min=1.0)).clamp(max=1.0), 1.0)
    return Settings(scalars["lr"] * factor, scalars["wd"], scalars["beta1"], scalars["beta2"])

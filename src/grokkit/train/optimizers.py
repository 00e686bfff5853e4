"""SGD, Adam and AdamW as pure functions, for many runs in one program, each with its own settings.

Nothing is changed in place, nothing branches on a tensor's value, and a setting may be a number or a 0-d tensor:
they can be vmapped over stacked parameters and captured in a CUDA graph. The semantics, and but for rounding the
values, are those of ``torch.optim`` as :func:`grokkit.train.setup.build_optimizer` makes it. Every parameter has
a gradient every step, so steps are counted once, not per parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

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
    """``init(params) -> state`` and ``update(params, grads, state, settings) -> (params, state)``."""

    init: Callable[[Tensors], Any]
    update: Callable[[Tensors, Tensors, Any, Settings], tuple[dict[str, Tensor], Any]]


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

    return PureOptimizer(init, update)


def _like(setting: Setting, p: Tensor) -> Setting:
    """A tensor takes the parameter's dtype, as a number does."""
    return setting.to(p.dtype) if isinstance(setting, Tensor) else setting


OPTIMIZERS: dict[str, PureOptimizer] = {
    "sgd": _sgd(),
    "adam": _adam(decoupled=False),
    "adamw": _adam(decoupled=True),
}

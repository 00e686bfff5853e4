"""EMA-Nesterov: each gradient is taken ahead of the weights, where the slow part of their way leads.

With A one step of any optimizer, its gradient taken at the point that it starts from,

    θ_{t+1} = A(θ_t + β·m_t),   m_{t+1} = γ·m_t + (1−γ)·(θ_{t+1} − θ_t),   m_0 = 0.

A steady step u of the optimizer so becomes u/(1−β), over 1/((1−γ)(1−β)) steps: what Grokfast does to slow gradients
before the optimizer, this does to slow updates behind it, whatever that does with a gradient's scale. Between steps the
model is at θ_t + β·m_t. β and γ may be 0-d tensors. Cost a step: four passes over the weights, and two copies of them.

Reference: Yau et al., "EMA-Nesterov", 2026, arXiv 2605.25395; γ and β from the records of modded-nanogpt's track 3
(results 39 and 40), which let β follow the learning rate, after some hundred steps without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator
from grokkit.methods.settings import Setting, like, number
from grokkit.shards import local
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform


def ema_nesterov(beta: float = 0.3, gamma: float = 0.99) -> WeightTransform:
    """Look ahead along an exponential moving average of the weights' increments.

    Args:
        beta: how far, β, in averaged increments, in [0, 1). Default 0.3 (track 3, result 40; 0.6 in result 39).
        gamma: decay γ of the average a step, in [0, 1). Default 0.99 (track 3, both).

    Raises:
        InputError: for a value outside these ranges.

    >>> import torch
    >>> ahead = ema_nesterov(beta=0.5, gamma=0.5)
    >>> weights, state = ahead.update({"w": torch.tensor([1.0])}, ahead.init({"w": torch.tensor([0.0])}))
    >>> weights["w"]  # the step of 1, and half of the average of 0 and 1
    tensor([1.2500])
    """
    beta = number("beta", beta, lambda v: 0.0 <= v < 1.0, "0 <= beta < 1", 0.3)
    gamma = number("gamma", gamma, lambda v: 0.0 <= v < 1.0, "0 <= gamma < 1", 0.99)
    return WeightTransform.of(_EmaNesterov(beta, gamma))


class _Way(NamedTuple):
    weights: dict[str, Tensor]
    """θ, without looking ahead."""
    slow: dict[str, Tensor]
    """m, the average of the increments of θ."""


@dataclass(frozen=True)
class _EmaNesterov:
    beta: Setting
    gamma: Setting

    def init(self, params: Params) -> _Way:
        return _Way(
            weights={name: p.clone() for name, p in params.items()},
            slow={name: torch.zeros_like(p, dtype=accumulator(p.dtype)) for name, p in params.items()},
        )

    def before(self, params: Params, state: _Way) -> _Way:
        # What others have added to the weights since the last step they have added to θ. Nothing is exactly nothing
        # here, because the point ahead is computed as it was then.
        weights = dict(state.weights)
        for name, p in params.items():
            weights[name] = state.weights[name] + (p - self._ahead(state.weights[name], state.slow[name]))
        return _Way(weights, state.slow)

    def update(self, params: Params, state: _Way) -> tuple[dict[str, Tensor], _Way]:
        ahead, weights, slow = {}, dict(state.weights), dict(state.slow)
        for name, p in params.items():
            slow[name] = self._slow(p, state.weights[name], state.slow[name])
            ahead[name] = self._ahead(p, slow[name])
            weights[name] = p.clone()
        return ahead, _Way(weights, slow)

    def update_(self, params: Params, state: _Way) -> _Way:
        for name, p in params.items():
            here, before, slow = local(p), local(state.weights[name]), local(state.slow[name])
            slow.copy_(self._slow(here, before, slow))
            before.copy_(here)
            here.copy_(self._ahead(here, slow))
        return state

    def _ahead(self, p: Tensor, slow: Tensor) -> Tensor:
        return (p + like(slow, self.beta) * slow).to(p.dtype)

    def _slow(self, p: Tensor, before: Tensor, slow: Tensor) -> Tensor:
        return torch.lerp(slow, (p - before).to(slow.dtype), like(slow, 1.0 - self.gamma))


EMA_NESTEROV = MethodCard(
    name="ema-nesterov",
    summary="Takes each gradient ahead of the weights, along the average of their last increments.",
    equations="θ_{t+1} = A(θ_t + β·m_t),  m_{t+1} = γ·m_t + (1−γ)·(θ_{t+1} − θ_t), A the optimizer's step",
    cost="four passes over the weights a step; two copies of them",
    base_source="the adamw arm's, unless another part states one",
    weights=ema_nesterov,
    space="beta=0.1..0.9, gamma=0.9..0.99",  # about both published βs; a memory of ten steps to that of theirs
    smallest={"beta": 0.6},
    off={"beta": 0.0},
    departures="β is constant; where it was published it is zero for the first hundreds of steps and follows the "
    "learning rate. A model is evaluated where its gradients are taken, β average increments ahead.",
    citation="""@misc{yau2026emanesterov,
  title = {EMA-Nesterov: Stabilizing Nesterov's Lookahead for Accelerated Deep Learning Optimization},
  author = {Yau, Chung-Yiu and Li, Dawei and Glentis, Athanasios and Boreiko, Valentyn and Wai, Hoi-To and others},
  year = {2026},
  eprint = {2605.25395},
  archivePrefix = {arXiv}
}""",
)

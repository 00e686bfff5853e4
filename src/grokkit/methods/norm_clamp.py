"""Norm clamp: after each step all weights together are put back to the norm that they started with.

θ ← ρ·(‖θ₀‖₂/‖θ‖₂)·θ over all parameters as one vector, ρ = 1 by default. How the norm is spread over the tensors is
left to the training, which is what it differs by from norm-held. ρ may be a 0-d tensor. Attached, a step in which some
parameters have no gradient holds the others together. Cost a step: two passes over the weights, no memory but a number
for each tensor.

Reference: Liu, Michaud & Tegmark, "Omnigrok", ICLR 2023, arXiv 2210.01117, which trains on the sphere of norm ρ‖θ₀‖.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.norm_held import NORM_HELD
from grokkit.methods.precision import accumulator, norms
from grokkit.methods.settings import Setting, like, positive
from grokkit.shards import local
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform


def norm_clamp(ratio: float = 1.0) -> WeightTransform:
    """Hold the ℓ₂ norm of all weights at ``ratio`` times what it started with.

    Args:
        ratio: ρ, > 0. Default 1.0.

    Raises:
        InputError: if ratio is not a finite number above 0.

    >>> import torch
    >>> clamp, start = norm_clamp(), {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    >>> clamp.update({"a": torch.tensor([0.0]), "b": torch.tensor([2.0])}, clamp.init(start))[0]
    {'a': tensor([0.]), 'b': tensor([5.])}
    """
    return WeightTransform.of(_NormClamp(positive("ratio", ratio, 1.0)))


@dataclass(frozen=True)
class _NormClamp:
    ratio: Setting

    def init(self, params: Params) -> dict[str, Tensor]:
        return dict(zip(params, norms(list(params.values())), strict=True))

    def update(self, params: Params, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        scale = self._scale(params, state)
        return {name: p * scale.to(accumulator(p.dtype)) for name, p in params.items()}, state

    def update_(self, params: Params, state: dict[str, Tensor]) -> dict[str, Tensor]:
        scale = self._scale(params, state)
        for p in params.values():
            local(p).mul_(scale.to(accumulator(p.dtype)))
        return state

    def _scale(self, params: Params, state: dict[str, Tensor]) -> Tensor:
        start = _together([state[name] for name in params])
        now = _together(norms(list(params.values())))
        held = like(start, self.ratio) * start / (now + (now == 0))
        return torch.where(start > 0, held, torch.ones_like(held))


def _together(norms: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([norm.double() for norm in norms]))


NORM_CLAMP = MethodCard(
    name="norm-clamp",
    summary="Puts all weights together back to the norm that they started with, after each step.",
    equations="θ ← ρ·(‖θ₀‖₂/‖θ‖₂)·θ over all parameters, after the step",
    cost="two passes over the weights a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    weights=norm_clamp,
    space="ratio=0.3..1.5 log",  # Omnigrok finds the best norm below the start's
    smallest={"ratio": 0.7},
    citation=NORM_HELD.citation,
)

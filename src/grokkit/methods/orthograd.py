"""⊥Grad: the part of the gradient that only scales a tensor is taken out of it.

g⊥ = g − s·(⟨w, g⟩/⟨w, w⟩)·w and g' = g⊥·‖g‖/‖g⊥‖, each parameter tensor by itself, s = 1 by default. Along w the loss
of a network that fits its rows falls for ever, by larger outputs alone, and nothing is learned. Where g is along w, as
that of a single number is, nothing is left, and g' is zero. s may be a 0-d tensor. Cost a step: four passes over
gradients and weights, no memory.

Reference: Prieto, Barsbey, Mediano & Birdal, "Grokking at the Edge of Numerical Stability", ICLR 2025, arXiv
2501.04697.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator
from grokkit.methods.settings import Setting, like, number
from grokkit.methods.stablemax import PRIETO
from grokkit.transform import GradientTransform, Grads, Params

_EPS = 1e-30  # the authors', under ⟨w, w⟩
_TINY = 1e-300  # under the division of norms in float64
_ROUNDING = 1e-5


def orthograd(share: float = 1.0) -> GradientTransform:
    """Take ``share`` of the part along the weights out of each gradient, and keep the gradient's norm.

    Args:
        share: s, 0 <= s <= 1. Default 1.0 (the authors').

    Raises:
        InputError: if share is outside its range.

    >>> import torch
    >>> t, params = orthograd(), {"w": torch.tensor([2.0, 0.0])}
    >>> t.update({"w": torch.tensor([3.0, 4.0])}, t.init(params), params)[0]["w"]
    tensor([0., 5.])
    """
    allowed = "a number from 0 to 1"
    return GradientTransform.of(_Orthogonal(number("share", share, lambda v: 0.0 <= v <= 1.0, allowed, 1.0)))


@dataclass(frozen=True)
class _Orthogonal:
    share: Setting

    def init(self, params: Params) -> tuple[()]:
        return ()

    def update(self, grads: Grads, state: tuple[()], params: Params) -> tuple[Grads, tuple[()]]:
        return {name: self._turned(g, params[name]) for name, g in grads.items()}, state

    def _turned(self, g: Tensor, w: Tensor) -> Tensor:
        wide_g, wide_w = g.to(accumulator(g.dtype)), w.to(accumulator(w.dtype))
        along = (wide_w.conj() * wide_g).sum() / ((wide_w.conj() * wide_w).sum() + _EPS)
        left = wide_g - like(wide_g, self.share) * along * wide_w
        # In float64, which the square of no float32 number leaves.
        widest = torch.complex128 if g.is_complex() else torch.float64
        whole, kept = (torch.linalg.vector_norm(part.to(widest)) for part in (wide_g, left))
        # Of a gradient that is along w, as each number's is, only rounding is left; that must not be scaled up.
        is_left = kept > _ROUNDING * whole
        scale = is_left * whole / (kept + _TINY)
        return (left * scale.to(left.real.dtype)).to(g.dtype)


ORTHOGRAD = MethodCard(
    name="orthograd",
    summary="Takes the part along the weights out of every gradient, and keeps its norm.",
    equations="g⊥ = g − (⟨w, g⟩/⟨w, w⟩)·w,  g' = g⊥·‖g‖/‖g⊥‖, per tensor",
    cost="four passes over gradients and weights a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    factory=orthograd,
    smallest={"share": 1.0},
    off={"share": 0.0},
    departures="The authors scale up what rounding leaves of a gradient along the weights; here it is zero. The share "
    "is ours. They train without decay.",
    citation=PRIETO,
)

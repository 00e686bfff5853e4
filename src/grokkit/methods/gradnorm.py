"""Gradient rescaling: every tensor's gradient is brought to the same length.

g' = c·g / ‖g‖₂, each parameter tensor by itself; a gradient that is all zero stays zero.

This is the ablation of NeuralGrok that leaves out the learned part, and the simplest control for any method
that normalizes. c is the ℓ₂ norm, in the gradient's units, that each tensor's gradient gets. Cost a step: two
passes over the gradients, no memory. The norm is accumulated in float64, so that no float32 gradient over- or
underflows in it; that of a complex gradient is over its real and imaginary parts. c may be a 0-d tensor: in a vmapped
program every member has its own.

Reference: Zhou et al., "NeuralGrok: Accelerate Grokking by Neural Gradient Transformation", 2025,
arXiv 2504.17243.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator, norm, quick_norm
from grokkit.methods.settings import Setting, positive
from grokkit.shards import local, norms_over_shards
from grokkit.transform import GradientTransform, Grads, Params


def grad_norm(c: float = 1.0) -> GradientTransform:
    """Rescale each tensor's gradient to ℓ₂ norm ``c``.

    Args:
        c: the norm, > 0. Default 1.0 (paper; its ablation runs from 0.01 to 2).

    Raises:
        InputError: if c is not a finite number above 0.

    >>> import torch, grokkit
    >>> t = grokkit.grad_norm(c=1.0)
    >>> t.update({"w": torch.tensor([3.0, 4.0])}, t.init({}), {})[0]["w"]
    tensor([0.6000, 0.8000])
    """
    return GradientTransform.of(_GradNorm(positive("c", c, 1.0)))


@dataclass(frozen=True)
class _GradNorm:
    c: Setting

    def init(self, params: Params) -> tuple[()]:
        return ()

    def update(self, grads: Grads, state: tuple[()], params: Params) -> tuple[Grads, tuple[()]]:
        return {name: _divided(g, _divisor(norm(g), self.c)) for name, g in grads.items()}, state

    def update_(self, grads: Grads, state: tuple[()], params: Params) -> tuple[()]:
        tensors = list(grads.values())
        if tensors:
            shards = [local(g) for g in tensors]
            norms = norms_over_shards([quick_norm(shard) for shard in shards], tensors)
            for shard, length in zip(shards, norms, strict=True):
                divisor = _divisor(length, self.c)
                if shard.dtype is torch.complex32:
                    shard.copy_(_divided(shard, divisor))
                else:
                    shard.div_(divisor)
        return state


def _divided(g: Tensor, divisor: Tensor) -> Tensor:
    """In a precision that PyTorch divides in, which complex32 is not."""
    return (g.to(accumulator(g.dtype)) / divisor).to(g.dtype)


def _divisor(length: Tensor, c: Setting) -> Tensor:
    """‖g‖ / c, and 1 where the norm is 0: a 0-d tensor. Its inverse would leave float32 where a gradient is tiny."""
    divisor = length / c
    return divisor + (divisor == 0)


GRAD_NORM = MethodCard(
    name="grad-norm",
    summary="Rescales each tensor's gradient to the same ℓ₂ norm; learns nothing.",
    equations="g' = c·g/‖g‖₂, per tensor",
    cost="two passes over the gradients a step; no memory",
    factory=grad_norm,
    base=ADAMW.base,
    base_source="the tuned adamw arm's, so that the rescaling is the only difference",
    recipes=ADAMW.recipes,
    smallest={"c": 0.5},
    departures="The paper's code clips the global norm to 1 afterwards; here nothing is clipped.",
    citation="""@article{zhou2025neuralgrok,
  title   = {NeuralGrok: Accelerate Grokking by Neural Gradient Transformation},
  author  = {Zhou, Xinyu and Fan, Simin and Jaggi, Martin and Fu, Jie},
  journal = {arXiv preprint arXiv:2504.17243},
  year    = {2025}
}""",
)

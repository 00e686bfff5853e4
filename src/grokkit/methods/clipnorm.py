"""Global norm clipping: all gradients together are brought down to a given length, if they are longer.

g' = g·min(1, max_norm/‖g‖₂), ‖g‖₂ over all tensors that have a gradient in this step; zero stays zero.

The published code of NeuralGrok clips so after its transformation: this is the control that leaves out all but the
clipping. max_norm is in the gradient's units. Cost a step: two passes over the gradients, no memory. The norm is
accumulated in float64, so that no float32 gradient over- or underflows in it; that of complex gradients is over their
real and imaginary parts. max_norm may be a 0-d tensor: in a vmapped program every member has its own.

Tensors are coupled: what one becomes depends on all the others. All of them must be on one device.

Differs from ``torch.nn.utils.clip_grad_norm_``, which adds 1e-6 to the norm and so clips a little further: nothing is
added here.

Reference: Zhou et al., "NeuralGrok: Accelerate Grokking by Neural Gradient Transformation", 2025,
arXiv 2504.17243.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.baselines import ADAM_L2, ADAM_PAPER
from grokkit.methods.contract import MethodCard
from grokkit.methods.gradnorm import GRAD_NORM
from grokkit.methods.precision import norm
from grokkit.methods.settings import Setting, positive
from grokkit.shards import local, norms_over_shards
from grokkit.transform import GradientTransform, Grads, Params


def clip_norm(max_norm: float = 1.0) -> GradientTransform:
    """Clip the ℓ₂ norm of all gradients together to ``max_norm``.

    Args:
        max_norm: the largest norm, > 0. Default 1.0 (NeuralGrok's published code).

    Raises:
        InputError: if max_norm is not a finite number above 0.

    >>> import torch, grokkit
    >>> t = grokkit.clip_norm(max_norm=1.0)
    >>> t.update({"w": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}, t.init({}), {})[0]
    {'w': tensor([0.6000, 0.0000]), 'b': tensor([0.8000])}
    """
    return GradientTransform.of(_ClipNorm(positive("max_norm", max_norm, 1.0)))


@dataclass(frozen=True)
class _ClipNorm:
    max_norm: Setting

    def init(self, params: Params) -> tuple[()]:
        return ()

    def update(self, grads: Grads, state: tuple[()], params: Params) -> tuple[Grads, tuple[()]]:
        if not grads:  # e.g. masked() lets none of this step's through
            return grads, state
        scale = _scale(grads, self.max_norm)
        return {name: (g * scale).to(g.dtype) for name, g in grads.items()}, state

    def update_(self, grads: Grads, state: tuple[()], params: Params) -> tuple[()]:
        if grads:
            torch._foreach_mul_([local(g) for g in grads.values()], _scale(grads, self.max_norm))
        return state


def _scale(grads: Grads, max_norm: Setting) -> Tensor:
    """min(1, max_norm/‖g‖) over all of ``grads``: a 0-d float64 tensor, 1 where the norm is 0."""
    norms = [norm(local(g)) for g in grads.values()]
    norms = norms_over_shards(norms, list(grads.values()))
    return (max_norm / torch.linalg.vector_norm(torch.stack(norms))).clamp(max=1.0)


CLIP_ONLY = MethodCard(
    name="clip-only",
    summary="Clips the global ℓ₂ norm of the gradient, as NeuralGrok's published code does; learns nothing.",
    equations="g' = g·min(1, max_norm/‖g‖₂), over all tensors",
    cost="two passes over the gradients a step; no memory",
    factory=clip_norm,
    held_out=0.02,  # NeuralGrok's, so that both train on the same rows
    base=ADAM_L2.base,
    base_source="the adam-l2 arm's, so that the clipping is the only difference",
    recipes=ADAM_PAPER.recipes,
    mixes_tensors=True,
    space="max_norm=0.1..10 log",  # a decade to both sides of NeuralGrok's 1.0
    smallest={"max_norm": 0.5},
    off={"max_norm": 1e30},
    departures="Nothing is added to the norm; torch.nn.utils.clip_grad_norm_ adds 1e-6.",
    citation=GRAD_NORM.citation,
)

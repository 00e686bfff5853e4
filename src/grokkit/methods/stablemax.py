"""StableMax: the loss sees outputs that grow like logarithms, so that fitted rows never leave the gradient.

L(z, y) = L_task(sign(z)·log(1 + |z|), y). Under cross-entropy the softmax of that is s(z_i)/Σ s(z_j) with
s(z) = z + 1 where z ≥ 0 and 1/(1 − z) elsewhere, which is StableMax in the place of exp: since log s(z) is
sign(z)·log(1 + |z|), no difference of large numbers is taken, and float32 does. It is for losses that take outputs as
logits. Evaluations have the task's own loss. Cost a step: two passes over the outputs.

Reference: Prieto, Barsbey, Mediano & Birdal, "Grokking at the Edge of Numerical Stability", ICLR 2025, arXiv
2501.04697.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.contract import Loss, MethodCard, one_tensor

PRIETO = """@inproceedings{prieto2025grokking,
  title = {Grokking at the Edge of Numerical Stability},
  author = {Prieto, Lucas and Barsbey, Melih and Mediano, Pedro A. M. and Birdal, Tolga},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
  eprint = {2501.04697},
  archivePrefix = {arXiv}
}"""


def stablemax() -> Callable[[Loss], Loss]:
    """Put sign(z)·log(1 + |z|) in the place of the outputs z before the loss.

    >>> import torch, torch.nn.functional as F
    >>> loss = stablemax()(F.cross_entropy)(torch.tensor([[1.0, -1.0]]), torch.tensor([0]))
    >>> round(float(loss.exp()), 4)  # of 2 and 1/2
    1.25
    """
    return _Damped


@dataclass(frozen=True)
class _Damped:
    base: Loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = one_tensor("stablemax", outputs)
        # Not sign(z)·log(1 + |z|), whose slope at 0 is 0 to autograd, nor clamp(z, min=0), whose slope there depends on
        # PyTorch's version: a head that starts at zero would stay there.
        size = torch.where(outputs < 0, -outputs, outputs).log1p()
        return self.base(torch.where(outputs < 0, -size, size), targets)


STABLEMAX = MethodCard(
    name="stablemax",
    summary="Puts StableMax in the place of the softmax in the loss.",
    equations="p_i = s(z_i)/Σ s(z_j), s(z) = z + 1 (z ≥ 0), 1/(1 − z) (z < 0)",
    cost="two passes over the outputs a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    loss=stablemax,
    logits=True,
    departures="The authors compute it in float64; here log s(z) is taken directly, in the outputs' precision.",
    citation=PRIETO,
)

"""Logit temperature: the loss sees the outputs divided by τ.

L(z, y) = L_task(z/τ, y). A τ above 1 makes the cross-entropy of the same outputs larger and its gradient smaller and
flatter, so that rows which are fitted already go on to teach. Evaluations have no temperature: losses in the curves
are the task's own. τ may be a 0-d tensor: in a vmapped program every member has its own. Cost a step: one pass over
the outputs.

Reference: arXiv 2606.18465, which moves τ from 1 to 1.7; the idea is that of Hinton, Vinyals & Dean, "Distilling the
Knowledge in a Neural Network", 2015, arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from grokkit.methods.contract import Loss, MethodCard, one_tensor
from grokkit.methods.settings import Setting, like, positive


def logit_temperature(tau: float = 1.7) -> Callable[[Loss], Loss]:
    """Divide the outputs by ``tau`` before the loss.

    Args:
        tau: τ, > 0. Default 1.7 (arXiv 2606.18465).

    Raises:
        InputError: if tau is not a finite number above 0.

    >>> import torch
    >>> loss = logit_temperature(tau=2.0)(lambda outputs, targets: outputs.mean())
    >>> float(loss(torch.tensor([3.0, 5.0]), torch.tensor(0)))
    2.0
    """
    return _Temperature(positive("tau", tau, 1.7))


@dataclass(frozen=True)
class _Temperature:
    tau: Setting

    def __call__(self, base: Loss) -> Loss:
        return _Cooled(self.tau, base)


@dataclass(frozen=True)
class _Cooled:
    tau: Setting
    base: Loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = one_tensor("logit-temperature", outputs)
        return self.base(outputs / like(outputs, self.tau), targets)


LOGIT_TEMPERATURE = MethodCard(
    name="logit-temperature",
    summary="Divides the outputs by a temperature before the loss.",
    equations="L(z, y) = L_task(z/τ, y)",
    cost="one pass over the outputs a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    loss=logit_temperature,
    logits=True,
    space="tau=1..4 log",  # 1 is off
    smallest={"tau": 2.0},
    off={"tau": 1.0},
    citation="""@article{hinton2015distilling,
  title = {Distilling the Knowledge in a Neural Network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  year = {2015},
  eprint = {1503.02531},
  archivePrefix = {arXiv}
}""",
)

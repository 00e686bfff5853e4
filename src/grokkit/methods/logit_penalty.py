"""Logit penalty: the loss has the mean square of the outputs added.

L(z, y) = L_task(z, y) + λ·mean z². It holds the scale of the outputs, and with it the saturation of the softmax, where
a decay of weights does so only by way of them. Evaluations have the task's own loss. λ may be a 0-d tensor: in a
vmapped program every member has its own. Cost a step: two passes over the outputs.

Reference: logit regularization, arXiv 2602.12039.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from grokkit.methods.contract import Loss, MethodCard, one_tensor
from grokkit.methods.settings import Setting, like, not_negative


def logit_penalty(lamb: float = 0.01) -> Callable[[Loss], Loss]:
    """Add ``lamb`` times the mean square of the outputs to the loss.

    Args:
        lamb: λ, >= 0. Default 0.01 (ours, not tuned).

    Raises:
        InputError: if lamb is not a finite number of at least 0.

    >>> import torch
    >>> loss = logit_penalty(lamb=0.1)(lambda outputs, targets: outputs.sum())
    >>> float(loss(torch.tensor([1.0, 3.0]), torch.tensor(0)))
    4.5
    """
    return _Penalty(not_negative("lamb", lamb, 0.01))


@dataclass(frozen=True)
class _Penalty:
    lamb: Setting

    def __call__(self, base: Loss) -> Loss:
        return _Penalized(self.lamb, base)


@dataclass(frozen=True)
class _Penalized:
    lamb: Setting
    base: Loss

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = one_tensor("logit-penalty", outputs)
        return self.base(outputs, targets) + like(outputs, self.lamb) * outputs.square().mean()


LOGIT_PENALTY = MethodCard(
    name="logit-penalty",
    summary="Adds the mean square of the outputs to the loss.",
    equations="L(z, y) = L_task(z, y) + λ·mean z²",
    cost="two passes over the outputs a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    loss=logit_penalty,
    space="lamb=1e-4..0.3 log",  # from what hardly shows to what holds the outputs near 1
    smallest={"lamb": 0.1},
    off={"lamb": 0.0},
    citation="""@misc{arxiv2602,
  title = {Logit regularization, arXiv 2602.12039},
  year = {2026},
  eprint = {2602.12039},
  archivePrefix = {arXiv}
}""",
)

"""Delayed compression: once the batch is fitted, the loss has the norms of the matrices added.

L = L_task + λ·Σ_W ‖W‖_F if at least the share a of the batch's rows is right, else L_task; over all matrices W. The
pull on a matrix has the length λ whatever its norm, and begins when there is nothing left to fit. Evaluations have the
task's own loss. It is for targets that are classes. λ and a may be 0-d tensors. Cost a step: a pass over the weights.

Reference: github.com/vuciv/grokfast, with λ = 0.01 from a training accuracy of 99 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.methods.contract import Loss, MethodCard, one_tensor
from grokkit.methods.settings import Setting, not_negative
from grokkit.models.classes import is_weight


def delayed_compression(lamb: float = 0.01, at: float = 0.99) -> Callable[[Loss], Loss]:
    """Add ``lamb`` times the matrices' norms to the loss of a batch that is fitted.

    Args:
        lamb: λ, >= 0. Default 0.01 (the author's).
        at: a, >= 0. Default 0.99 (the author's, there of the whole training part).

    Raises:
        InputError: if a value is negative or no number; from the first step, if targets are no classes, outputs are
            not those of classes in their last dimension, or there is no matrix.
    """
    return _Compression(not_negative("lamb", lamb, 0.01), not_negative("at", at, 0.99))


@dataclass(frozen=True)
class _Compression:
    lamb: Setting
    at: Setting

    def __call__(self, base: Loss) -> Loss:
        return base

    def penalty(self, outputs: Tensor, targets: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        outputs = one_tensor("delayed-compression", outputs)
        if not isinstance(targets, Tensor) or targets.is_floating_point():
            what = "numbers" if isinstance(targets, Tensor) else f"in a {type(targets).__name__}"
            raise InputError(f"delayed-compression needs targets that are classes, and these are {what}; leave it out")
        if outputs.shape[:-1] != targets.shape or outputs.shape[-1] < 2:  # one output is largest, right or wrong
            raise InputError(
                f"delayed-compression needs outputs with the classes in their last dimension, and these are "
                f"{tuple(outputs.shape)} for targets {tuple(targets.shape)}; leave it out"
            )
        share = (outputs.detach().argmax(-1) == targets).float().mean()
        norms = [torch.linalg.vector_norm(w) for w in weights.values() if w.ndim > 1 and is_weight(w)]
        if not norms:
            raise InputError("delayed-compression needs matrices, and the network has none; leave it out")
        return torch.where(share >= self.at, self.lamb, 0.0).to(outputs.dtype) * torch.stack(norms).sum()


DELAYED_COMPRESSION = MethodCard(
    name="delayed-compression",
    summary="Adds the norms of the matrices to the loss once the batch is fitted.",
    equations="L = L_task + λ·Σ_W ‖W‖_F where the share of the batch's rows that are right is at least a",
    cost="a pass over the weights a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    loss=delayed_compression,
    space="lamb=1e-3..0.1 log",  # a decade to both sides of the author's
    smallest={"lamb": 0.1, "at": 0.0},
    off={"lamb": 0.0},
    departures="The author looks at the accuracy on the whole training part.",
    citation="""@misc{vuciv2024grokfast,
  title = {A fork of Grokfast with delayed compression},
  author = {vuciv},
  year = {2024},
  url = {https://github.com/vuciv/grokfast}
}""",
)

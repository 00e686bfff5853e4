"""Whether runs of a method can share a program, which is seen by trying a step of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from grokkit.models.classes import Class
from grokkit.state import check_keys
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.train.doors import doors_of
from grokkit.weight_transform import before_step


def is_stackable(method: MethodConfig) -> bool:
    """Whether runs of ``method`` can be members of one program, which takes the steps of all under ``torch.vmap``.

    A method cannot that has an optimizer of its own, or was given somebody's, or gives the model another form, or one
    with a door that branches on the value of a setting or a tensor: vmap refuses it. Nor can one whose state is none.
    To see that, a step of two members is tried.
    """
    doors = doors_of(method)
    of_any_class = {kind: ["weight"] for kind in get_args(Class)}
    if (
        isinstance(method.optimizer, OwnOptimizerConfig)
        or doors.optimizer() is not None
        or doors.reforming() is not None
        or ((weights := doors.weights(of_any_class)) is not None and weights.see is not None)
    ):
        return False
    both = {name: torch.full((2,), float(value), dtype=torch.float64) for name, value in doors.numbers().items()}
    sample = torch.linspace(-1.0, 1.0, 12).view(2, 3, 2)  # A member's (3, 2) stands for outputs, gradient and weights.

    def step(numbers: Mapping[str, Tensor], tensor: Tensor) -> Any:
        own, grads = doors.with_numbers(numbers), {"weight": tensor}
        targets = torch.zeros(len(tensor), dtype=torch.int64)
        loss = own.loss(F.cross_entropy)(tensor, targets)
        loss = loss + sum(penalty(tensor, targets, grads) for penalty in own.penalties())
        transform, weights = own.transform(seed=0), own.weights(of_any_class)
        if transform is not None:
            state = transform.init(grads)
            check_keys(state, grads, "init")
            grads, state = transform.update(grads, state, grads)
            check_keys(state, grads, "update")
        if weights is not None:
            state = weights.init(grads)
            check_keys(state, grads, "init")
            grads, state = weights.update(grads, before_step(weights, grads, state))
            check_keys(state, grads, "update")
        return loss, grads

    try:
        torch.vmap(step)(both, sample)
    except Exception:  # the program would meet it too; a run alone, if it meets it at all, shows where
        return False
    return True

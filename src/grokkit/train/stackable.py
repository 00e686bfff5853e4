"""Whether runs of a method can share a program, which is seen by trying two steps of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad

from grokkit.models.classes import Class
from grokkit.state import Overwriting, check_keys, leaves
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.train.doors import Doors, doors_of
from grokkit.train.stacking import stack
from grokkit.weight_transform import before_step

_OF_ANY_CLASS = {kind: ["weight"] for kind in get_args(Class)}


def is_stackable(method: MethodConfig) -> bool:
    """Whether runs of ``method`` can be members of one program, which takes the steps of all under ``torch.vmap``.

    A method cannot that has an optimizer of its own, or was given somebody's, or gives the model another form, or one
    with a door that branches on the value of a setting or a tensor: vmap refuses it. Nor can one whose state is none.
    To see that, two steps of two members are tried as the program takes them: each member's state is made by itself,
    and it is a batch of them that a step reads. Made within a step it would be plain tensors, which a door may read.
    """
    doors = doors_of(method)
    if (
        isinstance(method.optimizer, OwnOptimizerConfig)
        or doors.optimizer() is not None
        or doors.reforming() is not None
        or ((weights := doors.weights(_OF_ANY_CLASS)) is not None and weights.see is not None)
    ):
        return False
    numbers = {name: torch.full((2,), float(value), dtype=torch.float64) for name, value in doors.numbers().items()}
    weights = torch.linspace(-1.0, 1.0, 12).view(2, 3, 2)  # A member's (3, 2) stands for its weights and outputs.

    def step(numbers: Mapping[str, Tensor], state: Any, weight: Tensor) -> tuple[Any, Tensor]:
        return _step(doors.with_numbers(numbers), state, {"weight": weight})

    try:
        begun = [_begun(doors, {"weight": weight}, seed) for seed, weight in enumerate(weights)]
        state = stack(begun, len(begun))
        with torch.no_grad():
            for _ in range(2):
                new, weights = torch.vmap(step)(numbers, state, weights)
                for (_, _, old), (_, _, leaf) in zip(leaves(state), leaves(new), strict=True):
                    old.copy_(leaf)
    except Exception:  # the program would meet it too; a run alone, if it meets it at all, shows where
        return False
    return True


def _begun(doors: Doors, params: dict[str, Tensor], seed: int) -> Any:
    """A member's states before its first step: of the gradient's transform, and of that of the weights."""
    states = []
    for transform in (doors.transform(seed), doors.weights(_OF_ANY_CLASS)):
        state = () if transform is None else transform.init(params)
        check_keys(state, params, "init")
        states.append(state)
    return tuple(states)


def _step(doors: Doors, state: Any, params: dict[str, Tensor]) -> tuple[Any, Tensor]:
    """One member's step through every door, and the states and the weight after it."""
    of_transform, of_weights = state
    targets = torch.zeros(len(params["weight"]), dtype=torch.int64)

    def loss_of(params: Mapping[str, Tensor]) -> Tensor:
        loss = doors.loss(F.cross_entropy)(params["weight"], targets)
        return loss + sum(penalty(params["weight"], targets, params) for penalty in doors.penalties())

    gradients = grad(loss_of)(params)
    if (transform := doors.transform(seed=0)) is not None:
        if doors.bilevel is not None:
            of_transform = doors.bilevel.learn(
                of_transform, gradients, doors.bilevel.direction(of_transform, gradients)
            )
        with Overwriting(of_transform):
            gradients, of_transform = transform.update(gradients, of_transform, params)
        check_keys(of_transform, params, "update")
    if (weights := doors.weights(_OF_ANY_CLASS)) is not None:
        of_weights = before_step(weights, params, of_weights)
    moved = {name: p - 0.1 * gradients[name] for name, p in params.items()}
    if weights is not None:
        moved, of_weights = weights.update(moved, of_weights)
        check_keys(of_weights, params, "update")
    return (of_transform, of_weights), moved["weight"]

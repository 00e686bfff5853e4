"""Whether runs of a method can share a program, which is seen by trying two steps of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad

from grokkit.state import Overwriting, check_keys, leaves
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.train.doors import Doors, doors_of
from grokkit.train.stacking import stack
from grokkit.weight_transform import before_step

_SHAPES = {"embedding.weight": (5, 3), "hidden.weight": (3, 2), "hidden.bias": (3,), "head.weight": (3, 4)}
"""Of the tensors of a member: one of each class, with the number of axes and the names that doors may ask for."""

_OUTPUTS = "head.weight"  # stands for the outputs as well, three rows of four classes

_OF_CLASSES = {
    "embedding": ["embedding.weight"],
    "hidden": ["hidden.weight"],
    "head": ["head.weight"],
    "vector": ["hidden.bias"],
}


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
        or ((weights := doors.weights(_OF_CLASSES)) is not None and weights.see is not None)
    ):
        return False
    numbers = {name: torch.full((2,), float(value), dtype=torch.float64) for name, value in doors.numbers().items()}
    params = {name: torch.linspace(-1.0, 1.0, 2 * prod(shape)).view(2, *shape) for name, shape in _SHAPES.items()}

    def step(numbers: Mapping[str, Tensor], state: Any, params: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        return _step(doors.with_numbers(numbers), state, params)

    try:
        begun = [_begun(doors, {name: p[seed] for name, p in params.items()}, seed) for seed in range(2)]
        state = stack(begun, len(begun))
        with torch.no_grad():
            for _ in range(2):
                new, params = torch.vmap(step)(numbers, state, params)
                for (_, _, old), (_, _, leaf) in zip(leaves(state), leaves(new), strict=True):
                    old.copy_(leaf)
    except Exception:  # the program would meet it too; a run alone, if it meets it at all, shows where
        return False
    return True


def _begun(doors: Doors, params: dict[str, Tensor], seed: int) -> Any:
    """A member's states before its first step: of the gradient's transform, and of that of the weights."""
    states = []
    for transform in (doors.transform(seed), doors.weights(_OF_CLASSES)):
        state = () if transform is None else transform.init(params)
        check_keys(state, params, "init")
        states.append(state)
    return tuple(states)


def _step(doors: Doors, state: Any, params: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """One member's step through every door, and the states and the weights after it."""
    of_transform, of_weights = state
    targets = torch.zeros(len(params[_OUTPUTS]), dtype=torch.int64)

    def loss_of(params: Mapping[str, Tensor]) -> Tensor:
        outputs = params[_OUTPUTS]
        loss = doors.loss(F.cross_entropy)(outputs, targets) + sum(p.square().sum() for p in params.values())
        return loss + sum(penalty(outputs, targets, params) for penalty in doors.penalties())

    gradients = grad(loss_of)(params)
    if (transform := doors.transform(seed=0)) is not None:
        if doors.bilevel is not None:
            of_transform = doors.bilevel.learn(
                of_transform, gradients, doors.bilevel.direction(of_transform, gradients)
            )
        with Overwriting(of_transform):
            gradients, of_transform = transform.update(gradients, of_transform, params)
        check_keys(of_transform, params, "update")
    if (weights := doors.weights(_OF_CLASSES)) is not None:
        of_weights = before_step(weights, params, of_weights)
    moved = {name: p - 0.1 * gradients[name] for name, p in params.items()}
    if weights is not None:
        moved, of_weights = weights.update(moved, of_weights)
        check_keys(of_weights, params, "update")
    return (of_transform, of_weights), moved

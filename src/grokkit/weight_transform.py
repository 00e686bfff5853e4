"""A transform of the weights, made after each step of the optimizer: clipping rows, holding norms, freezing.

As a gradient transform (:mod:`grokkit.transform`) it is two functions and perhaps a third, and no object:

- ``init(params) -> state``;
- ``update(params, state) -> (params, state)``, pure: nothing in place, no branch on a tensor's value;
- ``update_(params, state) -> state``, optional: the same, overwriting the tensors in ``params``.

States are built as those of gradient transforms; every leaf is a tensor. The lab applies it, alone or stacked. A
transform that is for some classes of parameters says which, and in the lab sees no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokkit.transform import Params, State


class WeightTransform(NamedTuple):
    """A pure transform of the weights; see the module's docstring for the contract."""

    init: Callable[[Params], State]
    update: Callable[[Params, State], tuple[dict[str, Tensor], State]]
    update_: Callable[[Params, State], State] | None = None
    of: tuple[str, ...] = ()
    """The classes of parameters that it is for (:mod:`grokkit.models.classes`); all if there are none."""


def restricted(transform: WeightTransform, classes: Mapping[str, Collection[str]]) -> WeightTransform:
    """``transform`` on the parameters that it is for; ``classes`` has all parameters' names by their class."""
    if not transform.of:
        return transform
    own = _Restricted(transform, frozenset(name for kind in transform.of for name in classes[kind]))
    return WeightTransform(own.init, own.update, own.update_)


@dataclass(frozen=True)
class _Restricted:
    transform: WeightTransform
    names: frozenset[str]

    def init(self, params: Params) -> State:
        return self.transform.init(self._own(params))

    def update(self, params: Params, state: State) -> tuple[dict[str, Tensor], State]:
        new, state = self.transform.update(self._own(params), state)
        return {**params, **new}, state

    def update_(self, params: Params, state: State) -> State:
        return change_in_place(self.transform, self._own(params), state)

    def _own(self, params: Params) -> dict[str, Tensor]:
        return {name: p for name, p in params.items() if name in self.names}


def chain_weights(transforms: Sequence[WeightTransform]) -> WeightTransform | None:
    """``transforms`` one after the other, the first one first; None of none, and of one that one."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None
    both = _Chain(tuple(transforms))
    return WeightTransform(both.init, both.update)


@dataclass(frozen=True)
class _Chain:
    transforms: tuple[WeightTransform, ...]

    def init(self, params: Params) -> State:
        return tuple(transform.init(params) for transform in self.transforms)

    def update(self, params: Params, state: State) -> tuple[dict[str, Tensor], State]:
        new, states = dict(params), []
        for transform, own in zip(self.transforms, state, strict=True):
            new, own = transform.update(new, own)
            states.append(own)
        return new, tuple(states)


@torch.no_grad()
def change_in_place(transform: WeightTransform, params: Params, state: State) -> Any:
    """Overwrite ``params`` by what ``transform`` makes of them; returns its state."""
    if transform.update_ is not None:
        return transform.update_(params, state)
    new, state = transform.update(params, state)
    for name, p in params.items():
        p.copy_(new[name])
    return state

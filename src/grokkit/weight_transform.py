"""A transform of the weights, made after each step of the optimizer: clipping rows, holding norms, freezing.

As a gradient transform (:mod:`grokkit.transform`) it is two functions and perhaps a third, and no object:

- ``init(params) -> state``;
- ``update(params, state) -> (params, state)``, pure: nothing in place, no branch on a tensor's value;
- ``update_(params, state) -> state``, optional: the same, overwriting the tensors in ``params``.

States are built as those of gradient transforms; every leaf is a tensor. The lab applies it, alone or stacked, and
:func:`grokkit.attach` to the parameters that a step has moved: one without a gradient in this step is absent from
``params``, and its state stays as it is. A transform that is for some classes of parameters says which, and in the lab
sees no others; attached, it is told by :func:`grokkit.masked`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from grokkit.state import counters_to_ints, ints_to_counters
from grokkit.transform import Params, State, overwrite


class WeightFaces(Protocol):
    """A class whose methods are the functions of a weight transform; perhaps also the third, ``update_``."""

    def init(self, params: Params, /) -> State: ...

    def update(self, params: Params, state: State, /) -> tuple[dict[str, Tensor], State]: ...


class WeightTransform(NamedTuple):
    """A pure transform of the weights; see the module's docstring for the contract."""

    init: Callable[[Params], State]
    update: Callable[[Params, State], tuple[dict[str, Tensor], State]]
    update_: Callable[[Params, State], State] | None = None
    classes: tuple[str, ...] = ()
    """The classes of parameters that it is for (:mod:`grokkit.models.classes`); all if there are none."""
    see: Callable[[State, Tensor], State] | None = None
    """``see(state, share)`` before each ``update``: the share of the step's rows that the outputs were right for, a 0-d
    tensor. It is for the lab, where such a run is trained alone, on a task that has an accuracy."""

    @classmethod
    def of(
        cls, faces: WeightFaces, classes: tuple[str, ...] = (), see: Callable[[State, Tensor], State] | None = None
    ) -> WeightTransform:
        """The transform whose functions are the methods of ``faces``, as in :meth:`GradientTransform.of`."""
        return cls(faces.init, faces.update, getattr(faces, "update_", None), classes, see)


@torch.no_grad()
def change_in_place(transform: WeightTransform, params: Params, state: State) -> Any:
    """Overwrite ``params`` by what ``transform`` makes of them; returns its state."""
    if transform.update_ is not None:
        return transform.update_(params, state)
    return overwrite(params, transform.update(params, state), "weight")


def change_attached(transform: WeightTransform, params: Params, state: State) -> Any:
    """The same with a state that lies in an optimizer, whose counters are Python's integers."""
    device = next(iter(params.values())).device
    return counters_to_ints(change_in_place(transform, params, ints_to_counters(state, device)))

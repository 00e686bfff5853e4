"""A transform of the weights, made after each step of the optimizer: clipping rows, holding norms, freezing.

As a gradient transform (:mod:`grokkit.transform`) it is two functions and perhaps more, and no object:

- ``init(params) -> state``;
- ``update(params, state) -> (params, state)``, pure: nothing in place, no branch on a tensor's value;
- ``update_(params, state) -> state``, optional: the same, overwriting the tensors in ``params``;
- ``before(params, state) -> state``, optional, pure: called directly before the optimizer's step, on the parameters
  that it is going to move. A transform that needs to know what the step did takes a copy of them there. The weights
  that its own ``update`` left are not those that the next step begins with: another transform of a chain, a wrapper
  such as Lookahead, or the user may have changed them since.

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
    """A class whose methods are the functions of a weight transform; perhaps also ``update_`` and ``before``."""

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
    before: Callable[[Params, State], State] | None = None
    """``before(params, state)``, directly before the optimizer's step."""

    @classmethod
    def of(
        cls, faces: WeightFaces, classes: tuple[str, ...] = (), see: Callable[[State, Tensor], State] | None = None
    ) -> WeightTransform:
        """The transform whose functions are the methods of ``faces``, as in :meth:`GradientTransform.of`."""
        return cls(
            faces.init, faces.update, getattr(faces, "update_", None), classes, see, getattr(faces, "before", None)
        )


@torch.no_grad()
def before_step(transform: WeightTransform, params: Params, state: State) -> Any:
    """Let ``transform`` see the weights that the optimizer's step begins with; returns its state."""
    return state if transform.before is None else transform.before(params, state)


def noted(weights: Params, params: Params) -> dict[str, Tensor]:
    """``weights`` with copies of ``params`` in the place of those of their names.

    Of a parameter that is absent, because the step does not move it, what was noted before stays.
    """
    return {**weights, **{name: p.clone() for name, p in params.items()}}


@torch.no_grad()
def change_in_place(transform: WeightTransform, params: Params, state: State) -> Any:
    """Overwrite ``params`` by what ``transform`` makes of them; returns its state."""
    if transform.update_ is not None:
        return transform.update_(params, state)
    return overwrite(params, transform.update(params, state), "weight")


def with_counters(
    function: Callable[[WeightTransform, Params, State], Any], transform: WeightTransform, params: Params, state: State
) -> Any:
    """``function``, one of the above, with a state that lies in an optimizer: its counters are Python's integers."""
    return counters_to_ints(function(transform, params, ints_to_counters(state, params)))

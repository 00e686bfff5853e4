"""The contract: what a gradient transform is. How transforms combine is in :mod:`grokkit.combine`.

A transform sits between ``backward()`` and ``optimizer.step()``. It is three functions and no object:

- ``init(params) -> state``;
- ``update(grads, state, params) -> (grads, state)``, the *pure face*: nothing is changed in place, no
  ``.item()``, no Python branch on a tensor's value, so that it can be vmapped over seeds and captured in a
  CUDA graph;
- ``update_(grads, state, params) -> state``, optional, the *in-place face*: overwrites the tensors in
  ``grads`` and may reuse those in ``state``. It exists for speed and memory only, and the conformance suite
  holds it equal to ``update``.

``params`` and ``grads`` map parameter names to tensors. A parameter without a gradient in this step is
absent from ``grads`` and its state stays as it is. A state is built of NamedTuples, tuples and dicts, and
**a dict in it is keyed by parameter names and nothing else**: that is how :func:`grokkit.attach` knows which
tensor belongs to which parameter. In the in-place face 0-d integer tensors (step counters) are Python
integers, so that reading one never waits for a GPU, and no gradient shares memory with another or is a conjugate or
negative view, so that it can be written over.

A transform can be copied and pickled, so that it can be sent to another process: its functions are the methods of a
class, or ``functools.partial``s, of a module (:meth:`GradientTransform.of`).

Under FSDP2 parameters, gradients and per-parameter state are ``DTensor``s. A pure face may take them as the whole
tensors that they stand for; one that reads shards, as the in-place faces here do, reduces through
:mod:`grokkit.shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.shards import is_distributed, spread_as
from grokkit.state import counters_to_ints, ints_to_counters

Params: TypeAlias = Mapping[str, Tensor]
Grads: TypeAlias = dict[str, Tensor]
State: TypeAlias = Any


class Faces(Protocol):
    """A class whose methods are the functions of a transform; perhaps also the third, ``update_``."""

    def init(self, params: Params, /) -> State: ...

    def update(self, grads: Grads, state: State, params: Params, /) -> tuple[Grads, State]: ...


class GradientTransform(NamedTuple):
    """A pure gradient transform; see the module's docstring for the contract."""

    init: Callable[[Params], State]
    update: Callable[[Grads, State, Params], tuple[Grads, State]]
    update_: Callable[[Grads, State, Params], State] | None = None

    @classmethod
    def of(cls, faces: Faces) -> GradientTransform:
        """The transform whose functions are the methods of ``faces``.

        ``faces`` is best a frozen dataclass, defined at the top level of a module, that holds the settings. Then the
        transform can be pickled, which functions inside a factory cannot.
        """
        return cls(faces.init, faces.update, getattr(faces, "update_", None))


def in_place(transform: GradientTransform) -> Callable[[Grads, State, Params], State]:
    """The in-place face of ``transform``: its own ``update_``, or one made from ``update`` by copying."""
    return transform.update_ or partial(_update_and_copy, transform.update)


def _update_and_copy(
    update: Callable[[Grads, State, Params], tuple[Grads, State]], grads: Grads, state: State, params: Params
) -> State:
    if not grads:  # e.g. masked() lets none of this step's through
        return state
    result = update(grads, ints_to_counters(state, grads), params)
    return counters_to_ints(overwrite(grads, result, "gradient"))


def overwrite(tensors: Mapping[str, Tensor], result: Any, what: str) -> State:
    """Copy into ``tensors`` what a transform's ``update`` made of them; returns the state that it gave.

    ``what`` is what a tensor is called in an error. Shapes are compared: a scalar would fill a whole tensor.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], dict):
        raise InputError(
            f"the transform's update() gave {shown(result)}; return the {what}s, a dict by name, and the state"
        )
    new, state = result
    for name, tensor in new.items():
        given = f"of shape {tuple(tensors[name].shape)}" if name in tensors else "absent"
        found = f"of shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else shown(tensor)
        if found != given:
            raise InputError(
                f"the transform's update() gave a {what} of {name!r} that is {found}, where the one that it got is "
                f"{given}; return those that it gets, each in its shape"
            )
    if missing := sorted(tensors.keys() - new.keys()):
        raise InputError(f"the transform's update() gave no {what} of {missing[0]!r}; return all that it gets")
    whole = [name for name, tensor in tensors.items() if not is_distributed(tensor)]
    if whole:
        torch._foreach_copy_([tensors[name] for name in whole], [new[name] for name in whole])
    for name in sorted(new.keys() - set(whole)):  # all processes in one order
        tensors[name].copy_(spread_as(new[name], tensors[name]))
    return state

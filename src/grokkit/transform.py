"""The contract: what a gradient transform is, and how transforms combine.

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
integers, so that reading one never waits for a GPU.

Under FSDP2 parameters, gradients and per-parameter state are ``DTensor``s. A pure face may take them as the whole
tensors that they stand for; one that reads shards, as the in-place faces here do, reduces through
:mod:`grokkit.shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.shards import is_distributed
from grokkit.state import counters_to_ints, ints_to_counters

Params: TypeAlias = Mapping[str, Tensor]
Grads: TypeAlias = dict[str, Tensor]
State: TypeAlias = Any


class GradientTransform(NamedTuple):
    """A pure gradient transform; see the module's docstring for the contract."""

    init: Callable[[Params], State]
    update: Callable[[Grads, State, Params], tuple[Grads, State]]
    update_: Callable[[Grads, State, Params], State] | None = None


def in_place(transform: GradientTransform) -> Callable[[Grads, State, Params], State]:
    """The in-place face of ``transform``: its own ``update_``, or one made from ``update`` by copying."""
    if transform.update_ is not None:
        return transform.update_

    def update_(grads: Grads, state: State, params: Params) -> State:
        if not grads:  # e.g. masked() lets none of this step's through
            return state
        device = next(iter(grads.values())).device
        new, state = transform.update(grads, ints_to_counters(state, device), params)
        whole = [name for name, g in grads.items() if name in new and not is_distributed(g)]
        if whole:
            torch._foreach_copy_([grads[name] for name in whole], [new[name] for name in whole])
        for name in sorted(new.keys() - set(whole)):  # all processes in one order
            grads[name].copy_(new[name])
        return counters_to_ints(state)

    return update_


def chain(*transforms: GradientTransform) -> GradientTransform:
    """Apply ``transforms`` one after the other, the first one first.

    Raises:
        InputError: if no transform is given, or something else is.

    >>> import grokkit
    >>> t = grokkit.chain(grokkit.grad_norm(1.0), grokkit.grokfast_ema())
    """
    if not transforms:
        raise InputError("chain() got no transform; give at least one, e.g. chain(grad_norm(), grokfast_ema())")
    for transform in transforms:
        check_transform_type(transform, "chain")
    steps = [in_place(transform) for transform in transforms]

    def init(params: Params) -> State:
        return tuple(transform.init(params) for transform in transforms)

    def update(grads: Grads, state: State, params: Params) -> tuple[Grads, State]:
        states = []
        for transform, own in zip(transforms, state, strict=True):
            grads, own = transform.update(grads, own, params)
            states.append(own)
        return grads, tuple(states)

    def update_(grads: Grads, state: State, params: Params) -> State:
        return tuple(step(grads, own, params) for step, own in zip(steps, state, strict=True))

    return GradientTransform(init, update, update_)


def masked(transform: GradientTransform, where: Callable[[str, Tensor], bool]) -> GradientTransform:
    """Apply ``transform`` to the parameters for which ``where(name, parameter)`` is true, no other.

    >>> import grokkit
    >>> matrices_only = grokkit.masked(grokkit.grokfast_ema(), lambda name, p: p.ndim >= 2)
    """
    check_transform_type(transform, "masked")
    step = in_place(transform)

    def pick(tensors: Mapping[str, Tensor], params: Params) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if where(name, params[name])}

    def init(params: Params) -> State:
        return transform.init(pick(params, params))

    def update(grads: Grads, state: State, params: Params) -> tuple[Grads, State]:
        new, state = transform.update(pick(grads, params), state, pick(params, params))
        return {**grads, **new}, state

    def update_(grads: Grads, state: State, params: Params) -> State:
        return step(pick(grads, params), state, pick(params, params))

    return GradientTransform(init, update, update_)


def check_transform_type(value: object, where: str) -> None:
    """Refuse what is not a transform, above all a factory that was not called."""
    if isinstance(value, GradientTransform):
        return
    name = getattr(value, "__name__", type(value).__name__)
    remedy = f"call it: {name}(...)" if callable(value) else "use e.g. grokkit.grokfast_ema()"
    raise InputError(f"{where}() needs a GradientTransform, got {name!r}; {remedy}")

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

A transform can be copied and pickled, so that it can be sent to another process: its functions are the methods of a
class, or ``functools.partial``s, of a module (:meth:`GradientTransform.of`).

Under FSDP2 parameters, gradients and per-parameter state are ``DTensor``s. A pure face may take them as the whole
tensors that they stand for; one that reads shards, as the in-place faces here do, reduces through
:mod:`grokkit.shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.shards import is_distributed
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
    device = next(iter(grads.values())).device
    new, state = update(grads, ints_to_counters(state, device), params)
    whole = [name for name, g in grads.items() if name in new and not is_distributed(g)]
    if whole:
        torch._foreach_copy_([grads[name] for name in whole], [new[name] for name in whole])
    for name in sorted(new.keys() - set(whole)):  # all processes in one order
        grads[name].copy_(new[name])
    return counters_to_ints(state)


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
    return GradientTransform.of(_Chain(transforms))


@dataclass(frozen=True)
class _Chain:
    transforms: tuple[GradientTransform, ...]

    def init(self, params: Params) -> State:
        return tuple(transform.init(params) for transform in self.transforms)

    def update(self, grads: Grads, state: State, params: Params) -> tuple[Grads, State]:
        states = []
        for transform, own in zip(self.transforms, state, strict=True):
            grads, own = transform.update(grads, own, params)
            states.append(own)
        return grads, tuple(states)

    def update_(self, grads: Grads, state: State, params: Params) -> State:
        states = zip(self.transforms, state, strict=True)
        return tuple(in_place(transform)(grads, own, params) for transform, own in states)


def masked(transform: GradientTransform, where: Callable[[str, Tensor], bool]) -> GradientTransform:
    """Apply ``transform`` to the parameters for which ``where(name, parameter)`` is true, no other.

    Args:
        transform: what to apply.
        where: of a parameter's name and the parameter. Attached, the names are those that the optimizer was given, as
            in ``torch.optim.SGD(model.named_parameters())``; without any they are ``group 0 parameter 0`` and so on. A
            lambda cannot be pickled: for a transform that is sent to other processes, give a function of a module.

    Raises:
        InputError: if ``transform`` is no transform, or ``where`` cannot be called.

    >>> import grokkit
    >>> matrices_only = grokkit.masked(grokkit.grokfast_ema(), lambda name, p: p.ndim >= 2)
    """
    check_transform_type(transform, "masked")
    if not callable(where):
        raise InputError(
            f"masked(where={shown(where)}) is not possible: a function of a parameter's name and the parameter, e.g. "
            "lambda name, p: p.ndim >= 2"
        )
    return GradientTransform.of(_Masked(transform, where))


@dataclass(frozen=True)
class _Masked:
    transform: GradientTransform
    where: Callable[[str, Tensor], bool]

    def init(self, params: Params) -> State:
        return self.transform.init(self._pick(params, params))

    def update(self, grads: Grads, state: State, params: Params) -> tuple[Grads, State]:
        new, state = self.transform.update(self._pick(grads, params), state, self._pick(params, params))
        return {**grads, **new}, state

    def update_(self, grads: Grads, state: State, params: Params) -> State:
        return in_place(self.transform)(self._pick(grads, params), state, self._pick(params, params))

    def _pick(self, tensors: Mapping[str, Tensor], params: Params) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if self.where(name, params[name])}


def check_transform_type(value: object, where: str) -> None:
    """Refuse what is not a transform, above all a factory that was not called."""
    if isinstance(value, GradientTransform):
        return
    name = getattr(value, "__name__", type(value).__name__)
    remedy = f"call it: {name}(...)" if callable(value) else "use e.g. grokkit.grokfast_ema()"
    raise InputError(f"{where}() needs a GradientTransform, got {name!r}; {remedy}")

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

import inspect
import warnings
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
    new, state = _checked_update(update(grads, ints_to_counters(state, device), params), grads)
    whole = [name for name, g in grads.items() if name in new and not is_distributed(g)]
    if whole:
        torch._foreach_copy_([grads[name] for name in whole], [new[name] for name in whole])
    for name in sorted(new.keys() - set(whole)):  # all processes in one order
        grads[name].copy_(new[name])
    return counters_to_ints(state)


def _checked_update(result: Any, grads: Grads) -> tuple[Grads, State]:
    """What a transform's ``update`` gave for ``grads``; copied as it is, a scalar would fill a whole gradient."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], dict):
        raise InputError(
            f"the transform's update() gave {shown(result)}; return the gradients, a dict by name, and the state"
        )
    for name, g in result[0].items():
        given = f"of shape {tuple(grads[name].shape)}" if name in grads else "absent"
        found = f"of shape {tuple(g.shape)}" if isinstance(g, Tensor) else shown(g)
        if found != given:
            raise InputError(
                f"the transform's update() gave a gradient of {name!r} that is {found}, where the one that it got is "
                f"{given}; return those that it gets, each in its shape"
            )
    return result


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
        InputError: if ``transform`` is no transform, or ``where`` cannot be called with a name and a parameter. Later,
            from ``step()``: if it gives several numbers.

    >>> import grokkit
    >>> matrices_only = grokkit.masked(grokkit.grokfast_ema(), lambda name, p: p.ndim >= 2)
    """
    check_transform_type(transform, "masked")
    if not callable(where):
        raise InputError(
            f"masked(where={shown(where)}) is not possible: a function of a parameter's name and the parameter, e.g. "
            "lambda name, p: p.ndim >= 2"
        )
    try:
        inspect.signature(where).bind("name", None)
    except TypeError:
        raise InputError(
            f"masked() calls where(name, parameter), and {shown(where)} does not take these two; give e.g. "
            "lambda name, p: p.ndim >= 2"
        ) from None
    except ValueError:  # some built-in functions do not say what they take
        pass
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
        return {name: tensor for name, tensor in tensors.items() if self._lets_through(name, params[name])}

    def _lets_through(self, name: str, param: Tensor) -> bool:
        answer = self.where(name, param)
        if isinstance(answer, Tensor) and answer.numel() != 1:
            raise InputError(
                f"masked()'s where() gave {answer.numel()} numbers for {name}; a parameter is filtered as a whole: "
                "give one truth value, e.g. p.ndim >= 2"
            )
        return bool(answer)


def warn_of_idle_masks(transform: GradientTransform, params: Params) -> None:
    """Warn of a mask that lets none of ``params`` through: most often their names are others than it expects."""
    faces = getattr(transform.init, "__self__", None)
    if any(map(torch.nn.parameter.is_lazy, params.values())):
        return  # what has no shape yet cannot be asked about
    if isinstance(faces, _Chain):
        for part in faces.transforms:
            warn_of_idle_masks(part, params)
    elif isinstance(faces, _Masked):
        let_through = faces._pick(params, params)
        if params and not let_through:
            warnings.warn(
                f"masked() lets none of the optimizer's {len(params)} parameters through, whose names are "
                f"{shown(list(params))}; to have the model's names, give the optimizer model.named_parameters()",
                stacklevel=3,
            )
        warn_of_idle_masks(faces.transform, let_through)


def check_transform_type(value: object, where: str) -> None:
    """Refuse what is not a transform, above all a factory that was not called."""
    if isinstance(value, GradientTransform):
        return
    name = getattr(value, "__name__", type(value).__name__)
    remedy = f"call it: {name}(...)" if callable(value) else "use e.g. grokkit.grokfast_ema()"
    raise InputError(f"{where}() needs a GradientTransform, got {name!r}; {remedy}")

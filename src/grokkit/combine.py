"""How transforms combine: one after the other, and on some parameters only.

Gradient transforms (:mod:`grokkit.transform`) act before the optimizer's step, weight transforms
(:mod:`grokkit.weight_transform`) after it. A chain of both kinds is a :class:`Both`, which :func:`grokkit.attach` takes
as it takes either.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, overload

import torch
from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.names import given_name
from grokkit.transform import GradientTransform, Grads, Params, State, in_place
from grokkit.weight_transform import WeightTransform, before_step, change_in_place


class Both(NamedTuple):
    """A gradient transform and a weight transform, for the two sides of one step. Its state is a pair of theirs."""

    gradient: GradientTransform
    weights: WeightTransform

    def init(self, params: Params) -> State:
        return self.gradient.init(params), self.weights.init(params)


Transform: TypeAlias = GradientTransform | WeightTransform | Both


@overload
def chain(*transforms: GradientTransform) -> GradientTransform: ...


@overload
def chain(*transforms: WeightTransform) -> WeightTransform: ...


@overload
def chain(*transforms: Transform) -> Transform: ...


def chain(*transforms: Transform) -> Transform:
    """Apply ``transforms`` one after the other, the first one first.

    Those of the gradient act before the optimizer's step and those of the weights after it, wherever they stand among
    each other.

    Raises:
        InputError: if no transform is given, or something else is.

    >>> import grokkit
    >>> t = grokkit.chain(grokkit.grad_norm(1.0), grokkit.grokfast_ema())
    >>> clipped = grokkit.chain(grokkit.grokfast_ema(), grokkit.row_clip(c=2.0))
    """
    if not transforms:
        raise InputError("chain() got no transform; give at least one, e.g. chain(grad_norm(), grokfast_ema())")
    gradients: list[GradientTransform] = []
    weights: list[WeightTransform] = []
    for transform in transforms:
        check_transform_type(transform, "chain")
        gradient, weight = parts_of(transform)
        gradients += [] if gradient is None else [gradient]
        weights += [] if weight is None else [weight]
    if not weights:
        return GradientTransform.of(_Chain(tuple(gradients)))
    if not gradients:
        both = _WeightsChain(tuple(weights))
        of_both = WeightTransform.of(both, see=both.see if any(weight.see for weight in weights) else None)
        return of_both if any(weight.before for weight in weights) else of_both._replace(before=None)
    # One alone needs no chain, so that its state is found where a reader of handle.state looks for it.
    return Both(
        gradients[0] if len(gradients) == 1 else chain(*gradients), weights[0] if len(weights) == 1 else chain(*weights)
    )


def parts_of(transform: Transform) -> tuple[GradientTransform | None, WeightTransform | None]:
    """What ``transform`` does before the optimizer's step, and what it does after it."""
    if isinstance(transform, Both):
        return transform.gradient, transform.weights
    return (transform, None) if isinstance(transform, GradientTransform) else (None, transform)


@dataclass(frozen=True)
class _WeightsChain:
    transforms: tuple[WeightTransform, ...]

    def init(self, params: Params) -> State:
        return tuple(transform.init(params) for transform in self.transforms)

    def update(self, params: Params, state: State) -> tuple[dict[str, Tensor], State]:
        new, states = dict(params), []
        for transform, own in zip(self.transforms, state, strict=True):
            new, own = transform.update(new, own)
            states.append(own)
        return new, tuple(states)

    def before(self, params: Params, state: State) -> State:
        pairs = zip(self.transforms, state, strict=True)
        return tuple(before_step(transform, params, own) for transform, own in pairs)

    def see(self, state: State, share: Tensor) -> State:
        pairs = zip(self.transforms, state, strict=True)
        return tuple(own if transform.see is None else transform.see(own, share) for transform, own in pairs)


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
        for transform in self.transforms[1:]:  # a step that one of them refuses must leave what came before it alone
            _check_gradients(transform, grads, params)
        states = zip(self.transforms, state, strict=True)
        return tuple(in_place(transform)(grads, own, params) for transform, own in states)


@overload
def masked(transform: GradientTransform, where: Callable[[str, Tensor], bool]) -> GradientTransform: ...


@overload
def masked(transform: WeightTransform, where: Callable[[str, Tensor], bool]) -> WeightTransform: ...


@overload
def masked(transform: Transform, where: Callable[[str, Tensor], bool]) -> Transform: ...


def masked(transform: Transform, where: Callable[[str, Tensor], bool]) -> Transform:
    """Apply ``transform`` to the parameters for which ``where(name, parameter)`` is true, no other.

    Args:
        transform: what to apply, of the gradients or of the weights.
        where: of a parameter's name and the parameter; what it says of one has to stay the same. Attached, the names
            are those that the optimizer was given, as in ``torch.optim.SGD(model.named_parameters())``; without any
            they are ``group 0 parameter 0`` and so on. A lambda cannot be pickled: for a transform that is sent to
            other processes, give a function of a module.

    Raises:
        InputError: if ``transform`` is no transform, or ``where`` cannot be called with a name and a parameter. Later,
            from ``step()``: if it gives several numbers, or lets through of what the transform keeps nothing, because
            it did not before.

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
    if isinstance(transform, Both):
        return Both(masked(transform.gradient, where), masked(transform.weights, where))
    if isinstance(transform, WeightTransform):
        within = WeightTransform.of(_MaskedWeights(transform, where), see=transform.see)
        return within if transform.before else within._replace(before=None)
    return GradientTransform.of(_Masked(transform, where))


def among(transform: WeightTransform, classes: Mapping[str, Collection[str]]) -> WeightTransform:
    """``transform`` on the parameters that it is for; ``classes`` has all parameters' names by their class."""
    if not transform.classes:
        return transform
    return masked(transform, _Named(frozenset(name for kind in transform.classes for name in classes[kind])))


class _Named(NamedTuple):
    """Whether a parameter's name is one of ``names``."""

    names: frozenset[str]

    def __call__(self, name: str, param: Tensor) -> bool:
        return name in self.names


@dataclass(frozen=True)
class _Mask:
    transform: Any  # either kind
    where: Callable[[str, Tensor], bool]

    def init(self, params: Params) -> State:
        return self.transform.init(self.pick(params, params))

    def pick(self, tensors: Mapping[str, Tensor], params: Params) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if self._lets_through(name, params[name])}

    def _lets_through(self, name: str, param: Tensor) -> bool:
        # The user knows a parameter by the name that was given, and classes of parameters by one that no other has.
        answer = self.where(name if isinstance(self.where, _Named) else given_name(name), param)
        if isinstance(answer, Tensor) and answer.numel() != 1:
            raise InputError(
                f"masked()'s where() gave {answer.numel()} numbers for {name}; a parameter is filtered as a whole: "
                "give one truth value, e.g. p.ndim >= 2"
            )
        return bool(answer)


class _MaskedWeights(_Mask):
    def update(self, params: Params, state: State) -> tuple[dict[str, Tensor], State]:
        picked = self.pick(params, params)
        if not picked:  # as in update_() below: there is nothing to be of a norm, say
            return dict(params), state
        new, state = self.transform.update(picked, state)
        return {**params, **new}, state

    def update_(self, params: Params, state: State) -> State:
        picked = self.pick(params, params)
        return change_in_place(self.transform, picked, state) if picked else state

    def before(self, params: Params, state: State) -> State:
        picked = self.pick(params, params)
        return before_step(self.transform, picked, state) if picked else state


class _Masked(_Mask):
    def update(self, grads: Grads, state: State, params: Params) -> tuple[Grads, State]:
        new, state = self.transform.update(self.pick(grads, params), state, self.pick(params, params))
        return {**grads, **new}, state

    def update_(self, grads: Grads, state: State, params: Params) -> State:
        return in_place(self.transform)(self.pick(grads, params), state, self.pick(params, params))


def _check_gradients(transform: GradientTransform, grads: Grads, params: Params) -> None:
    """Raise what a part of ``transform`` that does not take all gradients would raise of ``grads``; change nothing."""
    faces = getattr(transform.init, "__self__", None)
    if isinstance(faces, _Chain):
        for part in faces.transforms:
            _check_gradients(part, grads, params)
    elif isinstance(faces, _Masked):
        _check_gradients(faces.transform, faces.pick(grads, params), params)
    elif (check := getattr(faces, "check_gradients", None)) is not None:
        check(grads)


def warn_of_idle_masks(transform: Transform, params: Params) -> None:
    """Warn of a mask that lets none of ``params`` through: most often their names are others than it expects."""
    if isinstance(transform, Both):
        for part in transform:
            warn_of_idle_masks(part, params)
        return
    faces = getattr(transform.init, "__self__", None)
    if any(map(torch.nn.parameter.is_lazy, params.values())):
        return  # what has no shape yet cannot be asked about
    if isinstance(faces, _Chain | _WeightsChain):
        for part in faces.transforms:
            warn_of_idle_masks(part, params)
    elif isinstance(faces, _Mask):
        let_through = faces.pick(params, params)
        if params and not let_through:
            warnings.warn(
                f"masked() lets none of the optimizer's {len(params)} parameters through, whose names are "
                f"{shown(list(params))}; to have the model's names, give the optimizer model.named_parameters()",
                stacklevel=3,
            )
        warn_of_idle_masks(faces.transform, let_through)


def check_transform_type(value: object, where: str) -> None:
    """Refuse what is not a transform, above all a factory that was not called, and one that needs to be masked."""
    if isinstance(value, WeightTransform) and value.classes and where != "masked":
        kinds = " and ".join(value.classes)
        raise InputError(
            f"{where}() cannot tell which parameters are {kinds}, for which this transform is; say it by "
            "masked(transform, lambda name, p: ...)"
        )
    if isinstance(value, GradientTransform | WeightTransform | Both):
        return
    name = getattr(value, "__name__", type(value).__name__)
    remedy = f"call it: {name}(...)" if callable(value) else "use e.g. grokkit.grokfast_ema()"
    raise InputError(f"{where}() needs a GradientTransform or a WeightTransform, got {name!r}; {remedy}")

"""What a method does in a run: the doors of its parts' cards (:mod:`grokkit.methods.contract`), made one for the loop.

Losses, gradient transforms and weight transforms compose in the order of the parts: the first part's loss is made of
the task's, the second's of the first's. There is one optimizer. With a method that learns while the model trains
(bilevel) no other part may change the gradient. Starts are made by :mod:`grokkit.train.starts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from grokkit.attach import Handle, attach
from grokkit.combine import among, chain
from grokkit.errors import InputError, one_number, shown
from grokkit.methods import AttachedBilevel, Bilevel, Reforming, TransferData
from grokkit.methods.contract import Classes, Loss, Start, Tables
from grokkit.models.classes import classes_of
from grokkit.models.flops import checked_flops
from grokkit.outside import theirs
from grokkit.train.config import MethodConfig
from grokkit.train.own_part import OwnPart, default_settings, transform_of
from grokkit.train.tables import checked_tables
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform


def doors_of(method: MethodConfig) -> Doors:
    """The doors of ``method``.

    Raises:
        InputError: for parts that exclude each other; both are named.
    """
    return Doors([OwnPart(card, part.settings) for card, part in zip(method.cards, method.parts, strict=True)])


class Doors:
    """The doors of one method: each opened with its part's settings, and those of a kind made one.

    Attributes:
        parts: in the order given.
        bilevel: how the method learns from outer data, None if it does not.
        scalars: names of the settings that have a float as their default and are not None, with the part's place in
            front: ``0/alpha``. Runs that are trained together as one program may differ in them.
    """

    def __init__(self, parts: Sequence[OwnPart]) -> None:
        self.parts = tuple(parts)
        _only_one(parts, "optimizer", "one optimizer trains a model")
        learning = _only_one(parts, "bilevel", "one method learns from the outer data")
        self._on_gradient = [part for part in parts if part.card.factory is not None]
        self._on_loss = [part for part in parts if part.card.loss is not None]
        self.bilevel: Bilevel | None = None
        if learning is not None:
            if len(self._on_gradient) > 1:
                other = next(part for part in self._on_gradient if part is not learning)
                raise InputError(
                    f"{learning.card.name}+{other.card.name} is not possible: {learning.card.name} learns what its own "
                    f"transform does to the gradient, and {other.card.name} changes the gradient too; leave one out"
                )
            assert learning.card.bilevel is not None
            self.bilevel = learning.card.bilevel(**learning.settings)
        self.scalars = tuple(
            f"{place}/{name}"
            for place, part in enumerate(parts)
            for name, default in default_settings(part.card).items()
            if type(default) is float and part.settings[name] is not None
        )

    @property
    def every(self) -> int | None:
        """Steps from one outer step to the next; None if the method takes none."""
        return None if self.bilevel is None else self.bilevel.every

    def numbers(self) -> dict[str, Any]:
        """The settings of :attr:`scalars`, by their names."""
        found = {}
        for scalar in self.scalars:
            place, name = scalar.split("/", 1)
            found[scalar] = self.parts[int(place)].settings[name]
        return found

    def with_numbers(self, numbers: Mapping[str, Any]) -> Doors:
        """The same with other values of :attr:`scalars`, such as 0-d tensors."""
        settings = [dict(part.settings) for part in self.parts]
        for scalar, value in numbers.items():
            place, name = scalar.split("/", 1)
            settings[int(place)][name] = value
        return Doors([OwnPart(part.card, own) for part, own in zip(self.parts, settings, strict=True)])

    def starts(self) -> list[Start]:
        """What is done before the first step, in order."""
        return [part.opened(part.card.start) for part in self.parts if part.card.start is not None]

    def reforming(self) -> Reforming | None:
        """The start that gives the model another form, if one does."""
        return next((start for start in self.starts() if isinstance(start, Reforming)), None)

    def check(self, model: nn.Module, data: Callable[[], TransferData]) -> None:
        """Refuse a ``model``, or ``data``, that the method could not start with, and costs that are none."""
        self.flops(model)
        self.outer_flops()
        names = [part.card.name for part in self.parts if part.card.start is not None]
        for name, start in zip(names, self.starts(), strict=True):
            if (check := getattr(start, "check", None)) is not None:
                with theirs(f"the check of the start of {name}"):
                    check(model, data())

    def loss(self, base: Loss) -> Loss:
        """The loss to train with, where the task's is ``base``."""
        for part, wrap in zip(self._on_loss, self._losses(), strict=True):
            made: object = wrap(base)
            if not callable(made):
                raise InputError(
                    f"the loss of {part.card.name} makes {shown(made)} of the task's; it must be a function"
                )
            base = _of_one_number(f"the loss of {part.card.name}", made)
        return base

    def penalties(self) -> list[Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]]:
        """What the parts add to the loss: of outputs, targets and weights."""
        losses: list[Any] = self._losses()
        return [
            _of_one_number(f"the penalty of {part.card.name}", loss.penalty)
            for part, loss in zip(self._on_loss, losses, strict=True)
            if hasattr(loss, "penalty")
        ]

    def _losses(self) -> list[Callable[[Loss], Loss]]:
        return [part.opened(part.card.loss) for part in self._on_loss if part.card.loss is not None]

    def transform(self, seed: int) -> GradientTransform | None:
        """What is done to the gradient."""
        return _chained([transform_of(part, seed) for part in self._on_gradient])

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, seed: int
    ) -> tuple[Handle | None, AttachedBilevel | None]:
        """Attach the gradient transform to a single run's optimizer; the second result takes its outer steps."""
        if self.bilevel is not None:
            (part,) = self._on_gradient  # a second part is refused, and one that learns has a transform
            attached = self.bilevel.attach(model, optimizer, {**part.settings, "seed": seed})
            return attached.handle, attached
        transform = self.transform(seed)
        return (None if transform is None else attach(optimizer, transform)), None

    def optimizer(self) -> Callable[[Classes], torch.optim.Optimizer] | None:
        """What makes the optimizer from the parameters by their classes; None for the one of the configuration."""
        for part in self.parts:
            if part.card.optimizer is not None:
                return part.opened(part.card.optimizer)
        return None

    def weights(self, classes: Mapping[str, Collection[str]]) -> WeightTransform | None:
        """What is done to the weights after the optimizer's step; ``classes`` has the names of each class of them."""
        transforms = [part.opened(part.card.weights) for part in self.parts if part.card.weights is not None]
        return _chained([among(transform, classes) for transform in transforms])

    def flops(self, model: nn.Module) -> int:
        """The operations in a step's matrix products that the method adds, for ``model`` in the form it has now."""
        shapes = {name: p.shape for name, p in model.named_parameters()}
        total = 0
        for card, settings in self.parts:
            if card.flops is None:
                continue
            with theirs(f"flops of {card.name}"):
                own = card.flops(shapes if card.optimizer is None else classes_of(model).shapes(), settings)
            total += checked_flops(f"flops of {card.name}", own)
        return total

    def outer_flops(self) -> int:
        """The operations in the matrix products of learning that an outer step adds; 0 where there is none."""
        if self.bilevel is None:
            return 0
        learning = next(part.card.name for part in self.parts if part.card.bilevel is not None)
        with theirs(f"flops of an outer step of {learning}"):
            own = self.bilevel.flops()
        return checked_flops(f"flops of an outer step of {learning}", own)

    def tables(self, state: Any, gradients: Mapping[str, Tensor]) -> Tables:
        """What the parts' own probes find in the transform's ``state`` and the raw gradients."""
        found: dict[str, Mapping[str, list[Any]]] = {}
        for part, own in zip(self._on_gradient, self._states(state), strict=True):
            if part.card.probe is not None:
                what = f"the probe of {part.card.name}"
                found |= checked_tables(what, part.card.probe(own, gradients), front="step")
        return found

    def artifacts(self, state: Any) -> Mapping[str, Tensor]:
        """What the parts keep of the transform's ``state``, by the names that it has in ``method.npz``."""
        found: dict[str, Tensor] = {}
        for part, own in zip(self._on_gradient, self._states(state), strict=True):
            if part.card.artifacts is not None:
                found |= part.card.artifacts(own)
        return found

    def _states(self, state: Any) -> Sequence[Any]:
        """The state of each gradient transform: a chain's is a tuple of them, and one alone is in no tuple."""
        return state if len(self._on_gradient) > 1 else [state] * len(self._on_gradient)


def _of_one_number(what: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    def checked(*given: Any) -> Tensor:
        return one_number(what, function(*given))

    return checked


def _chained(transforms: Sequence[Any]) -> Any:
    """All of them as one; one alone as it is, so that its state is in no tuple; None of none."""
    return chain(*transforms) if len(transforms) > 1 else next(iter(transforms), None)


def _only_one(parts: Sequence[OwnPart], door: str, reason: str) -> OwnPart | None:
    """The part that has ``door``, None if there is none; a second one is refused."""
    having = [part for part in parts if getattr(part.card, door) is not None]
    if len(having) > 1:
        names = [part.card.name for part in having]
        raise InputError(f"{'+'.join(names)} is not possible: {reason}; take {names[0]} or {names[1]}")
    return having[0] if having else None

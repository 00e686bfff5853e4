"""What a method does in a run: the doors of its parts' cards (:mod:`grokkit.methods.contract`), made one for the loop.

Losses, gradient transforms and weight transforms compose in the order of the parts: the first part's loss is made of
the task's, the second's of the first's. Starts are made one after the other, and must name different tensors. There is
one optimizer. With a method that learns while the model trains (bilevel) no other part may change the gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.arguments import complete, in_words
from grokkit.attach import Handle, attach
from grokkit.combine import among, chain
from grokkit.errors import InputError, shown
from grokkit.methods import AttachedBilevel, Bilevel, MethodCard, Reforming, TransferData
from grokkit.methods.contract import Classes, Halfway, Loss, Start, StartResult, Tables
from grokkit.models.classes import Class, classes_of
from grokkit.outside import theirs
from grokkit.state import check_keys
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform, before_step

Opened = TypeVar("Opened")


class OwnPart(NamedTuple):
    """A part of a method: its card, and the settings that are its own."""

    card: MethodCard
    settings: Mapping[str, Any]

    def opened(self, door: Callable[..., Opened], **of_run: Any) -> Opened:
        """What ``door``, one of the card's, makes with those of the settings that it takes, and what is the run's."""
        return door(**{name: self.settings[name] for name in _settings_of(door)}, **of_run)


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
        """Refuse a ``model``, or ``data``, that the method could not start with."""
        if (reforming := self.reforming()) is not None:
            reforming.check(model, data())

    def loss(self, base: Loss) -> Loss:
        """The loss to train with, where the task's is ``base``."""
        for wrap in self._losses():
            base = wrap(base)
        return base

    def penalties(self) -> list[Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]]:
        """What the parts add to the loss: of outputs, targets and weights."""
        losses: list[Any] = self._losses()
        return [loss.penalty for loss in losses if hasattr(loss, "penalty")]

    def _losses(self) -> list[Callable[[Loss], Loss]]:
        return [part.opened(part.card.loss) for part in self.parts if part.card.loss is not None]

    def transform(self, seed: int) -> GradientTransform | None:
        """What is done to the gradient."""
        return _chained([_transform(part, seed) for part in self._on_gradient])

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
            own = card.flops(shapes if card.optimizer is None else classes_of(model).shapes(), settings)
            if isinstance(own, bool) or not isinstance(own, int) or own < 0:
                raise InputError(f"the flops of {card.name} are {shown(own)}; they must be a whole number, 0 or more")
            total += own
        return total

    def tables(self, state: Any, gradients: Mapping[str, Tensor]) -> Tables:
        """What the parts' own probes find in the transform's ``state`` and the raw gradients."""
        found: dict[str, Mapping[str, list[Any]]] = {}
        for part, own in zip(self._on_gradient, self._states(state), strict=True):
            if part.card.probe is not None:
                found |= part.card.probe(own, gradients)
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


def begin(
    doors: Doors,
    model: nn.Module,
    data: Callable[[], TransferData],
    seed: int,
    halfway: Callable[[int], Halfway] | None = None,
) -> StartResult:
    """Make all starts on ``model``: plain tensors are copied into it, those of a :class:`Reforming` start are returned.

    ``data`` is called for each start, and not at all where there is none: it may take long to read. ``halfway`` gives
    each start, by its place, where to keep what it has so far. The result has the seconds, FLOPs and tables of all.

    Raises:
        InputError: if two starts give the same tensor, or one gives a tensor that the model does not have.
    """
    own = dict(model.named_parameters())
    seen: set[str] = set()
    reformed: dict[str, Tensor] = {}
    seconds, flops, tables = 0.0, 0, {}
    for place, start in enumerate(doors.starts()):
        own_data = data() if halfway is None else replace(data(), halfway=halfway(place))
        found = start(model, own_data, seed)
        _check_started(found)
        if twice := sorted(seen & found.tensors.keys()):
            names = "+".join(part.card.name for part in doors.parts if part.card.start is not None)
            raise InputError(f"{names} is not possible: two of them start {twice[0]!r}; leave one out")
        seen |= found.tensors.keys()
        seconds, flops, tables = seconds + found.seconds, flops + found.flops, {**tables, **found.tables}
        if isinstance(start, Reforming):
            reformed |= found.tensors
            continue
        with torch.no_grad():
            for name, tensor in found.tensors.items():
                if name not in own or own[name].shape != tensor.shape:
                    shape = tuple(own[name].shape) if name in own else None
                    raise InputError(
                        f"a start gives {name!r} of shape {tuple(tensor.shape)}, and the model's has {shape}; "
                        "name tensors as model.named_parameters() does"
                    )
                own[name].copy_(tensor)
    return StartResult(reformed, seconds, flops, tables)


def _check_started(found: object) -> None:
    """Refuse what a start may not return; what it cost is charged, so that has to be a cost."""
    if not isinstance(found, StartResult):
        raise InputError(f"a start returned {shown(found)}; it must return a grokkit.methods.StartResult")
    for name, kinds in (("seconds", int | float), ("flops", int)):
        value = getattr(found, name)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < float("inf"):
            raise InputError(f"a start says that it took {name}={shown(value)}; it must be a number, 0 or more")


def is_stackable(method: MethodConfig) -> bool:
    """Whether runs of ``method`` can be members of one program, which takes the steps of all under ``torch.vmap``.

    A method cannot that has an optimizer of its own, or was given somebody's, or gives the model another form, or one
    with a door that branches on the value of a setting or a tensor: vmap refuses it. Nor can one whose state is none.
    To see that, a step of two members is tried.
    """
    doors = doors_of(method)
    of_any_class = {kind: ["weight"] for kind in get_args(Class)}
    if (
        isinstance(method.optimizer, OwnOptimizerConfig)
        or doors.optimizer() is not None
        or doors.reforming() is not None
        or ((weights := doors.weights(of_any_class)) is not None and weights.see is not None)
    ):
        return False
    both = {name: torch.full((2,), float(value), dtype=torch.float64) for name, value in doors.numbers().items()}
    sample = torch.linspace(-1.0, 1.0, 12).view(2, 3, 2)  # A member's (3, 2) stands for outputs, gradient and weights.

    def step(numbers: Mapping[str, Tensor], tensor: Tensor) -> Any:
        own, grads = doors.with_numbers(numbers), {"weight": tensor}
        targets = torch.zeros(len(tensor), dtype=torch.int64)
        loss = own.loss(F.cross_entropy)(tensor, targets)
        loss = loss + sum(penalty(tensor, targets, grads) for penalty in own.penalties())
        transform, weights = own.transform(seed=0), own.weights(of_any_class)
        if transform is not None:
            state = transform.init(grads)
            check_keys(state, grads, "init")
            grads, state = transform.update(grads, state, grads)
            check_keys(state, grads, "update")
        if weights is not None:
            state = weights.init(grads)
            check_keys(state, grads, "init")
            grads, state = weights.update(grads, before_step(weights, grads, state))
            check_keys(state, grads, "update")
        return loss, grads

    try:
        torch.vmap(step)(both, sample)
    except Exception:  # the program would meet it too; a run alone, if it meets it at all, shows where
        return False
    return True


def default_settings(card: MethodCard) -> dict[str, Any]:
    """A method's own settings and their defaults: those of its doors and ``bilevel``, then the card's overrides."""
    own: dict[str, Any] = {}
    for field, door in card.doors().items():
        for name, default in _settings_of(door).items():
            if default is not inspect.Parameter.empty:
                own[name] = default
            elif field != "bilevel":  # which is given the transform's settings as well
                raise InputError(f"{card.name}: {name} has no default, and every setting of a method needs one")
    return {**own, **card.default_overrides}


def _settings_of(door: Callable[..., Any]) -> dict[str, Any]:
    """The settings that a method's door takes, and their defaults; ``Parameter.empty`` where there is none.

    ``seed`` is none: a run gives it one of its own. Nor are a device and a dtype by name only, ``window_device``, which
    say where a state is kept.
    """
    parameters = inspect.signature(door).parameters.items()
    named = {name: p for name, p in parameters if p.kind not in _OTHERS and name != "seed"}
    return {name: p.default for name, p in named.items() if not _is_place(name, p)}


def _is_place(name: str, parameter: inspect.Parameter) -> bool:
    has_default = parameter.default is not parameter.empty
    return has_default and parameter.kind is parameter.KEYWORD_ONLY and name.split("_")[-1] in ("device", "dtype")


def as_typed(card: MethodCard, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A method's own settings, those that are words as they were typed: ``none`` among ``none`` and ``cosine``."""
    found = dict(settings)
    for door in card.doors().values():
        found |= in_words(door, found)
    return found


_OTHERS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_settings(card: MethodCard, settings: Mapping[str, Any]) -> None:
    """Open every door of ``card`` once with these settings, so that the checks in it run now.

    Raises:
        InputError: if a check does, and for a value that is not of the kind of its argument.
    """
    part = OwnPart(card, settings)
    with theirs(card.name):
        for field, door in card.doors().items():
            if field == "bilevel":
                door(**settings)
            else:
                _check_made(card, field, _transform(part, seed=0) if field == "factory" else part.opened(door))
    # A door's own checks come first, since they know more than its annotations do. Its own defaults need none: an
    # infinite one stands for no limit, though nobody may type it.
    for field, door in card.doors().items():
        if field == "bilevel":
            continue
        usual = _settings_of(door)
        given = {name: settings[name] for name in usual if repr(settings[name]) != repr(usual[name])}
        complete(card.name, door, given, leave=("seed",))


def _check_made(card: MethodCard, name: str, made: object) -> None:
    """Refuse what a door has made if it is not what the loop goes by: nothing, where a return is missing."""
    kind = {"factory": GradientTransform, "weights": WeightTransform}.get(name)
    if isinstance(made, kind) if kind is not None else callable(made):
        return
    wanted = "a function" if kind is None else f"a {kind.__name__}"
    hint = " (is a return missing?)" if made is None else ""
    raise InputError(f"{card.name}: its {name} returns {shown(made)}{hint}; it must return {wanted}")


def _transform(part: OwnPart, seed: int) -> GradientTransform:
    factory = part.card.factory
    assert factory is not None
    seeded = {"seed": seed} if "seed" in inspect.signature(factory).parameters else {}
    return part.opened(factory, **seeded)


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

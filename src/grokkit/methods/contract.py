"""What a method is to the lab: one card, with up to five doors through which it reaches into the training.

    start      before the first step: what the model's tensors begin with
    loss       the loss that is differentiated
    gradient   what the optimizer is given in place of the gradient (the card's ``factory``)
    optimizer  the optimizer itself
    weights    what is done to the weights after the optimizer's step

A step is: loss, backward, clip, gradient, optimizer, weights. Each door is a function of settings given by name; its
arguments with a default are the method's settings. A float setting may arrive as a 0-d tensor, one value for each
member of a stacked program: a method with a door that reads such a value is run alone (:mod:`grokkit.train.stackable`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.attach import Handle
from grokkit.errors import InputError, shown
from grokkit.models.classes import Classes as Classes  # what a method's optimizer is made of
from grokkit.transform import GradientTransform, Grads, State
from grokkit.weight_transform import WeightTransform

Hook = Literal["start", "loss", "gradient", "optimizer", "weights"]

Tables: TypeAlias = Mapping[str, Mapping[str, list[Any]]]
"""Tables by name, each a dict of equally long columns."""

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of a batch's outputs and targets: the mean, a scalar."""


def one_tensor(method: str, outputs: object) -> Tensor:
    """``outputs``, which a network of somebody's own may give in any form, for a loss that goes by their numbers.

    Raises:
        InputError: if they are no tensor.
    """
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"{method} needs outputs that are one tensor, and the network gives a {type(outputs).__name__}; let the "
            f"problem's forward() return the tensor, or leave {method} out"
        )
    return outputs


class Examples(NamedTuple):
    """Rows to learn from, whole: weak models train on full batches."""

    inputs: Tensor
    """(N, T) tokens, int64, or (N, F) numbers."""
    targets: Tensor


def _is_largest(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(-1) == targets


class Halfway(Protocol):
    """Where a start that takes long keeps what it has so far: a run that was ended in its middle goes on from there.

    Of use to a start that comes to the same result, bit for bit, from what it has kept. Global random generators are
    kept with it.
    """

    def found(self) -> tuple[Mapping[str, Tensor], Any] | None:
        """What was kept last, tensors and others; None at the very beginning, and where that was damaged."""

    def due(self) -> bool:
        """Whether it is time to keep again."""
        ...

    def keep(self, tensors: Mapping[str, Tensor], others: Any) -> None:
        """Keep ``tensors``, and ``others``, which must be JSON, in place of what was kept before."""


class Read:
    """A part's rows, given as :class:`Examples` or as the function that reads them, which is called when somebody first
    asks for them."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, data: None, owner: type) -> Read: ...
    @overload
    def __get__(self, data: object, owner: type) -> Examples: ...
    def __get__(self, data: object | None, owner: type) -> Read | Examples:
        if data is None:
            raise AttributeError(self._name)  # by which a dataclass knows that there is no default
        given = vars(data)[self._name]
        if not isinstance(given, Examples):
            given = vars(data)[self._name] = given()
        return given

    def __set__(self, data: object, given: Examples | Callable[[], Examples]) -> None:
        vars(data)[self._name] = given


@dataclass(frozen=True, kw_only=True)
class TransferData:
    """The rows that a start may learn from, and how what it learns is judged.

    Attributes:
        train, validation: rows to train on, and rows to stop by, as :class:`Examples`. The test part has no place here.
            Given as a function they are read when they are first asked for: all rows in one batch may be large, and
            most starts look at none.
        vocabulary: V, rows of the embedding; None where inputs are numbers.
        outputs: of the model.
        loss: of a batch's outputs and targets, the mean. Default cross-entropy.
        inputs: their kind, see :class:`grokkit.models.TaskShape`; None where nobody has declared it.
        correct: bool, one a row. Default: whether the largest output is the target's.
        halfway: where to keep what is found so far; None where nothing can be kept.
    """

    train: Read = Read()
    validation: Read = Read()
    vocabulary: int | None
    outputs: int
    inputs: str | None = None
    loss: Loss = F.cross_entropy
    correct: Callable[[Tensor, Tensor], Tensor] = _is_largest
    halfway: Halfway | None = None


class StartResult(NamedTuple):
    """What a start has found, and what it cost to find it. The run is charged for everything."""

    tensors: Mapping[str, Tensor]
    """By the names of the model's parameters. Each is copied into its parameter, whose shape it has; a
    :class:`Reforming` start says itself what becomes of its own."""
    seconds: float = 0.0
    """The run is charged for the seconds that the start takes, which the lab clocks. More than these are charged if it
    says so, because it knows of others, of a model that was trained elsewhere for one."""
    flops: int = 0
    """Of the matrix products, by formula: these nobody counts while a run trains."""
    tables: Tables = MappingProxyType({})
    """These are kept with the run as a probe's tables are, but they have no column for the step."""


Start: TypeAlias = Callable[[nn.Module, TransferData, int], StartResult]
"""``start(model, data, seed)``, which does not change ``model``. What is drawn at random depends on ``seed`` alone.
Several starts are made one after the other; the names of their tensors must differ. One that cannot start every model
on all data may have a method ``check(model, data)``, as :class:`Reforming` has, which is asked before anything runs."""


class Reforming(ABC):
    """A start after which the model has another form for a while, such as a product in the place of a matrix.

    An instance is a :data:`Start`: the tensors that it gives are named by the parameters which they take the place of,
    and may have any shape. GrokTransfer gives the weak model's embedding A under the name of the target's embedding E;
    ``apply`` puts A·B there, and ``merge`` makes it E again. Such a run is trained alone.
    """

    merge_at: int | None = None
    """Before this step the model gets its own form back. None: it never does."""

    def check(self, model: nn.Module, data: TransferData) -> None:
        """Raise an :class:`InputError` if ``model`` has no part that this start could replace, or if nothing can be
        learned from ``data`` in the way that it was told to."""
        return

    @abstractmethod
    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult: ...

    @abstractmethod
    def apply(self, model: nn.Module, tensors: Mapping[str, Tensor], seed: int) -> None:
        """Let ``model`` start from ``tensors``. Whatever is drawn at random depends only on shapes and ``seed``."""

    @abstractmethod
    def merge(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give the model its own form again, in ``optimizer`` as well."""

    def artifacts(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What of its tensors is written as ``method.npz`` into the run's folder, by the names there."""
        return {}


class Bilevel(ABC):
    """How a method learns while the model trains, from rows set apart from the training data: the *outer* data.

    Every ``every`` steps, before the model's own step, the lab looks ahead: from the weights θ with the gradients g it
    forms θ' = θ − η·direction(g), where η is the learning rate. It then takes the loss of θ' on the outer data, and
    gives :meth:`learn` that loss's cotangents of the direction, −η·∇L_outer(θ'). A subclass's initializer takes the
    settings of the method, and those of its transform as well. ``direction`` and ``learn`` are pure, as a transform's
    ``update`` is.
    """

    every: int

    @abstractmethod
    def direction(self, state: State, grads: Grads) -> Grads:
        """The direction of the look ahead: the transform's result on ``grads``, without the parts that do not learn.

        NeuralGrok leaves out its clip, for one.
        """

    def flops(self) -> int:
        """Matrix products of an outer step, beside the forward and the backward pass on the outer data."""
        return 0

    @abstractmethod
    def learn(self, state: State, grads: Grads, cotangents: Grads) -> State:
        """The transform's state after one step of learning that lowers Σ cotangents∘direction(grads)."""

    @staticmethod
    @abstractmethod
    def attach(model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> AttachedBilevel:
        """Attach the method to the optimizer of a single run. The lab calls its outer steps there."""


class AttachedBilevel(Protocol):
    """What :meth:`Bilevel.attach` returns. :class:`grokkit.NeuralGrok` is one."""

    handle: Handle

    def outer_step(self, *, outer_loss: Callable[[], Tensor]) -> Tensor | None:
        """Take an outer step if one is due, and return the outer loss then. Call it between backward() and step()."""


@dataclass(frozen=True)
class Recipe:
    """A method's settings on one task, and where they come from.

    ``settings`` may hold those of the method and of the optimizer, ``init_scale`` and ``held_out``. The card has the
    others.
    """

    settings: Mapping[str, Any]
    source: str


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A method's facts. Only ``name`` has to be given; a method without a door is a bare optimizer.

    Attributes:
        name: what the command line calls it, e.g. ``grokfast-ema``.
        summary: one sentence.
        equations: with the paper's letters.
        cost: time and memory a step, in words.
        base: the optimizer settings that it is compared with by default; those of ``adamw`` if there are none.
        base_source: where these come from.
        start: the door to what comes before the first step. It makes a :data:`Start`.
        loss: the door to the loss. It makes a function that takes the task's loss and returns the one to train with.
            If that function has a method ``penalty(outputs, targets, weights)``, of a batch and the parameters by name,
            what it returns is added to the loss.
        logits: whether that loss is of other outputs than the network's, as logits may be. Evaluations are of the
            network's own, so that where targets are numbers it would learn others than these: such a task is refused.
        factory: the door to the gradient. It makes the gradient transform. An argument called ``seed`` is not a
            setting: a run gives it one of its own.
        optimizer: the door to the optimizer. It makes a function that takes the parameters by their classes
            (:class:`grokkit.models.classes.Classes`), and returns one optimizer over all of them. Settings of the base
            that are the optimizer's own then mean nothing and are refused; ``lr_warmup`` and ``max_grad_norm`` stay.
        weights: the door to the weights. It makes a :class:`grokkit.weight_transform.WeightTransform`.
        bilevel: how the method learns from outer data; the initializer's arguments with a default are settings, too.
        flops: floating-point operations in the matrix products that the method, or an optimizer of its own, adds to a
            step: from the shapes of the parameters by name, in the form in which they are trained, and the method's
            settings. A card with the ``optimizer`` door gets the shapes by class, and by name within each. None if it
            works entry by entry, which counts as no product, as an optimizer's moments do.
        held_out: the default of the setting of that name: the share of the training rows that no batch has.
        default_overrides: settings whose default is another than the doors' own.
        recipes: by the name of a task, without its sizes (``mnist``): the settings that are the defaults there.
        smallest: settings under which the test suite can see the method act within a few steps.
        mixes_tensors: whether the result for one tensor depends on the gradients of other tensors, as it does under a
            global clip. The test suite then leaves out the check that each tensor could as well be alone.
        probe: makes tables of what the method does in a run, from the transform's state and the raw gradients by
            parameter name. It returns tables by name, each a dict of equally long columns. The lab calls it at every
            full evaluation, and keeps ``<name>.parquet`` with the step in front. None if there is nothing to see.
        artifacts: picks from the transform's state what somebody may want when the run has ended, such as a trained
            amplifier. It returns tensors by name, which are written as ``method.npz`` into the run's folder. None if
            there is nothing to keep.
        off: settings under which it must leave the run as it is, bit for bit; None if there are none.
        tuned: how its defaults were chosen, if we chose them.
        space: where ``grokkit tune`` searches its settings, as a line (:mod:`grokkit.study.search_space`):
            ``"alpha=0.8..0.99, lamb=0.1..10 log"``. The optimizer's settings are searched where the optimizer's card
            says, unless this names some of them: then those, and no others. A comment beside it says why there.
        departures: where it differs from the authors' code, and why.
        citation: BibTeX, empty if there is nothing to cite.
        linear: whether what its transform makes of the gradients is linear in them.
        aliases: other spellings of the name.
        revision: part of a run's identity. It is raised when the same settings give other results than before.
        files: the settings that may be the path of a file, and how such a path ends. The content counts for a run's
            identity, not the path.
    """

    DOORS: ClassVar[Mapping[Hook, str]] = {
        "start": "start",
        "loss": "loss",
        "gradient": "factory",
        "optimizer": "optimizer",
        "weights": "weights",
    }

    name: str
    summary: str = ""
    equations: str = ""
    cost: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    base_source: str = ""
    start: Callable[..., Start] | None = None
    loss: Callable[..., Callable[[Loss], Loss]] | None = None
    logits: bool = False
    factory: Callable[..., GradientTransform] | None = None
    optimizer: Callable[..., Callable[[Classes], torch.optim.Optimizer]] | None = None
    weights: Callable[..., WeightTransform] | None = None
    bilevel: type[Bilevel] | None = None
    flops: Callable[[Mapping[str, Any], Mapping[str, Any]], int] | None = None
    held_out: float = 0.0
    default_overrides: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    smallest: Mapping[str, Any] = field(default_factory=dict)
    mixes_tensors: bool = False
    probe: Callable[[Any, Mapping[str, Tensor]], Tables] | None = None
    artifacts: Callable[[Any], Mapping[str, Tensor]] | None = None
    off: Mapping[str, Any] | None = None
    tuned: str = ""
    space: str = ""
    departures: str = ""
    citation: str = ""
    linear: bool = False
    aliases: tuple[str, ...] = ()
    revision: int = 0
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """Where it intervenes in training, in the order of a run; empty for a bare optimizer."""
        return tuple(hook for hook, door in self.DOORS.items() if getattr(self, door) is not None)

    @property
    def is_linear(self) -> bool:
        """Whether its updates are linear in the gradients if the optimizer's are, as those of a bare optimizer."""
        return self.linear or not self.doors()

    def doors(self) -> dict[str, Callable[..., Any]]:
        """The doors that it has, and ``bilevel``, by their fields; empty for a bare optimizer.

        Raises:
            InputError: for one that is no function.
        """
        found: dict[str, Callable[..., Any]] = {}
        for name in ("factory", "bilevel", "start", "loss", "optimizer", "weights"):  # as settings are listed
            door = getattr(self, name)
            if door is None:
                continue
            if not callable(door):
                raise InputError(
                    f"{self.name}: its {name} is {shown(door)}; give the function that makes it, without parentheses"
                )
            found[name] = door
        return found

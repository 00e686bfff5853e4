"""What a method says of itself: one card each, read by the command line, the lab and the test suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from grokkit.attach import Handle
from grokkit.methods.lesson import Lesson
from grokkit.transform import GradientTransform, Grads, State

Hook = Literal["start", "loss", "gradient", "step", "weights"]


class Bilevel(ABC):
    """What a method learns by, from data set apart from the training data: the *outer* data.

    At weights θ with gradients g, every ``every``-th step, before the inner one, the lab forms θ' = θ − η·direction(g)
    with the learning rate η, and gives :meth:`learn` the cotangents −η·∇L_outer(θ'). A subclass's initializer takes the
    settings of the method, those of its transform as well. ``direction`` and ``learn`` are pure, as a transform's
    ``update``.
    """

    every: int

    @abstractmethod
    def direction(self, state: State, grads: Grads) -> Grads:
        """What the transform makes of ``grads``, as far as it depends on what is learned."""

    def flops(self) -> int:
        """Matrix products of an outer step, beside the forward and the backward pass on the outer data."""
        return 0

    @abstractmethod
    def learn(self, state: State, grads: Grads, cotangents: Grads) -> State:
        """The transform's state after learning from Σ cotangents∘direction(grads) as the loss."""

    @staticmethod
    @abstractmethod
    def attach(model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> AttachedBilevel:
        """The same for one run alone, attached to its optimizer."""


class AttachedBilevel(Protocol):
    """What :meth:`Bilevel.attach` gives: :class:`grokkit.NeuralGrok`, for one."""

    handle: Handle

    def outer_step(self, *, outer_loss: Callable[[], Tensor]) -> Tensor | None:
        """To be called between ``backward()`` and ``step()``; returns the outer loss if a step was due."""


class Found(NamedTuple):
    """What a :class:`Start` has found before the first step, and what that cost."""

    embedding: Tensor
    seconds: float
    flops: int
    tables: Mapping[str, Mapping[str, list[Any]]]
    """Kept with the run, as a probe's tables are, without a step."""


class Start(ABC):
    """How a method lets the model start, and what form the model then has.

    A subclass's initializer takes the settings of the method, and checks them.
    """

    merge_at: int | None
    """The step before which the model takes its own form again; None for never."""

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise an :class:`InputError` if ``model`` has nothing to start from."""

    @abstractmethod
    def find(self, model: nn.Module, lesson: Lesson, seed: int) -> Found:
        """Find what ``model`` starts from, without changing it. Everything it takes is charged to the method."""

    @abstractmethod
    def apply(self, model: nn.Module, embedding: Tensor, seed: int) -> None:
        """Let ``model`` start from ``embedding``. What is drawn at random depends on its shape and ``seed`` only."""

    @abstractmethod
    def merge(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give the model its own form again, in ``optimizer`` as well."""


@dataclass(frozen=True)
class Recipe:
    """A method's settings on one task, and where they come from.

    ``settings``: of the method, of the optimizer, ``init_scale`` and ``held_out``; what is not among them stays the
    card's.
    """

    settings: Mapping[str, Any]
    source: str


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A method's facts.

    Attributes:
        name: what the command line calls it, e.g. ``grokfast-ema``.
        summary: one sentence.
        hooks: where it intervenes in training; empty for a bare optimizer.
        equations: with the paper's letters.
        cost: time and memory a step, in words.
        optimizer: the optimizer settings it is compared with by default, and
        optimizer_source: where these come from.
        factory: makes the gradient transform; its keyword arguments are the method's settings. None for a
            bare optimizer. An argument called ``seed`` is not a setting: a run gives it one of its own.
        bilevel: how the method learns from outer data; the initializer's arguments with a default are settings, too.
            None if it does not.
        start: what the method does before the first step; the initializer's arguments with a default are settings, too.
            None if it does nothing.
        flops: floating-point operations in the matrix products that the method, or an optimizer of its own, adds to a
            step: from the shapes of the parameters by name, in the form in which they are trained, and the method's
            settings. None if it works entry by entry, which counts as no product, as an optimizer's moments do.
        held_out: the default of the setting of that name: the share of the training rows that no batch has.
        presets: settings whose default is another than the factory's, ``bilevel``'s or ``start``'s own.
        recipes: by the name of a task, without its sizes (``mnist``): the settings that are the defaults there.
        smallest: settings under which the test suite can see the method act within a few steps.
        couples: whether a tensor's result depends on other tensors' gradients, as under a global clip: the suite
            then leaves out what holds only tensor by tensor.
        probe: what there is to see of the method in a run. From the transform's state and the raw gradients by
            parameter name, tables by name, each a dict of equally long columns; kept at every full evaluation
            as ``<name>.parquet``, with the step in front. None if there is nothing.
        keep: what of the transform's state is worth keeping when a run has ended: tensors by name, written as
            ``method.npz`` into the run's folder. None if nothing is.
        off: settings under which it must leave the optimizer as it is, bit for bit; None if there are none.
        tuned: how its defaults were chosen, if we chose them.
        departures: where it differs from the authors' code, and why.
        citation: BibTeX, empty if there is nothing to cite.
        aliases: other spellings of the name.
    """

    name: str
    summary: str
    hooks: tuple[Hook, ...]
    equations: str
    cost: str
    optimizer: Mapping[str, Any]
    optimizer_source: str
    factory: Callable[..., GradientTransform] | None = None
    bilevel: type[Bilevel] | None = None
    start: type[Start] | None = None
    flops: Callable[[Mapping[str, torch.Size], Mapping[str, Any]], int] | None = None
    held_out: float = 0.0
    presets: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    smallest: Mapping[str, Any] = field(default_factory=dict)
    couples: bool = False
    probe: Callable[[Any, Mapping[str, Tensor]], Mapping[str, Mapping[str, list[Any]]]] | None = None
    keep: Callable[[Any], Mapping[str, Tensor]] | None = None
    off: Mapping[str, Any] | None = None
    tuned: str = ""
    departures: str = ""
    citation: str = ""
    aliases: tuple[str, ...] = ()

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

DOORS = ("start", "factory", "bilevel")
EXCLUSIVE = ("bilevel",)
"""Of a composition, one part at most may have such a door."""

Hook = Literal["start", "loss", "gradient", "step", "weights"]


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


class Found(NamedTuple):
    """The result of :meth:`Start.find`: what the model is to start from, and what it cost to find it."""

    embedding: Tensor
    seconds: float
    flops: int
    tables: Mapping[str, Mapping[str, list[Any]]]
    """These are kept with the run as a probe's tables are, but they have no column for the step."""


class Start(ABC):
    """What a method does before the first step, and how the model gets its own form back later.

    A subclass's initializer takes the settings of the method, and checks them.
    """

    merge_at: int | None
    """Before this step the model gets its own form back. None: it never does."""

    @abstractmethod
    def check(self, model: nn.Module) -> None:
        """Raise an :class:`InputError` if ``model`` has no part that this start could replace."""

    @abstractmethod
    def find(self, model: nn.Module, lesson: Lesson, seed: int) -> Found:
        """Find what ``model`` is to start from, without changing it. The run is charged for everything this takes."""

    @abstractmethod
    def apply(self, model: nn.Module, embedding: Tensor, seed: int) -> None:
        """Let ``model`` start from ``embedding``. Whatever is drawn at random depends only on shapes and ``seed``."""

    @abstractmethod
    def merge(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give the model its own form again, in ``optimizer`` as well."""


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
        couples: whether the result for one tensor depends on the gradients of other tensors, as it does under a global
            clip. The test suite then leaves out the check that each tensor could as well be alone.
        probe: makes tables of what the method does in a run, from the transform's state and the raw gradients by
            parameter name. It returns tables by name, each a dict of equally long columns. The lab calls it at every
            full evaluation, and keeps ``<name>.parquet`` with the step in front. None if there is nothing to see.
        keep: picks from the transform's state what somebody may want when the run has ended, such as a trained
            amplifier. It returns tensors by name, which are written as ``method.npz`` into the run's folder. None if
            there is nothing to keep.
        off: settings under which it must leave the optimizer as it is, bit for bit; None if there are none.
        tuned: how its defaults were chosen, if we chose them.
        departures: where it differs from the authors' code, and why.
        citation: BibTeX, empty if there is nothing to cite.
        linear: whether what its transform makes of the gradients is linear in them.
        aliases: other spellings of the name.
        revision: part of a run's identity. It is raised when the same settings give other results than before.
        files: the settings that may be the path of a file, and how such a path ends. The content counts for a run's
            identity, not the path.
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
    linear: bool = False
    aliases: tuple[str, ...] = ()
    revision: int = 0
    files: Mapping[str, str] = field(default_factory=dict)

    def doors(self) -> frozenset[str]:
        """Where the method intervenes in training; empty for a bare optimizer."""
        return frozenset(door for door in DOORS if getattr(self, door, None) is not None)

    @property
    def is_linear(self) -> bool:
        """Whether its updates are linear in the gradients if the optimizer's are, as those of a bare optimizer."""
        return self.linear or not self.doors()

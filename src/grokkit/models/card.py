"""What a model says of itself: one card in each model's own file, read by the command line and the lab.

A model from outside has a card of the same kind: ``--model mypkg.nets:CARD``, or an entry point ``grokkit.models``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any, cast

import torch
from torch import nn

from grokkit.arguments import complete
from grokkit.errors import InputError
from grokkit.outside import theirs
from grokkit.registry import Part


@dataclass(frozen=True, kw_only=True)
class TaskShape:
    """What a model needs to know of the task that it is made for.

    Attributes:
        kind: of the inputs, which a task declares and a model's card says that it reads. Ours are ``expressions`` and
            ``text`` (int64 tokens, 0 being padding in texts), ``sequences`` (int64 tokens, with outputs at every place,
            each of which sees those before it), ``numbers`` (float32), ``molecules`` (float32, a place an atom, with
            its features and bonds) and ``points`` (the numbers of points that the task holds).
        tokens: places of a row, its first axis: tokens, atoms, or features.
        features: numbers a place, its last axis. A row with one axis has as many features as places.
        vocabulary: V, distinct tokens; None where inputs are no tokens.
        classes: C, width of the outputs.
    """

    kind: str
    tokens: int
    features: int
    vocabulary: int | None
    classes: int

    @property
    def words(self) -> int:
        """The vocabulary of a task that must have one."""
        if self.vocabulary is None:
            raise InputError(f"inputs of kind {self.kind!r} without a vocabulary cannot be read as tokens; declare it")
        return self.vocabulary


class Model(nn.Module):
    """A module that knows what it costs: matrix products, two operations a multiply-add."""

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Of a forward pass on ``batch`` rows of ``tokens`` places."""
        raise NotImplementedError

    def step_flops(self, batch: int, tokens: int) -> int:
        """Of a forward and a backward pass."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model's facts.

    Attributes:
        name: what the command line calls it, e.g. ``fnn``.
        reads: the kinds of inputs that it can be trained on, see :class:`TaskShape`; empty for any.
        build: makes the module from ``task``, a :class:`TaskShape`, and, by name, its settings, which are its other
            arguments, each with a default. PyTorch's global generator is seeded, and restored afterwards. A setting
            ``init_scale`` can be set by a method as well.
        summary: a line on it.
        batch_size: rows a step unless told, where the task has none of its own. None for full batches.
        task: settings of a task that it takes unless told, where the task has them.
        weak: settings whose default is another one where it serves as GrokTransfer's weak model.
        smallest: settings of one that the test suite can train within a second.
        exact_gradients: False for a model whose ``backward()`` gives the gradients of other coordinates than its
            parameters. Only updates that are linear in the gradients train it, and it has no tangent kernel.
        stackable: whether runs of it can share a program, as on a GPU. One module serves all there, in eval mode: so
            not where it draws at random or keeps buffers, with dropout or batch norm for instance. Default False.
        revision: raised when what it computes changes, so that no earlier result answers for it.
    """

    name: str
    build: Callable[..., nn.Module]
    reads: tuple[str, ...] = ()
    summary: str = ""
    batch_size: int | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    weak: Mapping[str, Any] = field(default_factory=dict)
    smallest: Mapping[str, Any] = field(default_factory=dict)
    exact_gradients: bool = True
    stackable: bool = False
    revision: int = 0

    def can_read(self, kind: str) -> bool:
        """Whether it can be trained on inputs of that kind."""
        return not self.reads or kind in self.reads

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, those ``given`` among them.

        Raises:
            InputError: for a setting that there is not, or a value that is not allowed.
        """
        return complete(self.name, self.build, given, leave=("task",))

    @property
    def in_words(self) -> str:
        """What an error calls the module."""
        return "the network of your problem" if self.name == "own" else f"--model {self.name}"

    @property
    def is_ours(self) -> bool:
        """Whether we know that it makes another module each time."""
        return self.name != "own" and self.build.__module__.startswith("grokkit.")

    def make(self, task: TaskShape, settings: Mapping[str, Any], seed: int) -> Model:
        """The module with initial weights drawn from ``seed``, as :func:`torch.manual_seed` takes it.

        Raises:
            InputError: for a task whose inputs it does not read, settings that do not go together, or code that
                fails, or makes no module or one whose layers have no shapes yet.
        """
        if not self.can_read(task.kind):
            raise InputError(f"{self.name} reads {' or '.join(self.reads)}, and this task's inputs are {task.kind}")
        if self.reads and task.classes < 1:
            raise InputError(f"{self.name} has to know how many outputs there are; give the problem classes=...")
        what = self.in_words
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with theirs(f"making {what}"):
                made: Any = self.build(task, **settings)
        if not isinstance(made, nn.Module):
            raise InputError(f"{what} is made as {type(made).__name__}, and must be a torch.nn.Module")
        if any(nn.parameter.is_lazy(p) for p in made.parameters()):
            raise InputError(
                f"{what} has a layer without a shape, such as LazyLinear; give it one, or pass a batch through it "
                "where it is made"
            )
        return cast(Model, made)


def card_of(part: Part) -> ModelCard:
    """The card of a registered model; a function that makes a module is one that is tried on inputs of any kind."""
    if isinstance(part.value, ModelCard):
        return part.value
    return ModelCard(name=part.name, build=called(part.value))


def called(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """``function`` as a card's ``build``: its arguments are the settings, and ``task`` is given to it if it has it."""
    try:
        takes_task = "task" in signature(function).parameters
    except (TypeError, ValueError):  # a builtin's, which takes none
        takes_task = False

    @wraps(function)
    def build(task: TaskShape, **settings: Any) -> nn.Module:
        return function(task=task, **settings) if takes_task else function(**settings)

    return build

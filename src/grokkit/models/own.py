"""The network that a problem of somebody's own brings along, and any function that makes a module.

Neither says which inputs it reads: what does not fit is an error of its own, at the first batch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from grokkit.errors import InputError
from grokkit.models.card import ModelCard, TaskShape
from grokkit.registry import Part


@dataclass(frozen=True, kw_only=True)
class OwnShape(TaskShape):
    """Of a problem that has a network of its own; ``model`` makes it."""

    model: Callable[..., nn.Module]


def build(task: TaskShape) -> nn.Module:
    """What the problem's ``model`` makes."""
    if not isinstance(task, OwnShape):
        raise InputError("--model own is the network of a problem of your own, and this task has none; leave it out")
    return called(task.model)(task)


def called(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """``function`` as a card's ``build``: its arguments are the settings, and ``task`` is given to it if it has it.

    It returns a module, or a card that makes one.
    """
    try:
        takes_task = "task" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin's, which takes none
        takes_task = False

    @functools.wraps(function)
    def build(task: TaskShape, **settings: Any) -> nn.Module:
        made = function(task=task, **settings) if takes_task else function(**settings)
        return made.build(task) if isinstance(made, ModelCard) else made

    return build


def card_of(part: Part) -> ModelCard:
    """The card of a registered model, or one for a function that makes a module, such as ``nets.py:build``."""
    if isinstance(part.value, ModelCard):
        return part.value
    return ModelCard(name=part.name, reads=(), build=called(part.value), stackable=False)


CARD = ModelCard(
    name="own",
    reads=(),
    build=build,
    summary="the network that a problem of your own brings along",
    stackable=False,
)

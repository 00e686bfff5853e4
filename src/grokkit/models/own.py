"""The network that a problem of somebody's own brings along, and any function that makes a module.

Neither says which inputs it reads: what does not fit is an error of its own, at the first batch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from grokkit.errors import InputError
from grokkit.models.card import ModelCard, TaskShape


def build(task: TaskShape) -> nn.Module:
    """What the problem's ``model`` makes."""
    if task.own is None:
        raise InputError("--model own is the network of a problem of your own, and this task has none; leave it out")
    return called(task.own)(task)


def called(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """``function`` as a card's ``build``: its arguments are the settings, and ``task`` is given to it if it has it."""
    try:
        takes_task = "task" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin's, which takes none
        takes_task = False

    @functools.wraps(function)
    def build(task: TaskShape, **settings: Any) -> nn.Module:
        return function(task=task, **settings) if takes_task else function(**settings)

    return build


def card_of_function(name: str, function: Callable[..., nn.Module]) -> ModelCard:
    """A card for a function that makes a module, such as ``nets.py:build``."""
    return ModelCard(name=name, reads=(), build=called(function), summary=inspect.getdoc(function) or "")


CARD = ModelCard(name="own", reads=(), build=build, summary="the network that a problem of your own brings along")

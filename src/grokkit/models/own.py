"""The network that a problem of somebody's own brings along.

It does not say which inputs it reads: what does not fit is an error of its own, at the first batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from grokkit.errors import InputError
from grokkit.models.card import ModelCard, TaskShape, called


@dataclass(frozen=True, kw_only=True)
class OwnShape(TaskShape):
    """Of a problem that has a network of its own; ``model`` makes it."""

    model: Callable[..., nn.Module]


def build(task: TaskShape) -> nn.Module:
    """What the problem's ``model`` makes."""
    if not isinstance(task, OwnShape):
        raise InputError("--model own is the network of a problem of your own, and this task has none; leave it out")
    return called(task.model)(task)


CARD = ModelCard(
    name="own",
    build=build,
    summary="the network that a problem of your own brings along",
)
